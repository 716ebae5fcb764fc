from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.app import labelling
from workbench.app.preference_export import ExportChoice, export_preferences
from workbench.app.preference_import import (
    ImportResult,
    import_preferences,
    preview_preferences,
    result_of,
)
from workbench.app.workspace import Workspace
from workbench.data.folders import verify
from workbench.data.records import (
    AnnotatorKind,
    Message,
    NewCompletion,
    NewPrompt,
    Preference,
    Verdict,
)
from workbench.errors import UserError
from workbench.jobs.runner import Job


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


def result(job: Job) -> Any:
    assert job.wait(60)
    assert job.finished is not None
    if job.finished.error is not None:
        raise UserError(job.finished.error.message, job.finished.error.hint)
    return job.finished.result


def taken(ws: Workspace, path: Path, **how: Any) -> ImportResult:
    return result_of(result(import_preferences(ws, path, **how)))


def written(ws: Workspace, folder: Path, choice: ExportChoice | None = None) -> Path:
    return Path(result(export_preferences(ws, folder, choice))["folder"])


JUDGED: list[tuple[NewPrompt, str, str, Verdict, str, AnnotatorKind]] = [
    (
        NewPrompt((Message("user", "天气？"),), "闲聊", "zh"),
        "晴\n天",
        "雨",
        "first",
        "ada",
        "person",
    ),
    (
        NewPrompt(
            (
                Message("system", "Be brief."),
                Message("user", "a"),
                Message("assistant", 'b "quoted", c'),
                Message("user", "d"),
            ),
            "dialogue",
            "en",
            "heldout",
        ),
        "=1+1",
        '"yes",\r\n no',
        "second",
        "simulated",
        "simulated",
    ),
    (NewPrompt((Message("user", "tie"),)), "x", "y", "tie", "ada", "person"),
    (NewPrompt((Message("user", "bad"),)), "x", "", "both_bad", "ada", "person"),
    (NewPrompt((Message("user", "skip"),)), "x", "y", "skip", "ada", "person"),
    (NewPrompt((Message("user", "same"),), "", "en"), "z", "z", "first", "gpt", "ai"),
]


def judge_all(ws: Workspace) -> None:
    for prompt, first, second, verdict, annotator, kind in JUDGED:
        [prompt_id] = ws.experiment.prompts.add_many([prompt])
        ids = ws.experiment.completions.add_many(
            [NewCompletion(prompt_id, text, model_name="tiny") for text in (first, second)]
        )
        [(comparison, _)] = ws.experiment.comparisons.ensure([(prompt_id, ids[0], ids[1])])
        ws.experiment.judgements.add(comparison.id, verdict, annotator, kind, 2.0)


def content(preference: Preference) -> tuple[object, ...]:
    prompt = preference.prompt
    return (
        prompt.messages,
        prompt.group,
        prompt.language,
        prompt.split,
        preference.chosen,
        preference.rejected,
        preference.annotator,
        preference.annotator_kind,
    )


def preferences(ws: Workspace) -> set[tuple[object, ...]]:
    return {content(p) for p in ws.experiment.judgements.preferences()}


