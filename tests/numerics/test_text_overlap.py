"""BLEU, ROUGE-L and chrF against values worked out by hand, and against sacreBLEU."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from tests.close import FLOAT64, Level, assert_close
from workbench.objectives.text_overlap import bleu, chrf, rouge_l

PER_CENT = Level(1e-9, 1e-9)


def test_bleu_by_hand() -> None:
    # 1-grams 4/5, 2-grams 2/4, 3-grams 0/3 → 1/(2·3), 4-grams 0/2 → 1/(4·2); no brevity penalty
    expected = math.exp(math.fsum(map(math.log, (4 / 5, 2 / 4, 1 / 6, 1 / 8))) / 4)
    assert_close(bleu(list("abcde"), list("abxde")), expected, FLOAT64)
    assert bleu(list("abcd"), list("abcd")) == 1.0
    assert bleu(list("abcd"), list("wxyz")) == 0.0
    assert bleu([], ["a"]) == 0.0
    # half as long: e^(1 − 4/2)
    assert_close(bleu(["a", "b"], list("abcd")), math.exp(-1), FLOAT64)


def test_rouge_l_by_hand() -> None:
    # Lin 2004: "police killed the gunman" has 3 of its 4 words in the order of "police kill the
    # gunman", and 2 in that of "the gunman kill police"
    assert_close(rouge_l(list("pktg"), list("pKtg")), 0.75, FLOAT64)
    assert_close(rouge_l(list("tgkp"), list("pKtg")), 0.5, FLOAT64)
    assert_close(rouge_l(list("我喜欢茶"), list("我们喜欢喝茶")), 2 * 4 / 10, FLOAT64)
    assert rouge_l([], []) == rouge_l(["a"], []) == 0.0


def test_rouge_l_equals_all_subsequences() -> None:
    rng = random.Random(0)
    for _ in range(30):
        a, b = (rng.choices("abc", k=rng.randint(1, 6)) for _ in range(2))
        longest = max(
            n
            for n in range(len(a) + 1)
            for chosen in itertools.combinations(a, n)
            if _is_subsequence(chosen, b)
        )
        assert_close(rouge_l(a, b), 2 * longest / (len(a) + len(b)), FLOAT64)


def _is_subsequence(short: tuple[str, ...], of: list[str]) -> bool:
    rest = iter(of)
    return all(item in rest for item in short)


def test_chrf_by_hand() -> None:
    # orders 1 and 2 (the answer has two letters): precision 1, 1; recall 2/3, 1/2
    recall = (2 / 3 + 1 / 2) / 2
    assert_close(chrf("a b", "abc"), 5 * recall / (4 + recall), FLOAT64)
    assert chrf("茶", "茶") == 1.0
    assert chrf("", "abc") == chrf("abc", " ") == chrf("abc", "xyz") == 0.0


def test_bleu_and_chrf_equal_sacrebleus() -> None:
    metrics = pytest.importorskip("sacrebleu.metrics", reason="sacrebleu is not installed")
    theirs_bleu = metrics.BLEU(tokenize="none", effective_order=True)
    theirs_chrf = metrics.CHRF()
    rng = random.Random(1)
    alphabet = ["the", "a", "cat", "好", "茶", "sat", "x"]
    for _ in range(60):
        a, b = (rng.choices(alphabet, k=rng.randint(1, 9)) for _ in range(2))
        first, second = " ".join(a), " ".join(b)
        score = theirs_bleu.sentence_score(first, [second]).score
        assert_close(100 * bleu(a, b), score, PER_CENT)
        score = theirs_chrf.sentence_score(first, [second]).score
        assert_close(100 * chrf(first, second), score, PER_CENT)
