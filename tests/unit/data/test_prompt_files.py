from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import places
from workbench.data.formats.lines import guess_language
from workbench.data.formats.prompts import PromptPreview, parse_prompts, read_prompts
from workbench.data.records import Message
from workbench.errors import UserError


def read(tmp_path: Path, name: str, content: str | bytes) -> PromptPreview:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_prompts(path)


def texts(preview: PromptPreview) -> list[str]:
    return [row.messages[-1].content for row in preview.rows]


def test_jsonl_keeps_the_good_lines_and_tells_of_each_bad_one(tmp_path: Path) -> None:
    lines = [
        '{"prompt": "one", "group": "g", "language": "de", "split": "heldout"}',
        "",
        '{"prompt": ',
        '{"question": "two", "system": "be brief"}',
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        '{"prompt": [{"role": "user", "content": "三"}]}',
        '{"answer": "x"}',
        '{"prompt": "  "}',
        '{"prompt": 7}',
        '{"prompt": "x", "split": "sideways"}',
        '{"prompt": [{"role": "robot", "content": "x"}]}',
        '{"instruction": "add", "input": "1 and 2"}',
        '{"prompt": "one"}',
        '"only a string\\u2028with a line separator"',
        '{"prompt": "\\ud800"}',
    ]
    preview = read(tmp_path, "mine.jsonl", "\r\n".join(lines))
    assert texts(preview) == [
        "one",
        "two",
        "三",
        "add\n\n1 and 2",
        "only a string\u2028with a line separator",
    ]
    first = preview.rows[0]
    assert (first.group, first.language, first.split) == ("g", "de", "heldout")
    assert preview.rows[1].messages[0] == Message("system", "be brief")
    assert (preview.rows[2].group, preview.rows[2].language) == ("mine", "zh")
    problems = {p.line: p.message for p in preview.problems}
    assert sorted(problems) == [3, 5, 7, 8, 9, 10, 11, 13, 15]
    assert "not JSON" in problems[3]
    assert "must be the user's" in problems[5]
    assert "no prompt among its fields: answer" in problems[7]
    assert "empty" in problems[8]
    assert "list of objects" in problems[9]
    assert "train or heldout" in problems[10]
    assert "'robot'" in problems[11]
    assert "same prompt as in line 1" in problems[13]
    assert "half of a character" in problems[15]


@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_with_quotes_and_line_breaks(
    tmp_path: Path, mark: str, end: str, separator: str
) -> None:
    rows = [
        ["Prompt", "Language", "split"],
        ["plain", "en", ""],
        ['"he said ""no"", twice"', "en", "test"],
        ['"two\nlines"', "", ""],
        ["", "", ""],
    ]
    text = mark + end.join(separator.join(row) for row in rows)
    preview = read(tmp_path, "p.csv", text)
    assert texts(preview) == ["plain", 'he said "no", twice', "two\nlines"]
    assert [r.split for r in preview.rows] == ["train", "heldout", "train"]
    assert preview.problems == []


def test_csv_tells_of_rows_with_too_many_fields_and_of_a_missing_column(tmp_path: Path) -> None:
    preview = read(tmp_path, "p.csv", "prompt,group\nfine,g\nnot, quite, fine\nalso fine,g\n")
    assert texts(preview) == ["fine", "also fine"]
    [problem] = preview.problems
    assert problem.line == 3
    assert "must stand in quotes" in problem.message
    with pytest.raises(UserError, match="no column named prompt; its columns are a, b"):
        read(tmp_path, "q.csv", "a,b\n1,2\n")


def test_txt_has_one_prompt_per_line(tmp_path: Path) -> None:
    preview = read(tmp_path, "p.txt", "\ufeffone\r\n\r\n  two  \n你好\none\n")
    assert texts(preview) == ["one", "two", "你好"]
    assert [r.language for r in preview.rows] == ["en", "en", "zh"]
    assert [p.line for p in preview.problems] == [5]


