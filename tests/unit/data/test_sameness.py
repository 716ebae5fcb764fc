from __future__ import annotations

import pytest

from workbench.data.sameness import are_alike, normalised, triples


def _jaccard(a: str, b: str) -> float:
    first = {a[i : i + 3] for i in range(len(a) - 2)}
    second = {b[i : i + 3] for i in range(len(b) - 2)}
    shared = sum(1 for t in first if t in second)
    return shared / (len(first) + len(second) - shared)


@pytest.mark.parametrize(
    ("first", "second"),
    [("Yes, I  can.\n", "yes, i can."), ("ＡＢＣ，好", "abc,好"), ("你好 ！", "你好\u3000!")],
)
def test_case_width_and_space_make_no_difference(first: str, second: str) -> None:
    assert normalised(first) == normalised(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("the cat sat on the mat and slept", "the cat sat on the mat and left"),
        ("天空是蓝色的，因为空气散射蓝光多于红光。", "天空是蓝色的，因为空气散射蓝光多于绿光。"),
        ("abc", "xyz"),
        ("aaaaaaaaaa", "aaaa"),
    ],
)
def test_the_overlap_is_jaccards(first: str, second: str) -> None:
    index = _jaccard(first, second)
    a, b = triples(first), triples(second)
    assert are_alike(a, b, index)
    assert are_alike(b, a, index)
    assert not are_alike(a, b, min(1.0, index + 1e-9)) or index == 1.0


def test_short_texts_are_alike_only_when_equal() -> None:
    assert are_alike(triples("no"), triples("no"), 1.0)
    assert not are_alike(triples("no"), triples("on"), 0.1)
    assert are_alike(triples(""), triples(""), 1.0)
    assert not are_alike(triples("好"), triples("不"), 0.1)
