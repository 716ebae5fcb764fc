"""Judgements that came too fast, and whether the labels change as time goes on."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from workbench.app.quality.findings import (
    FEW,
    OUTCOMES,
    FastLabel,
    Finding,
    State,
    Tenth,
    Voice,
    counted,
    interval,
    percent,
)
from workbench.app.quality.habits import decided_on_screen, is_longer_chosen
from workbench.app.quality.repeats import Again
from workbench.objectives.agreement import Estimate
from workbench.objectives.intervals import newcombe, wilson
from workbench.store.labels import AnswerFacts, Label

_REACTION_S = 0.5
_TOO_MANY = 0.05
_FAR_TOO_MANY = 0.25
_N_PARTS = 10
_SMALLEST_PART = 5
_Z_OF_FOUR = 2.4977054744123723
"""Bonferroni: the normal quantile of 1 − 0.05 / (2 · 4), for four comparisons at once."""
_CHANGES = {
    "side": "{subject} chose the first answer",
    "longer": "{subject} chose the longer answer",
    "neither": "{subject} chose neither answer",
    "again": "{subject} said the same of a repeated pair",
}


def too_fast(
    labels: Sequence[Label],
    answers: Mapping[int, AnswerFacts],
    reading_speed: float,
    voice: Voice,
) -> tuple[list[FastLabel], tuple[Finding, ...]]:
    """Judgements that both answers cannot have been read for, and what share they are.

    A judgement that follows from a ranking, an edit or a written answer is not timed, nor one
    whose time is not known.
    """
    timed = [
        label
        for label in labels
        if label.annotator_kind == "person"
        and label.seconds > 0
        and label.verdict != "skip"
        and not label.is_ranked
        and not (answers[label.first_id].is_written or answers[label.second_id].is_written)
    ]
    if not timed:
        return [], ()
    fast = []
    for label in timed:
        n_words = answers[label.first_id].n_words + answers[label.second_id].n_words
        if label.seconds < _REACTION_S + n_words / reading_speed:
            fast.append(
                FastLabel(label.id, label.comparison_id, label.prompt_id, label.seconds, n_words)
            )
    fast.sort(key=lambda f: -f.words_per_second)
    return fast, (_speed(len(fast), len(timed), reading_speed, voice),)


def _speed(n_fast: int, n: int, reading_speed: float, voice: Voice) -> Finding:
    share = Estimate(n_fast / n, *wilson(n_fast, n), n)
    state: State = "info" if n_fast else "ok"
    if share.low > _FAR_TOO_MANY:
        state = "bad"
    elif share.low > _TOO_MANY:
        state = "warn"
    sentence = (
        f"{voice.subject} judged {n_fast} of {counted(n, 'timed pair', 'timed pairs')}"
        f" ({percent(share.value)}, {interval(share)}) faster than both answers can be read, at"
        f" {reading_speed:.0f} words a second"
        f"{'. Look at them again.' if n_fast else '.'}"
    )
    return Finding("speed", "Too fast to have read", state, sentence, share)


def drift(
    labels: Sequence[Label],
    answers: Mapping[int, AnswerFacts],
    again: Sequence[Again],
    voice: Voice,
) -> tuple[tuple[Tenth, ...], tuple[Finding, ...]]:
    """The labels by tenths, and in what the second half differs from the first."""
    judged = [label for label in labels if label.verdict in OUTCOMES]
    n_parts = min(_N_PARTS, len(judged) // _SMALLEST_PART)
    if n_parts < 2:
        return (), ()
    parts = _cut(judged, n_parts)
    ends = [part[-1].created_at for part in parts]
    repeats = _by_time(again, ends)
    tenths, first = [], 1
    for part, repeated in zip(parts, repeats, strict=True):
        times = [label.seconds for label in part if label.seconds > 0]
        shares = {
            name: Estimate(k / n, *wilson(k, n), n)
            for name, (k, n) in _counts(part, repeated, answers).items()
            if n
        }
        seconds = statistics.median(times) if times else math.nan
        last = first + len(part) - 1
        tenths.append(Tenth(first, last, part[0].created_at, seconds, shares))
        first = last + 1
    return tuple(tenths), tuple(_changes(judged, again, answers, voice))


def _cut(labels: Sequence[Label], n_parts: int) -> list[Sequence[Label]]:
    edges = [round(i * len(labels) / n_parts) for i in range(n_parts + 1)]
    return [labels[a:b] for a, b in itertools.pairwise(edges)]


def _by_time(again: Sequence[Again], ends: Sequence[str]) -> list[list[Again]]:
    """The repeats of each stretch; those after the last end belong to the last."""
    parts: list[list[Again]] = [[] for _ in ends]
    for repeated in again:
        behind = sum(end < repeated.repeat.created_at for end in ends[:-1])
        parts[behind].append(repeated)
    return parts


def _counts(
    labels: Sequence[Label], again: Sequence[Again], answers: Mapping[int, AnswerFacts]
) -> dict[str, tuple[int, int]]:
    """How many cases show each habit, and how many could have."""
    seen = decided_on_screen(labels, answers)
    longer = [is_longer for x in labels if (is_longer := is_longer_chosen(x, answers)) is not None]
    return {
        "side": (sum(x.verdict == "first" for x in seen), len(seen)),
        "longer": (sum(longer), len(longer)),
        "neither": (sum(OUTCOMES[x.verdict] == 2 for x in labels), len(labels)),
        "again": (sum(a.is_same for a in again), len(again)),
    }


def _changes(
    judged: Sequence[Label],
    again: Sequence[Again],
    answers: Mapping[int, AnswerFacts],
    voice: Voice,
) -> Iterator[Finding]:
    """What changed between the halves, by more than four comparisons show by chance."""
    halves = _cut(judged, 2)
    repeats = _by_time(again, [half[-1].created_at for half in halves])
    before, after = (
        _counts(half, repeated, answers) for half, repeated in zip(halves, repeats, strict=True)
    )
    changed = False
    for name, phrase in _CHANGES.items():
        (k_before, n_before), (k_after, n_after) = before[name], after[name]
        if min(n_before, n_after) < FEW:
            continue
        difference = newcombe((k_after, k_before), (n_after, n_before), _Z_OF_FOUR)
        figure = Estimate(*difference, n_before + n_after)
        if figure.low <= 0 <= figure.high:
            continue
        changed = True
        yield Finding(
            f"drift_{name}",
            "Change over time",
            "warn",
            _told(phrase, voice, figure, after[name], before[name]),
            figure,
        )
    if not changed:
        yield _steady(len(judged), before["side"], after["side"])


def _told(
    phrase: str, voice: Voice, figure: Estimate, after: tuple[int, int], before: tuple[int, int]
) -> str:
    low, high = (f"{100 * end:+.0f}".replace("-", "−") for end in (figure.low, figure.high))
    return (
        f"{phrase.format(subject=voice.subject)} in {percent(after[0] / after[1])} of"
        f" {counted(after[1], 'case', 'cases')} in the second half of the labels, against"
        f" {percent(before[0] / before[1])} of {before[1]} in the first (difference {low} to"
        f" {high} points, an interval for four comparisons at once): the way of judging changed."
    )


def _steady(n: int, before: tuple[int, int], after: tuple[int, int]) -> Finding:
    figure = Estimate(math.nan, math.nan, math.nan, n)
    if min(before[1], after[1]):
        figure = Estimate(*newcombe((after[0], before[0]), (after[1], before[1]), _Z_OF_FOUR), n)
    few = n < 4 * FEW
    end = " There are too few to see a small one." if few else ""
    sentence = f"Between the halves of {n} labels no change is seen.{end}"
    return Finding("drift", "Change over time", "info" if few else "ok", sentence, figure)
