"""From the scores of judged pairs to the figures of a report card. NumPy only.

N pairs, D features. Every interval counts prompts and not pairs: pairs of one prompt share answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.evaluation.report_records import (
    Baseline,
    Calibration,
    Confidence,
    CurvePoint,
    Edit,
    Figure,
    Judged,
    LearningCurve,
    LengthEffect,
    Slice,
    SliceKind,
    Unfamiliar,
    WrongPair,
)
from workbench.objectives import calibration as calibrated
from workbench.objectives import learning_curve
from workbench.objectives.intervals import cluster_bootstrap_mean, clustered_wilson
from workbench.objectives.rank_correlation import spearman_interval
from workbench.rewards import selection

Floats = NDArray[np.float64]

FEWEST_IN_SLICE = 5
LISTED = 50
N_NEIGHBOURS = 5
_GRAM = 3
_LEAST_SIZE = 4
_SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
_STRENGTHS = {1: "slightly better", 2: "clearly better"}
_DIRECTIONS: Mapping[str, tuple[str, str]] = {
    "length": ("Longer answer wins", "Shorter answer wins"),
    "repetition": ("More repetition wins", "Less repetition wins"),
    "position": ("First answer wins", "Second answer wins"),
}


def share(wins: Sequence[float], pairs: Sequence[Judged]) -> Figure:
    """A share of pairs with Wilson's interval over prompts."""
    clusters = [pair.preference.prompt.id for pair in pairs]
    return Figure(*clustered_wilson(wins, clusters), len(wins))


def accuracy(margins: Floats, pairs: Sequence[Judged]) -> Figure:
    """Pairs ordered right; an equal score counts half."""
    return share(calibrated.rightness(margins.tolist()).tolist(), pairs)


def slices(margins: Floats, pairs: Sequence[Judged], near_length: float) -> tuple[Slice, ...]:
    """Accuracy on all pairs, on each group, tag and strength, and by length."""
    found = [Slice("all", "All pairs", accuracy(margins, pairs))]

    def add(kind: SliceKind, name: str, is_part: Sequence[bool]) -> None:
        rows = [i for i, is_in in enumerate(is_part) if is_in]
        if FEWEST_IN_SLICE <= len(rows) < len(pairs):
            some = accuracy(margins[rows], [pairs[i] for i in rows])
            found.append(Slice(kind, name, some))

    for group in sorted({pair.preference.prompt.group for pair in pairs} - {""}):
        add("group", group, [pair.preference.prompt.group == group for pair in pairs])
    for tag in sorted({tag for pair in pairs for tag in pair.tags}):
        add("tag", tag, [tag in pair.tags for pair in pairs])
    for strength, words in _STRENGTHS.items():
        add("strength", words, [pair.preference.strength == strength for pair in pairs])
    add("length", "length-matched", [is_near(pair, near_length) for pair in pairs])
    add("length", "longer chosen", [longer(pair) > 0 for pair in pairs])
    add("length", "shorter chosen", [longer(pair) < 0 for pair in pairs])
    return tuple(found)


def longer(pair: Judged) -> int:
    """Characters of the chosen answer more than of the rejected one."""
    return len(pair.preference.chosen) - len(pair.preference.rejected)


def is_near(pair: Judged, near_length: float) -> bool:
    """Whether both answers are about equally long."""
    most = max(len(pair.preference.chosen), len(pair.preference.rejected))
    return abs(longer(pair)) <= near_length * most


def repetition(text: str) -> float:
    """Share of a text's runs of three words (letters, where no spaces are) that came before."""
    units: Sequence[str] = text if _is_cjk(text) else text.split()
    n = len(units) - _GRAM + 1
    if n <= 0:
        return 0.0
    return 1 - len({tuple(units[i : i + _GRAM]) for i in range(n)}) / n


def cues(pairs: Sequence[Judged]) -> dict[str, Floats]:
    """What can be said of pairs without understanding them: margins (N,), chosen less rejected."""
    return {
        "length": np.array([longer(pair) for pair in pairs], dtype=np.float64),
        "repetition": np.array(
            [
                repetition(pair.preference.chosen) - repetition(pair.preference.rejected)
                for pair in pairs
            ]
        ),
        "position": np.array(
            [0.0 if pair.is_first is None else 2.0 * pair.is_first - 1 for pair in pairs]
        ),
    }