@pytest.mark.parametrize(
    ("name", "good", "bad", "encoding", "guess"),
    [
        ("p.txt", "good", "训练模型", "gb18030", "GB18030"),
        ("p.jsonl", '"good"', '"训练模型"', "gb18030", "GB18030"),
        ("p.csv", "prompt\ngood", "训练模型", "gb18030", "GB18030"),
        ("p.txt", "good", "café", "latin-1", "Latin-1"),
    ],
)
def test_lines_in_another_encoding_are_told_and_the_others_kept(
    tmp_path: Path, name: str, good: str, bad: str, encoding: str, guess: str
) -> None:
    preview = read(tmp_path, name, good.encode() + b"\n" + bad.encode(encoding) + b"\n")
    assert texts(preview) == ["good"]
    [problem] = preview.problems
    assert "not UTF-8" in problem.message
    assert guess in problem.message


def test_utf_16_with_its_mark_and_gzip_are_read(tmp_path: Path) -> None:
    assert texts(read(tmp_path, "p.txt", "你好\n再见".encode("utf-16"))) == ["你好", "再见"]
    packed = gzip.compress(b'{"prompt": "packed"}\n')
    assert texts(read(tmp_path, "p.jsonl.gz", packed)) == ["packed"]
    with pytest.raises(UserError, match="damaged gzip"):
        read(tmp_path, "q.jsonl.gz", packed[:20])


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        read_prompts(tmp_path / "none.txt")
    with pytest.raises(UserError, match="not a text file"):
        read(tmp_path, "p.txt", b"PK\x03\x04\0\0\0")
    with pytest.raises(UserError, match="unknown kind"):
        read(tmp_path, "p.docx", "x")
    (tmp_path / "d.txt").mkdir()
    with pytest.raises(UserError, match="could not be read"):
        read_prompts(tmp_path / "d.txt")


def test_pasted_text_is_lines_or_json() -> None:
    assert texts(parse_prompts("one\n\ntwo")) == ["one", "two"]
    assert texts(parse_prompts(' {"prompt": "one"}\n{"prompt": "two"}')) == ["one", "two"]
    assert texts(parse_prompts('[{"prompt": "one"},\n {"prompt": "two"}]')) == ["one", "two"]
    assert parse_prompts("") == PromptPreview([], [])


@given(st.binary(max_size=200), st.sampled_from(["jsonl", "csv", "txt"]))
def test_no_file_makes_the_reader_fail_in_another_way(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    path.write_bytes(content)
    try:
        preview = read_prompts(path)
    except UserError:
        return
    for row in preview.rows:
        json.dumps([m.content for m in row.messages]).encode()
        assert row.messages[-1].content.strip()
        row.messages[-1].content.encode()


@pytest.mark.parametrize(
    ("text", "language"),
    [("hello", "en"), ("你好", "zh"), ("用 Python 写一个函数", "zh"), ("123 !?", "")],
)
def test_language_is_guessed(text: str, language: str) -> None:
    assert guess_language(text) == language


def _demo() -> dict[str, PromptPreview]:
    folder = places.resource_dir() / "prompts"
    return {path.stem: read_prompts(path) for path in folder.glob("*.jsonl")}


def test_demo_prompts_are_many_bilingual_and_all_different() -> None:
    demo = _demo()
    tasks = {"dialogue", "summarisation", "translation", "code", "creative_writing"}
    assert set(demo) == tasks | {"tour"}
    assert all(preview.problems == [] for preview in demo.values())
    assert sum(len(demo[task].rows) for task in tasks) >= 60
    for task in tasks:
        assert {row.language for row in demo[task].rows} == {"en", "zh"}
        assert {row.split for row in demo[task].rows} == {"train", "heldout"}
        for row in demo[task].rows:
            assert guess_language(row.messages[-1].content) == row.language
    every = [text for preview in demo.values() for text in texts(preview)]
    words = [frozenset(_tokens(text)) for text in every]
    near = [
        (every[i], every[j])
        for i in range(len(every))
        for j in range(i)
        if len(words[i] & words[j]) > 0.75 * len(words[i] | words[j])
    ]
    assert near == []


def test_every_third_tour_prompt_is_held_out() -> None:
    rows = _demo()["tour"].rows
    assert len(rows) >= 96
    assert [row.split for row in rows] == [
        "heldout" if i % 3 == 2 else "train" for i in range(len(rows))
    ]
    assert {row.language for row in rows} == {"en"}
    assert all(len(row.messages[-1].content.split()) <= 20 for row in rows)


def _tokens(text: str) -> list[str]:
    return list(text) if guess_language(text) == "zh" else text.lower().split()
