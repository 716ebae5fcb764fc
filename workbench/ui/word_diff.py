"""Where two answers differ, by words; by characters in scripts that write no spaces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

Spans = list[tuple[int, int]]
"""Half-open character ranges of a text, in order, not touching."""

LARGEST_PRODUCT = 4_000_000
"""Words of one answer times words of the other, above which no difference is looked for.

SequenceMatcher is quadratic; 2,000 by 2,000 words take about a second on a slow core.
"""

_QUICK_LENGTH = 3000
# Han, kana and Hangul stand for themselves: a run of them is a sentence, not a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*|[^\w\s]")


def differences(first: str, second: str) -> tuple[Spans, Spans] | None:
    """The ranges of each text that the other one lacks; None when the texts are too long.

    Space is not compared. A single word that both share between two changed stretches counts
    as changed: phrases are read more easily than scattered words.
    """
    left, right = _tokens(first), _tokens(second)
    if len(left) * len(right) > LARGEST_PRODUCT:
        return None
    # autojunk would throw away the commonest words of answers above 200 words.
    matcher = SequenceMatcher(
        None, [first[a:b] for a, b in left], [second[a:b] for a, b in right], autojunk=False
    )
    left_changed, right_changed = [True] * len(left), [True] * len(right)
    for block in _kept(matcher.get_matching_blocks(), len(left), len(right)):
        i, j, size = block
        left_changed[i : i + size] = [False] * size
        right_changed[j : j + size] = [False] * size
    return _spans(left, left_changed), _spans(right, right_changed)


def is_quick(first: str, second: str) -> bool:
    """Whether the differences are found while nobody notices: 0.1 s on a slow core."""
    return len(first) + len(second) <= _QUICK_LENGTH


def _tokens(text: str) -> Spans:
    return [found.span() for found in _TOKEN.finditer(text)]


def _kept(blocks: Sequence[tuple[int, int, int]], n: int, m: int) -> list[tuple[int, int, int]]:
    """Matching blocks without islands of one word that both texts change around."""
    kept = []
    end_left = end_right = 0
    real = [block for block in blocks if block[2]]
    for position, (i, j, size) in enumerate(real):
        after_left, after_right = real[position + 1][:2] if position + 1 < len(real) else (n, m)
        is_island = (
            size == 1
            and i > end_left
            and j > end_right
            and after_left > i + size
            and after_right > j + size
        )
        if not is_island:
            kept.append((i, j, size))
        end_left, end_right = i + size, j + size
    return kept


def _spans(tokens: Spans, is_changed: Sequence[bool]) -> Spans:
    """Character ranges of the changed tokens; neighbours are joined over the space between."""
    spans: Spans = []
    was_changed = False
    for (start, end), changed in zip(tokens, is_changed, strict=True):
        if changed and was_changed:
            spans[-1] = (spans[-1][0], end)
        elif changed:
            spans.append((start, end))
        was_changed = changed
    return spans
