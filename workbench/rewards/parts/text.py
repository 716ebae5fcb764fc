"""Parts that read the text: patterns, sentiment, readability, JSON."""

from __future__ import annotations

import json
import re

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from workbench.config.reward_parts import patterns
from workbench.config.reward_parts.kinds import (
    JsonPart,
    ReadabilityPart,
    RegexPart,
    SentimentPart,
)
from workbench.errors import UserError
from workbench.rewards.parts.answers import LETTER, Rule, Said, words

_SENTENCE = re.compile(r"[^.!?。！？\n]*[^\s.!?。！？][^.!?。！？\n]*")
_VOWELS = re.compile(r"[aeiouy]+")
_FENCE = re.compile(r"\A```[\w-]*\n(.*?)\n?```\Z", re.DOTALL)
_EASY, _HARD = 15, 60  # Chinese characters in a sentence


def pattern(part: RegexPart) -> Rule:
    """1 where it is found."""
    wanted = patterns.compiled(part.pattern, is_case_sensitive=part.is_case_sensitive)
    find = wanted.fullmatch if part.found == "whole" else wanted.search

    def rule(said: Said) -> float:
        try:
            return float(find(said.text, timeout=patterns.LIMIT_S) is not None)
        except TimeoutError:
            raise UserError(
                f"its pattern took longer than {patterns.LIMIT_S:g} s on one answer.",
                "Write the pattern without repeats inside repeats.",
            ) from None

    return rule


def sentiment(_part: SentimentPart) -> Rule:
    """VADER's compound score (Hutto & Gilbert 2014)."""
    analyzer = SentimentIntensityAnalyzer()
    return lambda said: float(analyzer.polarity_scores(said.text)["compound"])


def readability(_part: ReadabilityPart) -> Rule:
    """(206.835 − 1.015 words/sentences − 84.6 syllables/words) / 100, cut to [0, 1].

    Flesch 1948. Chinese has no such formula: there the mean length of sentences counts.
    """

    def rule(said: Said) -> float:
        said_words = words(said.text)
        if not said_words:
            return 0.0
        n_sentences = max(1, len(_SENTENCE.findall(said.text)))
        n_chinese = sum(not re.match(LETTER, word) for word in said_words)
        if 2 * n_chinese > len(said_words):
            value = (_HARD - len(said_words) / n_sentences) / (_HARD - _EASY)
        else:
            n_syllables = sum(map(syllables, said_words))
            per_sentence = len(said_words) / n_sentences
            flesch = 206.835 - 1.015 * per_sentence - 84.6 * n_syllables / len(said_words)
            value = flesch / 100
        return min(1.0, max(0.0, value))

    return rule


def syllables(word: str) -> int:
    """Groups of vowels, without an e at the end that is not heard; one at least."""
    word = word.lower()
    n = len(_VOWELS.findall(word))
    is_silent = word.endswith("e") and not word.endswith(("le", "ee", "ie", "oe", "ue", "ye"))
    return max(1, n - is_silent)


def valid_json(part: JsonPart) -> Rule:
    """1 for JSON of the wanted form; with keys, the share of them that it has."""
    kinds = {"object": dict, "list": list, "any": object}

    def rule(said: Said) -> float:
        text = said.text.strip()
        fenced = _FENCE.match(text) if part.is_fence_allowed else None
        try:
            value = json.loads(fenced[1] if fenced else text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            return 0.0
        if not isinstance(value, kinds[part.wanted]):
            return 0.0
        keys = part.key_list
        if not keys:
            return 1.0
        return sum(key in value for key in keys) / len(keys) if isinstance(value, dict) else 0.0

    return rule


def _no_number(name: str) -> float:
    """NaN and infinities, which Python reads and JSON does not have.

    Raises:
        ValueError: Always.
    """
    raise ValueError(name)
