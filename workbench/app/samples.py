"""The answers that a run kept, to be read: through its steps, against the base, token by token."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workbench.app.workspace import Workspace
from workbench.data.records import Prompt
from workbench.data.sameness import normalised, triples
from workbench.events import Sample

MOST_ROLLOUTS = 2000
"""Of the answers that were learned from, at most so many of the newest are listed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer of a run.

    Attributes:
        id: Its number in the store, for `tokens`.
        sample: The answer.
        base: What the reference answered under the same luck; None where it was not asked.
        change: Share of the letter triples of both that only one of them has, 0 the same and 1
            nothing alike; None without a base.
    """

    id: int
    sample: Sample
    base: str | None
    change: float | None


@dataclass(frozen=True, slots=True)
class Book:
    """The answers of a run in order of steps, and the prompts that they answer, by number."""

    kept: tuple[Kept, ...]
    prompts: Mapping[int, Prompt]
    n_left_out: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of an answer with numbers for each, by name; without any when not kept."""

    texts: tuple[str, ...]
    figures: Mapping[str, tuple[float, ...]]


def read(ws: Workspace, run_id: int) -> Book:
    """All answers to fixed prompts, and the newest of the others."""
    if not ws.is_read_only:
        ws.journal.flush()
    numbered = ws.experiment.runs.numbered_samples(run_id)
    bases = {s.prompt_id: s.text for _, s in numbered if s.is_watched and s.step == 0}
    rollouts = [number for number, s in numbered if not s.is_watched]
    n_left_out = max(0, len(rollouts) - MOST_ROLLOUTS)
    left_out = set(rollouts[:n_left_out])
    kept = tuple(_kept(n, s, bases) for n, s in numbered if n not in left_out)
    ids = sorted({k.sample.prompt_id for k in kept})
    prompts = {p.id: p for p in ws.experiment.prompts.get_many(ids)}
    return Book(kept, prompts, n_left_out)


def _kept(number: int, sample: Sample, bases: Mapping[int, str]) -> Kept:
    base = bases.get(sample.prompt_id) if sample.is_watched else None
    return Kept(number, sample, base, None if base is None else change(base, sample.text))


def change(before: str, after: str) -> float:
    """How much two texts differ: 1 − Jaccard index of their letter triples."""
    first, second = triples(normalised(before)), triples(normalised(after))
    return 1.0 - len(first & second) / len(first | second)


def tokens(ws: Workspace, sample_id: int) -> Tokens:
    """The tokens of an answer, with what follows from their log-probabilities.

    `log_ratio` is log π − log reference; `kl` is exp(−d) − 1 + d of it, which is never negative
    and has the same mean (k3 of Schulman 2020, joschu.net/blog/kl-approx.html).
    """
    texts, stored = ws.experiment.runs.tokens_of(sample_id)
    figures = dict(stored)
    if "logp" in figures and "ref_logp" in figures:
        pairs = zip(figures["logp"], figures["ref_logp"], strict=True)
        figures["log_ratio"] = tuple(p - r for p, r in pairs)
        figures["kl"] = tuple(map(_k3, figures["log_ratio"]))
    return Tokens(texts, figures)


def _k3(d: float) -> float:
    # As in objectives/kl.py: cut where one token would say nothing but "very far".
    e = max(-20.0, min(20.0, -d))
    return min(10.0, math.expm1(e) - e)


ORDERS = ("step", "best", "worst", "kl", "length", "change")


def ordered(kept: Sequence[Kept], order: str) -> list[Kept]:
    """Answers in an order of `ORDERS`; those without the figure come last, equal ones by step."""
    keys: Mapping[str, Callable[[Kept], float]] = {
        "best": lambda k: -k.sample.reward,
        "worst": lambda k: k.sample.reward,
        "kl": lambda k: -k.sample.kl,
        "length": lambda k: -k.sample.n_tokens,
        "change": lambda k: -(math.nan if k.change is None else k.change),
    }
    found = sorted(kept, key=lambda k: k.sample.step)
    key = keys.get(order)
    if key is None:
        return found
    return sorted(found, key=lambda k: (math.isnan(key(k)), 0.0 if math.isnan(key(k)) else key(k)))
