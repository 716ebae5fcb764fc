"""Each detector on a run that really has its illness, on healthy ones, and at its threshold.

The runs are those of tests/golden/make_ill_runs.py: a tiny model trained with settings and rewards
that make it ill. What is not cheap to train (figures that are no numbers, an illness that is over)
is told on curves that are made up here.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.ill_runs import RUNS
from tests.training import on_policy_settings
from workbench.config import toml
from workbench.config.doctor import DoctorSettings
from workbench.config.dpo import DPOSettings
from workbench.config.ppo import PPOSettings
from workbench.evaluation.case import Curve, correlation
from workbench.evaluation.doctor import DETECTORS, Finding, Series, examine, figures
from workbench.events import METRICS

LIMITS = DoctorSettings()


def of(name: str, thresholds: DoctorSettings | None = None) -> dict[str, Finding]:
    """What the doctor finds in a recorded run."""
    run = RUNS[name]
    settings = on_policy_settings(run["algorithm"], **run["settings"])
    return {f.detector: f for f in examine(run["metrics"], settings, thresholds)}


def one(name: str, series: Series, settings: Any = None) -> Finding | None:
    found = examine(series, settings or PPOSettings())
    return next((f for f in found if f.detector == name), None)


def flat(name: str, value: float, n: int = 40) -> dict[str, list[tuple[int, float]]]:
    return {name: [(step, value) for step in range(1, n + 1)]}


@pytest.mark.parametrize("name", [n for n, run in RUNS.items() if not run["ill"]])
def test_a_healthy_run_has_nothing(name: str) -> None:
    assert of(name) == {}
    scores = [v for _, v in RUNS[name]["metrics"]["objective/scores"]]
    assert scores[-1] > 2 * scores[0], "it has learned, which no_learning must not deny"


@pytest.mark.parametrize("name", [n for n, run in RUNS.items() if run["ill"]])
def test_an_ill_run_is_told_what_it_has(name: str) -> None:
    found = of(name)
    assert set(RUNS[name]["ill"]) <= found.keys()
    run = RUNS[name]
    settings = on_policy_settings(run["algorithm"], **run["settings"])
    for detector, finding in found.items():
        assert finding.detector == detector
        points = run["metrics"][finding.metric]
        steps = [step for step, _ in points]
        assert finding.since in steps
        assert finding.until is None or finding.since <= finding.until <= steps[-1]
        assert finding.causes
        assert finding.seen.endswith((".", "told."))
        # What one button applies is a valid change of these settings.
        changed = toml.validate(type(settings), {**settings.model_dump(), **finding.change})
        assert (changed != settings) == bool(finding.change)


def test_every_illness_but_bad_numbers_has_a_real_run() -> None:
    shown = {ill for run in RUNS.values() for ill in run["ill"]}
    assert DETECTORS.keys() - shown == {"not_numbers"}


def test_findings_say_since_when_with_numbers_and_a_change() -> None:
    found = of("wild")
    kl = found["kl_blow_up"]
    curve = dict(RUNS["wild"]["metrics"]["objective/kl"])
    assert all(curve[step] > 15 for step in range(kl.since, max(curve) + 1))
    assert curve[kl.since - 1] <= 15
    assert f"since update {kl.since}" in kl.seen
    assert "15 nats" in kl.seen
    assert kl.change == {"kl_coef": 0.05, "learning_rate": 0.005}
    assert found["reward_hacking"].change == kl.change
    assert of("no value loss")["dead_value_head"].change == {"value_coef": 0.1}
    assert of("cut")["eos_loss"].change == {"max_new_tokens": 4}
    assert of("wild")["eos_loss"].title == "Answers do not end any more"
    assert of("no steps")["no_learning"].change == {"learning_rate": 1e-5}
    assert of("paid by luck")["no_learning"].change == {"batch_size": 64}
    assert of("many passes")["step_kl"].change["target_step_kl"] == 0.05
    assert of("paid for brevity")["length_drift"].title.startswith("Answers shrink")
    assert of("paid for length")["length_drift"].title.startswith("Answers grow")
    # The worst and what goes on come first.
    levels = [
        (f.until is not None, f.level)
        for f in examine(
            RUNS["many passes"]["metrics"],
            on_policy_settings("ppo", **RUNS["many passes"]["settings"]),
        )
    ]
    assert [over for over, _ in levels] == sorted(over for over, _ in levels)


@pytest.mark.parametrize(
    ("detector", "name", "changes"),
    [
        ("kl_blow_up", "wild", {"kl_limit": 30.0}),
        ("kl_negative", "drawn at another temperature", {"kl_negative": 20.0}),
        ("entropy_collapse", "cold", {"entropy_floor": 0.0, "entropy_share": 0.0}),
        ("length_drift", "paid for brevity", {"length_factor": 20.0}),
        ("repetition", "wild", {"repetition_limit": 0.9}),
        ("eos_loss", "wild", {"eos_floor": 0.0}),
        ("reward_hacking", "wild", {"judge_fall": 50.0}),
        ("clip_fraction", "many passes", {"clip_limit": 0.99}),
        ("step_kl", "many passes", {"step_kl_limit": 0.9}),
        ("first_ratio", "a forward pass that is off", {"ratio_limit": 1.0}),
        ("explained_variance", "raw scores", {"explained_floor": -50.0}),
        ("dead_value_head", "no value loss", {"warmup": 1000}),
        ("gradient_spikes", "an outlier", {"grad_spike": 9000.0}),
        ("no_learning", "no steps", {"patience": 100}),
        ("kl_blow_up", "wild", {"window": 100}),
    ],
)
def test_each_threshold_is_a_setting(detector: str, name: str, changes: dict[str, float]) -> None:
    assert detector in of(name)
    assert detector not in of(name, DoctorSettings(**changes))


def test_a_single_bad_update_is_no_illness_and_a_catastrophe_is_one_at_once() -> None:
    curve = flat("objective/kl", 5.0)
    curve["objective/kl"][20] = (21, 20.0)
    assert one("kl_blow_up", curve) is None
    curve["objective/kl"][20] = (21, 100.0)
    found = one("kl_blow_up", curve)
    assert found is not None
    assert (found.since, found.until) == (21, 21)
    assert "at update 21" in found.seen


def test_an_illness_that_is_over_says_until_when() -> None:
    points = [(s, 20.0 if 10 <= s <= 19 else 5.0) for s in range(1, 41)]
    found = one("kl_blow_up", {"objective/kl": points})
    assert found is not None
    assert (found.since, found.until) == (10, 19)
    assert "from update 10 to 19" in found.seen


def test_figures_that_are_not_numbers() -> None:
    series = {
        **flat("objective/kl", 1.0),
        "policy/grad_norm": [(s, math.nan if s > 30 else 1.0) for s in range(1, 41)],
        "loss/policy": [(s, math.inf if s in (32, 33) else 1.0) for s in range(1, 41)],
    }
    found = one("not_numbers", series)
    assert found is not None
    assert (found.metric, found.since, found.until) == ("policy/grad_norm", 31, None)
    assert "and 1 other figures" in found.seen
    assert "10 of 40 updates" in found.seen
    assert found.change == {"learning_rate": 5e-6, "max_grad_norm": 0.5}
    # The other detectors look past them.
    assert {f.detector for f in examine(series, PPOSettings())} == {"not_numbers"}


def test_a_judge_that_only_wavers_is_no_sign_of_hacking() -> None:
    scores = [(s, s / 40) for s in range(1, 41)]
    wavering = [(s, 0.5 + 0.1 * (-1) ** (s // 5)) for s in range(5, 41, 5)]
    falling = [(s, 1.0 - s / 40) for s in range(5, 41, 5)]
    rising = [(s, s / 40) for s in range(5, 41, 5)]
    for judge, is_hacked in ((wavering, False), (falling, True), (rising, False)):
        found = one("reward_hacking", {"objective/scores": scores, "judge/score": judge})
        assert (found is not None) == is_hacked
    # Both fall: a bad run, but no hacking.
    down = [(s, -s / 40) for s in range(1, 41)]
    assert one("reward_hacking", {"objective/scores": down, "judge/score": falling}) is None
    # Judged at every update: the noise of one must not look like a fall.
    noisy = [(s, 0.5 + 0.1 * math.sin(12.9898 * s * s)) for s in range(1, 201)]
    long = [(s, s / 200) for s in range(1, 201)]
    assert one("reward_hacking", {"objective/scores": long, "judge/score": noisy}) is None
    sinking = [(s, v - s / 400) for s, v in noisy]
    assert one("reward_hacking", {"objective/scores": long, "judge/score": sinking}) is not None
    few = {"objective/scores": scores, "judge/score": falling[:3]}
    assert one("reward_hacking", few) is None


def test_changes_fit_the_algorithm_and_its_bounds() -> None:
    high = flat("objective/kl", 50.0)
    found = one("kl_blow_up", high, PPOSettings(kl_coef=10.0))
    assert found is not None
    assert found.change == {"learning_rate": 5e-6}, "β is at its bound"
    adaptive = one("kl_blow_up", high, PPOSettings(is_kl_adaptive=True, kl_target=6.0))
    assert adaptive is not None
    assert adaptive.change == {"kl_target": 3.0, "learning_rate": 5e-6}
    dpo = one("kl_blow_up", high, DPOSettings(beta=0.1))
    assert dpo is not None
    assert dpo.change.keys() == {"beta", "learning_rate"}


def test_no_figures_no_findings() -> None:
    assert examine({}, PPOSettings()) == []
    short = {name: [(1, 0.5)] for name in METRICS}
    assert all(f.detector == "first_ratio" for f in examine(short, PPOSettings()))
    assert figures({"time/score": [], "objective/kl": []}).keys() == {"objective/kl"}


def test_the_bands_of_charts_are_those_of_the_doctor() -> None:
    bands = {name: METRICS[name].healthy for name in METRICS}
    assert bands["objective/kl"] == (0.0, LIMITS.kl_limit)
    assert bands["completions/repetition"] == (0.0, LIMITS.repetition_limit)
    for name, place, limit in (
        ("objective/entropy", 0, LIMITS.entropy_floor),
        ("completions/eos_rate", 0, LIMITS.eos_floor),
        ("policy/clip_fraction", 1, LIMITS.clip_limit),
        ("policy/approx_kl", 1, LIMITS.step_kl_limit),
        ("policy/first_ratio_error", 1, LIMITS.ratio_limit),
        ("value/explained_variance", 0, LIMITS.explained_floor),
    ):
        band = bands[name]
        assert band is not None
        assert band[place] == limit


def test_curves() -> None:
    curve = Curve([(2, 1.0), (4, math.nan), (6, 3.0), (8, 5.0)])
    assert (curve.steps, curve.values, len(curve)) == ([2, 6, 8], [1.0, 3.0, 5.0], 3)
    assert curve.mean(1, 3) == 4.0
    assert curve.start(2) == 2.0
    assert (curve.rolling(2).steps, curve.rolling(2).values) == ([6, 8], [2.0, 4.0])
    assert (curve.blocks(2).steps, curve.blocks(2).values) == ([2, 8], [1.0, 4.0])
    assert curve.blocks(3) is curve
    assert [curve.at(s) for s in (1, 6, 7, 9)] == [0, 1, 2, 3]
    assert curve.above(2.0, 2) == (6, None, 5.0, 5.0)
    assert curve.above(2.0, 3) is None
    assert curve.above(0.0, 1, begin=2) == (8, None, 5.0, 5.0)
    assert curve.below(4.0, 1) == (2, 6, 1.0, 3.0)
    assert correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == pytest.approx(1.0)
    assert correlation([1.0, 2.0, 3.0], [3.0, 1.0, -1.0]) == pytest.approx(-1.0)
    assert correlation([1.0, 1.0], [1.0, 2.0]) == 0.0
