"""What a report on labels consists of: figures with their intervals, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Literal, NamedTuple

from workbench.data.records import AnnotatorKind, Verdict
from workbench.objectives.agreement import Estimate

State = Literal["ok", "info", "warn", "bad"]
OUTCOMES: dict[Verdict, int] = {"first": 0, "second": 1, "tie": 2, "both_bad": 2}
"""Categories of agreement: the first is better, the second, neither. A skip says nothing."""
LISTED = 1000
"""At most so many pairs are listed one by one."""
FEW = 10
"""Below this number of cases a figure is shown, and nothing is concluded from it."""


class Voice(NamedTuple):
    """How sentences speak of the annotator, at their beginning and within: "You", "you"."""

    subject: str
    within: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure and what it means.

    Attributes:
        key: Its name in files.
        title: Its name in plots, a noun.
        state: What to make of it.
        sentence: All of it in words.
        figure: The share with its interval, or the number itself.
        kappa: The same agreement, corrected for chance.
        reference: The share that stands for no effect; None where there is none.
    """

    key: str
    title: str
    state: State
    sentence: str
    figure: Estimate
    kappa: Estimate | None = None
    reference: float | None = None


@dataclass(frozen=True, slots=True)
class FastLabel:
    """A judgement that came faster than both answers can be read."""

    judgement_id: int
    comparison_id: int
    prompt_id: int
    seconds: float
    n_words: float
    prompt: str = ""

    @property
    def words_per_second(self) -> float:
        """How fast it would have to be read."""
        return self.n_words / self.seconds


@dataclass(frozen=True, slots=True)
class Tenth:
    """One of ten stretches of an annotator's judgements, in order of time.

    Attributes:
        first: Number of its first judgement, from 1.
        last: Number of its last.
        began_at: When it began.
        seconds: Median time of a judgement; NaN where none was timed.
        shares: Share with interval of: "side" (the first answer, of the decided ones), "longer"
            (the longer answer, of those of unequal length), "neither" (ties and both bad),
            "again" (hidden repeats answered alike).
    """

    first: int
    last: int
    began_at: str
    seconds: float
    shares: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """How far two annotators agree on the pairs that both judged."""

    first: str
    second: str
    share: Estimate
    kappa: Estimate
    sentence: str


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A pair of answers on which annotators differ; `is_opposite`: each answer was chosen."""

    comparison_id: int
    prompt: str
    said: tuple[tuple[str, Verdict], ...]
    is_opposite: bool


@dataclass(frozen=True, slots=True)
class QualityReport:
    """What is known of an annotator's labels, and of how far all annotators agree.

    Attributes:
        annotator: Whose labels `findings`, `too_fast` and `tenths` are about.
        voice: How sentences speak of them.
        annotators: Everybody with a standing label, and what they are.
        n_judged: Labels of the annotator, without skips.
        n_decided: Those that prefer an answer.
        n_skipped: Skipped pairs.
        findings: Figures with sentences; empty without labels.
        too_fast: Judgements to look at again, the fastest reading first; the first thousand.
        n_too_fast: How many there are.
        tenths: The labels over time; empty when there are too few.
        between: Agreement of each two annotators, most common pairs first.
        alphas: Krippendorff's alpha of all annotators, of verdicts and of ratings.
        disagreements: Pairs to settle, opposite choices first; the first thousand.
        n_disagreements: How many there are.
    """

    annotator: str
    voice: Voice
    annotators: Mapping[str, AnnotatorKind]
    n_judged: int
    n_decided: int
    n_skipped: int
    findings: tuple[Finding, ...]
    too_fast: tuple[FastLabel, ...]
    n_too_fast: int
    tenths: tuple[Tenth, ...]
    between: tuple[PairAgreement, ...]
    alphas: tuple[Finding, ...]
    disagreements: tuple[Disagreement, ...]
    n_disagreements: int

    def finding(self, key: str) -> Finding | None:
        """The finding of a name, when it was made."""
        return next((f for f in (*self.findings, *self.alphas) if f.key == key), None)

    def verdict(self) -> tuple[State, str]:
        """The gravest finding in its own words, or that nothing was found."""
        every = (*self.findings, *self.alphas)
        for state in ("bad", "warn"):
            for finding in every:
                if finding.state == state:
                    return finding.state, finding.sentence
        if not every:
            return "info", "Nothing was judged yet."
        if any(f.key in ("again", "alpha") and f.state == "ok" for f in every):
            return "ok", "Nothing here speaks against these labels."
        return "info", "Nothing here speaks against these labels, but how far they hold is open."

    def to_dict(self) -> dict[str, object]:
        """For JSON, with every figure's parts by their names."""
        state, sentence = self.verdict()
        values = {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.name != "voice"}
        return {**values, "verdict": {"state": state, "sentence": sentence}}


def plain(value: object) -> object:
    """Records as JSON has them: named values, lists, numbers and texts."""
    if isinstance(value, Estimate):
        return value._asdict()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def percent(share: float) -> str:
    """A share in words: "61 %"."""
    return f"{100 * share:.0f} %"


def interval(figure: Estimate) -> str:
    """The interval of a share in words: "95 % interval 50 to 71 %"."""
    return f"95 % interval {100 * figure.low:.0f} to {100 * figure.high:.0f} %"


def kappa_words(kappa: Estimate) -> str:
    """Kappa in words, or why there is none."""
    if not kappa.is_defined:
        return "kappa is not defined, because all answers were the same"
    bounds = f"{kappa.low:.2f} to {kappa.high:.2f}".replace("-", "−")
    return f"kappa {kappa.value:.2f} [{bounds}]".replace("-", "−")


def counted(n: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"1 {one}" if n == 1 else f"{n} {many}"
