from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.data.formats.exports import EXPORTS
from workbench.data.formats.preferences import read_preferences
from workbench.data.formats.rows import PreferenceRow, digest_of
from workbench.data.formats.trl import undecided_line
from workbench.data.records import Message
from workbench.errors import UserError

USER = Message("user", "The sky is")


def read_one(tmp_path: Path, row: object) -> PreferenceRow | str:
    path = tmp_path / "file.jsonl"
    path.write_text(json.dumps(row) + "\n", "utf-8")
    preview = read_preferences(path)
    assert len(preview.rows) + len(preview.problems) == 1
    return preview.rows[0] if preview.rows else preview.problems[0].message


def write(path: Path, form: str, rows: list[PreferenceRow]) -> None:
    writer = EXPORTS[form].make(path)
    for row in rows:
        for line in EXPORTS[form].lines(row, set()):
            writer.write(line)
    writer.close()


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


ASKED, BLUE, GREEN = (
    message("user", "The sky is"),
    message("assistant", " blue."),
    message("assistant", " green."),
)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
        {"chosen": "The sky is blue.", "rejected": "The sky is green."},
        {"prompt": [ASKED], "chosen": [BLUE], "rejected": [GREEN]},
        {"chosen": [ASKED, BLUE], "rejected": [ASKED, GREEN]},
        {"prompt": "The sky is", "chosen": [ASKED, BLUE], "rejected": [ASKED, GREEN]},
        {"prompt": "The sky is", "chosen": [BLUE], "rejected": [GREEN]},
        {
            "prompt": [{"from": "human", "value": "The sky is"}],
            "chosen": [{"from": "gpt", "value": " blue."}],
            "rejected": [{"from": "gpt", "value": " green."}],
        },
    ],
)
def test_all_trl_forms_give_the_same_pair(tmp_path: Path, row: dict[str, Any]) -> None:
    found = read_one(tmp_path, row)
    assert found == PreferenceRow(
        (USER,), " blue.", " green.", annotator="file", group="file", language="en"
    )


def test_history_stays_in_the_prompt(tmp_path: Path) -> None:
    history = [message("system", "s"), ASKED, BLUE, message("user", "Why?")]
    found = read_one(
        tmp_path,
        {
            "chosen": [*history, message("assistant", "Rayleigh.")],
            "rejected": [*history, message("assistant", "")],
        },
    )
    assert isinstance(found, PreferenceRow)
    assert [m.role for m in found.messages] == ["system", "user", "assistant", "user"]
    assert (found.first, found.second) == ("Rayleigh.", "")


@pytest.mark.parametrize(
    ("chosen", "rejected", "answers"),
    [
        ("\n\nHuman: Hi\n\nAssistant: Yo", "\n\nHuman: Hi\n\nAssistant: You", ("Yo", "You")),
        ("\n\nHuman: Hi\n\nAssistant: ", "\n\nHuman: Hi\n\nAssistant: a", ("", "a")),
        ("\n\nHuman: Hi\n\nAssistant:", "\n\nHuman: Hi\n\nAssistant: a", ("", "a")),
    ],
)
def test_hh_transcripts(
    tmp_path: Path, chosen: str, rejected: str, answers: tuple[str, str]
) -> None:
    found = read_one(tmp_path, {"chosen": chosen, "rejected": rejected})
    assert isinstance(found, PreferenceRow)
    assert found.messages == (Message("user", "Hi"),)
    assert (found.first, found.second) == answers


