from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.app.conftest import end
from workbench.app import evaluate, lineage, metric_export, planning, runs
from workbench.app.workspace import Workspace
from workbench.data.formats.tensorboard import write_events
from workbench.errors import UserError
from workbench.events import Step

FIGURES = {1: {"objective/kl": 0.5, "loss/policy": math.nan}, 2: {"objective/kl": -1.25e-3}}


def make(ws: Workspace, kind: str, algorithm: str, **inputs: object) -> int:
    run_id = ws.experiment.runs.create(kind, algorithm, f"{algorithm} of {kind}", {}, inputs)  # type: ignore[arg-type]
    steps = [Step(step, 2, metrics, 1.0) for step, metrics in FIGURES.items()]
    ws.experiment.runs.append_events(run_id, steps)
    ws.experiment.runs.finish(run_id, "done")
    return run_id


@pytest.fixture
def chain(ws: Workspace) -> Workspace:
    """Two label sets, two reward models, three policies, an evaluation, an export."""
    make(ws, "reward", "reward", labels_digest="a" * 64, n_pairs=40)  # 1
    make(ws, "reward", "reward", labels_digest="b" * 64, n_pairs=60)  # 2
    make(ws, "policy", "ppo", reward_run=1, labels_digest="a" * 64)  # 3
    make(ws, "policy", "ppo", reward_run=2, start_run=3)  # 4
    make(ws, "policy", "dpo", labels_digest="b" * 64, n_pairs=60)  # 5
    make(ws, "evaluation", "evaluation", policy_run=4, reward_run=2)  # 6
    (ws.path / "exports" / "adapter").mkdir()
    ws.experiment.artifacts.add(4, "export", "exports/adapter", "c" * 64)
    return ws


def edges(found: lineage.Lineage) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in found.edges}


def test_the_graph_shows_what_was_made_from_what(chain: Workspace) -> None:
    found = lineage.lineage(chain)
    a, b = "labels:" + "a" * 64, "labels:" + "b" * 64
    assert edges(found) == {
        (a, "run:1"),
        (b, "run:2"),
        ("run:1", "run:3"),
        ("run:2", "run:4"),
        ("run:3", "run:4"),
        (b, "run:5"),
        ("run:4", "run:6"),
        ("run:2", "run:6"),
        ("run:4", "export:1"),
    }
    kinds = [node.kind for node in found.nodes]
    assert kinds == sorted(kinds, key=["labels", "reward", "policy", "evaluation", "export"].index)
    assert {n.key: n.title for n in found.nodes if n.kind == "labels"} == {
        a: "40 labels",
        b: "60 labels",
    }
    assert {n.key for n in found.around("run:3").nodes} == {
        a,
        "run:1",
        "run:3",
        "run:4",
        "run:6",
        "export:1",
    }
    assert [run.id for run in lineage.dependants(chain, 2)] == [4, 6]


def test_a_reward_model_that_learned_in_the_middle_stands_in_the_graph(chain: Workspace) -> None:
    rounds = chain.experiment.label_rounds
    for trained, outcome in ((2, "accepted"), (1, "refused")):
        rounds.set_trained(rounds.open(3, 7, [], 1), trained)
        rounds.finish(rounds.of_run(3)[-1].id, outcome, {})
    [edge] = [e for e in lineage.lineage(chain).edges if e.role.startswith("scores from")]
    assert (edge.source, edge.target, edge.role) == ("run:2", "run:3", "scores from update 7")


def test_deleting_is_undone_and_what_is_needed_stays_in_the_graph(chain: Workspace) -> None:
    (chain.path / "exports" / "adapter").rmdir()
    assert runs.delete(chain, [2, 5]) == 2
    assert [run.id for run in runs.runs(chain)] == [6, 4, 3, 1]
    found = {node.key: node.is_gone for node in lineage.lineage(chain).nodes}
    assert found["run:2"]
    assert found["export:1"]
    assert "run:5" not in found
    assert not found["run:1"]
    assert runs.delete(chain, [2]) == 0
    assert chain.experiment.undo.undo() == "deleted 2 runs"
    assert [run.id for run in runs.runs(chain)] == [6, 5, 4, 3, 2, 1]


