"""The rules among the parts of a reward, against values worked out by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.close import FLOAT64, assert_close
from workbench.config.reward_parts.design import PARTS
from workbench.data.records import Message
from workbench.rewards.parts import language, rules, text
from workbench.rewards.parts.answers import Said, words
from workbench.rewards.parts.making import _RULES

PROMPT = (Message("user", "?"),)


def value(kind: str, answer: str, *, n_tokens: int = 0, is_ended: bool = True, **how: Any) -> float:
    rule = _RULES[kind](PARTS[kind](**how))
    return rule(Said(PROMPT, answer, n_tokens, is_ended))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Don't stop me now", ["Don't", "stop", "me", "now"]),
        ("很好。I like 茶!", ["很", "好", "I", "like", "茶"]),
        ("über_uns 3.5", ["über", "uns", "3", "5"]),
        ("カタカナ", ["カ", "タ", "カ", "ナ"]),
        (" …—,", []),
    ],
)
def test_words(answer: str, expected: Sequence[str]) -> None:
    assert words(answer) == expected


@pytest.mark.parametrize(
    ("kind", "answer", "how", "expected"),
    [
        # |n − 10| beyond 2, over 8
        ("length-target", "a " * 8, {"target": 10, "tolerance": 2}, 0.0),
        ("length-target", "a " * 7, {"target": 10, "tolerance": 2}, -1 / 8),
        ("length-target", "a " * 16, {"target": 10, "tolerance": 2}, -4 / 8),
        ("length-target", "", {"target": 10, "tolerance": 2}, -1.0),
        ("length-target", "a " * 500, {"target": 10, "tolerance": 2}, -1.0),
        ("length-target", "你好吗", {"target": 3, "tolerance": 0}, 0.0),
        ("brevity", "a b c", {"longest": 12}, -0.25),
        ("brevity", "你好吗", {"longest": 12}, -0.25),
        ("brevity", "abc", {"longest": 12, "unit": "characters"}, -0.25),
        ("brevity", "a b", {"longest": 12, "unit": "tokens"}, -0.5),
        ("brevity", "a " * 99, {"longest": 12}, -1.0),
        # six bigrams, of which ab and bc come twice
        ("repetition", "a b c a B c d", {"n": 2}, -2 / 6),
        ("repetition", "好好好好", {"n": 1}, -3 / 4),
        ("repetition", "a b", {"n": 3}, 0.0),
        ("keywords", "Good, good goodness", {"words": "good", "enough": 4}, 0.5),
        ("keywords", "Good, good", {"words": "good", "is_case_sensitive": True, "enough": 4}, 0.25),
        ("keywords", "很good的，好好", {"words": ["good", "好"], "enough": 4}, 0.75),
        ("keywords", "ice cream and ice", {"words": "ice\nice cream", "enough": 2}, 1.0),
        ("keywords", "ice cream, a C++ (or c++)", {"words": "c++", "enough": 4}, 0.5),
        ("keywords", "good " * 9, {"words": "good", "enough": 4}, 1.0),
        ("regex", "in 2024.", {"pattern": r"\b\d{4}\b"}, 1.0),
        ("regex", "in 24.", {"pattern": r"\b\d{4}\b"}, 0.0),
        ("regex", "2024 ", {"pattern": r"\d+", "found": "whole"}, 0.0),
        ("regex", "YES", {"pattern": "yes"}, 0.0),
        ("regex", "YES", {"pattern": "yes", "is_case_sensitive": False}, 1.0),
        ("regex", "我喜欢茶", {"pattern": "茶$"}, 1.0),
        ("format-json", ' {"a": 1} ', {}, 1.0),
        ("format-json", "[1]", {}, 0.0),
        ("format-json", "[1]", {"wanted": "list"}, 1.0),
        ("format-json", "3", {"wanted": "any"}, 1.0),
        ("format-json", '{"a": NaN}', {}, 0.0),
        ("format-json", '{"a": 1', {}, 0.0),
        ("format-json", "[" * 100_000, {"wanted": "list"}, 0.0),
        ("format-json", "1" * 10_000, {"wanted": "any"}, 0.0),
        ("format-json", '```json\n{"好": 1}\n```', {"keys": ["好", "b"]}, 0.5),
        ("format-json", '```json\n{"a": 1}\n```', {"is_fence_allowed": False}, 0.0),
        ("format-json", 'Here: {"a": 1}', {}, 0.0),
    ],
)
def test_rules_by_hand(kind: str, answer: str, how: dict[str, Any], expected: float) -> None:
    assert_close(value(kind, answer, n_tokens=6, **how), expected, FLOAT64)


def test_an_answer_has_ended_or_not() -> None:
    assert value("stop-token", "x", is_ended=True) == 1.0
    assert value("stop-token", "x", is_ended=False) == 0.0


SENTENCES = {
    "en": "The cat is on the table, and that was not what we wanted.",
    "zh": "猫在桌子上，这不是我们想要的。",
    "de": "Die Katze ist auf dem Tisch, und das war nicht, was wir wollten.",
    "fr": "Le chat est sur la table, et ce n'est pas ce que nous voulions.",
    "es": "El gato está en la mesa, y eso no es lo que queríamos.",
}


@pytest.mark.parametrize("wanted", SENTENCES)
def test_languages_are_told_apart(wanted: str) -> None:
    found = {name: value("language", s, language=wanted) for name, s in SENTENCES.items()}
    assert found[wanted] > 0.75
    assert all(share < 0.3 for name, share in found.items() if name != wanted), found


def test_half_an_answer_in_chinese_is_half_chinese() -> None:
    assert_close(value("language", "好好好 abc", language="zh"), 0.5, FLOAT64)
    assert value("language", "好きです", language="zh") == 0.0, "Japanese"
    assert value("language", "", language="zh") == value("language", "", language="en") == 0.0
    # Latin letters and no common word: half
    assert_close(value("language", "xylophone", language="en"), 0.5, FLOAT64)
    # "es" is among the commonest of German and Spanish
    assert_close(value("language", "es", language="de"), 0.5, FLOAT64)


@pytest.mark.parametrize(
    ("word", "n"),
    [("cat", 1), ("the", 1), ("make", 1), ("table", 2), ("reading", 2), ("beautiful", 3), ("7", 1)],
)
def test_syllables(word: str, n: int) -> None:
    assert text.syllables(word) == n


def test_readability_by_hand() -> None:
    # 2 sentences, 9 words, 12 syllables (re-wards, lis-ten, of-ten): 206.835 − 4.5675 − 112.8
    easy = "We like rewards. They listen often to us all."
    assert_close(value("readability", easy), 0.894675, FLOAT64)
    assert value("readability", "I go. You go.") == 1.0
    # 1 sentence of 4 words with 13 syllables
    hard = "Institutional deliberation necessitates patience."
    n = sum(text.syllables(w) for w in words(hard))
    flesch = 206.835 - 1.015 * 4 - 84.6 * n / 4
    assert flesch < 0
    assert value("readability", hard) == 0.0
    # 30 characters in one sentence: (60 − 30) / 45
    assert_close(value("readability", "好" * 30 + "。"), 30 / 45, FLOAT64)
    assert value("readability", ("好" * 10 + "。") * 3) == 1.0
    assert value("readability", "") == 0.0


def test_sentiment_is_vaders() -> None:
    # VADER's README: "VADER is smart, handsome, and funny." has the compound score 0.8316
    assert_close(value("sentiment", "VADER is smart, handsome, and funny."), 0.8316, FLOAT64)
    assert value("sentiment", "It is a table.") == 0.0


@pytest.mark.parametrize("kind", sorted(_RULES))
@pytest.mark.parametrize(
    "answer",
    ["", " ", "\x00", "a" * 3000, "好" * 3000, "🙂🏽 \ud800", "```json\n```", "((((", "é\u0301"],
)
def test_any_text_has_a_value_in_the_declared_range(kind: str, answer: str) -> None:
    how = {"keywords": {"words": "a\n好"}, "regex": {"pattern": "(a|好)+$"}}.get(kind, {})
    about = PARTS[kind].about
    found = value(kind, answer, **how)
    assert about.low is not None
    assert about.high is not None
    assert about.low <= found <= about.high


def test_every_kind_has_a_scorer_and_says_what_it_is() -> None:
    from workbench.rewards.parts.making import _OTHERS

    assert {*_RULES, *_OTHERS} == set(PARTS)
    for kind, model in PARTS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind)
        assert model.about.title
        assert model.about.help.endswith(".")
        assert all(
            info.description
            for name, info in model.model_fields.items()
            if name != "kind" and name != "judge"
        )
    assert rules.brevity is _RULES["brevity"]
    assert language.language is _RULES["language"]
