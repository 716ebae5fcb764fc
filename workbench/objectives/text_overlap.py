"""How much two texts have in common, from 0 to 1: BLEU, ROUGE-L, chrF. One pair at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

_BLEU_ORDER, _CHRF_ORDER, _CHRF_BETA = 4, 6, 2


def bleu(words: Sequence[str], reference: Sequence[str]) -> float:
    """exp(mean over orders n of ln pₙ) · min(1, exp(1 − r/c)), orders up to 4 that the answer has.

    pₙ is the share of the answer's n-grams that the reference has, each as often as there; the
    k-th pₙ that is 0 becomes 1 / (2ᵏ · number of n-grams). Papineni et al. 2002 with the third
    smoothing of Chen & Cherry 2014, as sacreBLEU's sentence score (effective order).
    """
    logs, n_zero = [], 0
    for n in range(1, _BLEU_ORDER + 1):
        found, wanted = _runs(words, n), _runs(reference, n)
        total = sum(found.values())
        if not total:
            break
        matches = float((found & wanted).total())
        if not matches:
            if n == 1:
                return 0.0
            n_zero += 1
            matches = 0.5**n_zero
        logs.append(math.log(matches / total))
    if not logs:
        return 0.0
    brevity = min(1.0, math.exp(1 - len(reference) / len(words)))
    return brevity * math.exp(math.fsum(logs) / len(logs))


def rouge_l(words: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest common subsequence (Lin 2004): 2·LCS / (words + words of the reference)."""
    before = [0] * (len(reference) + 1)
    for word in words:
        row = [0]
        for j, other in enumerate(reference):
            row.append(before[j] + 1 if word == other else max(row[j], before[j + 1]))
        before = row
    total = len(words) + len(reference)
    return 2 * before[-1] / total if total else 0.0


def chrf(text: str, reference: str) -> float:
    """F2 of precision and recall of character n-grams, each averaged over n = 1 to 6.

    White space does not count, and orders that one of the texts is too short for are left out
    (Popović 2015; sacreBLEU's chrF2).
    """
    letters, wanted = "".join(text.split()), "".join(reference.split())
    precisions, recalls = [], []
    for n in range(1, _CHRF_ORDER + 1):
        found, there = _runs(letters, n), _runs(wanted, n)
        if not found or not there:
            break
        matches = (found & there).total()
        precisions.append(matches / found.total())
        recalls.append(matches / there.total())
    if not precisions:
        return 0.0
    precision, recall = (math.fsum(x) / len(x) for x in (precisions, recalls))
    factor = _CHRF_BETA**2
    below = factor * precision + recall
    return (1 + factor) * precision * recall / below if below else 0.0


def _runs(items: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(items[i : i + n]) for i in range(len(items) - n + 1))
