"""Text metrics, safety and the gate of a trained policy: recorded, read back, noted at exports."""

import json
import shutil

import pytest

from tests import ready, tinymodels
from tests.unit.app.conftest import end, events_of
from workbench.app import evaluate, gate, measuring, runs, safety, text_evaluation
from workbench.app.safety import SafetyFiles
from workbench.config.annotator import AnnotatorSettings
from workbench.config.dpo import DPOSettings
from workbench.config.evaluation import EvaluationSettings
from workbench.config.gate import GateSettings
from workbench.config.safety import SafetySettings
from workbench.config.text_evaluation import TextEvaluationSettings
from workbench.data.figures import Estimate, Figure
from workbench.data.folders import verify
from workbench.data.records import NewCompletion
from workbench.errors import UserError
from workbench.evaluation import gate as rules
from workbench.events import Progress, Warned

TEXT = TextEvaluationSettings(max_new_tokens=8)
SAFE = SafetySettings(
    max_new_tokens=6, pairs_per_attribute=2, n_requests=4, batch_size=64, language="en"
)
LAX = GateSettings(
    max_perplexity_rise=1000, max_kl=1e4, max_safety_loss=100, max_gap_rise=2, min_win_rate=0
)
EVALUATION = EvaluationSettings(max_new_tokens=8)


@pytest.fixture(scope="module")
def trained_folder(model_folder, tmp_path_factory):
    """With a policy, made once."""
    ws = ready.new_experiment(tmp_path_factory.mktemp("trained") / "experiment", str(model_folder))
    ready.add_answers(ws, max_new_tokens=8)
    ready.add_judgements(ws)
    ready.end(runs.train(ws, "dpo", DPOSettings(epochs=1, batch_size=8)))
    assert ws.close(60)
    return ws.path


@pytest.fixture
def trained(open_workspace, trained_folder, tmp_path):
    """The experiment, and the policy run."""
    shutil.copytree(trained_folder, tmp_path / "experiment")
    ws = open_workspace()
    return ws, ws.experiment.runs.list("policy")[0].id


def heldout(ws):
    return ws.experiment.prompts.list(split="heldout")


def test_text_metrics_safety_gate_and_export(trained, tmp_path):
    ws, policy = trained
    text_file = tmp_path / "text.txt"
    text_file.write_text("w1 w2 w3\n\nw4 w5\n")
    references = tmp_path / "answers.jsonl"
    rows = [{"prompt": p.text, "completion": "w1 w2 w3 w4"} for p in heldout(ws)]
    references.write_text("\n".join(map(json.dumps, [*rows, {"prompt": "x", "completion": "y"}])))
    job = text_evaluation.measure(ws, policy, TEXT, references_file=references, text_file=text_file)
    events = events_of(job)
    assert events[-1].outcome == "done"
    assert any(isinstance(e, Progress) and e.total == 16 and e.done == 16 for e in events)
    found = text_evaluation.result(ws, job.run_id)
    assert (found.run.kind, found.run.name) == ("evaluation", "Text metrics 1")
    assert found.policy.id == policy
    assert found.notes == (
        "1 of 5 answers in answers.jsonl are to other prompts and are left out.",
    )
    by_name = {figure.name: figure for figure in found.figures}
    assert {"bleu", "chrf", "rouge_l", "perplexity_text", "perplexity_references", "kl"} <= set(
        by_name
    )
    assert found.signatures["bleu"].startswith("nrefs:1|")
    stored = runs.metrics(ws, job.run_id)
    assert stored["rouge_l_after"] == [(0, by_name["rouge_l"].after.value)]
    assert measuring.evaluations(ws, measuring_how("text-metrics"), policy)[0].id == job.run_id
    assert evaluate.evaluations(ws) == []  # not taken for a comparison

    words = tmp_path / "words.txt"
    words.write_text("w1\n")
    crows = tmp_path / "crows.csv"
    crows.write_text("sent_more,sent_less,stereo_antistereo,bias_type\nw1 w2,w1 w3,stereo,age\n")
    files = SafetyFiles(
        words, tinymodels.write_classifier(tmp_path / "judge", "bert", 2), "", crows
    )
    job = safety.measure(ws, policy, SAFE, files)
    assert end(job).outcome == "done"
    found = safety.result(ws, job.run_id)
    by_name = {figure.name: figure for figure in found.figures}
    assert {"refusal_harmful", "toxicity_words", "toxicity_classifier", "stereotype"} <= set(
        by_name
    )
    asked = safety.answers(ws, job.run_id)
    assert by_name["gap_length"].n + 8 <= len(asked) <= 2 * 16 + 8
    assert {a.language for a in asked} == {"en"}

    incomplete = gate.check(ws, policy, LAX)
    assert incomplete.verdict == "incomplete"
    assert [c.name for c in incomplete.checks if c.state == "unmeasured"] == ["win_rate"]
    compared = evaluate.compare(ws, policy, EVALUATION, AnnotatorSettings())
    assert end(compared).outcome == "done"
    passed = gate.check(ws, policy, LAX)
    assert passed.verdict == "passed"
    assert passed.run.inputs["comparison_run"] == compared.run_id
    assert gate.check(ws, policy, GateSettings(max_kl=0.0, min_win_rate=100)).verdict == "failed"
    latest = gate.check(ws, policy, LAX)
    assert gate.latest(ws, policy) == latest
    target = tmp_path / "adapter"
    assert end(runs.export_adapter(ws, policy, target)).outcome == "done"
    assert verify(target) == []
    assert "The gate passed. 9 of 9 checks passed." in (target / "README.md").read_text()
    noted = json.loads((target / "gate.json").read_text())
    assert noted["verdict"] == "passed"
    assert "gate.json" in (target / "MANIFEST.json").read_text()

    # What was measured of the policy before it was trained on does not count.
    ws.experiment.runs.finish(policy, "done")
    assert gate.latest(ws, policy) is None
    assert {c.state for c in gate.check(ws, policy, LAX).checks} == {"unmeasured"}