def test_hh_transcripts_of_several_turns(tmp_path: Path) -> None:
    before = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nd\n\nAssistant: "
    found = read_one(tmp_path, {"chosen": before + "The x", "rejected": before + "The y"})
    assert isinstance(found, PreferenceRow)
    assert found.messages == (
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c\n\nd"),
    )
    assert (found.first, found.second) == ("The x", "The y")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ([1], "must be an object"),
        ({"prompt": "p", "chosen": "a"}, "There is no field rejected"),
        ({"prompt": "p", "chosen": "a", "rejected": [GREEN]}, "same form"),
        ({"chosen": "same", "rejected": "same"}, "where the prompt ends is unknown"),
        ({"chosen": "a", "rejected": "b"}, "share no beginning"),
        ({"chosen": [BLUE], "rejected": [GREEN]}, "share no beginning"),
        ({"prompt": "p", "chosen": [ASKED], "rejected": [ASKED]}, "must be the assistant's"),
        ({"chosen": [ASKED, BLUE], "rejected": [GREEN, BLUE]}, "in their last message only"),
        ({"prompt": [BLUE], "chosen": "a", "rejected": "b"}, "must be the user's"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "empty"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "annotator_kind": "cat"}, "'cat'"),
        ({"prompt": "p", "first": "a", "second": "b", "verdict": "maybe"}, "'maybe'"),
        (
            {
                "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
                "rejected": "\n\nHuman: a\n\nAssistant: e",
            },
            "differ before their last answer",
        ),
        ({"chosen": "\n\nHuman: a", "rejected": "\n\nHuman: b"}, "no “Assistant:” turn"),
        ({"chosen": {"a": 1}, "rejected": {"a": 1}}, "must be a list"),
    ],
)
def test_a_bad_row_is_told_in_a_sentence(tmp_path: Path, row: object, sentence: str) -> None:
    found = read_one(tmp_path, [row] if isinstance(row, list) else row)
    assert isinstance(found, str)
    assert sentence in found


def test_good_rows_stay_beside_bad_ones_also_packed(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl.gz"
    good = json.dumps({"prompt": "p", "chosen": "a", "rejected": "b"})
    other = good.replace('"b"', '"c"')
    path.write_bytes(gzip.compress(f"{good}\n{{\n{good}\n{other}".encode()))
    preview = read_preferences(path)
    assert [row.second for row in preview.rows] == ["b", "c"]
    assert preview.n_duplicates == 1
    assert [p.line for p in preview.problems] == [2]


def test_csv_without_the_columns_and_unknown_kinds_are_told(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no columns chosen and rejected"):
        read_preferences(tmp_path / "p.csv")
    (tmp_path / "p.docx").write_bytes(b"PK")
    with pytest.raises(UserError, match="unknown kind"):
        read_preferences(tmp_path / "p.docx")


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
_PROMPT = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant"]), _TEXT), max_size=2
).flatmap(
    lambda before: _TEXT.filter(str.strip).map(
        lambda text: tuple(Message(*m) for m in [*before, ("user", text)])  # type: ignore[arg-type]
    )
)
_ROWS = st.lists(
    st.builds(
        PreferenceRow,
        messages=_PROMPT,
        first=_TEXT,
        second=_TEXT,
        annotator=_TEXT.filter(bool),
        annotator_kind=st.sampled_from(["person", "simulated", "ai", "imported"]),
        group=_TEXT,
        language=st.sampled_from(["en", "zh", ""]),
        split=st.sampled_from(["train", "heldout"]),
        strength=st.sampled_from([0, 1, 2]),
    ),
    max_size=4,
)


@given(_ROWS)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[PreferenceRow]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name, form in (("rt.jsonl", "trl"), ("rt.csv", "csv")):
        write(folder / name, form, rows)
        preview = read_preferences(folder / name)
        assert preview.problems == []
        different: dict[bytes, PreferenceRow] = {}
        for row in rows:
            different.setdefault(digest_of(row), row)
        assert preview.rows == list(different.values())
        assert preview.n_duplicates == len(rows) - len(different)


@pytest.mark.parametrize(
    "prompt", ['[{"role": "user", "content": "x"}]', "[1]", "[", '"', "a,b\r\n"]
)
def test_a_prompt_that_looks_like_the_format_survives_csv(tmp_path: Path, prompt: str) -> None:
    row = PreferenceRow((Message("user", prompt),), '"', "\n", annotator="a", language="")
    write(tmp_path / "p.csv", "csv", [row])
    assert read_preferences(tmp_path / "p.csv").rows == [row]


@pytest.mark.parametrize("verdict", ["tie", "both_bad", "skip"])
def test_undecided_pairs_come_back_with_their_verdict(tmp_path: Path, verdict: Any) -> None:
    row = PreferenceRow((USER,), "a", "b", verdict, "ada", "person", language="en")
    (tmp_path / "t.jsonl").write_text(json.dumps(undecided_line(row)), "utf-8")
    assert read_preferences(tmp_path / "t.jsonl").rows == [row]
