"""What can be said of texts by counting: variety, repetition, nearness to references. No torch.

A text is counted in units: words in lower case, and single characters of scripts that put no
spaces between words (Chinese, Japanese). ROUGE's own program knows English only and would see
nothing in a Chinese text.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from workbench.objectives.intervals import Array

Units = Sequence[str]
MAX_ORDER = 4  # of BLEU (Papineni et al. 2002)
_CHARACTER = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_UNIT = re.compile(f"[{_CHARACTER}]|(?:(?![{_CHARACTER}])\\w)+")


def units(text: str) -> list[str]:
    """Words and characters of a text; punctuation is left out."""
    return _UNIT.findall(text.lower())


def ngrams(text: Units, n: int) -> list[tuple[str, ...]]:
    """All runs of `n` units, in order."""
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def distinct(texts: Sequence[Units], n: int) -> float:
    """Different n-grams over all n-grams of the texts together; NaN when there are none.

    Falls as there are more or longer texts: only like amounts can be compared.
    Source: Li et al. 2016 (arXiv:1510.03055), section 5.3.
    """
    found = [gram for text in texts for gram in ngrams(text, n)]
    return len(set(found)) / len(found) if found else math.nan


def distinct_without(
    texts: Sequence[Units], groups: Sequence[Hashable], n: int
) -> tuple[float, Array]:  # (G,)
    """`distinct` of all texts, and of all but each group of them in turn, for a jackknife."""
    by_group: dict[Hashable, Counter[tuple[str, ...]]] = {}
    for text, group in zip(texts, groups, strict=True):
        by_group.setdefault(group, Counter()).update(ngrams(text, n))
    n_groups = Counter(gram for counts in by_group.values() for gram in counts)
    total = sum(counts.total() for counts in by_group.values())
    left_out = [
        _share(len(n_groups) - sum(n_groups[gram] == 1 for gram in counts), total - counts.total())
        for counts in by_group.values()
    ]
    return _share(len(n_groups), total), np.asarray(left_out, dtype=np.float64)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def repetition(text: Units, n: int = 4) -> float:
    """Share of the n-grams that stood in the text before; 0 when it is too short to have any.

    Source: Welleck et al. 2020 (arXiv:1908.04319), "seq-rep-n".
    """
    found = ngrams(text, n)
    return (len(found) - len(set(found))) / len(found) if found else 0.0


def self_bleu(texts: Sequence[Units]) -> list[float]:
    """BLEU of each text with all others as its references, from 0 to 1: high where they are alike.

    BLEU-4 as sacreBLEU computes it for one sentence: of the orders that the text has, each
    without a match counted as 1/2, 1/4, … of a match (Chen & Cherry 2014, method 3).

    Source: Zhu et al. 2018 (arXiv:1802.01886), section 3.2.
    """
    if len(texts) < 2:
        return [math.nan] * len(texts)
    counts = [[Counter(ngrams(text, n)) for text in texts] for n in range(1, MAX_ORDER + 1)]
    tops = [_two_largest(of_order) for of_order in counts]
    scores = []
    for i, text in enumerate(texts):
        correct = [
            sum(min(count, _largest_elsewhere(top[gram], i)) for gram, count in of_order[i].items())
            for of_order, top in zip(counts, tops, strict=True)
        ]
        nearest = min(
            (len(other) for k, other in enumerate(texts) if k != i),
            key=lambda length: (abs(length - len(text)), length),
        )
        scores.append(_bleu(correct, len(text), nearest))
    return scores


_Top = tuple[int, int, int]  # the largest count, which text has it, the second largest


def _two_largest(counts: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], _Top]:
    tops: dict[tuple[str, ...], _Top] = {}
    for i, of_text in enumerate(counts):
        for gram, count in of_text.items():
            first, holder, second = tops.get(gram, (0, -1, 0))
            if count > first:
                tops[gram] = (count, i, first)
            else:
                tops[gram] = (first, holder, max(second, count))
    return tops


def _largest_elsewhere(top: _Top, i: int) -> int:
    first, holder, second = top
    return second if holder == i else first


def _bleu(correct: Sequence[int], length: int, reference_length: int) -> float:
    if not any(correct):
        return 0.0
    logs, smooth = [], 1.0
    for n, right in enumerate(correct, 1):
        total = length - n + 1
        if total <= 0:
            break
        if not right:
            smooth *= 2.0
        logs.append(math.log((right or 1.0 / smooth) / total))
    brevity = min(1.0, math.exp(1.0 - reference_length / length))
    return brevity * math.exp(sum(logs) / len(logs))


def rouge_n(text: Units, reference: Units, n: int) -> float:
    """F1 of the n-grams that text and reference have in common, each as often as in both.

    Source: Lin 2004 (ROUGE), section 2, as F1 with α = 0.5; without stemming.
    """
    ours, theirs = Counter(ngrams(text, n)), Counter(ngrams(reference, n))
    return _f1((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(text: Units, reference: Units) -> float:
    """F1 of the longest common subsequence of text and reference.

    Source: Lin 2004 (ROUGE), section 3.1, over the whole text, with β = 1.
    """
    return _f1(_common_subsequence(text, reference), len(text), len(reference))


def _f1(common: int, ours: int, theirs: int) -> float:
    return 2.0 * common / (ours + theirs) if common else 0.0


def _common_subsequence(text: Units, reference: Units) -> int:
    """Length of the longest common subsequence, a row of the table in one integer.

    Source: Hyyrö 2004, "Bit-parallel LCS-length computation revisited".
    """
    where: dict[str, int] = {}
    for i, unit in enumerate(reference):
        where[unit] = where.get(unit, 0) | 1 << i
    full = (1 << len(reference)) - 1
    row = full
    for unit in text:
        matches = row & where.get(unit, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(reference) - row.bit_count()


def perplexity(mean_logps: Array) -> Array:
    """exp(−Σ log p / N), of Σ log p / N over all N tokens: long texts count more than short ones.

    Infinity where it is too large for a number.
    """
    with np.errstate(over="ignore"):
        return np.exp(-mean_logps)
