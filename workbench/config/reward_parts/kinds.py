"""The kinds of parts. A new one is a class here and its scorer in `rewards/parts/`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from workbench.config.judge import JudgeSettings
from workbench.config.reward_parts.part import PART, About, Part, from_list, lines
from workbench.config.spec import hyper

Unit = Literal["words", "characters", "tokens"]
Against = Literal["base", "written", "chosen"]
Lines = Annotated[str, BeforeValidator(from_list)]

_UNIT_HELP = "What is counted. A Chinese character is a word of its own."
_AGAINST_HELP = (
    "base takes a stored answer of the base model, written one that was edited or imported, "
    "chosen one that was chosen in a pair. A prompt without one counts as an average."
)


class RewardModelPart(Part):
    """The score of a reward run of this experiment."""

    about: ClassVar = About(
        "Reward model",
        "The score of a reward model, a probe or an ensemble that was trained or imported here.",
        needs=frozenset({"reward run"}),
    )
    kind: Literal["reward-model"] = "reward-model"
    run: int = hyper(
        0, "Reward run", "Number of the reward run that scores.", group=PART, ge=0, le=2**31 - 1
    )
    minus_std: float = hyper(
        0.0,
        "Minus spread",
        "Of an ensemble: mean less this many standard deviations of its members, so that answers "
        "about which they disagree earn less. Others have no spread.",
        symbol="k",
        group=PART,
        ge=0.0,
        le=10.0,
    )


class JudgePart(Part):
    """How likely an AI judge finds the answer better than a reference."""

    about: ClassVar = About(
        "AI judge",
        "Probability that an AI judge finds the answer better than a reference answer, as a mean "
        "of both orders. Slow: two questions for each answer.",
        low=0.0,
        high=1.0,
        needs=frozenset({"judge", "references"}),
        is_by_token=False,
    )
    kind: Literal["ai-judge"] = "ai-judge"
    against: Against = hyper("base", "Reference", _AGAINST_HELP, group=PART)
    judge: JudgeSettings = JudgeSettings()


class LengthTargetPart(Part):
    """How near the length is to a target."""

    about: ClassVar = About(
        "Length target",
        "0 within the tolerance around the target, −1 at no length and at twice the target.",
        low=-1.0,
        high=0.0,
    )
    kind: Literal["length-target"] = "length-target"
    target: int = hyper(
        40, "Target", "The wanted length of an answer.", group=PART, ge=1, le=100_000
    )
    tolerance: int = hyper(
        5, "Tolerance", "So far from the target is as good as on it.", group=PART, ge=0, le=100_000
    )
    unit: Unit = hyper("words", "Counted in", _UNIT_HELP, group=PART)


class BrevityPart(Part):
    """The shorter the better."""

    about: ClassVar = About(
        "Brevity",
        "0 for an empty answer, falling evenly to −1 at the longest length and beyond.",
        low=-1.0,
        high=0.0,
    )
    kind: Literal["brevity"] = "brevity"
    longest: int = hyper(
        100, "Longest", "From this length on nothing more is lost.", group=PART, ge=1, le=100_000
    )
    unit: Unit = hyper("words", "Counted in", _UNIT_HELP, group=PART)


class RepetitionPart(Part):
    """How much of the answer was said before."""

    about: ClassVar = About(
        "Repetition",
        "Minus the share of runs of n words that the answer has said before: 0 when nothing "
        "repeats.",
        low=-1.0,
        high=0.0,
    )
    kind: Literal["repetition"] = "repetition"
    n: int = hyper(
        3,
        "Words in a row",
        "How many words together count as one. A Chinese character is a word of its own.",
        symbol="n",
        group=PART,
        ge=1,
        le=20,
    )


class KeywordsPart(Part):
    """How often words of a list occur."""

    about: ClassVar = About(
        "Keywords",
        "How often words of your list occur, up to a number that counts as 1. With a weight below "
        "0: words to avoid.",
        low=0.0,
        high=1.0,
    )
    kind: Literal["keywords"] = "keywords"
    words: Lines = hyper("", "Words", "One word or phrase per line, in any language.", group=PART)
    enough: int = hyper(
        1, "Enough", "So many occurrences give 1; more give no more.", group=PART, ge=1, le=1000
    )
    is_case_sensitive: bool = hyper(
        False, "Match case", "Tell capital letters from small ones.", group=PART
    )

    @property
    def word_list(self) -> list[str]:
        """Its entries."""
        return lines(self.words)


class StopTokenPart(Part):
    """Whether the answer ended by itself."""

    about: ClassVar = About(
        "Ended",
        "1 for an answer that ended by itself, 0 for one that was cut at the answer length.",
        low=0.0,
        high=1.0,
    )
    kind: Literal["stop-token"] = "stop-token"


AnyPart = Annotated[
    RewardModelPart
    | JudgePart
    | LengthTargetPart
    | BrevityPart
    | RepetitionPart
    | KeywordsPart
    | StopTokenPart,
    Field(discriminator="kind"),
]
