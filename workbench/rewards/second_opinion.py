"""A judge that is held back from training: does the rise of the reward mean anything?

Who learns from a judge finds its holes (Gao et al. 2023, arXiv:2210.10760, tell a proxy from the
gold reward); one that is only asked now and then is not learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from workbench.data.records import Message
from workbench.rewards.annotator import SimulatedAnnotator
from workbench.rewards.base import Scorer
from workbench.rewards.judge_question import Judge, win_probabilities

Prompts = Sequence[Sequence[Message]]


class Opinion(Protocol):
    """What the judge thinks of answers; `is_relative` when it compares them with others."""

    is_relative: bool

    def of(
        self, prompts: Prompts, texts: Sequence[str], references: Sequence[str]
    ) -> Sequence[float | None]:
        """One opinion per answer, higher is better; None where it has none.

        Args:
            prompts: Of the answers.
            texts: The answers.
            references: Answers of the reference to the same prompts, for a relative judge; else
                none.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class ScorerOpinion:
    """Another reward, such as a model that was trained with another seed."""

    is_relative = False

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def of(
        self, prompts: Prompts, texts: Sequence[str], _references: Sequence[str]
    ) -> Sequence[float | None]:
        """Its scores."""
        return self._scorer.score_texts(prompts, texts)

    def close(self) -> None:
        """Take it off the base."""
        self._scorer.close()


class AnnotatorOpinion:
    """The simulated annotator's utility, which has no noise."""

    is_relative = False

    def __init__(self, annotator: SimulatedAnnotator) -> None:
        self._annotator = annotator

    def of(
        self, _prompts: Prompts, texts: Sequence[str], _references: Sequence[str]
    ) -> Sequence[float | None]:
        """How much it likes the answers."""
        return [self._annotator.utility(text) for text in texts]

    def close(self) -> None:
        """Nothing is held."""


class JudgeOpinion:
    """An AI judge: how likely the answer is better than one of the reference."""

    is_relative = True

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def of(
        self, prompts: Prompts, texts: Sequence[str], references: Sequence[str]
    ) -> Sequence[float | None]:
        """Win probabilities, as a mean of both orders."""
        return win_probabilities(self._judge, prompts, texts, references)

    def close(self) -> None:
        """Close the judge."""
        self._judge.close()
