"""Agreement and strengths against published examples, other programs, plain loops and luck."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tests.close import EXACT, FLOAT64, SLOPE, Level, assert_close
from workbench.objectives import agreement
from workbench.objectives.intervals import wilson

_ROUNDED = Level(0.0005, 0.0)  # a figure printed with three digits

# Fleiss, Cohen & Everitt 1969, table 1: 200 subjects, two raters, three categories.
_FLEISS = np.array([[106.0, 10, 4], [22, 28, 10], [2, 12, 6]])
# statsmodels 0.15, `cohens_kappa(table)`: κ and its interval for the first three tables below.
_STATSMODELS = [
    (0.4285714285714285, 0.32329979345440496, 0.533843063688452),
    (0.676470588235294, 0.5045759580860855, 0.8483652183845026),
    (0.15178571428571425, -0.14074358875398785, 0.44431501732541634),
]
_TABLES = [
    _FLEISS,
    np.array([[75.0, 1, 4], [5, 4, 1], [0, 0, 10]]),
    np.array([[3.0, 2, 0], [1, 0, 2], [4, 1, 6]]),
    np.array([[9.0, 1], [2, 0]]),
]

# Krippendorff 2011, "Computing Krippendorff's alpha-reliability", data of section D: four
# observers, twelve units, five categories; 0 stands for no value.
_KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
).T


def _counts(values: np.ndarray, n_categories: int) -> np.ndarray:
    """How often each unit got each of the categories 1, 2, ..."""
    return np.array([[(row == c + 1).sum() for c in range(n_categories)] for row in values], float)


def _kappa(p: np.ndarray) -> float:
    observed = sum(p[i, i] for i in range(len(p)))
    expected = sum(p[i].sum() * p[:, i].sum() for i in range(len(p)))
    return (observed - expected) / (1 - expected)


def test_kappa_of_the_paper() -> None:
    found = agreement.kappa_of_table(_FLEISS)
    assert_close(found.value, 0.429, _ROUNDED)
    assert found.n == 200


@pytest.mark.parametrize("which", [0, 1, 2])
def test_kappa_as_another_program_gives_it(which: int) -> None:
    found = agreement.kappa_of_table(_TABLES[which])
    assert_close((found.value, found.low, found.high), _STATSMODELS[which], FLOAT64)


@pytest.mark.parametrize("which", range(len(_TABLES)))
def test_interval_of_kappa_is_the_delta_method(which: int) -> None:
    """s² = (Σ p g² − (Σ p g)²) / n, with the slopes g = dκ/dp by central differences."""
    table = _TABLES[which]
    n, p, step = table.sum(), table / table.sum(), 1e-6
    slopes = np.zeros_like(p)
    for i, j in itertools.product(range(len(p)), repeat=2):
        up, down = p.copy(), p.copy()
        up[i, j] += step
        down[i, j] -= step
        slopes[i, j] = (_kappa(up) - _kappa(down)) / (2 * step)
    variance = ((p * slopes**2).sum() - (p * slopes).sum() ** 2) / n
    found = agreement.kappa_of_table(table, z=0.5)  # short, so that no bound is cut
    assert_close(found.value, _kappa(p), FLOAT64)
    half = 0.5 * math.sqrt(variance)
    assert_close((found.low, found.high), (found.value - half, found.value + half), SLOPE)


def test_kappa_of_labels_is_that_of_their_table() -> None:
    first, second = "aabbbcaacb", "abbbcaaacb"
    names = "abc"
    table = np.array(
        [[sum(x + y == a + b for x, y in zip(first, second, strict=True)) for b in names]
         for a in names], float)  # fmt: skip
    assert agreement.cohen_kappa(first, second) == agreement.kappa_of_table(table)
    with pytest.raises(ValueError, match="shorter"):
        agreement.cohen_kappa("ab", "a")


def test_full_agreement_is_not_certainty() -> None:
    """p_e = 1/2 here: κ = 2·p_o − 1, and its lower bound follows from Wilson's of p_o."""
    few = agreement.kappa_of_table(np.array([[5.0, 0], [0, 5]]))
    many = agreement.kappa_of_table(np.array([[500.0, 0], [0, 500]]))
    assert few.value == few.high == many.value == 1.0
    assert_close(few.low, 2 * wilson(10, 10)[0] - 1, FLOAT64)
    assert few.low < 0.5 < 0.99 < many.low
    opposite = agreement.kappa_of_table(np.array([[0.0, 1], [0, 0]]))
    assert_close(tuple(opposite), (0.0, 0.0, wilson(0, 1)[1], 1), FLOAT64)


