"""What a running action tells the world: frozen events, and the glossary of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["done", "stopped", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Started:
    """A job began; `total` steps are planned (0: unknown), counted in `unit`."""

    title: str
    total: int
    unit: str = "steps"
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Work inside a phase: `done` of `total` (0: unknown); `note` says what is being done."""

    done: int
    total: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion was generated and is stored under `completion_id`."""

    prompt_id: int
    completion_id: int


@dataclass(frozen=True, slots=True)
class Step:
    """One update of a run ended. Metric names are keys of `METRICS`."""

    step: int
    total: int
    metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of the current policy, with its reward and its KL in nats per answer.

    Attributes:
        step: Updates that were done.
        prompt_id: What it answers.
        text: Without special tokens.
        reward: Score of the whole answer.
        kl: Sum over its tokens of log π − log reference.
        n_tokens: End token included.
        is_finished: Whether it ended by itself.
        is_watched: An answer to a prompt that is asked again and again under the same luck; else
            one that the run learned from.
        tokens: Its tokens as they read, which together are the text; empty when not kept.
        figures: Numbers of each token, by names of `TOKEN_FIGURES`.
    """

    step: int
    prompt_id: int
    text: str
    reward: float
    kl: float
    n_tokens: int
    is_finished: bool
    is_watched: bool = False
    tokens: tuple[str, ...] = ()
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Figures measured on held-out data at `step`."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Saved:
    """Something was written completely: `kind` is checkpoint, adapter, reward_model or export."""

    step: int
    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Warned:
    """The action goes on, but the user should know."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Marked:
    """Something happened at a step that charts should mark: `kind` is labels, alarm or pause."""

    step: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """One of two answers of the policy to one prompt, with the seed of its luck."""

    text: str
    token_ids: tuple[int, ...]
    is_finished: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A run stops to be told which of its own answers are better: (prompt, first, second)."""

    step: int
    pairs: tuple[tuple[int, OwnAnswer, OwnAnswer], ...]


@dataclass(frozen=True, slots=True)
class Paused(Warned):
    """The action has paused itself and waits for whoever started it, who is told why."""


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """Why a job failed. `traceback` is empty for errors the user can act on."""

    message: str
    hint: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every job, always exactly one."""

    outcome: Outcome
    error: ErrorReport | None = None
    result: Mapping[str, object] = field(default_factory=dict)


Event = (
    Started
    | Progress
    | Answer
    | Step
    | Sample
    | Evaluated
    | Saved
    | Warned
    | Marked
    | Asked
    | Finished
)


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric means; `healthy` is the band drawn in its chart, when one is known."""

    title: str
    unit: str
    meaning: str
    healthy: tuple[float, float] | None = None


TOKEN_FIGURES: Mapping[str, Metric] = {
    "logp": Metric("Log-probability", "nats", "How likely the policy found the token."),
    "ref_logp": Metric("Log-probability, reference", "nats", "How likely the reference finds it."),
    "advantage": Metric(
        "Advantage", "", "How much better than expected; what the run learns from."
    ),
    "value": Metric("Value", "", "What the value head expected before the token."),
    "reward": Metric("Token reward", "", "What the token was paid, KL penalty included."),
}

