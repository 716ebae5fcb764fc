"""What follows from a judge's answers."""

from __future__ import annotations

import pytest

from workbench.config.judge import JudgeSettings
from workbench.data.records import Message
from workbench.rewards.judge_question import Question, decide, is_contradiction, read_choice


@pytest.mark.parametrize(
    ("straight", "swapped", "verdict"),
    [
        (0.9, 0.8, "first"),
        (0.1, 0.3, "second"),
        (0.9, 0.2, "tie"),  # whichever is shown first
        (0.2, 0.99, "tie"),
        (0.52, 0.5, "tie"),
        (0.56, 0.56, "first"),
        (0.5, 0.5, "tie"),
        (1.0, None, None),
        (None, 0.0, None),
    ],
)
def test_a_verdict_needs_both_orders(
    straight: float | None, swapped: float | None, verdict: str | None
) -> None:
    assert decide(straight, swapped, 0.05) == verdict


def test_without_a_margin_only_even_odds_are_a_tie() -> None:
    assert decide(0.5, 0.5, 0.0) == "tie"
    assert decide(0.5, 0.500001, 0.0) == "first"
    assert is_contradiction(0.6, 0.4)
    assert not is_contradiction(0.5, 0.4)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("A", 1.0),
        (" B.", 0.0),
        ("**B**", 0.0),
        ("A: it is shorter than B", 1.0),
        ("B\nbecause A is wrong", 0.0),
        ("The better answer is B", 0.0),
        ("Answer A is better.", 1.0),
        ("<think>A or B? B seems better.</think>\nA", 1.0),
        ("A is better than B", None),
        ("Both are fine", None),
        ("", None),
        ("a", None),
        ("APPLE", None),
        ("我选 B。", 0.0),
    ],
)
def test_a_choice_is_read_only_where_it_is_clear(text: str, choice: float | None) -> None:
    assert read_choice(text, "A", "B") == choice


def test_labels_are_no_patterns() -> None:
    assert read_choice("(1)", "(1)", "(2)") in (1.0, None)
    assert read_choice("第一", "第一", "第二") == 1.0
    assert read_choice(".", ".", "x") == 1.0


def test_a_dialogue_keeps_its_roles() -> None:
    settings = JudgeSettings(template="{prompt}|{first}|{second}")
    turns = [Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Why?")]
    assert Question(turns, "a", "b").text(settings) == (
        "User: Hi\n\nAssistant: Hello\n\nUser: Why?|a|b"
    )
    assert Question(turns[:1], "a", "b").swapped().text(settings) == "Hi|b|a"