def test_kappa_is_not_defined_where_only_one_category_occurs() -> None:
    found = agreement.cohen_kappa("aaaa", "aaaa")
    assert not found.is_defined
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.n == 4
    assert not agreement.cohen_kappa("", "").is_defined
    assert agreement.cohen_kappa("", "").n == 0
    assert agreement.cohen_kappa("aaab", "aaaa").value == 0.0


def _alpha_by_pairs(values: np.ndarray, scale: str, n_categories: int) -> float:
    """From the definition: mean disagreement within units against that of all values pooled."""
    units = [[int(v) for v in row if v] for row in values]
    units = [unit for unit in units if len(unit) > 1]
    pooled = [v for unit in units for v in unit]
    often = [pooled.count(c + 1) for c in range(n_categories)]

    def apart(c: int, k: int) -> float:
        if scale == "nominal":
            return float(c != k)
        low, high = min(c, k), max(c, k)
        between = sum(often[g - 1] for g in range(low, high + 1))
        return (between - (often[c - 1] + often[k - 1]) / 2) ** 2

    seen = 0.0
    for unit in units:
        pairs = list(itertools.permutations(unit, 2))
        seen += sum(apart(c, k) for c, k in pairs) / (len(unit) - 1)
    by_luck = list(itertools.permutations(pooled, 2))
    return 1 - (seen / len(pooled)) / (sum(apart(c, k) for c, k in by_luck) / len(by_luck))


def test_alpha_of_the_paper() -> None:
    counts = _counts(_KRIPPENDORFF, 5)
    assert_close(agreement.krippendorff_alpha(counts).value, 0.743, _ROUNDED)
    assert_close(agreement.krippendorff_alpha(counts, "ordinal").value, 0.815, _ROUNDED)
    # Unit 12 has one value only, so nothing can be paired there.
    assert agreement.krippendorff_alpha(counts).n == 11


