"""Intervals of shares and their differences, against other programs and against luck."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.close import EXACT, FLOAT64, assert_close
from workbench.objectives import intervals

# statsmodels 0.15: proportion_confint(method="wilson").
_WILSON = {
    (56, 70): (0.6918335550374695, 0.8769526075163705),
    (48, 80): (0.4904546500516038, 0.7003817240412906),
}


@pytest.mark.parametrize("case", list(_WILSON))
def test_wilson_as_another_program_gives_it(case: tuple[int, int]) -> None:
    assert_close(intervals.wilson(*case), _WILSON[case], FLOAT64)


def test_wilson_at_the_ends_and_without_cases() -> None:
    assert intervals.wilson(0, 0) == (0.0, 1.0)
    z2 = 1.959963984540054**2
    assert_close(intervals.wilson(10, 10), (10 / (10 + z2), 1.0), FLOAT64)
    assert_close(intervals.wilson(0, 10), (0.0, z2 / (10 + z2)), FLOAT64)


def test_difference_of_the_paper() -> None:
    """Newcombe 1998, table II, example (a): 56/70 − 48/80 = 0.2 with 0.0524 to 0.3339."""
    found = intervals.newcombe((56, 48), (70, 80))
    assert_close(np.round(found, 4), (0.2, 0.0524, 0.3339), FLOAT64)


def test_difference_turned_round() -> None:
    value, low, high = intervals.newcombe((56, 48), (70, 80))
    assert_close(intervals.newcombe((48, 56), (80, 70)), (-value, -high, -low), FLOAT64)


def test_one_case_per_cluster_is_nearly_wilson() -> None:
    """The robust variance of independent cases is p(1 − p)/(n − 1): an effective n of n − 1."""
    wins = [1.0] * 30 + [0.0] * 20
    share, low, high = intervals.clustered_wilson(wins, list(range(50)))
    assert share == 0.6
    assert_close((low, high), intervals.wilson(0.6 * 49, 49), FLOAT64)


def test_copies_add_nothing() -> None:
    """Each case five times over says as much as once."""
    wins = [1.0] * 30 + [0.0] * 20
    once = intervals.clustered_wilson(wins, list(range(50)))
    copies = intervals.clustered_wilson(wins * 5, list(range(50)) * 5)
    assert_close(copies, once, FLOAT64)


def test_all_alike_count_once_per_cluster() -> None:
    found = intervals.clustered_wilson([1.0] * 12, [1, 1, 1, 2, 2, 2] * 2)
    assert_close(found, (1.0, *intervals.wilson(2, 2)), FLOAT64)
    assert_close(
        intervals.clustered_wilson([1.0, 0.0, 1.0], [7, 7, 7]),
        (2 / 3, *intervals.wilson(2 / 3, 1)),
        FLOAT64,
    )


def test_no_more_cases_than_there_are() -> None:
    """Clusters that each hold one of both are more even than luck: n stays n."""
    found = intervals.clustered_wilson(
        [1.0, 0, 0] * 8 + [1.0, 1, 0] * 8, [i // 3 for i in range(48)]
    )
    assert_close(found[1:], intervals.wilson(24, 48), FLOAT64)


def test_without_cases_nothing_is_known() -> None:
    share, low, high = intervals.clustered_wilson([], [])
    assert math.isnan(share)
    assert_close((low, high), (0.0, 1.0), EXACT)


def test_clustered_intervals_cover_the_truth() -> None:
    """Where every cluster has its own share, plain Wilson is too sure of itself: the control."""
    rng = np.random.default_rng(3)
    covered = plain = 0
    clusters = np.repeat(np.arange(60), 6)
    for _ in range(600):
        shares = rng.beta(1.2, 0.8, 60)  # mean 0.6
        wins = (rng.random(360) < shares[clusters]).astype(float)
        _, low, high = intervals.clustered_wilson(list(wins), list(clusters))
        covered += low <= 0.6 <= high
        low, high = intervals.wilson(wins.sum(), 360)
        plain += low <= 0.6 <= high
    assert 0.92 <= covered / 600 <= 0.98
    assert plain / 600 < 0.85


def test_paired_difference_of_the_paper() -> None:
    """Newcombe 1998, Statistics in Medicine 17, 2635: 36, 12, 2, 0 gives 0.0569 to 0.3404."""
    found = intervals.newcombe_paired(36, 12, 2, 0)
    assert_close(np.round(found, 4), (0.2, 0.0569, 0.3404), FLOAT64)
    value, low, high = intervals.newcombe_paired(36, 2, 12, 0)
    assert_close((-value, -high, -low), intervals.newcombe_paired(36, 12, 2, 0), FLOAT64)


def test_paired_difference_without_differences_is_not_certain() -> None:
    value, low, high = intervals.newcombe_paired(0, 0, 0, 60)
    assert value == 0.0
    assert -0.1 < low < 0.0 < high < 0.1
    assert intervals.newcombe_paired(0, 0, 0, 0)[1:] == (-1.0, 1.0)


def test_resampled_counts_give_the_bootstrap_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(size=30)
    counts = intervals.resampled_counts(30, seed=4)
    assert (counts.sum(1) == 30).all()
    found = intervals.percentile_interval(counts @ values / 30)
    assert_close(found, intervals.bootstrap_mean(values.tolist(), seed=4), FLOAT64)
    assert intervals.percentile_interval(np.array([math.nan, 2.0])) == (2.0, 2.0)
    assert math.isnan(intervals.percentile_interval(np.array([math.nan]))[0])


def test_jackknife_of_a_mean_is_the_textbook_interval() -> None:
    values = np.random.default_rng(3).normal(size=30)
    left_out = (values.sum() - values) / 29
    half = intervals.Z95 * values.std(ddof=1) / math.sqrt(30)
    found = intervals.jackknife(float(values.mean()), left_out)
    assert_close(found, (values.mean() - half, values.mean() + half), FLOAT64)
    assert math.isnan(intervals.jackknife(1.0, np.array([1.0]))[0])
