"""Probes in an experiment: read once, measured beside the worker, kept as a reward like any."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.app.conftest import end
from workbench.app import features, labelling, probes, runs, scorers
from workbench.app.workspace import Workspace
from workbench.config.ppo import PPOSettings
from workbench.config.probe import ProbeSettings
from workbench.data.records import Message
from workbench.errors import UserError


def measured(ws: Workspace) -> probes.Report:
    found = probes.measure(ws, ProbeSettings(), ["logistic", "ridge", "svm"])
    assert isinstance(found, probes.Report)
    return found


def test_answers_are_read_once_and_then_measured_without_a_model(judged, monkeypatch) -> None:
    from workbench.rewards import features as model_features

    read: list[int] = []
    real = model_features.answer_features

    def counting(model, prompts, texts, layers):
        read.append(len(texts))
        return real(model, prompts, texts, layers)

    monkeypatch.setattr(model_features, "answer_features", counting)
    assert probes.report(judged) is None
    assert probes.is_due(judged)
    n_missing = probes.measure(judged, ProbeSettings())
    assert isinstance(n_missing, int)
    assert n_missing > 8
    assert end(probes.read_answers(judged)).outcome == "done"
    assert sum(read) == n_missing
    monkeypatch.setattr(judged, "model", None)
    found = measured(judged)
    assert [row.kind for row in found.rows] == ["logistic", "ridge", "svm"]
    assert found.n_labels == found.rows[0].accuracy.n == found.by_layer[0][2].n
    assert {layer for layer, *_ in found.by_layer} == set(features.depths(2))
    assert [n for n, _ in found.by_size] == sorted(n for n, _ in found.by_size)
    assert probes.report(judged) == found
    assert not probes.is_due(judged)
    assert sum(read) == n_missing
    # Another label, and it is time again; switched off it never is.
    labelling.judge(judged, 1, "first", 1.0)
    assert probes.is_due(judged)
    probes.switch(judged, False)
    assert not probes.is_due(judged)
    # What is measured quickly leaves the others as they were.
    again = probes.measure(judged, ProbeSettings())
    assert isinstance(again, probes.Report)
    assert {row.kind for row in again.rows} == {"logistic", "ridge", "svm"}


def test_a_kept_probe_is_a_reward_that_ppo_takes(judged) -> None:
    assert end(probes.keep(judged, ProbeSettings(kind="ridge", members=4))).outcome == "done"
    (run,) = judged.experiment.runs.list("reward")
    assert (run.algorithm, run.name, run.status) == ("probe", "Probe 1", "done")
    assert run.inputs["n_pairs"] == run.results["reward/heldout_pairs"]
    assert 0 <= run.results["reward/heldout_low"] <= run.results["reward/heldout_accuracy"]
    assert probes.saved(judged).kind == "ridge"

    def score(cancel):
        model = yield from judged.model(cancel)
        folder = judged.artifact_folder(run.id, "reward_model")
        with scorers.loaded(model, folder) as reward:
            return {"scores": reward.score_texts([(Message("user", "w1"),)], ["w2 w3"])}

    before = end(judged.submit("Score", "serve", score)).result["scores"]
    settings = PPOSettings(updates=1, batch_size=8, max_new_tokens=6, n_samples=1)
    assert end(runs.train(judged, "ppo", settings, reward_run=run.id)).outcome == "done"
    (policy,) = judged.experiment.runs.list("policy")
    assert policy.inputs["reward_run"] == run.id
    assert np.isfinite(runs.metrics(judged, policy.id)["objective/scores"][-1][1])
    # Training changed the adapter and not what the probe reads.
    assert end(judged.submit("Score", "serve", score)).result["scores"] == before
    with pytest.raises(UserError, match="cannot be resumed"):
        runs.resume(judged, run.id)


def test_labels_that_say_nothing_are_told(judged, open_workspace, model_folder) -> None:
    empty = open_workspace("other")
    with pytest.raises(UserError, match="No model"):
        probes.measure(empty, ProbeSettings())
    empty.selected_model = str(model_folder)
    with pytest.raises(UserError, match="There are 0 ranked pairs"):
        probes.keep(empty, ProbeSettings())
    with pytest.raises(UserError, match="0 rated answers"):
        probes.keep(empty, ProbeSettings(learn_from="ratings", kind="ridge"))
    assert not probes.is_due(empty)
    assert not empty.experiment.runs.list()
    for pair in judged.experiment.comparisons.get_many(range(1, 100)):
        labelling.judge(judged, pair.id, "tie", 1.0)
    with pytest.raises(UserError, match="judgements are ties"):
        probes.measure(judged, ProbeSettings())


def test_ratings_are_learned_from_too(judged) -> None:
    from workbench.app import feedback

    answers = [
        judged.experiment.completions.get(i)
        for pair in judged.experiment.comparisons.get_many(range(1, 20))
        for i in (pair.first_id, pair.second_id)
    ]
    unique = {a.id: a for a in answers}
    settings = ProbeSettings(learn_from="ratings", kind="ridge", members=0)
    for answer in unique.values():
        feedback.rate(judged, answer, 3)
    with pytest.raises(UserError, match="ratings are the same"):
        probes.measure(judged, settings)
    for answer in unique.values():
        feedback.rate(judged, answer, 1 + len(answer.text) % 5)
    assert end(probes.try_out(judged, settings, ["logistic", "ridge", "svm"])).outcome == "done"
    found = probes.report(judged)
    assert found is not None
    assert [row.kind for row in found.rows] == ["ridge", "svm"]
    assert found.n_labels == len(unique)


def test_the_command_line_measures_and_keeps(judged, capsys, monkeypatch) -> None:
    from workbench.cli import main

    monkeypatch.setattr(probes, "KINDS", probes.QUICK)

    path = str(judged.path)
    judged.close(60)
    assert main(["--experiment", path, "reward", "probe", "--members", "2"]) == 0
    out = capsys.readouterr().out
    assert "Held-out accuracy of probes on" in out
    assert "layer   2" in out
    assert main(["--experiment", path, "reward", "probe", "--keep", "--kind", "logistic"]) == 0
    ws = Workspace.open(judged.path)
    (run,) = ws.experiment.runs.list("reward")
    assert run.settings["kind"] == "logistic"
    ws.close(60)