def measuring_how(name):
    from workbench.config import algorithms

    return {m.name: m for m in (algorithms.TEXT_METRICS, algorithms.SAFETY)}[name]


def test_answers_of_a_comparison_are_measured_again_and_references_are_our_own(trained):
    ws, policy = trained
    compared = evaluate.compare(ws, policy, EVALUATION, AnnotatorSettings())
    assert end(compared).outcome == "done"
    written = NewCompletion(heldout(ws)[0].id, "w1 w2 w3", source="edited", author="me")
    ws.experiment.completions.add(written)
    job = text_evaluation.measure(ws, policy, TEXT, pairs_run=compared.run_id)
    assert end(job).outcome == "done"
    found = text_evaluation.result(ws, job.run_id)
    assert found.run.inputs["pairs_run"] == compared.run_id
    by_name = {figure.name: figure for figure in found.figures}
    summary = evaluate.result(ws, compared.run_id).summary
    assert by_name["kl"].after.value == pytest.approx(summary["kl"])
    assert by_name["length"].before.value == summary["length_before"]
    assert by_name["bleu"].n == 1
    again = text_evaluation.measure(ws, policy, TEXT)
    assert end(again).outcome == "done"
    anew = {f.name: f for f in text_evaluation.result(ws, again.run_id).figures}
    assert anew["length"] == by_name["length"]  # the same luck, so the same answers
    with pytest.raises(UserError, match="holds no answers of"):
        text_evaluation.measure(ws, policy, TEXT, pairs_run=policy)


def test_what_is_missing_is_told(trained, tmp_path):
    ws, policy = trained
    with pytest.raises(UserError, match="There is no file"):
        text_evaluation.measure(ws, policy, TEXT, text_file=tmp_path / "gone.txt")
    with pytest.raises(UserError, match="There is no folder"):
        safety.measure(ws, policy, SAFE, SafetyFiles(classifier=tmp_path / "gone"))
    strange = tmp_path / "answers.csv"
    strange.write_text("prompt,answer\nwho,me\n")
    job = text_evaluation.measure(ws, policy, TEXT, references_file=strange)
    assert "is to a held-out prompt" in end(job).error.message
    with pytest.raises(UserError, match="has no figures"):
        text_evaluation.result(ws, job.run_id)
    judge = tinymodels.write_classifier(tmp_path / "judge3", "bert", 3)
    job = safety.measure(ws, policy, SAFE, SafetyFiles(classifier=judge))
    assert "no label that is called toxic; its labels are LABEL_0" in end(job).error.message
    with pytest.raises(UserError, match="No check is chosen"):
        gate.check(ws, policy, GateSettings(**dict.fromkeys(_SWITCHES, False)))
    shutil.rmtree(ws.artifact_folder(policy, "adapter"))
    for measure in (
        lambda: text_evaluation.measure(ws, policy, TEXT),
        lambda: safety.measure(ws, policy, SAFE),
        lambda: gate.check(ws, policy, LAX),
    ):
        with pytest.raises(UserError, match="wrote is gone"):
            measure()


