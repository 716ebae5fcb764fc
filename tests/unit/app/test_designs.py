"""Reward designs of an experiment: what is wrong with one, its versions, its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.close import EXACT, FLOAT64, FORWARD, assert_close
from tests.unit.app.conftest import end, events_of
from workbench.app import designs, handover, reward, runs, scorers, user_functions, worker
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config import algorithms, toml
from workbench.config.reward_model import RewardModelSettings
from workbench.config.reward_parts.design import DesignError, RewardDesign, dump, load, read
from workbench.config.reward_parts.kinds import AnyPart
from workbench.data.folders import verify
from workbench.data.records import NewCompletion
from workbench.errors import UserError
from workbench.events import Step, Warned
from workbench.training.ranks import Ranks


def design(*parts: dict[str, Any], name: str = "Kind") -> RewardDesign:
    return read({"name": name, "parts": parts})


SMALL: Any = toml.validate(
    algorithms.find("grpo").settings,
    {"updates": 1, "batch_size": 8, "max_new_tokens": 6, "lora": {"r": 2, "alpha": 4}},
)
RULES = design({"kind": "brevity", "longest": 20}, {"kind": "repetition", "n": 1, "weight": 2.0})


def wrong(ws: Workspace, *parts: dict[str, Any]) -> list[tuple[int | None, str, str]]:
    return [(p.part, p.field, p.message) for p in designs.check(ws, {"parts": list(parts)})]


def test_everything_that_is_wrong_is_told_at_once(judged: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def score(prompt, answer): return 1", encoding="utf-8")
    told = wrong(
        judged,
        {"kind": "reward-model"},
        {"kind": "reward-model", "run": 77},
        {"kind": "keywords", "words": " \n"},
        {"kind": "regex", "pattern": "(a+)+$"},
        {"kind": "similarity", "against": "written", "paid": "token"},
        {"kind": "format-json", "wanted": "list", "keys": "a"},
        {"kind": "python-function", "file": str(file)},
        {"kind": "ai-judge", "judge": {"where": "folder", "model": "nowhere"}},
        {"kind": "regex"},
    )
    where = [(part, field) for part, field, _ in told]
    assert where == [
        (0, "run"),
        (1, "run"),
        (2, "words"),
        (3, "pattern"),
        (4, "paid"),
        (4, "against"),
        (5, "keys"),
        (6, "function"),
        (6, "file"),
        (7, "judge.model"),
        (8, "pattern"),
    ]
    assert all(message.endswith(".") for _, _, message in told)
    # Values that are no settings come first: the rest cannot be read beside them.
    told = wrong(judged, {"kind": "brevty"}, {"kind": "brevity", "weight": 11, "logest": 2}, 3)  # type: ignore[arg-type]
    assert [(part, field) for part, field, _ in told] == [
        (0, "kind"),
        (1, "weight"),
        (1, "logest"),
        (2, ""),
    ]
    told = wrong(judged, {"kind": "ai-judge", "judge": {"where": "endpoint", "model": "m"}})
    assert [(part, field) for part, field, _ in told] == [(0, "judge.url")]
    assert wrong(judged) == [(None, "parts", "There is no part yet. Add one.")]
    assert wrong(judged, {"kind": "brevity", "weight": 0})[0][1] == "parts"
    with pytest.raises(DesignError, match="part 1, run: Choose a reward run"):
        designs.save(judged, design({"kind": "reward-model"}))


def test_a_saved_version_is_a_reward_run_that_trains_and_can_be_opened(judged: Workspace) -> None:
    for _ in range(2):
        assert end(designs.save(judged, RULES)).outcome == "done"
    second, first = designs.designs(judged)
    assert (first.name, second.name) == ("Kind, version 1", "Kind, version 2")
    assert second in reward.reward_runs(judged)
    assert second.inputs["bases"] == []
    assert designs.design_of(judged, first.id) == RULES
    folder = judged.artifact_folder(first.id, "reward_model")
    assert verify(folder) == []
    events = events_of(runs.train(judged, "grpo", SMALL, reward_run=first.id))
    (step,) = [e for e in events if isinstance(e, Step)]
    assert -3.0 <= step.metrics["objective/scores"] < 0.0
    asking = SMALL.model_copy(update={"labels_every": 1})
    with pytest.raises(UserError, match="does not learn from labels"):
        runs.train(judged, "grpo", asking, reward_run=first.id)
    with pytest.raises(UserError, match="cannot be resumed"):
        runs.resume(judged, first.id)
    with pytest.raises(UserError, match="is no reward design"):
        designs.design_of(judged, runs.runs(judged, "policy")[0].id)


def test_a_design_goes_along_in_a_bundle_for_the_worker(
    judged: Workspace, model_folder: Path, tmp_path: Path
) -> None:
    assert end(reward.train_reward(judged, RewardModelSettings(epochs=1))).outcome == "done"
    (trained,) = reward.reward_runs(judged)
    made = design({"kind": "reward-model", "run": trained.id}, {"kind": "brevity"})
    assert end(designs.save(judged, made)).outcome == "done"
    folder = tmp_path / "bundle"
    job = handover.export_bundle(judged, "grpo", SMALL, folder)
    assert end(job).outcome == "done"
    assert verify(folder) == []
    assert not (folder / "reward.py").exists()
    assert "no single network" in (folder / "launch.md").read_text(encoding="utf-8")
    out = tmp_path / "out"
    steps = [
        e
        for e in worker.work_off(folder, str(model_folder), out, Ranks(), CancelToken())
        if isinstance(e, Step)
    ]
    assert len(steps) == 1
    assert (out / "adapter").is_dir()


def test_a_version_holds_copies_of_what_its_parts_need(judged: Workspace, tmp_path: Path) -> None:
    assert end(reward.train_reward(judged, RewardModelSettings(epochs=1))).outcome == "done"
    (trained,) = reward.reward_runs(judged)
    file = tmp_path / "mine.py"
    file.write_text("def reward(prompt, answer): return len(answer)", encoding="utf-8")
    user_functions.allow(file)
    prompt_ids = [p.id for p in judged.experiment.prompts.list(split="train")]
    judged.experiment.completions.add(
        NewCompletion(prompt_ids[0], "w1 w2", source="edited", author="me")
    )
    made = design(
        {"kind": "reward-model", "run": trained.id},
        {"kind": "similarity", "shift": 0.25},
        {"kind": "python-function", "file": str(file)},
        {"kind": "perplexity"},
    )
    events = events_of(designs.save(judged, made))
    (doubt,) = [e for e in events if isinstance(e, Warned)]
    assert "no written answer for 11 of 12 prompts" in doubt.message
    (saved,) = designs.designs(judged)
    assert [base["digest"] for base in saved.inputs["bases"]] == [judged.model_info().digest]  # type: ignore[union-attr]
    folder = judged.artifact_folder(saved.id, "reward_model")
    source = judged.artifact_folder(trained.id, "reward_model")
    weights = "adapter_model.safetensors"
    assert (folder / "parts/01" / weights).read_bytes() == (source / weights).read_bytes()
    assert (folder / "parts/03/function.py").read_text() == file.read_text()
    (line,) = (folder / "references.jsonl").read_text().splitlines()
    assert json.loads(line)["answer"] == "w1 w2"

    # It scores though all that it was made from has changed, as the sum of its parts does.
    file.write_text("def reward(prompt, answer): return -1", encoding="utf-8")
    job = judged.submit("score", "measure", lambda cancel: _score(judged, folder, cancel))
    result = end(job).result
    assert_close(result["total"], result["sum"], FORWARD)
    assert result["similarity"] == [1.0, 0.25]
    assert result["length"] == [5.0, 5.0]


def _score(ws: Workspace, folder: Path, cancel: CancelToken) -> Any:
    model = yield from ws.model(cancel)
    prompts = [p.messages for p in ws.experiment.prompts.list(split="train")[:2]]
    texts = ["w1 w2"] * 2
    with scorers.loaded(model, folder) as whole:
        total = whole.score_texts(prompts, texts)
    columns = []
    for i in range(4):
        part = scorers.part(model, folder, i, cancel)
        (column,) = part.table(prompts, texts)
        columns.append(column.raw)
        part.close()
    first, likeness, length, likelihood = columns
    terms = zip(first, likeness, length, likelihood, strict=True)
    return {
        "total": total,
        "sum": [a + (b - 0.25) + c + d for a, b, c, d in terms],
        "similarity": list(likeness),
        "length": list(length),
    }


def table_of(ws: Workspace, made: RewardDesign, **how: Any) -> designs.Measured:
    job = designs.measure(ws, made, **how)
    assert end(job).outcome == "done"
    return designs.measured(ws, job)


def test_a_table_has_raw_values_and_says_which_part_has_none(judged: Workspace) -> None:
    made = design(
        {"kind": "brevity", "longest": 20, "weight": 3.0},
        {"kind": "reward-model", "run": 9},
        {"kind": "stop-token"},
    )
    table = table_of(judged, made, n=5)
    assert len(table.rows) == 5
    assert len({row.prompt for row in table.rows}) == 5, "of different prompts"
    for row in table.rows:
        answer = judged.experiment.completions.get(row.completion_id)
        assert row.text == answer.text
        assert row.raw[0] == pytest.approx(-len(answer.text.split()) / 20)
        assert row.raw[1] is None
        assert row.raw[2] == float(answer.finish == "stop")
        assert (row.is_base, row.kl) == (True, 0.0)
    assert table.problems[0] == table.problems[2] == ""
    assert "no run 9" in table.problems[1]


def test_what_is_known_is_not_measured_again(judged: Workspace) -> None:
    table = table_of(judged, RULES, n=3)
    ids = [row.completion_id for row in table.rows]
    heavier = design({"kind": "brevity", "longest": 20, "weight": -1.0}, {"kind": "stop-token"})
    fake = designs.Measured(
        table.design,
        tuple(
            designs.Row(r.completion_id, r.prompt, r.text, r.is_base, (42.0, 0.0), r.kl)
            for r in table.rows
        ),
        table.problems,
        table.seconds,
    )
    again = table_of(judged, heavier, completion_ids=ids, known=fake)
    assert {row.raw[0] for row in again.rows} == {42.0}
    assert {row.raw[1] for row in again.rows} <= {0.0, 1.0}
    others = table_of(judged, heavier, completion_ids=ids[:2], known=fake)
    assert 42.0 not in {row.raw[0] for row in others.rows}, "other answers"


def test_calibrating_gives_mean_0_and_spread_1(judged: Workspace) -> None:
    made = design(
        {"kind": "brevity", "longest": 20}, {"kind": "format-json"}, {"kind": "stop-token"}
    )
    table = table_of(judged, made)
    found = designs.calibrated(made, table)
    values = [found.parts[0].normalised(row.raw[0] or 0.0) for row in table.rows]
    assert_close(sum(values) / len(values), 0.0, FLOAT64)
    assert_close(sum(v * v for v in values) / len(values), 1.0, FLOAT64)
    assert found.parts[1] == made.parts[1], "all are 0: nothing to scale by"
    with pytest.raises(UserError, match="have changed since"):
        designs.calibrated(RULES, table)


def test_the_distance_of_a_policy_is_measured(judged: Workspace) -> None:
    end(designs.save(judged, RULES))
    settings = toml.validate(
        algorithms.find("grpo").settings,
        {
            "updates": 2,
            "batch_size": 8,
            "max_new_tokens": 6,
            "learning_rate": 1e-2,
            "lora": {"r": 2, "alpha": 4},
        },
    )
    job = runs.train(judged, "grpo", settings)
    assert end(job).outcome == "done"
    assert job.run_id is not None
    name = judged.run(job.run_id).name
    prompt_id = judged.experiment.prompts.list(split="train")[0].id
    digest = judged.model_info().digest
    ids = judged.experiment.completions.add_many(
        [
            NewCompletion(
                prompt_id, "w1 w2", (4, 5, 1), "stop", model_digest=digest, adapter=adapter
            )
            for adapter in (name, "somebody", None)
        ]
    )
    by_policy, unknown, base = table_of(judged, RULES, completion_ids=ids).rows
    assert by_policy.kl is not None
    assert by_policy.kl != 0.0
    assert unknown.kl is None
    assert base.kl == 0.0
    result = end(judged.submit("kl", "measure", lambda c: _kl(judged, job.run_id, c))).result
    assert_close(by_policy.kl, result["kl"], FORWARD)


def _kl(ws: Workspace, run_id: int, cancel: CancelToken) -> Any:
    model = yield from ws.model(cancel)
    import torch

    from workbench.models import adapters

    prompt = model.encode_prompt(ws.experiment.prompts.list(split="train")[0].messages)
    adapters.load(model, "p", ws.artifact_folder(run_id, "adapter"))
    sums = []
    for name in ("p", None):
        with adapters.active(model, name), torch.no_grad():
            logits = model.model(torch.tensor([[*prompt, 4, 5, 1]])).logits[0].log_softmax(-1)
        sums.append(sum(float(logits[len(prompt) - 1 + t, i]) for t, i in enumerate((4, 5, 1))))
    adapters.remove(model, "p")
    return {"kl": sums[0] - sums[1]}


def test_permissions_hold_for_one_content_on_one_machine(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def reward(prompt, answer): return 1\nclass X:\n  def no(self): pass\n")
    assert user_functions.functions(file) == ["reward"]
    assert not user_functions.is_allowed(file)
    user_functions.allow(file)
    assert user_functions.is_allowed(file)
    file.write_text("def reward(prompt, answer): return 2\n")
    assert not user_functions.is_allowed(file)
    user_functions.allow(file)
    user_functions.forbid(file)
    assert not user_functions.is_allowed(file)
    file.write_text("def reward(prompt, answer) return 2\n")
    with pytest.raises(UserError, match=r"mine\.py is no Python"):
        user_functions.allow(file)
    with pytest.raises(UserError, match="cannot be read"):
        user_functions.is_allowed(tmp_path / "gone.py")


def test_a_file_gives_back_the_design_that_was_written(tmp_path: Path) -> None:
    made = design(
        {"kind": "keywords", "words": ["good", "好的"], "weight": -2.5, "label": "词"},
        {"kind": "ai-judge", "judge": {"rubric": 'brief\n"x"'}},
        {"kind": "length-target", "paid": "token", "clip": 2.0},
    )
    path = tmp_path / "design.toml"
    path.write_text(dump(made), encoding="utf-8")
    assert load(path) == made
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(UserError, match="is not valid TOML"):
        load(path)


def test_an_earlier_version_of_a_setting_is_read(tmp_path: Path) -> None:
    model = algorithms.find("ppo").settings
    for old, new in ((True, "reference"), (False, "off"), ("running", "running")):
        assert toml.validate(model, {"normalise_scores": old}).normalise_scores == new  # type: ignore[attr-defined]
    path = tmp_path / "settings.toml"
    path.write_text("normalise_scores = false\n")
    assert toml.load(model, path).normalise_scores == "off"  # type: ignore[attr-defined]
    with pytest.raises(toml.SettingsError, match="Must be one of"):
        toml.validate(model, {"normalise_scores": "maybe"})


def test_a_design_adds_up(tmp_path: Path) -> None:
    parts: tuple[AnyPart, ...] = design(
        {"kind": "brevity", "weight": 2.0, "shift": -1.0, "scale": 0.5, "clip": 1.0},
        {"kind": "stop-token", "weight": -1.0},
    ).parts
    assert_close(parts[0].contribution(-0.75), 2.0 * 0.5, EXACT)
    assert_close(parts[0].contribution(0.0), 2.0, EXACT)
    assert_close(RewardDesign(parts=parts).total((-0.75, 1.0)), 0.0, EXACT)
