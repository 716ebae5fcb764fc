"""Files as they are: half written, in two encodings, with nonsense in them. The good rows stay."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.data.formats import containers
from workbench.data.formats.containers import EntryFile
from workbench.data.formats.preferences import PreferencePreview, read_preferences
from workbench.errors import UserError


def pair(answer: str = "a") -> dict[str, Any]:
    return {"prompt": "p", "chosen": answer, "rejected": "b"}


def line(answer: str = "a") -> bytes:
    return json.dumps(pair(answer), ensure_ascii=False).encode() + b"\n"


def read(tmp_path: Path, content: bytes, name: str = "p.jsonl") -> PreferencePreview:
    path = tmp_path / name
    path.write_bytes(content)
    return read_preferences(path)


def chosen(preview: PreferencePreview) -> list[str]:
    return [row.first for row in preview.rows]


def problem(preview: PreferencePreview) -> tuple[int, str]:
    [found] = preview.problems
    return found.line, found.message


def test_two_encodings_in_one_file_cost_the_wrong_lines_only(tmp_path: Path) -> None:
    preview = read(tmp_path, line("é") + line("ü").decode().encode("latin-1") + line("好"))
    assert chosen(preview) == ["é", "好"]
    number, message = problem(preview)
    assert number == 2
    assert "not UTF-8" in message
    content = "prompt,chosen,rejected\np,é,b\n".encode() + "p,你好,b\n".encode("gb18030")
    preview = read(tmp_path, content + b"p,c,b\n", "p.csv")
    assert chosen(preview) == ["é", "c"]
    assert "GB18030" in problem(preview)[1]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["p.jsonl", "p.json", "p.csv"])
def test_marks_of_the_encoding_are_no_text(tmp_path: Path, encoding: str, name: str) -> None:
    text = "prompt,chosen,rejected\np,é,b\n" if name == "p.csv" else json.dumps([pair("é")])
    assert chosen(read(tmp_path, text.encode(encoding), name)) == ["é"]


def test_a_file_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a text file"):
        read(tmp_path, b"{\0\0\0", "p.json")
    with pytest.raises(UserError, match="There is no file"):
        read_preferences(tmp_path / "missing.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(UserError, match="could not be read"):
        read_preferences(tmp_path / "folder.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "number"),
    [
        ("p.jsonl", line("x") + line("y") + line("z")[:20], 3),
        ("p.json", json.dumps([pair("x"), pair("y"), pair("z")]).encode()[:-20], 3),
        ("p.json", b"[" + line("x").strip() + b"," + line("y").strip(), 3),
        ("p.json", b"[" + line("x").strip() + b"," + line("y").strip() + b", {]", 3),
        ("p.csv", b'prompt,chosen,rejected\np,x,b\np,y,b\np,"z', 4),
        ("p.csv", b"prompt,chosen,rejected\np,x,b\np,y,b\np,z", 4),
    ],
)
def test_half_a_file_gives_the_rows_before_its_end(
    tmp_path: Path, name: str, content: bytes, number: int
) -> None:
    preview = read(tmp_path, content, name)
    assert chosen(preview) == ["x", "y"]
    assert problem(preview)[0] == number


def test_half_a_packed_file_gives_the_rows_before_its_end(tmp_path: Path) -> None:
    content = b"".join(line(str(i) * 20) for i in range(20_000))
    preview = read(tmp_path, gzip.compress(content)[:-4000], "p.jsonl.gz")
    assert 1000 < len(preview.rows) < 20_000
    assert "damaged from here on" in preview.problems[-1].message
    with pytest.raises(UserError, match="damaged gzip"):
        read(tmp_path, b"\x1f\x8b\x08\0garbage garbage", "p.jsonl.gz")


@pytest.mark.parametrize(
    "value",
    [
        None, 1, "text", [], [[]], {}, {"prompt": None, "chosen": None, "rejected": None},
        {"prompt": {"a": 1}, "chosen": "a", "rejected": "b"},
        {"prompt": "p", "chosen": {"text": "a"}, "rejected": {"text": "b"}},
        {"prompt": "p", "chosen": ["a"], "rejected": ["b"]},
        {"prompt": ["p"], "chosen": "a", "rejected": "b"},
        {"prompt": "p", "chosen": 1, "rejected": 2},
        {"prompt": [{"role": "tool", "content": "x"}], "chosen": "a", "rejected": "b"},
        {"prompt": [{"role": "user", "content": None}], "chosen": "a", "rejected": "b"},
        {"data": {"rating": None, "model_id": None}},
        {"fields": {}, "responses": None},
        {"fields": {"prompt": 1}, "responses": {"a": [None, {"value": [{"rank": "x"}]}]}},
        {"data": {}, "annotations": [None, {}, {"result": [None, {"type": "ranker"}]}]},
        {"kto_tag": None}, {"kto_tag": True, "conversations": [1]},
        {"instruction": "i", "history": {"a": 1}, "chosen": "a", "rejected": "b"},
    ],
)  # fmt: skip
def test_nested_and_missing_fields_cost_their_line_only(tmp_path: Path, value: Any) -> None:
    rows = b"\n".join(json.dumps(v).encode() for v in (value, pair("x"), value))
    for form in ("trl", "label-studio", "argilla", "open-webui", "llama-factory", "trl-unpaired"):
        path = tmp_path / "p.jsonl"
        path.write_bytes(rows)
        preview = read_preferences(path, form=form)
        assert preview.n_problems >= 2
        assert all(p.message.endswith(".") for p in preview.problems)
    assert chosen(read_preferences(path, form="trl")) == ["x"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["prompt", "chosen", "rejected", "data", "annotations", "result", "value", "type",
                 "fields", "responses", "rating", "model_id", "meta", "message_id", "snapshot",
                 "chat", "history", "messages", "conversations", "kto_tag", "role", "content",
                 "completion", "label", "verdict", "first", "second", "annotator", "suggestions",
                 "answer1", "answer2", "selected", "instruction"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.lists(_JSON, min_size=1, max_size=4), st.sampled_from([None, "trl", "label-studio",
    "argilla", "open-webui", "llama-factory", "trl-unpaired", "hh"]))  # fmt: skip
def test_no_json_is_a_bug(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], form: str | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(values), "utf-8")
    try:
        preview = read_preferences(path, form=form)
    except UserError:
        return
    assert preview.n_problems <= len(values)


MARKUP = "<script>alert('x')</script> &amp; \x1b[31mred\x1b[0m \x07\u202eleft \u0000end"


@pytest.mark.parametrize("name", ["p.jsonl", "p.json"])
def test_markup_and_control_characters_stay_as_they_are(tmp_path: Path, name: str) -> None:
    assert chosen(read(tmp_path, json.dumps([pair(MARKUP)]).encode(), name)) == [MARKUP]


def test_half_of_a_character_is_told(tmp_path: Path) -> None:
    preview = read(tmp_path, b'{"prompt": "p", "chosen": "\\ud83d", "rejected": "b"}\n' + line("x"))
    assert chosen(preview) == ["x"]
    assert "half of a character" in problem(preview)[1]


def test_a_line_of_50_megabytes_is_left_out_without_being_kept(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    with path.open("wb") as file:
        file.write(line("x"))
        file.write(b'{"prompt": "p", "chosen": "' + b"a" * (50 << 20) + b'", "rejected": "b"}\n')
        file.write(line("y"))
    tracemalloc.start()
    preview = read_preferences(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert chosen(preview) == ["x", "y"]
    assert problem(preview) == (2, "This line is longer than 16 million characters.")
    assert peak < 50 << 20


def test_a_long_entry_of_a_list_or_a_table_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "LONGEST", 1 << 20)
    monkeypatch.setattr(containers, "_CHUNK", 1 << 16)
    long = "a" * (3 << 20)
    preview = read(tmp_path, json.dumps([pair("x"), pair(long), pair("y")]).encode(), "p.json")
    assert chosen(preview) == ["x"]
    assert problem(preview) == (2, "This entry is longer than 1 million characters.")
    preview = read(
        tmp_path, f"prompt,chosen,rejected\np,x,b\np,{long},b\np,y,b\n".encode(), "p.csv"
    )
    assert chosen(preview) == ["x", "y"]
    assert "field larger than field limit" in problem(preview)[1]


@given(st.lists(st.text(max_size=40) | st.integers() | st.lists(st.integers()), max_size=30))
def test_lists_are_read_in_pieces_as_if_they_were_whole(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces.json"
    path.write_text(json.dumps(values, ensure_ascii=False, indent=1), "utf-8", "surrogatepass")
    chunk, containers._CHUNK = containers._CHUNK, 7
    try:
        found = [value for _, value in EntryFile(path).entries()]
    finally:
        containers._CHUNK = chunk
    assert found == values


def test_wrong_columns_are_told_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its columns are a, b"):
        read(tmp_path, b"a,b\n1,2\n", "p.csv")
    with pytest.raises(UserError, match="its columns are q, w"):
        read(tmp_path, b'{"q": 1, "w": 2}\n')
    preview = read(tmp_path, b"prompt,chosen,rejected\np,x,b,surplus\np,y\np,z,b\n", "p.csv")
    assert chosen(preview) == ["z"]
    assert [(p.line, p.message.split(".")[0]) for p in preview.problems] == [
        (2, "This row has 4 fields, the header has 3"), (3, "There is no field rejected"),
    ]  # fmt: skip


def test_problems_are_counted_beyond_those_that_are_kept(tmp_path: Path) -> None:
    preview = read(tmp_path, b"{\n" * 1000 + line())
    assert (len(preview.problems), preview.n_problems, len(preview.rows)) == (200, 1000, 1)


def test_parquet_is_read_where_its_library_is(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "data.parquet"
    rows = [
        {**pair("x"), "group": None},
        {**pair("y"), "group": "g"},
        {"prompt": "p", "chosen": None, "rejected": "b", "group": None},
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    preview = read_preferences(path)
    assert chosen(preview) == ["x", "y"]
    assert [row.group for row in preview.rows] == ["", "g"]
    assert problem(preview) == (3, "There is no field chosen.")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_preferences(path)


def test_parquet_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from workbench.errors import EnvironmentProblem

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "p.parquet").write_bytes(b"PAR1")
    with pytest.raises(EnvironmentProblem, match="pyarrow"):
        read_preferences(tmp_path / "p.parquet")