def test_a_deleted_run_scores_nothing_and_names_are_not_given_twice(judged: Workspace) -> None:
    first = make(judged, "reward", "reward", model_digest="x")
    judged.experiment.artifacts.add(first, "reward_model", "reward_models/run-0001", "")
    policy = judged.run(make(judged, "policy", "ppo", model_digest="x"))
    assert planning.reward_source(judged, None).id == first
    scorer = evaluate.scorer(judged, policy)
    assert scorer is not None
    assert scorer.id == first
    runs.delete(judged, [first])
    assert evaluate.scorer(judged, policy) is None
    with pytest.raises(UserError, match="no reward model"):
        planning.reward_source(judged, None)
    assert judged.experiment.runs.count("reward", "reward") == 1


def test_notes_and_tags_are_undone_one_by_one(chain: Workspace) -> None:
    runs.set_note(chain, 3, "too long 回答")
    runs.set_tags(chain, 3, ["best", " best ", "", "paper"])
    assert (chain.run(3).note, chain.run(3).tags) == ("too long 回答", ("best", "paper"))
    runs.set_tags(chain, 3, ["best", "paper"])  # nothing changed: nothing to undo
    assert chain.experiment.undo.undo() == "changed the tags of ppo of policy"
    assert (chain.run(3).note, chain.run(3).tags) == ("too long 回答", ())
    assert chain.experiment.undo.undo() == "changed the note of ppo of policy"
    assert chain.run(3).note == ""
    assert chain.experiment.undo.redo() == "changed the note of ppo of policy"
    assert chain.run(3).note == "too long 回答"


def same(found: Mapping[str, float | None], wanted: Mapping[str, float]) -> bool:
    finite = {name: value for name, value in wanted.items() if math.isfinite(value)}
    return {n: v for n, v in found.items() if v is not None} == finite


def test_figures_come_back_from_csv_and_json_lines(chain: Workspace) -> None:
    job = metric_export.export_metrics(chain, [3, 4], "csv")
    folder = end(job).result["folder"]
    table = Path(str(folder), "run-0003-ppo-of-policy.csv").read_text("utf-8")
    lines = [*csv.DictReader(table.splitlines())]
    for line, (step, wanted) in zip(lines, FIGURES.items(), strict=True):
        assert int(line.pop("step")) == step
        assert same({n: float(v) if v else None for n, v in line.items()}, wanted)
    folder = end(metric_export.export_metrics(chain, [3], "jsonl")).result["folder"]
    text = Path(str(folder), "run-0003-ppo-of-policy.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row.pop("step") for row in rows] == [1, 2]
    assert all(same(row, wanted) for row, wanted in zip(rows, FIGURES.values(), strict=True))
    with pytest.raises(UserError, match="no form xls"):
        metric_export.export_metrics(chain, [3], "xls")
    with pytest.raises(UserError, match="No run is chosen"):
        metric_export.export_metrics(chain, [], "csv")


def test_tensorboard_reads_what_was_written(chain: Workspace, tmp_path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = end(metric_export.export_metrics(chain, [3], "tensorboard")).result["folder"]
    found = reader.EventAccumulator(f"{folder}/run-0003-ppo-of-policy").Reload()
    assert sorted(found.Tags()["scalars"]) == ["loss/policy", "objective/kl"]
    kl = found.Scalars("objective/kl")
    assert [(e.step, e.value) for e in kl] == [(1, 0.5), (2, pytest.approx(-1.25e-3))]
    assert math.isnan(found.Scalars("loss/policy")[0].value)
    # Long numbers and long names, whose lengths take more than one byte.
    write_events(tmp_path / "long", [(10**9, "n" * 300, 1e30, 1.5)], 1e9)
    found = reader.EventAccumulator(str(tmp_path / "long")).Reload()
    [event] = found.Scalars("n" * 300)
    assert (event.step, event.value, event.wall_time) == (10**9, pytest.approx(1e30), 1.5)


def test_what_is_not_installed_is_said(chain: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ImportError

    monkeypatch.setattr(metric_export.importlib, "import_module", missing)
    with pytest.raises(UserError, match="not installed"):
        metric_export.export_metrics(chain, [3], "wandb")
