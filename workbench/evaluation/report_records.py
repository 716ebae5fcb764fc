"""What a report card on a reward consists of. No torch, so that it can be read anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.data.records import Preference

State = Literal["ok", "info", "warn", "bad"]
Level = Literal["not yet", "usable with care", "good"]
SliceKind = Literal["all", "group", "tag", "strength", "length"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair that a reward is held against; `is_first`: the chosen answer stood first."""

    preference: Preference
    is_first: bool | None = None
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of `n` cases with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Accuracy on some of the pairs; `name` is a tag, a group or one of the fixed ones."""

    kind: SliceKind
    name: str
    accuracy: Figure


@dataclass(frozen=True, slots=True)
class Baseline:
    """What orders the same pairs without the reward.

    Attributes:
        key: random, length, repetition, position, logp or probe.
        name: What wins, in words.
        accuracy: Its share of right pairs.
        gain: Accuracy of the reward less that of the baseline, on the same pairs.
    """

    key: str
    name: str
    accuracy: Figure
    gain: Figure


@dataclass(frozen=True, slots=True)
class Confidence:
    """Pairs of which the reward is about equally sure, and how many of them are right."""

    predicted: float
    right: Figure


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether margins mean what they say.

    Attributes:
        bins: The reliability curve.
        error: Expected calibration error.
        error_by_chance: What so many pairs would show of a calibrated reward.
        temperature: What margins would have to be divided by.
        mean_confidence: How often the reward thinks that it is right.
    """

    bins: tuple[Confidence, ...]
    error: Figure
    error_by_chance: float
    temperature: Figure
    mean_confidence: float


@dataclass(frozen=True, slots=True)
class LengthEffect:
    """How much of the score is length.

    Attributes:
        correlation: Spearman's, of score and number of characters; None where one is constant.
        picks_longer: How often the reward prefers the longer answer.
        labels_longer: How often the labels do.
        same_as_length: Share of the pairs of unequal length that length alone, in its better
            direction, orders as the reward does.
    """

    correlation: Figure | None
    picks_longer: Figure
    labels_longer: Figure
    same_as_length: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Accuracy of the probe after so many labels."""

    n: int
    accuracy: Figure


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """How a light probe on the base's states learns from the same labels.

    Attributes:
        points: Accuracy on the same held-out pairs, mean of several draws of the labels.
        n_more: So many more labels …
        gain: … are expected to add this much accuracy.
        limit: Where the fitted curve a − b/√n ends.
    """

    points: tuple[CurvePoint, ...]
    n_more: int
    gain: Figure
    limit: float


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """How often reward and AI judge choose the same side, and how often judge and labels do."""

    judge: str
    with_reward: Figure
    with_labels: Figure


@dataclass(frozen=True, slots=True)
class WrongPair:
    """A pair that the reward gets wrong, or of which it gives no number."""

    comparison_id: int
    prompt: str
    chosen: str
    rejected: str
    margin: float | None


@dataclass(frozen=True, slots=True)
class Edit:
    """What a harmless edit of one answer does.

    Attributes:
        key: trailing space, final punctuation or polite opening.
        change: Mean change of the score, either way, in standard deviations of the scores.
        flips: Share of the pairs that come out the other way round.
    """

    key: str
    change: float
    flips: Figure


@dataclass(frozen=True, slots=True)
class Unfamiliar:
    """How many policy answers lie far from the labelled ones.

    Attributes:
        source: Whose answers.
        share: Farther away than 95 % of the held-out labelled answers.
        n_neighbours: The distance is that to the neighbour of this rank.
        threshold: That distance, in standard deviations of the features.
    """

    source: str
    share: Figure
    n_neighbours: int
    threshold: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the members of a reward ensemble are apart, as a mean over answers."""

    labelled: float
    policy: float | None


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule of the verdict, how it came out, and what to do about it."""

    key: str
    state: State
    sentence: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures of a reward on some pairs; None where a thing could not be measured."""

    n_pairs: int
    n_prompts: int
    has_seen: bool
    accuracy: Figure | None
    slices: tuple[Slice, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    calibration: Calibration | None = None
    length: LengthEffect | None = None
    curve: LearningCurve | None = None
    judges: tuple[JudgeAgreement, ...] = ()
    again: Figure | None = None
    ceiling: Figure | None = None
    worst: tuple[WrongPair, ...] = ()
    n_wrong: int = 0
    unscored: tuple[WrongPair, ...] = ()
    n_unscored: int = 0
    edits: tuple[Edit, ...] = ()
    unfamiliar: Unfamiliar | None = None
    spread: Spread | None = None

    def baseline(self, key: str) -> Baseline | None:
        """The baseline of a key, when it was measured."""
        return next((b for b in self.baselines if b.key == key), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the reward can be used, with all reasons, the gravest first."""

    level: Level
    sentence: str
    reasons: tuple[Reason, ...]

    @property
    def state(self) -> State:
        """As an icon shows it."""
        states: dict[Level, State] = {"not yet": "bad", "usable with care": "warn", "good": "ok"}
        return states[self.level]


@dataclass(frozen=True, slots=True)
class ReportCard:
    """A report as it is kept beside the run.

    Attributes:
        run_id: The reward run.
        run_name: Its name.
        version: Of the program that made it.
        created_at: When.
        labels_digest: Of all labels of the experiment then.
        n_labels: How many they were.
        pairs: Which pairs were taken, in a sentence.
        notes: What could not be measured, and why.
        measured: The figures.
        verdict: What follows.
        settings: What it was made with.
    """

    run_id: int
    run_name: str
    version: str
    created_at: str
    labels_digest: str
    n_labels: int
    pairs: str
    notes: tuple[str, ...]
    measured: Measured
    verdict: Verdict
    settings: dict[str, float | int]
