from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.unit.app.conftest import end
from workbench.app import again, comparing, run_table, runs
from workbench.app.workspace import Workspace
from workbench.cli import runs as commands
from workbench.cli.following import Outcome
from workbench.cli.parser import parse
from workbench.cli.show import Show
from workbench.config.dpo import DPOSettings
from workbench.errors import UserError
from workbench.events import Step

KL = "objective/kl"


def add(ws: Workspace, name: str, kl: list[float], status: str = "done", **inputs: object) -> int:
    settings = {"seed": len(kl), "learning_rate": 1e-4, "lora": {"r": 8}}
    run_id = ws.experiment.runs.create("policy", "ppo", name, settings, inputs)
    steps = [Step(i, len(kl), {KL: v}, 1.0) for i, v in enumerate(kl, start=1)]
    ws.experiment.runs.append_events(run_id, steps)
    ws.experiment.runs.finish(run_id, status)  # type: ignore[arg-type]
    return run_id


@pytest.fixture
def three(ws: Workspace) -> Workspace:
    """Runs 1 to 3: one that ended well, one that broke, one that crashed before its first step."""
    add(ws, "PPO 1", [1.0, 3.0], labels_digest="a" * 64)
    add(ws, "PPO 2", [5.0, 2.0, math.nan], labels_digest="b" * 64, reward_run=1)
    add(ws, "PPO 3", [], "failed")
    return ws


def test_rows_have_their_last_figures_and_an_order(three: Workspace) -> None:
    assert three.experiment.runs.final_metrics(1) == {KL: (2, 3.0)}
    found = run_table.finals(three, [1, 2, 3])
    rows = [run_table.RunRow(run, found[run.id]) for run in runs.runs(three)]
    assert [(row.updates, row.final(KL)) for row in rows] == [(None, None), (3, None), (2, 3.0)]
    assert [row.seed for row in rows] == [0, 3, 2]

    def names(value, is_falling: bool) -> list[str]:
        return [r.run.name for r in run_table.ordered(rows, value, is_falling=is_falling)]

    # Without a value: last either way, the newest first.
    assert names(lambda row: row.final(KL), True) == ["PPO 1", "PPO 3", "PPO 2"]
    assert names(lambda row: row.final(KL), False) == ["PPO 1", "PPO 3", "PPO 2"]
    assert names(lambda row: row.updates, True) == ["PPO 2", "PPO 1", "PPO 3"]
    assert names(lambda row: row.run.name, False) == ["PPO 1", "PPO 2", "PPO 3"]


def test_runs_are_found_by_words_kind_state_and_tag(three: Workspace) -> None:
    runs.set_note(three, 1, "Best SO far")
    runs.set_tags(three, 2, ["paper"])

    def names(**wanted) -> list[str]:
        chosen = run_table.Wanted(**wanted)
        return [run.name for run in runs.runs(three) if chosen.holds(run)]

    assert names(text="so best") == ["PPO 1"]
    assert names(text="ppo paper") == ["PPO 2"]
    assert names(status="failed") == ["PPO 3"]
    assert names(kind="reward") == []
    assert names(tag="paper") == ["PPO 2"]
    assert run_table.tags(runs.runs(three)) == ["paper"]


def test_only_what_differs_is_told_and_broken_ends_are_called_so(three: Workspace) -> None:
    found = comparing.compare(three, [1, 2, 3])
    assert {d.title: d.values for d in found.differences} == {
        "Seed": ("2", "3", "0"),
        "Labels": ("a" * 12, "b" * 12, None),
        "Reward run": (None, "1", None),
    }
    assert found.n_settings == 6
    assert found.endings[KL] == (
        comparing.Ending(3.0, 2, False),
        comparing.Ending(2.0, 2, True),
        None,
    )
    assert comparing.title_of(KL) == "KL to reference, nats"
    broken = comparing.endings([{"x": [(1, math.inf), (2, math.nan)]}])
    assert broken == {"x": (comparing.Ending(None, 2, True),)}
    for chosen in ([1], [1, 1], [1, 2, 3, 4, 5, 6, 7]):
        with pytest.raises(UserError, match="chosen"):
            comparing.compare(three, chosen)


