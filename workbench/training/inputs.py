"""What a training run works on. Each algorithm takes what it needs and ignores the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workbench.data.records import (
    Answered,
    Feedback,
    Preference,
    Prompt,
    RankedAnswers,
    Rated,
    Tie,
)
from workbench.errors import UserError
from workbench.models.loading import LoadedModel
from workbench.rewards.base import RewardFunction
from workbench.rewards.second_opinion import Opinion
from workbench.training.loop import LiveSettings
from workbench.training.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Inputs:
    """Model, data and places of one run.

    Attributes:
        model: The base; its own weights do not change.
        run_dir: Gets `checkpoints/step-000020/` and at the end `adapter/` (or the reward model).
        prompts: Training prompts that fit into the context together with an answer.
        watch: Prompts that are answered again and again through the run, to be read.
        reward: Scores whole answers.
        is_reward_new: Whether a run that goes on has another reward than before: what was measured
            of the old one's scores does not hold for it.
        judge: Held back: asked now and then, never learned from.
        preferences: Chosen over rejected answers.
        feedback: Answers that were called good or bad by themselves.
        answers: Answers to imitate, or to learn values from.
        ties: Pairs of answers of which neither was called better.
        rankings: Several answers in order.
        ratings: Answers with their ratings.
        start: Adapter folder that training starts from and that is its reference; None starts on
            the base.
        resume_from: A checkpoint of this run to go on from.
        live: Settings that may change while the run goes on.
        ranks: The processes that train together.
    """

    model: LoadedModel
    run_dir: Path
    prompts: Sequence[Prompt] = ()
    watch: Sequence[Prompt] = ()
    reward: RewardFunction | None = None
    is_reward_new: bool = False
    judge: Opinion | None = None
    preferences: Sequence[Preference] = ()
    feedback: Sequence[Feedback] = ()
    answers: Sequence[Answered] = ()
    ties: Sequence[Tie] = ()
    rankings: Sequence[RankedAnswers] = ()
    ratings: Sequence[Rated] = ()
    start: Path | None = None
    resume_from: Path | None = None
    live: LiveSettings = field(default_factory=LiveSettings)
    ranks: Ranks = field(default_factory=Ranks)

    def need_prompts(self) -> Sequence[Prompt]:
        """The prompts.

        Raises:
            UserError: There are none.
        """
        if not self.prompts:
            raise UserError(
                "There are no prompts to train on.", "Add prompts to the training split."
            )
        return self.prompts

    def need_reward(self) -> RewardFunction:
        """The reward.

        Raises:
            UserError: There is none.
        """
        if self.reward is None:
            raise UserError("This algorithm needs a reward.", "Train a reward model first.")
        return self.reward