def test_export_is_whole_and_in_the_form_of_trl(ws: Workspace, tmp_path: Path) -> None:
    judge_all(ws)
    done = result(export_preferences(ws, tmp_path / "out"))
    assert (done["n_pairs"], done["n_ties"]) == (3, 3)
    folder = Path(done["folder"])
    assert verify(folder) == []
    lines = (folder / "preferences.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[0] == {
        "prompt": [{"role": "user", "content": "天气？"}],
        "chosen": [{"role": "assistant", "content": "晴\n天"}],
        "rejected": [{"role": "assistant", "content": "雨"}],
        "annotator": "ada",
        "annotator_kind": "person",
        "group": "闲聊",
        "language": "zh",
        "split": "train",
        "strength": 0,
    }
    assert [r["annotator_kind"] for r in rows] == ["person", "simulated", "ai"]
    with (folder / "preferences.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [r["annotator_kind"] for r in table] == ["person", "simulated", "ai"]
    assert table[1]["chosen"] == '"yes",\r\n no'
    undecided = (folder / "ties_and_skips.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["verdict"] for line in undecided] == ["tie", "both_bad", "skip"]
    card = (folder / "README.md").read_text("utf-8")
    for text in (
        "**1 of 6 judgements are simulated**",
        "| simulated | simulated | 1 |",
        "| ada | person | 4 |",
        "(ties: 1, both bad: 1, skipped: 1)",
        "- tiny: 12 answers",
        "Preferences of the experiment experiment",
    ):
        assert text in card


@pytest.mark.parametrize("name", ["", "preferences.jsonl", "preferences.csv"])
def test_import_gives_back_the_same_rows(
    ws: Workspace, other: Workspace, tmp_path: Path, name: str
) -> None:
    judge_all(ws)
    folder = written(ws, tmp_path / "out")
    done = taken(other, folder / name)
    assert (done.n, done.n_known, done.problems) == (6 if not name else 3, 0, [])
    assert preferences(other) == preferences(ws)
    assert len(preferences(ws)) == 3
    if not name:
        verdicts = [t.judgement.verdict for t in other.experiment.judgements.ties()]
        assert sorted(verdicts) == ["both_bad", "skip", "tie"]
    again = taken(other, folder / name)
    assert (again.n, again.n_known) == (0, done.n)
    assert preferences(other) == preferences(ws)


def test_an_import_is_one_step_of_undo(ws: Workspace, other: Workspace, tmp_path: Path) -> None:
    judge_all(ws)
    taken(other, written(ws, tmp_path / "out"))
    assert labelling.undo(other) == "imported 6 judgements"
    overview = other.overview()
    assert (overview.n_prompts, overview.n_completions, overview.n_comparisons) == (0, 0, 0)
    assert labelling.undo_name(other) is None
    labelling.redo(other)
    assert preferences(other) == preferences(ws)


def test_the_chosen_answer_is_not_always_shown_first(ws: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(60)]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    assert taken(ws, path).n == 60
    n_first = ws.experiment.judgements.count(verdict="first")
    assert 15 <= n_first <= 45
    assert ws.experiment.judgements.annotators() == {"pairs": "imported"}
    assert {p.chosen for p in ws.experiment.judgements.preferences()} == {
        f"good {i}" for i in range(60)
    }


def test_an_existing_pair_is_judged_in_its_own_order(ws: Workspace, tmp_path: Path) -> None:
    [prompt_id] = ws.experiment.prompts.add_many([NewPrompt((Message("user", "p"),))])
    ids = ws.experiment.completions.add_many([NewCompletion(prompt_id, t) for t in ("bad", "good")])
    ws.experiment.comparisons.add_many([(prompt_id, ids[0], ids[1])])
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"prompt": "p", "chosen": "good", "rejected": "bad"}), "utf-8")
    taken(ws, path)
    [judged] = ws.experiment.judgements.list()
    assert judged.judgement.verdict == "second"
    assert ws.experiment.completions.count() == 2


def test_bad_lines_are_told_and_the_good_ones_imported(ws: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n{"prompt": 1}\n', "utf-8")
    done = taken(ws, path)
    assert done.n == 1
    assert [p.line for p in done.problems] == [2]
    path.write_text("{}\n", "utf-8")
    with pytest.raises(
        UserError, match=r"no preference that can be used\. Line 1: There is no field"
    ):
        taken(ws, path)
    with pytest.raises(UserError, match=r"no preferences\.jsonl in"):
        preview_preferences(tmp_path / "experiment")


def test_export_refuses_a_folder_that_is_there_and_an_empty_experiment(
    ws: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="Nothing was judged yet"):
        written(ws, tmp_path / "out")
    judge_all(ws)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    with pytest.raises(UserError, match="already there"):
        written(ws, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["diary.txt"]