def test_sameness_is_to_the_last_digit_and_tells_the_largest_gap(three: Workspace) -> None:
    run = three.run(1)
    before = {
        KL: [(1, 0.1), (2, 0.2), (3, math.nan)],
        "loss/policy": [(1, 1.0)],
        "time/score": [(1, 5.0)],
    }

    def compare(after) -> again.Sameness:
        return again.compared(run, run, before, after)

    same = compare({**before, "time/score": [(1, 9.0)]})
    assert same.is_equal
    assert (same.n_metrics, same.n_values, same.last_step) == (2, 4, 3)
    assert "equal to the last digit" in same.sentence()
    # One unit in the last place is a difference; NaN against a number is the largest.
    near = compare({KL: [(1, math.nextafter(0.1, 1)), (2, 0.25), (3, math.nan)]})
    assert not near.is_equal
    assert near.gaps == (again.Gap(KL, 2, 0.2, 0.25, 1),)
    assert near.only_one == ("loss/policy",)
    worse = compare({**before, KL: [(1, 0.1), (2, 0.2), (3, 7.0)]})
    assert worse.gaps[0].size == math.inf
    assert "first at update 3" in worse.sentence()
    # One that ended earlier is compared as far as it came.
    assert compare({KL: [(1, 0.1)], "loss/policy": [(1, 1.0)]}).is_equal
    assert not compare({}).is_equal


def test_a_run_again_gives_the_same_numbers(judged: Workspace) -> None:
    settings = DPOSettings(epochs=1, batch_size=4)
    first = runs.train(judged, "dpo", settings)
    assert end(first).outcome == "done"
    assert first.run_id is not None
    # Its own data is taken: that the labels are gone by now plays no part.
    judged.experiment.undo.undo()
    second = again.again(judged, first.run_id)
    assert end(second).outcome == "done"
    assert second.run_id is not None
    found = again.sameness(judged, second.run_id)
    assert found is not None
    assert found.n_values > 10
    assert found.is_equal, found.sentence()
    assert again.sameness(judged, first.run_id) is None
    made = judged.run(second.run_id)
    assert made.settings == judged.run(first.run_id).settings
    assert made.inputs["again_of"] == first.run_id
    # Another seed is another run: the comparison can tell.
    judged.experiment.undo.redo()
    other = runs.train(judged, "dpo", settings.model_copy(update={"seed": 5}))
    assert end(other).outcome == "done"
    assert other.run_id is not None
    figures = [runs.metrics(judged, i) for i in (first.run_id, other.run_id)]
    assert not again.compared(found.original, made, *figures).is_equal


def test_what_cannot_be_run_again_says_so(three: Workspace) -> None:
    evaluation = three.experiment.runs.create("evaluation", "evaluation", "Evaluation 1", {}, {})
    with pytest.raises(UserError, match="is an evaluation"):
        again.again(three, evaluation)
    three.experiment.label_rounds.open(1, 2, [], 1)
    with pytest.raises(UserError, match="labels that were given while it ran"):
        again.again(three, 1)


def test_the_commands(three: Workspace, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def run(*words: str, is_json: bool = False) -> str:
        options = parse(["runs", *words])
        done = commands.COMMANDS[options.command](three, options, Show(is_json=is_json))
        assert done is Outcome.DONE
        return capsys.readouterr().out

    run("note", "2", "too far")
    run("tag", "2", "paper", "paper")
    assert "#paper  too far" in run("list", "--kind", "policy", "too")
    listed = [json.loads(line) for line in run("list", is_json=True).splitlines()]
    assert [row["run"] for row in listed] == [3, 2, 1]
    assert listed[1]["metrics"] == {KL: None}
    told = run("compare", "1", "2", "3")
    assert "Settings that differ (3 of 6)" in told
    assert "2, NaN after 2" in told
    assert json.loads(run("compare", "1", "2", is_json=True))["endings"][KL][0]["value"] == 3.0
    assert "labels" in run("lineage")
    assert "PPO 3" not in run("lineage", "1")
    run("export", "1", "2", "--form", "jsonl", "--folder", str(tmp_path / "out"))
    assert len([*(tmp_path / "out").glob("*.jsonl")]) == 2
    assert json.loads(run("delete", "1", is_json=True)) == {
        "event": "Result",
        "n": 1,
        "made_from_them": ["PPO 2"],
    }