METRICS: Mapping[str, Metric] = {
    "objective/scores": Metric(
        "Reward", "", "Mean score of the answers, before the KL penalty. Should rise and level off."
    ),
    "objective/rlhf_reward": Metric(
        "Reward with KL", "", "Score minus KL penalty: what PPO maximises."
    ),
    "objective/kl": Metric(
        "KL to reference",
        "nats",
        "How far the policy has moved from the base model, per answer. "
        "Rising slowly is learning; above 15 the text usually degrades; below 0 is a fault.",
        (0.0, 15.0),
    ),
    "objective/kl_coef": Metric("KL coefficient β", "", "Weight of the KL penalty in the reward."),
    "objective/entropy": Metric(
        "Entropy",
        "nats",
        "Mean uncertainty per token. A fall towards 0 means that the policy repeats one answer.",
        (0.3, 4.0),
    ),
    "judge/score": Metric(
        "Held-back judge",
        "",
        "What a judge that training does not see thinks of the answers. When it falls while the "
        "reward rises, the policy has found a hole in the reward.",
    ),
    "loss/policy": Metric(
        "Policy loss", "", "Clipped surrogate. It hovers round 0 and is not a measure of progress."
    ),
    "loss/value": Metric(
        "Value loss", "", "Squared error of the value head. Should fall, then stay low."
    ),
    "loss/sft": Metric(
        "Imitation loss",
        "nats",
        "How unlikely the answers are to the policy, per token. Falls; near 0 they are known by "
        "heart.",
    ),
    "loss/dpo": Metric(
        "DPO loss", "", "Loss of the pairs; 0.69 at the start for the sigmoid loss."
    ),
    "loss/kto": Metric("KTO loss", "", "Loss of the good and bad answers; 0.5 at the start."),
    "rewards/chosen": Metric(
        "Reward of good answers",
        "",
        "How much likelier chosen answers have become than under the reference, times β. It may "
        "fall below 0 while the margin grows.",
    ),
    "rewards/rejected": Metric(
        "Reward of bad answers",
        "",
        "The same for rejected answers. Should fall more than that of good ones.",
    ),
    "rewards/margins": Metric(
        "Reward margin", "", "Reward of good answers less that of bad ones. Should rise."
    ),
    "rewards/accuracies": Metric(
        "Pairs ordered right",
        "",
        "Share of pairs whose chosen answer has the higher reward; with KTO, of answers on the "
        "right side of the reference point.",
        (0.5, 1.0),
    ),
    "kto/reference_point": Metric(
        "Reference point",
        "nats",
        "How much likelier answers to other prompts have become: what good answers are measured "
        "against. Far above 0 the policy has moved as a whole.",
    ),
    "heldout/loss": Metric(
        "Held-out loss", "", "The loss on prompts that were kept apart. Rises when overfitting."
    ),
    "heldout/margins": Metric("Held-out margin", "", "Reward margin on prompts kept apart."),
    "heldout/accuracies": Metric(
        "Held-out accuracy", "", "Share ordered right on prompts kept apart.", (0.5, 1.0)
    ),
    "heldout/q_loss": Metric(
        "Held-out Q loss", "", "Q loss on prompts kept apart. A rise means too many epochs."
    ),
    "heldout/explained_variance": Metric(
        "Held-out explained variance",
        "",
        "Share of the variance of held-out returns that Q foresees. 0 is useless. ILQL's Q aims "
        "above the mean on purpose, so it may be lower than SARSA's.",
        (0.0, 1.0),
    ),
    "loss/q": Metric("Q loss", "", "Squared error of Q against reward and next value."),
    "loss/conservative": Metric(
        "Conservative loss",
        "nats",
        "How badly Q tells the answers' tokens from all others. Falls while the others sink.",
    ),
    "loss/imitation": Metric(
        "Imitation loss",
        "nats",
        "How unlikely the policy finds the answers' tokens, weighted by their advantage.",
    ),
    "loss/consistency": Metric(
        "Consistency loss",
        "",
        "Squared gap between values, reward and policy. 0 is the optimum for this β.",
    ),
    "values/q": Metric("Mean Q", "", "Mean value of the answers' tokens, in spreads of the score."),
    "values/v": Metric("Mean V", "", "Mean value of the states that the answers pass through."),
    "policy/approx_kl": Metric(
        "Step KL",
        "nats",
        "How far one update moved the policy. Above 0.1 the steps are too large.",
        (0.0, 0.1),
    ),
    "policy/clip_fraction": Metric(
        "Clip fraction",
        "",
        "Share of tokens whose step was clipped. Above 0.3: lower the learning rate.",
        (0.0, 0.3),
    ),
    "policy/first_ratio_error": Metric(
        "First ratio error",
        "",
        "Largest |log ratio| before the first step of an update; must be 0 up to rounding.",
        (0.0, 0.05),
    ),
    "policy/grad_norm": Metric("Gradient norm", "", "Norm of the policy gradient before clipping."),
    "value/grad_norm": Metric(
        "Value gradient norm", "", "Norm of the value head's own gradient before clipping."
    ),
    "value/explained_variance": Metric(
        "Explained variance",
        "",
        "Share of the returns' variance that the value head predicts. 1 is perfect, 0 is useless.",
        (-0.2, 1.0),
    ),
    "value/spread": Metric(
        "Spread of values",
        "",
        "Standard deviation of what the value head predicts over the batch. 0 after the first "
        "updates: it says the same of everything.",
    ),
    "value/clip_fraction": Metric(
        "Value clip fraction", "", "Share of tokens whose value step was clipped."
    ),
    "groups/score_spread": Metric(
        "Spread in groups",
        "",
        "Standard deviation of the scores of a prompt's answers, as a mean over prompts. At 0 "
        "there is nothing to learn from.",
    ),
    "groups/equal_share": Metric(
        "Equal groups",
        "",
        "Share of prompts whose answers all score the same and teach nothing. Above 0.5: other "
        "prompts, larger groups, or a higher temperature.",
        (0.0, 0.5),
    ),
    "rewards/tied": Metric(
        "Tied pairs", "", "Share of pairs whose answers score the same, which are left out."
    ),
    "completions/mean_length": Metric(
        "Answer length", "tokens", "Mean number of tokens per answer, end token included."
    ),
    "completions/eos_rate": Metric(
        "Ended by itself", "", "Share of answers that ended with a stop token.", (0.3, 1.0)
    ),
    "completions/repetition": Metric(
        "Repetition",
        "",
        "Share of the 4-token sequences of an answer that it contains already, mean over answers. "
        "Human text is below 0.05.",
        (0.0, 0.2),
    ),
    "best_of_n/score": Metric(
        "Score of the best", "", "Mean score of the best of n answers. Always rises with n."
    ),
    "best_of_n/win_rate": Metric(
        "Wins of the best",
        "",
        "How often the annotator finds the best of n better than a plain answer. 0.5 at n = 1; a "
        "fall at larger n means that the reward is over-optimised.",
    ),
    "best_of_n/utility": Metric(
        "Annotator's value of the best", "", "How much the annotator likes the best of n."
    ),
    "best_of_n/length": Metric("Length of the best", "tokens", "Mean length of the best of n."),
    "best_of_n/kl_bound": Metric(
        "KL of best of n",
        "nats",
        "How far choosing the best of n moves from the base at most, per answer.",
    ),
    "optim/lr": Metric("Learning rate", "", "Step size of the optimiser in this update."),
    "optim/steps": Metric("Optimiser steps", "", "Optimiser steps done in this update."),
    "time/generate": Metric("Generate", "s", "Seconds spent generating answers."),
    "time/score": Metric("Score", "s", "Seconds spent on reference, value and reward."),
    "time/optimise": Metric("Optimise", "s", "Seconds spent on gradient steps."),
    "reward/loss": Metric(
        "Loss",
        "nats",
        "Loss of what is learned from: pairs, ties, rankings, or ratings in units of their spread.",
    ),
    "reward/accuracy": Metric("Accuracy", "", "Share of training pairs that are ordered right."),
    "reward/margin": Metric("Margin", "", "Mean difference of chosen and rejected scores."),
    "reward/heldout_accuracy": Metric(
        "Held-out accuracy", "", "Share of held-out pairs ordered right. 0.5 is chance.", (0.6, 1.0)
    ),
    "reward/heldout_loss": Metric(
        "Held-out loss",
        "nats",
        "The loss on prompts that were kept apart, without margins and smoothing. Rises when "
        "overfitting.",
    ),
    "reward/heldout_spread": Metric(
        "Spread of the members",
        "",
        "Mean standard deviation of the members' scores of a held-out answer.",
    ),
    "reward/tie_parameter": Metric(
        "Tie parameter η", "", "Answers whose scores differ by less mostly count as equally good."
    ),
    "report/accuracy": Metric(
        "Accuracy in the report", "", "Share of the report's pairs that are ordered right."
    ),
    "report/ece": Metric(
        "Calibration error", "", "How far confidence and share of right pairs are apart on average."
    ),
    "report/temperature": Metric(
        "Temperature", "", "What margins would have to be divided by to be true. Above 1: too sure."
    ),
    "report/length_correlation": Metric(
        "Score and length", "", "Rank correlation of the score with the answer's length."
    ),
}
