"""How far several annotators of one experiment agree, and on which pairs they do not."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from workbench.app.quality.findings import (
    FEW,
    LISTED,
    OUTCOMES,
    Disagreement,
    Finding,
    PairAgreement,
    State,
    counted,
    interval,
    kappa_words,
    percent,
)
from workbench.app.workspace import Workspace
from workbench.objectives.agreement import Array, Estimate, kappa_of_table, krippendorff_alpha
from workbench.objectives.intervals import wilson
from workbench.store.labels import Label

_N_OUTCOMES = 3
_N_STARS = 5
_RELIABLE, _TENTATIVE = 0.8, 0.667
"""Krippendorff's own customary limits (Content Analysis, 2019, chapter 12)."""

Said = Mapping[int, Mapping[str, Label]]  # by comparison, then annotator


class Between(NamedTuple):
    """What there is to say of several annotators."""

    pairs: tuple[PairAgreement, ...]
    alphas: tuple[Finding, ...]
    disagreements: tuple[Disagreement, ...]
    n_disagreements: int


def between(ws: Workspace, labels: Sequence[Label], check: Callable[[], object]) -> Between:
    """Kappa of each two annotators, alpha of all, and the pairs that they differ on."""
    said: dict[int, dict[str, Label]] = {}
    for label in labels:
        if label.verdict in OUTCOMES:
            said.setdefault(label.comparison_id, {})[label.annotator] = label
    shared = {i: by_name for i, by_name in said.items() if len(by_name) > 1}
    check()
    alphas = [*_verdict_alpha(shared), *_rating_alpha(ws)]
    check()
    differing = [i for i, by_name in shared.items() if len(_outcomes(by_name)) > 1]
    # Opposite choices come first: a tie is nearer to either than they are to each other.
    differing.sort(key=lambda i: (not _is_opposite(shared[i]), i))
    listed = tuple(_disagreement(ws, i, shared[i]) for i in differing[:LISTED])
    return Between(tuple(_pairs(shared)), tuple(alphas), listed, len(differing))


def _outcomes(by_name: Mapping[str, Label]) -> set[int]:
    return {OUTCOMES[label.verdict] for label in by_name.values()}


def _is_opposite(by_name: Mapping[str, Label]) -> bool:
    return _outcomes(by_name) >= {OUTCOMES["first"], OUTCOMES["second"]}


def _disagreement(ws: Workspace, comparison_id: int, by_name: Mapping[str, Label]) -> Disagreement:
    prompt = ws.experiment.prompts.get(next(iter(by_name.values())).prompt_id)
    said = tuple((name, by_name[name].verdict) for name in sorted(by_name))
    return Disagreement(comparison_id, prompt.text, said, _is_opposite(by_name))


def _pairs(shared: Said) -> Iterator[PairAgreement]:
    tables: dict[tuple[str, str], Array] = {}
    for by_name in shared.values():
        for pair in itertools.combinations(sorted(by_name), 2):
            table = tables.setdefault(pair, np.zeros((_N_OUTCOMES, _N_OUTCOMES)))
            one, other = (OUTCOMES[by_name[name].verdict] for name in pair)
            table[one, other] += 1
    for (first, second), table in sorted(tables.items(), key=lambda item: -item[1].sum()):
        n, n_same = round(table.sum()), round(np.trace(table))
        share = Estimate(n_same / n, *wilson(n_same, n), n)
        kappa = kappa_of_table(table)
        sentence = (
            f"{first} and {second} agree on {n_same} of {counted(n, 'pair', 'pairs')}"
            f" ({percent(share.value)}, {interval(share)}; {kappa_words(kappa)})."
        )
        yield PairAgreement(first, second, share, kappa, sentence)


def _verdict_alpha(shared: Said) -> Iterator[Finding]:
    if not shared:
        return
    counts = np.zeros((len(shared), _N_OUTCOMES))
    for row, by_name in enumerate(shared.values()):
        for label in by_name.values():
            counts[row, OUTCOMES[label.verdict]] += 1
    n_annotators = len({name for by_name in shared.values() for name in by_name})
    what = counted(len(shared), "pair", "pairs")
    yield _alpha("alpha", krippendorff_alpha(counts), f"{n_annotators} annotators of {what}")


def _rating_alpha(ws: Workspace) -> Iterator[Finding]:
    """Of the stars, whose order counts; answers rated by two annotators or more."""
    stars: dict[int, Counter[int]] = {}
    annotators = set()
    for remark in ws.experiment.remarks.list("rating"):
        if remark.completion_id is not None:
            stars.setdefault(remark.completion_id, Counter())[int(remark.value)] += 1
            annotators.add(remark.annotator)
    shared = [counts for counts in stars.values() if counts.total() > 1]
    if not shared:
        return
    table = np.array([[counts[star + 1] for star in range(_N_STARS)] for counts in shared], float)
    what = counted(len(shared), "rated answer", "rated answers")
    found = krippendorff_alpha(table, "ordinal")
    yield _alpha("alpha_ratings", found, f"{len(annotators)} annotators of {what}")


def _alpha(key: str, alpha: Estimate, who: str) -> Finding:
    title = "Krippendorff's alpha" + (" of ratings" if key == "alpha_ratings" else "")
    if not alpha.is_defined:
        sentence = f"{who} always said the same one thing: {title} is not defined."
        return Finding(key, title, "info", sentence, alpha)
    bounds = f"95 % interval {alpha.low:.2f} to {alpha.high:.2f}"
    said = f"{title} of {who} is {alpha.value:.2f} ({bounds})".replace("-", "−")
    state: State = "ok"
    if alpha.n < FEW:
        state, end = "info", ": too few to conclude from."
    elif alpha.high < _TENTATIVE:
        state, end = "warn", f": below {_TENTATIVE}, the customary limit for tentative conclusions."
    elif alpha.low >= _RELIABLE:
        end = f": above {_RELIABLE}, what is customary for reliable labels."
    else:
        end = f"; {_RELIABLE} is customary for reliable labels, {_TENTATIVE} the least."
    return Finding(key, title, state, said + end, alpha)
