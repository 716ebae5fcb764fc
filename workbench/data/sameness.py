"""Answers that say the same: equal but for case and spaces, or in nearly all of their letters.

Which two texts to compare is known (a pair's answers), so the overlap is computed exactly; there
is nothing to look up by hashes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Set

_LETTERS = 3
"""Triples: long enough to tell words apart, and they suit Chinese, where a letter is a word."""


def normalised(text: str) -> str:
    """One form for full-width and half-width, upper and lower case, and any white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def triples(text: str) -> frozenset[str]:
    """All runs of three letters in a normalised text; a shorter text is its own only one."""
    return frozenset(text[i : i + _LETTERS] for i in range(max(1, len(text) - _LETTERS + 1)))


def are_alike(first: Set[str], second: Set[str], threshold: float) -> bool:
    """Whether two sets of triples have a Jaccard index |A ∩ B| / |A ∪ B| of `threshold` or more.

    Broder 1997, "On the resemblance and containment of documents".
    """
    small, large = sorted((len(first), len(second)))
    if small < threshold * large:  # not even as a subset
        return False
    shared = len(first & second)
    return shared >= threshold * (small + large - shared)
