from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.data.formats.demonstrations import DemonstrationPreview, read_demonstrations
from workbench.data.formats.training import write_answers
from workbench.data.records import Answered, Message, Prompt
from workbench.errors import UserError


def read(folder: Path, name: str, content: str | bytes) -> DemonstrationPreview:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_demonstrations(path)


def of_lines(folder: Path, *values: object) -> DemonstrationPreview:
    return read(folder, "mine.jsonl", "\n".join(json.dumps(v) for v in values))


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_every_form_is_read(tmp_path: Path) -> None:
    user, assistant = turn("user", "hi"), turn("assistant", "hello")
    preview = of_lines(
        tmp_path,
        {"prompt": "The sky is", "completion": " blue."},
        {"prompt": [turn("system", "Be brief."), user], "completion": [assistant]},
        {"messages": [user, assistant, turn("user", "and?"), turn("assistant", "well")]},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"prompt": "ignored", "messages": [user, turn("assistant", "of the dialogue")]},
        {"instruction": "add", "input": "1 and 2", "output": "3"},
        {"question": "why", "answer": "so", "system": "Be kind.", "split": "test", "group": "g"},
        {"prompt": "good", "completion": "yes", "label": True},
    )
    assert preview.problems == []
    found = [(row.prompt.messages, row.answer) for row in preview.rows]
    user_message = Message("user", "hi")
    assert found == [
        ((Message("user", "The sky is"),), "blue."),
        ((Message("system", "Be brief."), user_message), "hello"),
        ((user_message, Message("assistant", "hello"), Message("user", "and?")), "well"),
        ((Message("user", "a"),), "b"),
        ((user_message,), "of the dialogue"),
        ((Message("user", "add\n\n1 and 2"),), "3"),
        ((Message("system", "Be kind."), Message("user", "why")), "so"),
        ((Message("user", "good"),), "yes"),
    ]
    prompts = [row.prompt for row in preview.rows]
    assert (prompts[6].group, prompts[6].split, prompts[0].group) == ("g", "heldout", "mine")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "p"}, "no answer among its fields: prompt"),
        ({"completion": "c"}, "no prompt among its fields: completion"),
        ({"prompt": "p", "completion": "  "}, "The answer is empty"),
        ({"prompt": "", "completion": "c"}, "The prompt is empty"),
        ({"prompt": "p", "completion": 7}, "must be a list of objects"),
        ({"prompt": "p", "completion": [turn("user", "c")]}, "one message of the assistant"),
        (
            {"prompt": "p", "answer": [turn("assistant", "a"), turn("assistant", "b")]},
            "The answer must be a text, or one message",
        ),
        ({"messages": [turn("user", "a")]}, "last message of a dialogue must be the assistant's"),
        ({"messages": [turn("assistant", "a")]}, "no message before its answer"),
        (
            {"messages": [turn("assistant", "a"), turn("assistant", "b")]},
            "last message of a prompt must be the user's",
        ),
        ({"messages": []}, "must be a list of objects"),
        ({"messages": [turn("robot", "a")]}, "role of a message is 'robot'"),
        ({"prompt": "p", "completion": "c", "label": False}, "labelled as a bad one"),
        ({"prompt": "p", "completion": "c", "split": "sideways"}, "must be train or heldout"),
        (["p", "c"], "must be an object with prompt and completion"),
        ({"prompt": "p", "completion": "\ud800"}, "half of a character"),
    ],
)
def test_a_bad_line_is_told_and_the_others_are_kept(
    tmp_path: Path, row: object, words: str
) -> None:
    good = {"prompt": "p", "completion": "c"}
    preview = of_lines(tmp_path, good, row, {**good, "prompt": "q"})
    assert [r.prompt.messages[-1].content for r in preview.rows] == ["p", "q"]
    (problem,) = preview.problems
    assert problem.line == 2
    assert words in problem.message
    assert problem.message.endswith(".")


def test_tables_with_any_separator_and_quotes(tmp_path: Path) -> None:
    messages = '"[{""role"": ""user"", ""content"": ""x""}]"'
    text = f'Prompt;Answer\n"a; b";"line\nbreak"\nc;\n;d\n{messages};y\n'
    preview = read(tmp_path, "t.csv", text)
    assert [(r.prompt.messages[-1].content, r.answer) for r in preview.rows] == [
        ("a; b", "line\nbreak"),
        ("x", "y"),
    ]
    assert [p.line for p in preview.problems] == [4, 5]
    tabs = read(tmp_path, "t.tsv", "question\tresponse\nq\tr\n")
    assert tabs.rows[0].answer == "r"


def test_a_table_without_the_columns_names_those_it_has(tmp_path: Path) -> None:
    for header in ("prompt,chosen", "answer,x"):
        with pytest.raises(UserError, match=r"no columns prompt and answer; its columns are "):
            read(tmp_path, "t.csv", f"{header}\na,b\n")


def test_what_is_no_such_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown kind \(\.txt\)"):
        read(tmp_path, "t.txt", "x")
    with pytest.raises(UserError, match="There is no file"):
        read_demonstrations(tmp_path / "none.jsonl")
    preview = read(tmp_path, "t.jsonl.gz", gzip.compress(b'{"prompt": "p", "completion": "c"}'))
    assert preview.rows[0].answer == "c"
    assert preview.rows[0].prompt.group == "t"


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_what_a_hand_over_writes_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    written = [
        Answered(Prompt(i, (Message("user", text),), "g", "en", "train", ""), answer)
        for i, (text, answer) in enumerate(rows)
    ]
    preview = read(tmp_path_factory.mktemp("files"), "a.jsonl", write_answers(written))
    assert preview.problems == []
    assert [(r.prompt.messages, r.answer) for r in preview.rows] == [
        (a.prompt.messages, a.answer.strip()) for a in written
    ]
