"""The kinds of parts. A new one is a class here and its scorer in `rewards/parts/`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from workbench.config.judge import JudgeSettings
from workbench.config.reward_parts import patterns
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


class LanguagePart(Part):
    """Whether the answer is in the wanted language."""

    about: ClassVar = About(
        "Language",
        "How much of the answer is in the wanted language, by its letters and its commonest "
        "words. It tells these five from one another; a related language may pass for one of "
        "them, and an answer without any common word counts half.",
        low=0.0,
        high=1.0,
        languages="English, Chinese, German, French, Spanish",
    )
    kind: Literal["language"] = "language"
    language: Literal["en", "zh", "de", "fr", "es"] = hyper(
        "en", "Language", "The wanted one: en, zh, de, fr or es.", group=PART
    )


class RegexPart(Part):
    """Whether a pattern is found."""

    about: ClassVar = About(
        "Pattern",
        "1 when a regular expression is found in the answer, else 0. One that takes too long on "
        "some texts is refused.",
        low=0.0,
        high=1.0,
    )
    kind: Literal["regex"] = "regex"
    pattern: str = hyper("", "Pattern", "A regular expression, as Python writes them.", group=PART)
    found: Literal["anywhere", "whole"] = hyper(
        "anywhere", "Found", "Anywhere in the answer, or as the whole answer.", group=PART
    )
    is_case_sensitive: bool = hyper(
        True, "Match case", "Tell capital letters from small ones.", group=PART
    )

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        patterns.compiled(pattern)
        return pattern


class SentimentPart(Part):
    """How positive the words are."""

    about: ClassVar = About(
        "Sentiment",
        "VADER's compound score: −1 is as negative as words can be, 1 as positive.",
        low=-1.0,
        high=1.0,
        languages="English",
    )
    kind: Literal["sentiment"] = "sentiment"


class ReadabilityPart(Part):
    """How easy the answer is to read."""

    about: ClassVar = About(
        "Readability",
        "Flesch reading ease / 100, cut to 0 and 1 (1: very easy); syllables are counted by the "
        "English rule, as groups of vowels without a silent e. A mostly Chinese answer: 1 for "
        "sentences of up to 15 characters on average, falling to 0 at 60.",
        low=0.0,
        high=1.0,
        languages="English, Chinese",
    )
    kind: Literal["readability"] = "readability"


class JsonPart(Part):
    """Whether the answer is JSON."""

    about: ClassVar = About(
        "Valid JSON",
        "1 when the answer is JSON of the wanted form, else 0; with keys: the share of them that "
        "the object has.",
        low=0.0,
        high=1.0,
    )
    kind: Literal["format-json"] = "format-json"
    wanted: Literal["any", "object", "list"] = hyper(
        "object", "Form", "An object, a list, or anything that is JSON.", group=PART
    )
    keys: Lines = hyper(
        "", "Keys", "Keys that the object must have, one per line; none is fine.", group=PART
    )
    is_fence_allowed: bool = hyper(
        True, "Allow a code fence", "Accept JSON between lines of ```.", group=PART
    )

    @property
    def key_list(self) -> list[str]:
        """The keys."""
        return lines(self.keys)


class SimilarityPart(Part):
    """How much the answer is like a reference answer."""

    about: ClassVar = About(
        "Similarity",
        "How much the answer is like a reference answer, from 0 to 1. Words of Chinese are its "
        "characters.",
        low=0.0,
        high=1.0,
        needs=frozenset({"references"}),
        is_by_token=False,
    )
    kind: Literal["similarity"] = "similarity"
    measure: Literal["rouge-l", "bleu", "chrf"] = hyper(
        "rouge-l",
        "Measure",
        "rouge-l: longest common sequence of words (F1); bleu: runs of 1 to 4 words, smoothed; "
        "chrf: runs of 1 to 6 characters (F2).",
        group=PART,
    )
    against: Against = hyper("written", "Reference", _AGAINST_HELP, group=PART)


class PerplexityPart(Part):
    """How likely the base finds the answer."""

    about: ClassVar = About(
        "Likelihood",
        "Mean log-probability of the answer's tokens under the base without any adapter: minus "
        "the logarithm of the perplexity.",
        high=0.0,
        unit="nats per token",
    )
    kind: Literal["perplexity"] = "perplexity"


class FunctionPart(Part):
    """What a Python function of the user gives."""

    about: ClassVar = About(
        "Python function",
        "A number from a function in a Python file of yours: def reward(prompt, answer), both "
        "texts. It runs in a process of its own.",
        needs=frozenset({"file"}),
        is_by_token=False,
        warning="The file is run as a program of yours, with all your rights: it can read, change "
        "and send whatever you can. Allow only what you wrote or have read. The permission holds "
        "for exactly this content, on this machine, and ends when the file changes.",
    )
    kind: Literal["python-function"] = "python-function"
    file: str = hyper("", "File", "Path of the Python file.", group=PART)
    function: str = hyper("reward", "Function", "Its name in the file.", group=PART)
    timeout: float = hyper(
        5.0,
        "Time limit",
        "One answer may take so long; beyond it the function is ended, and the run with it.",
        unit="s",
        group=PART,
        ge=0.05,
        le=3600.0,
    )


AnyPart = Annotated[
    RewardModelPart
    | JudgePart
    | LengthTargetPart
    | BrevityPart
    | RepetitionPart
    | LanguagePart
    | KeywordsPart
    | RegexPart
    | SentimentPart
    | ReadabilityPart
    | JsonPart
    | StopTokenPart
    | SimilarityPart
    | PerplexityPart
    | FunctionPart,
    Field(discriminator="kind"),
]
