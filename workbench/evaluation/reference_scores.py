"""BLEU and chrF through sacreBLEU, which the extra `text` brings, with its signatures."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from workbench.data.figures import Figure
from workbench.errors import EnvironmentProblem
from workbench.evaluation.paired import corpus_figure
from workbench.objectives.intervals import Array


def bleu(
    name: str,
    clusters: Sequence[Hashable],
    before: Sequence[str],
    after: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenizer: str,
) -> tuple[Figure, str]:
    """Corpus BLEU of both sides, and the signature that says how it was computed.

    Source: Papineni et al. 2002 as Post 2018 (arXiv:1804.08771) fixed its settings.

    Args:
        name: Of the figure.
        clusters: The prompt of each answer.
        before: Answers of the base.
        after: Answers of the policy.
        references: One or more for each answer.
        tokenizer: 13a for languages with spaces, zh for Chinese.

    Raises:
        EnvironmentProblem: sacreBLEU is not installed.
    """
    # force: answers of a model that has learned tokenized text are scored as they are.
    metric = _metrics().BLEU(tokenize=tokenizer, force=True)
    return _score(name, metric, clusters, before, after, references)


def chrf(
    name: str,
    clusters: Sequence[Hashable],
    before: Sequence[str],
    after: Sequence[str],
    references: Sequence[Sequence[str]],
) -> tuple[Figure, str]:
    """Corpus chrF2 of both sides, and its signature (Popović 2015).

    Raises:
        EnvironmentProblem: sacreBLEU is not installed.
    """
    return _score(name, _metrics().CHRF(), clusters, before, after, references)


def _score(
    name: str,
    metric: Any,
    clusters: Sequence[Hashable],
    before: Sequence[str],
    after: Sequence[str],
    references: Sequence[Sequence[str]],
) -> tuple[Figure, str]:
    # sacreBLEU wants streams of references, each as long as the corpus, with gaps.
    n_streams = max(map(len, references))
    streams = [[r[k] if k < len(r) else None for r in references] for k in range(n_streams)]

    def statistics(answers: Sequence[str]) -> Array:
        # What sacreBLEU's own significance tests resample; there is no public name for it.
        found = metric._extract_corpus_statistics(answers, streams)
        return np.asarray(found, dtype=np.float64)

    def score(sums: Array) -> float:
        return float(metric._compute_score_from_stats(sums.tolist()).score)

    figure = corpus_figure(name, clusters, statistics(before), statistics(after), score)
    return figure, str(metric.get_signature())


def _metrics() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError:
        raise EnvironmentProblem(
            "BLEU and chrF need the library sacrebleu, which is not installed.",
            'Install it with pip install "rlhf-workbench[text]".',
        ) from None
    return metrics