_SWITCHES = ("checks_perplexity", "checks_kl", "checks_safety", "checks_win_rate")


def test_figures_that_are_no_numbers_are_warned_of():
    figures = [
        Figure("kl", None, Estimate(float("nan")), None, 3),
        Figure("length", Estimate(1.0), Estimate(2.0), Estimate(1.0), 3),
    ]
    warned = [e for e in measuring.told(figures) if isinstance(e, Warned)]
    assert [w.message for w in warned] == ["No finite number came out for: KL to the base."]


def figure(name, before, after, low, high):
    return Figure(name, Estimate(before), Estimate(after), Estimate(after - before, low, high), 9)


def states(settings, figures, win=None):
    return {c.name: c.state for c in rules.judge(settings, figures, (), win)}


def test_each_check_of_the_gate_by_hand():
    """At its bound, above it, without a figure, and with one that is no number."""
    only_text = {"checks_safety": False, "checks_win_rate": False}
    settings = GateSettings(max_perplexity_rise=10, max_kl=2, **only_text)
    fine = figure("perplexity_text", 20.0, 22.0, 1.0, 3.0)
    kl = Figure("kl", None, Estimate(2.0, 1.5, 2.5), None, 9)
    assert states(settings, [fine, kl]) == {"perplexity": "passed", "kl": "passed"}
    strict = GateSettings(max_perplexity_rise=10, max_kl=2, judged_by="interval", **only_text)
    assert states(strict, [fine, kl]) == {"perplexity": "failed", "kl": "failed"}
    worse = figure("perplexity_references", 20.0, 22.1, 1.0, 3.0)
    assert states(settings, [worse]) == {"perplexity": "failed", "kl": "unmeasured"}
    nan = figure("perplexity_text", 20.0, float("nan"), float("nan"), float("nan"))
    assert states(settings, [nan])["perplexity"] == "failed"

    safe = GateSettings(
        max_safety_loss=5, max_gap_rise=0.1, checks_perplexity=False, checks_kl=False,
        checks_win_rate=False,
    )  # fmt: skip
    changes = {
        "refusal_harmful": (0.9, 0.8),
        "refusal_harmless": (0.1, 0.0),
        "toxicity_words": (0.0, 0.06),
        "gap_sentiment": (0.2, 0.29),
        "gap_refusal": (0.0, 0.2),
    }
    figures = [figure(name, a, b, b - a - 0.1, b - a + 0.1) for name, (a, b) in changes.items()]
    assert states(safe, figures) == {
        "refusal_harmful": "failed",
        "refusal_harmless": "passed",
        "toxicity_words": "failed",
        "gap_sentiment": "passed",
        "gap_refusal": "failed",
    }
    wins = GateSettings(
        min_win_rate=55, checks_perplexity=False, checks_kl=False, checks_safety=False
    )
    who = "the reward"
    assert states(wins, [], (who, Estimate(0.6, 0.5, 0.7))) == {"win_rate": "passed"}
    assert states(wins, [], (who, Estimate(0.54, 0.5, 0.7))) == {"win_rate": "failed"}
    interval = wins.model_copy(update={"judged_by": "interval"})
    assert states(interval, [], (who, Estimate(0.6, 0.5, 0.7))) == {"win_rate": "failed"}
    checks = rules.judge(wins, [], (), (who, Estimate(0.6, 0.5, 0.7)))
    assert checks[0].sentence == (
        "Win rate, judged by the reward: 60 %, 95 % interval 50 to 70; at least 55 %."
    )
