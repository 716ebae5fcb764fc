"""Parts that are rules on the text: length, repetition, keywords, whether it ended."""

from __future__ import annotations

import re

from workbench.config.reward_parts.kinds import (
    BrevityPart,
    KeywordsPart,
    LengthTargetPart,
    RepetitionPart,
    StopTokenPart,
)
from workbench.rewards.parts.answers import LETTER, Rule, Said, length, words


def length_target(part: LengthTargetPart) -> Rule:
    """−(|n − target| − tolerance) / (target − tolerance), between −1 and 0."""
    span = max(part.target - part.tolerance, 1)

    def rule(said: Said) -> float:
        distance = abs(length(said, part.unit) - part.target)
        return -min(1.0, max(0, distance - part.tolerance) / span)

    return rule


def brevity(part: BrevityPart) -> Rule:
    """−n / longest, not below −1."""

    def rule(said: Said) -> float:
        return -min(1.0, length(said, part.unit) / part.longest)

    return rule


def repetition(part: RepetitionPart) -> Rule:
    """−(1 − different n-grams / n-grams), capital letters alike."""

    def rule(said: Said) -> float:
        said_words = words(said.text.casefold())
        runs = [tuple(said_words[i : i + part.n]) for i in range(len(said_words) - part.n + 1)]
        return len(set(runs)) / len(runs) - 1.0 if runs else 0.0

    return rule


def keywords(part: KeywordsPart) -> Rule:
    """Occurrences / enough, not above 1. Longer entries are found first and do not overlap."""
    flags = 0 if part.is_case_sensitive else re.IGNORECASE
    entries = sorted(part.word_list, key=len, reverse=True)
    found = re.compile("|".join(map(_bounded, entries)) or r"(?!)", flags)

    def rule(said: Said) -> float:
        return min(1.0, sum(1 for _ in found.finditer(said.text)) / part.enough)

    return rule


def _bounded(entry: str) -> str:
    """An entry as a pattern: whole words where words have bounds, anywhere in Chinese."""
    before = rf"(?<!{LETTER})" if re.match(LETTER, entry) else ""
    after = rf"(?!{LETTER})" if re.match(LETTER, entry[-1]) else ""
    return f"{before}{re.escape(entry)}{after}"


def stop_token(_part: StopTokenPart) -> Rule:
    """1 when it ended by itself."""
    return lambda said: float(said.is_ended)