@pytest.mark.parametrize("scale", ["nominal", "ordinal"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_alpha_equals_the_definition_pair_by_pair(scale: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 5, 20)
    values = np.where(rng.random((20, 4)) < 0.6, truth[:, None], rng.integers(1, 5, (20, 4)))
    values = np.where(rng.random((20, 4)) < 0.3, 0, values)
    found = agreement.krippendorff_alpha(_counts(values, 4), scale)
    assert_close(found.value, _alpha_by_pairs(values, scale, 4), FLOAT64)


def test_alpha_of_all_alike_all_different_and_nothing() -> None:
    alike = np.array([[2.0, 0], [2, 0], [0, 2]])
    assert tuple(agreement.krippendorff_alpha(alike))[:3] == (1.0, 1.0, 1.0)
    assert agreement.krippendorff_alpha(np.array([[1.0, 1], [1, 1], [1, 1]])).value < 0
    assert not agreement.krippendorff_alpha(np.array([[2.0, 0], [3, 0]])).is_defined
    assert not agreement.krippendorff_alpha(np.array([[1.0, 0], [0, 1]])).is_defined
    assert not agreement.krippendorff_alpha(np.zeros((0, 3))).is_defined


def test_the_order_of_categories_matters_to_ordinal_alpha_only() -> None:
    counts = _counts(_KRIPPENDORFF, 5)
    mixed = counts[:, [2, 0, 4, 1, 3]]
    values = [agreement.krippendorff_alpha(c, s).value
              for s in ("nominal", "ordinal") for c in (counts, mixed)]  # fmt: skip
    assert_close(values[0], values[1], FLOAT64)
    assert abs(values[2] - values[3]) > 0.05


def test_the_bootstrap_of_alpha_is_that_of_single_units() -> None:
    """Against resampling the units one by one, which the drawing of kinds must amount to."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 3, 60)
    values = np.where(rng.random((60, 3)) < 0.7, truth[:, None], rng.integers(0, 3, (60, 3))) + 1
    counts = _counts(values, 3)
    found = agreement.krippendorff_alpha(counts)
    drawn = [
        agreement.krippendorff_alpha(counts[rng.integers(0, 60, 60)], n_resamples=1).value
        for _ in range(2000)
    ]
    assert_close((found.low, found.high), np.quantile(drawn, [0.025, 0.975]), Level(0.02, 0.0))
    assert found.low < found.value < found.high
    assert found == agreement.krippendorff_alpha(counts)
    assert found != agreement.krippendorff_alpha(counts, seed=1)


def _hunter(wins: np.ndarray, prior: float, n_rounds: int = 20_000) -> np.ndarray:
    """The MM algorithm, Hunter 2004, eq. 3, in loops; the opponent of the prior has strength 1."""
    n = len(wins)
    strength = [1.0] * n
    for _ in range(n_rounds):
        new = []
        for i in range(n):
            won = sum(wins[i]) + prior / 2
            met = sum((wins[i][j] + wins[j][i]) / (strength[i] + strength[j])
                      for j in range(n) if j != i)  # fmt: skip
            new.append(won / (met + prior / (strength[i] + 1)))
        if max(abs(a - b) for a, b in zip(new, strength, strict=True)) < 1e-15:
            break
        strength = new
    logs = np.log(strength)
    return logs - logs.mean()


def _some_wins(seed: int, n: int = 4, most: int = 6) -> np.ndarray:
    wins = np.random.default_rng(seed).integers(0, most, (n, n)).astype(float)
    np.fill_diagonal(wins, 0)
    wins[0, 1] += 0.5  # a tie
    wins[1, 0] += 0.5
    return wins


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("prior", [0.1, 1.0])
def test_strengths_equal_those_of_the_mm_algorithm(seed: int, prior: float) -> None:
    wins = _some_wins(seed)
    found = agreement.bradley_terry(wins, prior)
    assert_close(found.value, _hunter(wins, prior), Level(1e-9, 0.0))
    assert_close(found.value.sum(), 0.0, FLOAT64)


def test_strengths_as_another_program_gives_them() -> None:
    """choix 0.4, `opt_pairwise` without a penalty."""
    wins = np.array([[0.0, 3, 1], [1, 0, 4], [2, 2, 0]])
    choix = [0.19915369118191925, -0.02502438923675597, -0.1741293019451634]
    assert_close(agreement.bradley_terry(wins, prior=1e-9).value, choix, Level(1e-7, 0.0))


def test_two_items_have_a_closed_form() -> None:
    """With a vanishing prior θ_1 − θ_2 is the log-odds, its variance 1/7 + 1/3."""
    found = agreement.bradley_terry(np.array([[0.0, 7], [3, 0]]), prior=1e-6)
    half = 0.5 * math.log(7 / 3)
    assert_close(found.value, [half, -half], Level(1e-6, 0.0))
    width = 0.5 * 1.959963984540054 * math.sqrt(1 / 7 + 1 / 3)
    assert_close(found.high - found.value, [width, width], Level(1e-6, 0.0))
    assert_close(found.value - found.low, [width, width], Level(1e-6, 0.0))


@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_come_from_the_curvature(seed: int) -> None:
    """Second differences of the log-likelihood, written out, at its maximum."""
    wins, prior, n, step = _some_wins(seed), 0.7, 4, 1e-4
    found = agreement.bradley_terry(wins, prior)

    def likelihood(theta: np.ndarray) -> float:
        total = 0.0
        for i in range(n):
            for j in range(n):
                total -= wins[i, j] * math.log(1 + math.exp(theta[j] - theta[i]))
            total -= (
                prior / 2 * (math.log(1 + math.exp(-theta[i])) + math.log(1 + math.exp(theta[i])))
            )
        return total

    # The prior fixes where the strengths lie; the estimate tells them relative to their mean.
    grid = np.linspace(-2, 2, 4001)
    level = grid[np.argmax([likelihood(found.value + c) for c in grid])]
    curvature = np.zeros((n, n))
    for i, j in itertools.product(range(n), repeat=2):
        for side_i, side_j in itertools.product((step, -step), repeat=2):
            moved = found.value + level
            moved[i] += side_i
            moved[j] += side_j
            curvature[i, j] += np.sign(side_i * side_j) * likelihood(moved) / (4 * step**2)
    centring = np.eye(n) - 1 / n
    spread = np.sqrt(np.diag(centring @ np.linalg.inv(-curvature) @ centring))
    assert_close((found.high - found.low) / (2 * 1.959963984540054), spread, Level(1e-4, 1e-4))


def test_undefeated_and_unconnected_items_have_finite_strengths() -> None:
    undefeated = agreement.bradley_terry(np.array([[0.0, 1000], [0, 0]]))
    assert np.isfinite(undefeated.value).all()
    assert undefeated.low[0] > undefeated.high[1]
    # 0 beat 1, 2 beat 3, nobody else met: each pair has the same answer as alone.
    apart = np.zeros((4, 4))
    apart[0, 1] = apart[2, 3] = 3
    found, alone = agreement.bradley_terry(apart), agreement.bradley_terry(apart[:2, :2])
    assert_close(found.value, [*alone.value, *alone.value], FLOAT64)
    nothing = agreement.bradley_terry(np.zeros((3, 3)))
    assert_close(nothing.value, [0, 0, 0], EXACT)
    assert (nothing.low < 0).all()


def test_problems_go_along_leading_dimensions_and_alone() -> None:
    problems = np.stack([_some_wins(seed) for seed in range(5)])
    problems[2] *= 300
    together = agreement.bradley_terry(problems)
    for i, wins in enumerate(problems):
        alone = agreement.bradley_terry(wins)
        for part, whole in zip(alone, together, strict=True):
            assert_close(whole[i], part, FLOAT64)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="itself"):
        agreement.bradley_terry(np.eye(2))
    with pytest.raises(ValueError, match="prior"):
        agreement.bradley_terry(np.zeros((2, 2)), prior=0.0)


def test_strengths_follow_the_order_of_the_items() -> None:
    wins, order = _some_wins(3), [2, 0, 3, 1]
    found = agreement.bradley_terry(wins)
    moved = agreement.bradley_terry(wins[np.ix_(order, order)])
    assert_close(moved.value, found.value[order], FLOAT64)
    assert_close(agreement.bradley_terry(wins.T).value, -found.value, FLOAT64)


def _share_within(bounds: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in bounds]))


def test_intervals_of_kappa_cover_the_truth() -> None:
    """A binomial share of 0.95 over 1000 draws has a standard deviation of 0.007."""
    p = _FLEISS / 200
    rng, truth = np.random.default_rng(11), _kappa(p)
    tables = rng.multinomial(150, p.ravel(), 1000).reshape(-1, 3, 3).astype(float)
    found = [agreement.kappa_of_table(table) for table in tables]
    assert 0.92 <= _share_within([(e.low, e.high) for e in found], truth) <= 0.98


def test_intervals_of_alpha_cover_the_truth() -> None:
    """Two values equal with probability q, else drawn anew from p: α is q in the long run."""
    rng, q, n = np.random.default_rng(12), 0.6, 120
    bounds = []
    for _ in range(300):
        one = rng.integers(0, 3, n)
        other = np.where(rng.random(n) < q, one, rng.integers(0, 3, n))
        counts = np.eye(3)[one] + np.eye(3)[other]
        found = agreement.krippendorff_alpha(counts, n_resamples=500)
        bounds.append((found.low, found.high))
    assert 0.91 <= _share_within(bounds, q) <= 0.985


def test_intervals_of_strengths_cover_the_truth() -> None:
    rng, theta = np.random.default_rng(13), np.array([0.8, 0.1, -0.2, -0.7])
    p = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    upper = np.triu_indices(4, 1)
    problems = np.zeros((1000, 4, 4))
    problems[:, upper[0], upper[1]] = rng.binomial(25, p[upper], (1000, 6))
    problems[:, upper[1], upper[0]] = 25 - problems[:, upper[0], upper[1]]
    found = agreement.bradley_terry(problems)
    covered = ((found.low <= theta) & (theta <= found.high)).mean(axis=0)
    assert ((covered >= 0.93) & (covered <= 0.975)).all()
