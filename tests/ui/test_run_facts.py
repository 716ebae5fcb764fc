"""The sentences about runs: their numbers, their verdicts, and what they leave out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.app.workspace import Overview
from workbench.data.records import Run
from workbench.events import Evaluated, Sample, Step
from workbench.ui.pages import run_facts
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.pages.run_details import differing
from workbench.ui.pages.steps import steps_of
from workbench.ui.pages.wording import count, number, percent_interval, size

RUN = Run(
    3,
    "reward",
    "reward",
    "Reward model 1",
    "done",
    {},
    {},
    {},
    "",
    "2026-01-01T10:00:00+00:00",
    None,
)


def reward_run(accuracy: float, low: float, high: float) -> Run:
    keys = ("accuracy", "low", "high", "pairs")
    results = dict(zip(keys, (accuracy, low, high, 206.0), strict=True))
    return replace(RUN, results={f"reward/heldout_{k}": v for k, v in results.items()})


def evaluation(rate: float, low: float, high: float) -> Run:
    results = {"win_rate": rate, "win_rate_low": low, "win_rate_high": high, "n_prompts": 60.0}
    return replace(RUN, kind="evaluation", name="Evaluation 1", results=results)


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.021, "−0.02"), (0.62, "0.62"), (-1e-3, "0.00"), (3, "3"), (0.0, "0.00"), (None, "–")],
)
def test_numbers(value, text):
    assert number(value) == text


def test_no_number_is_never_zero():
    assert number(float("nan")) == "–"
    assert percent_interval(0.63, 0.54, 0.71) == "63 % [54, 71]"
    assert count(134_515_008) == "135 M"
    assert size(5_800_000_000) == "5.8 GB"


@pytest.mark.parametrize(
    ("held", "kind", "start"),
    [
        ((0.85, 0.8, 0.9), "ok", "Usable: 85 %"),
        ((0.71, 0.55, 0.77), "warn", "Usable with care: 71 %"),
        ((0.57, 0.44, 0.69), "warn", "May be chance: 57 %"),
    ],
)
def test_a_reward_model_is_judged_by_the_low_end_of_its_interval(held, kind, start):
    verdict = run_facts.verdict_of_reward(reward_run(*held))
    assert verdict.kind == kind
    assert verdict.text.startswith(start)
    assert "206 pairs" in verdict.detail


@pytest.mark.parametrize(
    ("rate", "kind", "word"),
    [
        ((0.63, 0.54, 0.71), "ok", "prefers the trained policy in 63 %"),
        ((0.55, 0.45, 0.64), "warn", "May be chance"),
        ((0.3, 0.2, 0.41), "bad", "prefers the base"),
    ],
)
def test_a_comparison_says_chance_when_its_interval_crosses_half(rate, kind, word):
    verdict = run_facts.verdict_of_evaluation(evaluation(*rate))
    assert verdict.kind == kind
    assert word in verdict.text


def test_a_run_that_samples_nothing_is_judged_by_what_was_held_out():
    run = replace(RUN, kind="policy", algorithm="dpo", name="DPO 1", status="stopped")
    live = LiveRun({"optim/lr": [(1, 1e-4), (2, 5e-5)], "heldout/loss": [(0, 0.693), (2, 0.61)]})
    verdict = run_facts.verdict_of_policy(run, live)
    assert verdict.text == "DPO 1 was stopped at update 2 and saved"
    assert verdict.detail == "Held-out loss went from 0.693 to 0.610."
    live.take(Evaluated(2, {"heldout/accuracies": 0.75}))
    live.take(Step(3, 9, {"optim/lr": 1e-5}, 1.0))
    verdict = run_facts.verdict_of_policy(run, live)
    assert verdict.text == "DPO 1 was stopped at update 3 of 9 and saved"
    assert verdict.detail.endswith("75 % of what was held out is ordered right.")
    assert run_facts.verdict_of_policy(replace(run, status="done"), live).kind == "ok"


def test_without_a_reward_model_there_is_no_reward_to_compare():
    lengths = {"length_before": 9.0, "length_after": 7.0, "kl": 1.0}
    run = replace(evaluation(0.6, 0.5, 0.7), results=lengths)
    assert [m.name for m in run_facts.measures(run)] == ["Length, tokens", "KL, nats"]
    scored = replace(run, results={**lengths, "reward_before": 0.0, "reward_after": 1.0})
    assert run_facts.measures(scored)[0].name == "Reward"


def test_a_failed_run_shows_its_sentence_and_not_the_traceback():
    failed = replace(RUN, status="failed", error="The disk is full.\n\nTraceback ...")
    assert run_facts.verdict_of_reward(failed).detail == "The disk is full."


def test_a_live_run_keeps_the_samples_of_its_latest_update_only():
    live = LiveRun({"objective/kl": [(1, 0.5)]})
    live.take(Step(2, 10, {"objective/kl": 0.7}, 1.0))
    for step in (1, 1, 2):
        live.take(Sample(step, 1, f"text {step}", 0.1, 0.2, 3, True))
    assert live.series["objective/kl"] == ([1, 2], [0.5, 0.7])
    assert [s.text for s in live.samples] == ["text 2"]
    assert (live.done, live.total) == (2, 10)


def test_settings_that_differ_are_named_by_their_titles():
    settings = {"epochs": 1, "learning_rate": 2e-4, "lora": {"r": 8}}
    changed = dict(differing(replace(RUN, settings=settings)))
    assert changed["Epochs"] == "1"
    assert changed["Rank"] == "8"
    assert "Learning rate" not in changed


@pytest.mark.parametrize(("stage", "n_done"), [("model", 0), ("rank", 3), ("done", 8)])
def test_only_one_step_is_next(stage, n_done):
    steps = steps_of(Overview(200, 400, 412, 180, 0, 0, 0, stage), "SmolLM2")
    states = [s.state for s in steps]
    assert states.count("done") == n_done
    assert states.count("next") == (stage != "done")
    assert all(s.after for s in steps if s.state == "later" and s.key != "prompts")
