"""Counting metrics of texts against hand counts, plain twins and sacreBLEU."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from tests.close import EXACT, FLOAT64, assert_close
from workbench.objectives import text_metrics
from workbench.objectives.text_metrics import units

_RNG = np.random.default_rng(5)
_TEXTS = [[f"w{k}" for k in _RNG.integers(0, 6, n)] for n in (1, 2, 3, 5, 8, 13, 20, 9, 9)]


def test_units_are_words_and_chinese_characters() -> None:
    assert units("Don't PANIC, 42 towels_!") == ["don", "t", "panic", "42", "towels_"]
    assert units("我喜欢PPO算法。") == ["我", "喜", "欢", "ppo", "算", "法"]
    assert units("カタカナ と naïve") == [*"カタカナ", "と", "naïve"]
    assert units("…!?") == []


def _twin_distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    seen: list[tuple[str, ...]] = []
    total = 0
    for text in texts:
        for i in range(len(text)):
            if i + n <= len(text):
                total += 1
                if tuple(text[i : i + n]) not in seen:
                    seen.append(tuple(text[i : i + n]))
    return len(seen) / total


def test_distinct_by_hand_and_by_a_twin() -> None:
    assert text_metrics.distinct([["a", "b", "a"], ["b", "a"]], 1) == 2 / 5
    assert text_metrics.distinct([["a", "b", "a"], ["b", "a"]], 2) == 2 / 3
    assert math.isnan(text_metrics.distinct([["a"], []], 2))
    for n in (1, 2, 3):
        assert_close(text_metrics.distinct(_TEXTS, n), _twin_distinct(_TEXTS, n), EXACT)


def test_distinct_without_each_group_is_distinct_of_the_rest() -> None:
    groups = [0, 0, 1, 2, 2, 2, 3, 4, 4]
    value, left_out = text_metrics.distinct_without(_TEXTS, groups, 2)
    expected = [
        _twin_distinct([t for t, g in zip(_TEXTS, groups, strict=True) if g != out], 2)
        for out in range(5)
    ]
    assert_close(value, _twin_distinct(_TEXTS, 2), EXACT)
    assert_close(left_out, expected, EXACT)


def test_repetition_by_hand() -> None:
    assert text_metrics.repetition(["a", "b", "c", "d", "a", "b", "c", "d"]) == 1 / 5
    assert text_metrics.repetition(["a"] * 10) == 6 / 7
    assert text_metrics.repetition(["a", "b", "c"]) == 0.0


def test_self_bleu_as_sacrebleu_gives_it() -> None:
    texts = [*_TEXTS, _TEXTS[-1], []]
    metric = BLEU(tokenize="none", effective_order=True, force=True)
    found = text_metrics.self_bleu(texts)
    for i, text in enumerate(texts):
        others = [" ".join(t) for k, t in enumerate(texts) if k != i]
        expected = metric.sentence_score(" ".join(text), others).score / 100
        assert_close(found[i], expected, FLOAT64)
    assert found[-3] == pytest.approx(1.0)  # it stands there twice
    assert math.isnan(text_metrics.self_bleu([["a"]])[0])


def _twin_lcs(a: Sequence[str], b: Sequence[str]) -> int:
    """Every subsequence of `a`, the longest first, looked for in `b`."""
    for n in range(min(len(a), len(b)), 0, -1):
        for kept in itertools.combinations(a, n):
            rest = iter(b)
            if all(unit in rest for unit in kept):
                return n
    return 0


def test_rouge_l_against_every_subsequence() -> None:
    short = [t for t in _TEXTS if len(t) <= 9]
    for a, b in itertools.product(short, repeat=2):
        common = _twin_lcs(a, b)
        recall, precision = common / len(b), common / len(a)
        expected = 2 * recall * precision / (recall + precision) if common else 0.0
        assert_close(text_metrics.rouge_l(a, b), expected, FLOAT64)
    assert text_metrics.rouge_l([], ["a"]) == text_metrics.rouge_l(["a"], []) == 0.0
    # Lin 2004, section 3.1: with "police killed the gunman", "police kill the gunman" scores 3/4
    # and "the gunman kill police" 2/4.
    gold = ["police", "killed", "the", "gunman"]
    assert text_metrics.rouge_l(["police", "kill", "the", "gunman"], gold) == 3 / 4
    assert text_metrics.rouge_l(["the", "gunman", "kill", "police"], gold) == 2 / 4


def test_rouge_n_by_hand() -> None:
    a, b = ["the", "cat", "sat", "on", "the", "mat"], ["the", "cat", "on", "the", "the", "rug"]
    assert_close(text_metrics.rouge_n(a, b, 1), 2 * 4 / (6 + 6), FLOAT64)
    assert_close(text_metrics.rouge_n(a, b, 2), 2 * 2 / (5 + 5), FLOAT64)
    zh = text_metrics.rouge_n(units("今天天气很好"), units("今天天气不好"), 1)
    assert_close(zh, 2 * 5 / 12, FLOAT64)
    assert text_metrics.rouge_n(["a"], ["a"], 2) == 0.0


def test_perplexity_of_a_uniform_guess_and_of_extremes() -> None:
    found = text_metrics.perplexity(np.array([-math.log(7), 0.0, -1e6]))
    assert_close(found[:2], (7.0, 1.0), FLOAT64)
    assert found[2] == math.inf
