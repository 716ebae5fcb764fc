from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.app import exchange, labelling
from workbench.app.workspace import Workspace
from workbench.data.records import (
    Message,
    NewCompletion,
    NewPrompt,
)
from workbench.errors import UserError


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.open(tmp_path / "experiment", create=True)
    yield opened
    opened.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.open(tmp_path / "other", create=True)
    yield opened
    opened.close()


def test_prompts_from_a_file_and_from_typed_text(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("one\ntwo\n", "utf-8")
    assert exchange.import_prompts(ws, exchange.preview_prompts(tmp_path / "mine.txt")) == 2
    assert exchange.import_prompts(ws, exchange.preview_text("two\n三")) == 1
    assert labelling.undo_name(ws) == "imported 1 prompt"
    assert ws.experiment.prompts.groups() == {"": 1, "mine": 2}
    assert exchange.import_prompts(ws, exchange.preview_text("one")) == 0
    assert labelling.undo_name(ws) == "imported 1 prompt"  # nothing was added, nothing to undo


def test_demo_groups_are_added_with_one_undo_step(ws: Workspace) -> None:
    groups = {group.name: group for group in exchange.demo_groups()}
    assert groups["creative_writing"].title == "Creative writing"
    assert groups["code"].languages == ("en", "zh")
    n = exchange.add_demo_prompts(ws, ["code", "dialogue"])
    assert n == groups["code"].n + groups["dialogue"].n == ws.experiment.prompts.count()
    assert ws.experiment.prompts.groups() == {
        "code": groups["code"].n,
        "dialogue": groups["dialogue"].n,
    }
    assert exchange.add_demo_prompts(ws, ["code"]) == 0
    assert labelling.undo(ws) == f"added {n} prompts"
    assert ws.experiment.prompts.count() == 0
    with pytest.raises(UserError, match="no demo group poetry"):
        exchange.add_demo_prompts(ws, ["poetry"])


def test_answers_are_imported_as_written_ones_in_one_step_of_undo(
    ws: Workspace, tmp_path: Path
) -> None:
    [known] = ws.experiment.prompts.add_many([NewPrompt((Message("user", "p"),))])
    ws.experiment.completions.add_many(
        [NewCompletion(known, "generated"), NewCompletion(known, "edited", source="edited")]
    )
    path = tmp_path / "shown.jsonl"
    rows = [
        {"prompt": "p", "completion": "new"},
        {"prompt": "p", "completion": "edited"},
        {"prompt": "p", "completion": "generated"},
        {"prompt": "q", "completion": "twice"},
        {"prompt": "q", "completion": " twice "},
        {"prompt": "q"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    result = exchange.import_answers(ws, path)
    assert (result.n, result.n_known) == (3, 2)
    assert [(p.line, p.message[:18]) for p in result.problems] == [(6, "There is no answer")]
    imported = ws.experiment.completions.texts(["imported"])
    assert imported == [(known, "new"), (known, "generated"), (known + 1, "twice")]
    assert labelling.undo(ws) == "imported 3 answers"
    assert ws.experiment.completions.texts(["imported"]) == []
    assert ws.experiment.prompts.count() == 1
    labelling.redo(ws)
    assert ws.experiment.completions.texts(["imported"]) == imported
    again = exchange.import_answers(ws, path)
    assert (again.n, again.n_known) == (0, 5)
    assert labelling.undo_name(ws) == "imported 3 answers"


def test_a_file_without_any_answer_is_refused_with_its_first_problem(
    ws: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "none.jsonl"
    path.write_text('{"prompt": "p"}\n', "utf-8")
    with pytest.raises(UserError, match=r"no answer that can be used\. Line 1: There is no answer"):
        exchange.import_answers(ws, path)
    assert ws.experiment.prompts.count() == 0
