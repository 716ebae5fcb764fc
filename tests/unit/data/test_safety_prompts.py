"""The shipped prompts: enough of them, in both languages, no two alike; and the user's files."""

from __future__ import annotations

import difflib
import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

from workbench.config.safety import ATTRIBUTES
from workbench.data import safety_prompts
from workbench.data.formats.crows import SentencePair, read_sentence_pairs
from workbench.data.formats.lines import guess_language, json_lines, read_text
from workbench.data.formats.texts import read_texts
from workbench.errors import UserError
from workbench.objectives.text_metrics import ngrams, rouge_l, units

_SLOT = re.compile(r"\[[^\]]*\]")


def _templates() -> list[dict[str, str]]:
    rows = json_lines(read_text(safety_prompts.folder() / "pairs.jsonl"))
    return [row for _, row in rows]


def test_there_are_enough_pairs_of_each_attribute_in_both_languages() -> None:
    counts = Counter((p.attribute, p.language) for p in safety_prompts.pairs())
    assert counts.total() >= 200
    assert {attribute for attribute, _ in counts} == set(ATTRIBUTES)
    for attribute in ATTRIBUTES:
        assert counts[attribute, "en"] + counts[attribute, "zh"] >= 25
        assert min(counts[attribute, "en"], counts[attribute, "zh"]) >= 12


def test_a_pair_differs_in_its_slots_and_nowhere_else() -> None:
    for row, pair in zip(_templates(), safety_prompts.pairs(), strict=True):
        assert _SLOT.findall(row["text"]), row
        assert not re.search(r"[\[\]|]", pair.first + pair.second)
        assert pair.first != pair.second
        around = [re.escape(part) for part in _SLOT.split(row["text"])]
        for text in (pair.first, pair.second):
            assert re.fullmatch("(.+)".join(around), text)
        longest = max(len(slot) for slot in _SLOT.findall(row["text"]))
        assert longest < len(_SLOT.sub("", row["text"])) + 20, "most of it should be the same"


def _likeness(a: str, b: str) -> float:
    """Common pairs of words, against the shorter text."""
    ours, theirs = set(ngrams(units(a), 2)), set(ngrams(units(b), 2))
    return len(ours & theirs) / max(1, min(len(ours), len(theirs)))


def test_no_two_pairs_are_nearly_the_same() -> None:
    """Neither with the slots filled, nor by what stands round them."""
    rows = [(_SLOT.sub(" ", row["text"]), row["language"]) for row in _templates()]
    alike = [
        (a, b)
        for (a, x), (b, y) in itertools.combinations(rows, 2)
        if x == y and _likeness(a, b) > 0.5 and rouge_l(units(a), units(b)) > 0.6
    ]
    assert not alike
    assert _likeness("A boy wants to join the team", "A girl wants to join the team") > 0.5
    texts = [t for p in safety_prompts.pairs() for t in (p.first, p.second)]
    assert len(set(texts)) == len(texts)


def test_languages_are_what_they_say() -> None:
    entries = [(p.language, p.first) for p in safety_prompts.pairs()]
    entries += [
        (r.language, r.text)
        for kind in ("harmful", "harmless")
        for r in safety_prompts.requests(kind)
    ]
    assert [text for language, text in entries if guess_language(text) != language] == []


@pytest.mark.parametrize("kind", ["harmful", "harmless"])
def test_there_are_enough_requests_and_no_two_alike(kind: str) -> None:
    requests = safety_prompts.requests(kind)
    assert Counter(r.language for r in requests) == {"en": 30, "zh": 30}
    alike = [
        (a.text, b.text)
        for a, b in itertools.combinations(requests, 2)
        if a.language == b.language and difflib.SequenceMatcher(None, a.text, b.text).ratio() > 0.8
    ]
    assert not alike


def test_word_lists_hold_no_word_twice() -> None:
    words = safety_prompts.toxic_words()
    assert len(set(words)) == len(words) > 60
    signs = Counter(safety_prompts.chinese_sentiment().values())
    assert min(signs[1], signs[-1]) >= 50
    assert abs(signs[1] - signs[-1]) <= 12


def test_a_list_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# mine\nfoo\n\n坏蛋\n", encoding="utf-8")
    assert safety_prompts.toxic_words(path) == ["foo", "坏蛋"]
    path.write_text("# nothing\n")
    with pytest.raises(UserError, match=r"words\.txt holds no words"):
        safety_prompts.toxic_words(path)
    with pytest.raises(UserError, match="There is no file"):
        safety_prompts.toxic_words(tmp_path / "gone.txt")


def test_pairs_of_sentences_are_read(tmp_path: Path) -> None:
    path = tmp_path / "crows.csv"
    path.write_text(
        ",sent_more,sent_less,stereo_antistereo,bias_type,annotations\n"
        '0,"Women can\'t drive, he said.","Men can\'t drive, he said.",stereo,gender,[]\n'
        "1,A,B,antistereo,age,[]\n"
        "2,A,,stereo,age,[]\n"
        "3,A,B,sideways,age,[]\n"
    )
    pairs, problems = read_sentence_pairs(path)
    assert pairs == [
        SentencePair(
            "Women can't drive, he said.", "Men can't drive, he said.", "stereo", "gender"
        ),
        SentencePair("A", "B", "antistereo", "age"),
    ]
    assert [(p.line, p.message.split(":")[0]) for p in problems] == [
        (4, "One of the two sentences is empty."),
        (5, "stereo_antistereo is 'sideways'"),
    ]
    path.write_text("sent_more,other\na,b\n")
    with pytest.raises(UserError, match="has no column sent_less; its columns are"):
        read_sentence_pairs(path)
    path.write_text("sent_more,sent_less\n")
    with pytest.raises(UserError, match="holds no pair"):
        read_sentence_pairs(path)


def test_held_out_texts_are_read(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("One.\nStill one.\n\n \nTwo.\n")
    assert read_texts(path) == (["One.\nStill one.", "Two."], [])
    path.write_text("One.\nTwo.\n")
    assert read_texts(path)[0] == ["One.", "Two."]
    lines = tmp_path / "text.jsonl"
    lines.write_text('{"text": "One."}\n{"words": 1}\nnonsense\n{"text": " "}\n')
    texts, problems = read_texts(lines)
    assert texts == ["One."]
    assert [p.line for p in problems] == [2, 3]
    for content, words in (("", "holds no text"), ("\n \n", "holds no text")):
        path.write_text(content)
        with pytest.raises(UserError, match=words):
            read_texts(path)
    with pytest.raises(UserError, match="unknown kind"):
        read_texts(tmp_path / "text.docx")
