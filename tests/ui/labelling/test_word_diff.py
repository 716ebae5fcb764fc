"""Differences of two answers."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.ui.word_diff import differences


def parts(first: str, second: str) -> tuple[list[str], list[str]]:
    found = differences(first, second)
    assert found is not None
    left, right = found
    return [first[a:b] for a, b in left], [second[a:b] for a, b in right]


def test_changed_phrases_are_joined_over_the_space() -> None:
    assert parts("It is a mix of every colour.", "It has many colours in it.") == (
        ["is a mix of every colour"],
        ["has many colours in it"],
    )


def test_equal_answers_have_no_difference() -> None:
    assert parts("Same text, same  words.", "Same text, same words.") == ([], [])


def test_chinese_is_compared_by_character() -> None:
    assert parts("天空是蓝色的。", "天空是红色的。") == (["蓝"], ["红"])


def test_apostrophes_stay_in_the_word() -> None:
    assert parts("I can't go", "I don't go") == (["can't"], ["don't"])


def test_one_side_empty() -> None:
    assert parts("", "All of it.") == ([], ["All of it."])


def test_too_long_is_refused() -> None:
    text = "word " * 3000
    assert differences(text, text) is None


@given(st.text(max_size=80), st.text(max_size=80))
def test_what_is_left_after_the_spans_is_common(first: str, second: str) -> None:
    found = differences(first, second)
    assert found is not None

    def rest(text: str, spans: list[tuple[int, int]]) -> str:
        kept, end = [], 0
        for a, b in spans:
            assert end <= a < b <= len(text)
            kept.append(text[end:a])
            end = b
        return "".join("".join([*kept, text[end:]]).split())

    assert rest(first, found[0]) == rest(second, found[1])


@pytest.mark.parametrize("n_words", [60, 250])
def test_usual_answers_take_milliseconds(n_words: int) -> None:
    first = " ".join(f"w{i % 50}" for i in range(n_words))
    second = " ".join(f"w{(i * 7) % 53}" for i in range(n_words))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        differences(first, second)
        times.append(time.perf_counter() - start)
    # The best of five: the machine that runs the tests is shared.
    assert min(times) < 0.1
