"""Calibration, learning curves and rank correlation: closed forms, loop twins, simulated models."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.close import FLOAT64, assert_close
from workbench.objectives import calibration, learning_curve
from workbench.objectives.intervals import wilson
from workbench.objectives.rank_correlation import ranks, spearman, spearman_interval


def simulated(n: int, boast: float, seed: int = 0) -> list[float]:
    """Margins of a model whose picks are right as often as σ(|m|) says, told `boast` times."""
    rng = np.random.default_rng(seed)
    sizes = np.abs(rng.normal(0.0, 1.5, n))
    is_right = rng.random(n) < 1 / (1 + np.exp(-sizes))
    return (boast * np.where(is_right, sizes, -sizes)).tolist()


def test_error_of_one_confidence_in_closed_form() -> None:
    """σ(log 4) = 0.8 in each of ten pairs, six right: |0.8 − 0.6|."""
    margins = [math.log(4)] * 6 + [-math.log(4)] * 4
    assert_close(calibration.calibration_error(margins), 0.2, FLOAT64)
    [only] = calibration.reliability(margins, range(10))
    assert_close(only[:2], (0.8, 0.6), FLOAT64)
    assert only.n == 10
    # Independent cases: the robust variance has G/(G − 1), so one case less.
    assert_close(only[2:4], wilson(0.6 * 9, 9), FLOAT64)


def test_a_margin_of_nothing_is_half_right() -> None:
    assert calibration.calibration_error([0.0, 0.0]) == 0.0
    assert math.isnan(calibration.calibration_error([]))


def test_error_as_a_loop_gives_it() -> None:
    margins = simulated(200, 2.0, seed=3)
    expected = 0.0
    for k in range(5):
        low, high = 0.5 + 0.1 * k, 0.6 + 0.1 * k
        inside = [(p, m > 0) for m in margins if low <= (p := 1 / (1 + math.exp(-abs(m)))) < high]
        if inside:
            gap = sum(p for p, _ in inside) / len(inside) - sum(r for _, r in inside) / len(inside)
            expected += len(inside) / len(margins) * abs(gap)
    assert_close(calibration.calibration_error(margins), expected, FLOAT64)


def test_temperature_of_two_sizes_in_closed_form() -> None:
    """Eight of ten right at margin 3: σ(3/T) = 0.8, so T = 3/log 4."""
    margins = [3.0] * 8 + [-3.0] * 2
    assert abs(calibration.temperature(margins) - 3 / math.log(4)) < 1e-9


@pytest.mark.parametrize("boast", [0.4, 1.0, 3.0])
def test_the_temperature_finds_how_much_a_model_boasts(boast: float) -> None:
    margins = simulated(800, boast)
    value, low, high = calibration.temperature_interval(margins, range(800), n_resamples=100)
    assert low < boast < high
    assert low < value < high
    assert (low > 1) == (boast > 1)
    assert (high < 1) == (boast < 1)


def test_a_boasting_model_has_an_error_that_few_pairs_do_not_explain() -> None:
    for boast in (1.0, 4.0):
        margins = simulated(300, boast, seed=1)
        value, low, high = calibration.calibration_interval(margins, range(300))
        assert low < value < high
        explained = calibration.error_when_calibrated(margins)
        assert (low > 1.5 * explained) == (boast > 1)
    # Fewer pairs, more of it by chance alone.
    assert calibration.error_when_calibrated(simulated(30, 1.0)) > 2 * (
        calibration.error_when_calibrated(simulated(600, 1.0))
    )


def test_without_a_best_temperature_there_is_a_bound() -> None:
    assert calibration.temperature([1.0, 2.0]) < 1.1e-3
    assert calibration.temperature([1.0, -2.0]) > 900


def test_the_curve_is_found_again() -> None:
    sizes = [25, 50, 100, 200]
    limit, slope = learning_curve.fit(sizes, np.array([0.8 - 2 / math.sqrt(n) for n in sizes]))
    assert_close((limit, slope), (0.8, 2.0), FLOAT64)


def test_gain_of_more_labels_and_of_none() -> None:
    rng = np.random.default_rng(0)
    sizes = [20, 40, 80, 160]
    shares = np.array([0.8 - 1.5 / math.sqrt(n) for n in sizes])
    is_right = (rng.random((8, 4, 400)) < shares[:, None]).astype(float)
    rising = learning_curve.grown(is_right, sizes, range(400), 50)
    true = 1.5 * (160**-0.5 - 210**-0.5)
    assert 0 < rising.gain_low < true < rising.gain_high
    assert_close(rising.value, is_right.mean((0, 2)), FLOAT64)
    assert (rising.low < rising.value).all()
    assert (rising.value < rising.high).all()
    flat = learning_curve.grown(
        (rng.random((8, 4, 400)) < 0.6).astype(float), sizes, range(400), 50
    )
    assert flat.gain_low < 0 < flat.gain_high
    # Pairs of one prompt say less than as many prompts do.
    clustered = learning_curve.grown(
        np.repeat(is_right[..., :40], 10, axis=2), sizes, [i // 10 for i in range(400)], 50
    )
    assert clustered.high[0] - clustered.low[0] > 2 * (rising.high[0] - rising.low[0])


def test_spearman_in_closed_form_and_by_a_loop() -> None:
    """Without ties 1 − 6 Σ d²/(n³ − n)."""
    first, second = [3.0, 1.0, 4.0, 1.5, 9.0], [2.0, 7.0, 1.0, 8.0, 2.5]
    d = [
        sorted(first).index(a) - sorted(second).index(b) for a, b in zip(first, second, strict=True)
    ]
    assert_close(spearman(first, second), 1 - 6 * sum(x * x for x in d) / (125 - 5), FLOAT64)
    tied = [2.0, 1.0, 2.0, 0.0]
    loop = [
        sum(other < value for other in tied) + (sum(other == value for other in tied) + 1) / 2
        for value in tied
    ]
    assert_close(ranks(tied), loop, FLOAT64)
    assert math.isnan(spearman([1.0, 1.0], [1.0, 2.0]))


def test_copies_of_a_case_narrow_nothing() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    once = spearman_interval(x.tolist(), y.tolist(), range(40))
    copies = spearman_interval(
        np.repeat(x, 5).tolist(), np.repeat(y, 5).tolist(), np.repeat(range(40), 5).tolist()
    )
    assert once[1] < once[0] < once[2]
    assert abs((copies[2] - copies[1]) - (once[2] - once[1])) < 0.02