def baselines(
    margins: Floats,
    pairs: Sequence[Judged],
    learned_from: Sequence[Judged],
    others: Mapping[str, tuple[str, Floats]],
    seed: int,
) -> tuple[Baseline, ...]:
    """What orders the same pairs, and by how much the reward is better.

    Args:
        margins: Of the reward.
        pairs: What they are of.
        learned_from: Labels that say in which direction each cue wins. Without any the direction
            is the better one on the same pairs, which flatters the cue.
        others: Name and margins of further ones, whose direction is given.
        seed: Of the resamples.
    """
    here, there = cues(pairs), cues(learned_from or pairs)
    found = {}
    for key, values in here.items():
        if not values.any():
            continue  # nothing is known of it, or it never differs
        is_more = calibrated.rightness(there[key].tolist()).mean() >= 0.5
        found[key] = (_DIRECTIONS[key][0 if is_more else 1], values if is_more else -values)
    found |= others
    mine = calibrated.rightness(margins.tolist())
    made = [
        Baseline(
            "random", "Random", Figure(0.5, 0.5, 0.5, len(pairs)), _mean(mine - 0.5, pairs, seed)
        )
    ]
    for key, (name, values) in found.items():
        right = calibrated.rightness(values.tolist())
        made.append(
            Baseline(key, name, share(right.tolist(), pairs), _mean(mine - right, pairs, seed))
        )
    return tuple(made)


def _mean(values: Floats, pairs: Sequence[Judged], seed: int) -> Figure:
    clusters = [pair.preference.prompt.id for pair in pairs]
    low, high = cluster_bootstrap_mean(values.tolist(), clusters, seed)
    return Figure(float(values.mean()), low, high, len(values))


def calibration(margins: Floats, pairs: Sequence[Judged], seed: int) -> Calibration:
    """Whether margins mean what they say."""
    values, clusters = margins.tolist(), [pair.preference.prompt.id for pair in pairs]
    bins = calibrated.reliability(values, clusters)
    n = len(values)
    return Calibration(
        bins=tuple(Confidence(b.predicted, Figure(b.right, b.low, b.high, b.n)) for b in bins),
        error=Figure(*calibrated.calibration_interval(values, clusters, seed=seed), n),
        error_by_chance=calibrated.error_when_calibrated(values, seed=seed),
        temperature=Figure(*calibrated.temperature_interval(values, clusters, seed), n),
        mean_confidence=float(calibrated.confidence(values).mean()),
    )


def length_effect(
    chosen: Floats, rejected: Floats, pairs: Sequence[Judged], seed: int
) -> LengthEffect | None:
    """How much of the score is length; None where all pairs are equally long."""
    unequal = [i for i, pair in enumerate(pairs) if longer(pair)]
    if not unequal:
        return None
    some = [pairs[i] for i in unequal]
    by_length = np.sign([longer(pair) for pair in some])
    picks = np.sign(chosen - rejected)[unequal] * by_length  # 1: the reward picks the longer one
    same = float(calibrated.rightness(picks.tolist()).mean())
    return LengthEffect(
        correlation=_correlation(chosen, rejected, pairs, seed),
        picks_longer=share(calibrated.rightness(picks.tolist()).tolist(), some),
        labels_longer=share((0.5 + 0.5 * by_length).tolist(), some),
        same_as_length=max(same, 1 - same),
    )


def _correlation(
    chosen: Floats, rejected: Floats, pairs: Sequence[Judged], seed: int
) -> Figure | None:
    """Over different answers: one that stands in several pairs counts once."""
    score_of = {}
    for pair, *scores in zip(pairs, chosen.tolist(), rejected.tolist(), strict=True):
        texts = pair.preference.chosen, pair.preference.rejected
        for text, score in zip(texts, scores, strict=True):
            score_of[pair.preference.prompt.id, text] = score
    prompts = [prompt for prompt, _ in score_of]
    lengths = [float(len(text)) for _, text in score_of]
    found = spearman_interval(list(score_of.values()), lengths, prompts, seed)
    return None if math.isnan(found[0]) else Figure(*found, len(prompts))


def worst(margins: Floats, pairs: Sequence[Judged]) -> tuple[tuple[WrongPair, ...], int]:
    """The pairs that are ordered wrong, the surest first, and how many there are."""
    order = [int(i) for i in np.argsort(margins, kind="stable") if margins[i] < 0]
    return tuple(wrong(pairs[i], float(margins[i])) for i in order[:LISTED]), len(order)


def wrong(pair: Judged, margin: float | None) -> WrongPair:
    """A pair as it is listed."""
    said = pair.preference
    return WrongPair(said.comparison_id, said.prompt.text, said.chosen, said.rejected, margin)


