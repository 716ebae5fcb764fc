from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.app import labelling
from workbench.app.preference_export import ExportChoice, counts, export_preferences
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
from workbench.errors import EnvironmentProblem, UserError
from workbench.events import Progress
from workbench.jobs.runner import Job
from workbench.store.check import check
from workbench.store.exchange import ExchangeRepository, PairFilter
from workbench.store.undo import Group


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


def pairs_file(path: Path, n: int, **more: Any) -> Path:
    rows = [
        {"prompt": f"p{i % 7}", "chosen": f"good {i}", "rejected": f"bad {i}", **more}
        for i in range(n)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def test_many_rows_at_once_say_the_same_as_one_by_one(
    ws: Workspace, other: Workspace, tmp_path: Path
) -> None:
    judge_all(ws)
    folder = written(ws, tmp_path / "out")
    rows = [*preview_preferences(folder).rows, *preview_preferences(folder).rows[:2]]
    for row in rows:
        other.experiment.exchange.add_judged([row], Group())
    assert preferences(other) == preferences(ws)
    assert other.experiment.judgements.count() == 6
    assert other.experiment.completions.count() == ws.experiment.completions.count()
    assert other.experiment.comparisons.counts(None).total == 6


def test_an_experiment_is_whole_after_an_import_and_can_be_searched(
    ws: Workspace, tmp_path: Path
) -> None:
    labelling.progress(ws)  # makes the queue of the person
    row = {"prompt": "什么是奖励模型？", "chosen": "一种打分的模型。", "rejected": "a soap"}
    (tmp_path / "p.jsonl").write_text(json.dumps(row), "utf-8")
    assert taken(ws, tmp_path / "p.jsonl").n == 1
    assert taken(ws, pairs_file(tmp_path / "q.jsonl", 600)).n == 600
    assert len(ws.experiment.prompts.list(search="奖励")) == 1
    assert len(ws.experiment.completions.search("打分")) == 1
    assert labelling.progress(ws).n_left == 601
    assert check(ws.path).problems == ()
    assert labelling.undo(ws) == "imported 600 judgements"
    assert labelling.undo(ws) == "imported 1 judgement"
    assert labelling.progress(ws).n_left == 0
    assert check(ws.path).problems == ()


@pytest.mark.parametrize("way", ["cancel", "request_stop"])
def test_a_cancelled_import_leaves_nothing_and_later_judgements_stay(
    ws: Workspace, tmp_path: Path, way: str
) -> None:
    judge_all(ws)
    before = ws.overview(), preferences(ws)
    job = import_preferences(ws, pairs_file(tmp_path / "p.jsonl", 20_000))
    for event in job.follow(60):
        if isinstance(event, Progress):
            [first, *_] = ws.experiment.judgements.list(limit=1)
            labelling.judge(ws, first.judgement.comparison_id, "tie", 1.0)
            getattr(job.token, way)()
            break
    assert job.wait(60)
    assert job.outcome == "cancelled"
    overview = ws.overview()
    assert (overview.n_prompts, overview.n_completions) == (
        before[0].n_prompts,
        before[0].n_completions,
    )
    assert overview.n_comparisons == before[0].n_comparisons
    assert labelling.undo(ws) == "ranked a tie"
    assert preferences(ws) == before[1]
    assert check(ws.path).problems == ()


def test_an_import_that_fails_leaves_nothing(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_calls = 0
    add = ExchangeRepository.add_judged

    def fails(self: ExchangeRepository, *arguments: Any) -> int:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            raise EnvironmentProblem("The disk is full.")
        return add(self, *arguments)

    monkeypatch.setattr(ExchangeRepository, "add_judged", fails)
    job = import_preferences(ws, pairs_file(tmp_path / "p.jsonl", 2000))
    assert job.wait(60)
    assert job.outcome == "failed"
    assert ws.experiment.judgements.count() == 0
    assert ws.experiment.prompts.count() == 0
    assert labelling.undo_name(ws) is None


def test_a_cancelled_export_leaves_no_folder(ws: Workspace, tmp_path: Path) -> None:
    taken(ws, pairs_file(tmp_path / "p.jsonl", 3000))
    job = export_preferences(ws, tmp_path / "out")
    for event in job.follow(60):
        if isinstance(event, Progress) and event.total:
            job.token.cancel()
            break
    assert job.wait(60)
    assert job.outcome == "cancelled"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["experiment", "p.jsonl"]


def test_counts_are_those_of_what_is_written(ws: Workspace, tmp_path: Path) -> None:
    judge_all(ws)
    counted = counts(ws, ExportChoice())
    assert (counted.n_pairs, counted.n_all, counted.n_prompts) == (3, 6, 6)
    assert counted.verdicts == {"first": 3, "tie": 1, "both_bad": 1, "skip": 1}
    assert counted.splits == {"train": 2, "heldout": 1}
    assert (counted.n_simulated, counted.annotators["ada", "person"]) == (1, 4)
    forms = ("trl", "trl-unpaired", "trl-prompts")
    done = result(export_preferences(ws, tmp_path / "out", ExportChoice(forms)))
    assert done["files"] == {
        "preferences.jsonl": counted.n_pairs,
        "unpaired.jsonl": counted.n_good + counted.n_bad,
        "prompts.jsonl": counted.n_prompts,
        "ties_and_skips.jsonl": counted.n_all - counted.n_pairs,
    }


@pytest.mark.parametrize(
    ("which", "n_pairs", "n_all"),
    [
        (PairFilter(annotators=("ada",)), 1, 4),
        (PairFilter(annotators=("ada", "gpt")), 2, 5),
        (PairFilter(kinds=("person", "ai")), 2, 5),
        (PairFilter(kinds=("simulated",)), 1, 1),
        (PairFilter(groups=("闲聊",)), 1, 1),
        (PairFilter(split="heldout"), 1, 1),
        (PairFilter(split="heldout", kinds=("person",)), 0, 0),
        (PairFilter(tags=("topic",)), 1, 1),
        (PairFilter(min_strength=1), 0, 0),
    ],
)
def test_filters_say_which_judgements_count(
    ws: Workspace, tmp_path: Path, which: PairFilter, n_pairs: int, n_all: int
) -> None:
    judge_all(ws)
    [first, *_] = ws.experiment.prompts.list()
    ws.experiment.remarks.add("tag", first.id, None, "topic", "ada", "person")
    counted = counts(ws, ExportChoice(which=which))
    assert (counted.n_pairs, counted.n_all) == (n_pairs, n_all)
    if not n_all:
        with pytest.raises(UserError, match="No judgement is among those chosen"):
            written(ws, tmp_path / "out", ExportChoice(which=which))


def test_only_what_all_annotators_say_and_how_decidedly(ws: Workspace, tmp_path: Path) -> None:
    taken(ws, pairs_file(tmp_path / "a.jsonl", 4, annotator="a", strength=2))
    taken(ws, pairs_file(tmp_path / "b.jsonl", 3, annotator="b", strength=1))
    rows = [{"prompt": "p0", "chosen": "bad 0", "rejected": "good 0", "annotator": "c"}]
    (tmp_path / "c.jsonl").write_text(json.dumps(rows), "utf-8")
    taken(ws, tmp_path / "c.jsonl")
    assert counts(ws, ExportChoice()).n_pairs == 4
    assert counts(ws, ExportChoice(which=PairFilter(is_agreed=True))).n_pairs == 3
    assert counts(ws, ExportChoice(which=PairFilter(min_strength=2))).n_pairs == 4
    strong = PairFilter(min_strength=1, annotators=("b",))
    folder = written(ws, tmp_path / "out", ExportChoice(which=strong))
    lines = (folder / "preferences.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["strength"] for row in rows] == [1, 1, 1]


def prompts_of(path: Path) -> set[str]:
    with path.open(encoding="utf-8") as file:
        return {json.loads(line)["prompt"][-1]["content"].casefold() for line in file}


def test_no_prompt_is_in_both_splits(ws: Workspace, tmp_path: Path) -> None:
    rows = [
        {"prompt": "What is a tide?", "chosen": "a", "rejected": "b", "split": "train"},
        {"prompt": "what  is a TIDE?", "chosen": "c", "rejected": "d", "split": "test"},
        {"prompt": "Why?", "chosen": "e", "rejected": "f", "split": "train"},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    taken(ws, tmp_path / "p.jsonl")
    choice = ExportChoice(("trl",), is_split=True)
    counted = counts(ws, choice)
    assert (counted.n_leaking, counted.splits) == (1, {"train": 1, "heldout": 2})
    folder = written(ws, tmp_path / "out", choice)
    assert prompts_of(folder / "preferences_train.jsonl") == {"why?"}
    assert len(prompts_of(folder / "preferences_heldout.jsonl")) == 2
    assert "1 that were, apart from case and spaces" in (folder / "README.md").read_text("utf-8")


def test_a_share_of_the_prompts_is_held_out_and_always_the_same(
    ws: Workspace, tmp_path: Path
) -> None:
    rows = [{"prompt": f"p{i // 2}", "chosen": f"a{i}", "rejected": "b"} for i in range(400)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    taken(ws, tmp_path / "p.jsonl")
    choice = ExportChoice(("trl",), is_split=True, heldout_share=0.25)
    one, two = (written(ws, tmp_path / name, choice) for name in ("one", "two"))
    train, heldout = (prompts_of(one / f"preferences_{n}.jsonl") for n in ("train", "heldout"))
    assert not train & heldout
    assert len(train) + len(heldout) == 200
    assert 25 <= len(heldout) <= 80
    assert prompts_of(two / "preferences_heldout.jsonl") == heldout
    with pytest.raises(UserError, match=r"share of 1\.5"):
        counts(ws, ExportChoice(heldout_share=1.5))
    with pytest.raises(UserError, match="no form excel"):
        export_preferences(ws, tmp_path / "three", ExportChoice(("excel",)))
