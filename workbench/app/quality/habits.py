"""Whether the labels suffice, and whether place or length decides what is chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from workbench.app.quality.findings import FEW, Finding, State, Voice, counted, interval, percent
from workbench.app.workspace import MIN_PAIRS
from workbench.objectives.agreement import Estimate
from workbench.objectives.intervals import clustered_wilson, wilson
from workbench.store.labels import AnswerFacts, Label

ENOUGH = 150
_ONE_SIDED = 0.95
_LOPSIDED = 0.65


def amount(n_decided: int) -> Finding:
    """Whether there are enough choices to learn from and to measure."""
    low, high = wilson(n_decided / 2, n_decided)
    figure = Estimate(float(n_decided), math.nan, math.nan, n_decided)
    pairs = counted(n_decided, "pair is", "pairs are")
    points = f"{100 * (high - low) / 2:.0f}"
    accuracy = f"A share of half of them is known to ±{points} percentage points"
    state: State = "ok"
    if n_decided < MIN_PAIRS:
        state, sentence = "bad", f"{pairs} decided; a reward model needs at least {MIN_PAIRS}."
    elif n_decided < ENOUGH:
        state = "warn"
        sentence = (
            f"{pairs} decided. {accuracy}; about {ENOUGH} give a reward model that can be trusted."
        )
    else:
        sentence = f"{pairs} decided, enough for a reward model. {accuracy}."
    return Finding("amount", "Decided pairs", state, sentence, figure)


def decided_on_screen(labels: Sequence[Label], answers: Mapping[int, AnswerFacts]) -> list[Label]:
    """Choices of one side of a pair that was seen as a pair.

    Not those that follow from a ranking, from an edit or from an answer written by hand, where
    the better answer stands first by definition, and not imported ones, whose sides nobody saw.
    """
    return [
        label
        for label in labels
        if label.verdict in ("first", "second")
        and not label.is_ranked
        and label.annotator_kind != "imported"
        and not (answers[label.first_id].is_written or answers[label.second_id].is_written)
    ]


def side(
    labels: Sequence[Label], answers: Mapping[int, AnswerFacts], voice: Voice
) -> Iterator[Finding]:
    """How often the answer that stood first was chosen; sides are shuffled, so half is fair."""
    chosen = decided_on_screen(labels, answers)
    if not chosen:
        return
    n_first, n = sum(label.verdict == "first" for label in chosen), len(chosen)
    share = Estimate(n_first / n, *wilson(n_first, n), n)
    said = (
        f"{voice.subject} chose the first answer in {percent(share.value)} of"
        f" {counted(n, 'pair', 'pairs')} ({interval(share)})"
    )
    place = "first" if share.value > 0.5 else "second"
    state: State = "ok"
    if n < FEW:
        state, end = "info", ": too few to conclude from."
    elif share.low <= 0.5 <= share.high:
        end = ": may be chance."
    else:
        lopsided = max(share.low, 1 - share.high) > _LOPSIDED
        state = "bad" if lopsided else "warn"
        end = f": the answer shown {place} is favoured. Was the other one always read?"
    yield Finding("side", "First answer chosen", state, said + end, share, reference=0.5)


def is_longer_chosen(label: Label, answers: Mapping[int, AnswerFacts]) -> bool | None:
    """Whether the longer answer was chosen; None without a choice or with equal lengths."""
    if label.verdict not in ("first", "second"):
        return None
    more = answers[label.first_id].n_chars - answers[label.second_id].n_chars
    return None if more == 0 else (more > 0) == (label.verdict == "first")


def length(
    labels: Sequence[Label], answers: Mapping[int, AnswerFacts], voice: Voice
) -> Iterator[Finding]:
    """How often the longer answer was chosen; its interval knows which pairs share a prompt."""
    chosen = [
        (float(is_longer), label.prompt_id)
        for label in labels
        if (is_longer := is_longer_chosen(label, answers)) is not None
    ]
    if not chosen:
        return
    wins, prompts = zip(*chosen, strict=True)
    share = Estimate(*clustered_wilson(wins, prompts), len(chosen))
    said = (
        f"{voice.subject} chose the longer answer in {percent(share.value)} of"
        f" {counted(len(chosen), 'pair', 'pairs')} of unequal length ({interval(share)})"
    )
    word = "longer" if share.value > 0.5 else "shorter"
    one_sided = max(share.value, 1 - share.value) >= _ONE_SIDED
    state: State = "ok"
    if len(chosen) < FEW:
        state, end = "info", ": too few to conclude from."
    elif share.low <= 0.5 <= share.high:
        end = ": may be chance."
    elif one_sided:
        state, end = "bad", ". A reward model may learn length from them and nothing else."
    else:
        state = "warn"
        end = f": {word} answers are favoured, and a reward model will learn that with the rest."
    yield Finding("length", "Longer answer chosen", state, said + end, share, reference=0.5)