def curve(
    learn: Floats,
    test: Floats,
    learn_prompts: Sequence[int],
    pairs: Sequence[Judged],
    n_draws: int,
    n_more: int,
    seed: int,
) -> tuple[LearningCurve, Floats]:
    """The learning curve of a probe, and its margins (N,) on the held-out pairs after all labels.

    In each draw the prompts come in another order, and a smaller share is part of every larger.

    Args:
        learn: (L, D) features of the chosen less those of the rejected answers.
        test: (N, D) of the held-out pairs.
        learn_prompts: The prompt of each of the L pairs.
        pairs: The held-out pairs.
        n_draws: How many orders.
        n_more: So many more labels, of which the gain is told.
        seed: Of the draws.
    """
    n = len(learn)
    sizes = sorted({max(_LEAST_SIZE, round(part * n)) for part in _SHARES})
    rng = np.random.default_rng(seed)
    counts = np.zeros((n_draws, len(sizes), n))
    for draw in range(n_draws):
        place = {prompt: rng.random() for prompt in dict.fromkeys(learn_prompts)}
        order = sorted(range(n), key=lambda i: (place[learn_prompts[i]], i))
        for k, size in enumerate(sizes):
            counts[draw, k, order[:size]] = 1
    weights = selection.fit_weighted(learn, np.ones(n), counts.reshape(-1, n))
    margins = (weights @ test.T).reshape(n_draws, len(sizes), -1)
    right = 0.5 + 0.5 * np.sign(margins)
    clusters = [pair.preference.prompt.id for pair in pairs]
    grown = learning_curve.grown(right, sizes, clusters, n_more, seed)
    n_test = len(pairs)
    points = tuple(
        CurvePoint(size, Figure(float(value), float(low), float(high), n_test))
        for size, value, low, high in zip(sizes, grown.value, grown.low, grown.high, strict=True)
    )
    gain = Figure(grown.gain, grown.gain_low, grown.gain_high, n_test)
    return LearningCurve(points, n_more, gain, grown.limit), margins[:, -1].mean(0)


def edit_effect(
    key: str,
    before: tuple[Floats, Floats],
    after: tuple[Floats, Floats],
    pairs: Sequence[Judged],
    spread: float,
) -> Edit:
    """What editing one answer of each pair did: the chosen one, then the rejected one.

    Args:
        key: The edit.
        before: Scores (N,) of chosen and rejected answers.
        after: The same with the edit.
        pairs: What they are of.
        spread: Standard deviation of scores.
    """
    (chosen, rejected), (chosen_after, rejected_after) = before, after
    sign = np.sign(chosen - rejected)
    flips = [
        ((chosen_after - rejected) * sign < 0).astype(float),
        ((chosen - rejected_after) * sign < 0).astype(float),
    ]
    change = np.abs(np.concatenate([chosen_after - chosen, rejected_after - rejected]))
    return Edit(
        key,
        float(change.mean() / spread) if spread else 0.0,
        share(np.concatenate(flips).tolist(), [*pairs, *pairs]),
    )


def polite(text: str) -> str:
    """With an opening that says nothing, in the text's own language."""
    return f"好的，{text}" if _is_cjk(text) else f"Sure, I can help with that. {text}"


def repunctuated(text: str) -> str:
    """Without the full stop at its end, or with one where there is none."""
    bare = text.rstrip()
    if bare[-1:] in ".!。！":
        return bare[:-1]
    return bare + ("。" if _is_cjk(text) else ".")


EDITS: Mapping[str, Callable[[str], str]] = {
    "trailing space": lambda text: f"{text} ",
    "final punctuation": repunctuated,
    "polite opening": polite,
}


def _is_cjk(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


def unfamiliar(
    known: Floats,
    heldout: Floats,
    policy: Floats,
    prompts: Sequence[int],
    source: str,
) -> Unfamiliar:
    """How many policy answers lie farther from the known ones than 95 % of held-out ones do.

    The distance is that to the k-th nearest known answer, in features that are standardised by the
    known ones (Ramaswamy et al. 2000, "Efficient algorithms for mining outliers"; on hidden
    states: Sun et al. 2022, arXiv:2204.06507, but with lengths kept, which break off in bad text).
    Of answers like the held-out ones 5 % lie beyond.

    Args:
        known: (K, D) features of the answers that were learned from.
        heldout: (H, D) of labelled answers to other prompts.
        policy: (P, D) of the answers in question.
        prompts: The prompt of each of these.
        source: Whose answers they are.
    """
    centre, spread = known.mean(0), known.std(0)

    def scaled(features: Floats) -> Floats:
        return np.asarray((features - centre) / np.where(spread > 0, spread, 1.0))

    k, near = min(N_NEIGHBOURS, len(known)), scaled(known)

    def far(features: Floats) -> Floats:
        rows = scaled(features)
        squares = (rows**2).sum(1)[:, None] + (near**2).sum(1) - 2 * rows @ near.T
        return np.asarray(np.sqrt(np.maximum(np.sort(squares, axis=1)[:, k - 1], 0.0)))

    threshold = float(np.quantile(far(heldout), 0.95))
    wins = (far(policy) > threshold).astype(float).tolist()
    return Unfamiliar(source, Figure(*clustered_wilson(wins, prompts), len(wins)), k, threshold)
