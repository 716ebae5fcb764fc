"""From what annotators said to preferences, and to strengths of answers and of models.

Everything that an annotator said of two answers is one vote of theirs: their judgement of the
pair (a ranking is kept as judgements of its pairs), else what their ratings say, when these are
far enough apart. `AggregationSettings` says which votes count.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from workbench.app.workspace import Workspace
from workbench.config.aggregation import AggregationSettings
from workbench.data.records import AnnotatorKind, Preference, Strength
from workbench.objectives.agreement import Array, Estimate, bradley_terry
from workbench.store.labels import AnswerFacts, Label

AUTHORITY: Mapping[AnnotatorKind, int] = {"person": 3, "imported": 2, "ai": 1, "simulated": 0}
"""A person's word counts more than an imported label, that more than a machine's."""
CLEARLY_APART = 3
"""Ratings this many stars apart say "clearly better", nearer ones "slightly"."""

_RULE = "aggregation"
_Outcome = Literal["first", "second", "neither", "skip"]
_Pair = tuple[int, int]  # ids of two answers, the smaller one first


@dataclass(frozen=True, slots=True)
class Vote:
    """What an annotator said of two answers, of which the first has the smaller id."""

    pair: _Pair
    prompt_id: int
    comparison_id: int
    outcome: _Outcome
    strength: Strength
    annotator: str
    kind: AnnotatorKind
    order: tuple[int, str, int]  # authority, then time


@dataclass(frozen=True, slots=True)
class AnswerStrength:
    """How strong an answer is among those to its prompt: a log-odds; 0 is their mean."""

    answer_id: int
    strength: Estimate


@dataclass(frozen=True, slots=True)
class ModelStrength:
    """How strong the answers of a model are: log strength, 0 the mean of all models.

    `strength.n` counts the votes on pairs with another model's answer.
    """

    name: str
    strength: Estimate

    @property
    def win_rate(self) -> Estimate:
        """How often it would be chosen over a model of mean strength, with the interval."""
        value, low, high = (1 / (1 + math.exp(-x)) for x in self.strength[:3])
        return Estimate(value, low, high, self.strength.n)


def rule_of(ws: Workspace) -> AggregationSettings:
    """The rule by which this experiment's models learn; the default until it says otherwise."""
    stored = dict(ws.experiment.settings.get(_RULE, {}))
    known = {k: v for k, v in stored.items() if k in AggregationSettings.model_fields}
    try:
        return AggregationSettings(**known)
    except ValueError:
        # Written by another version, whose bounds were others.
        return AggregationSettings()


def save_rule(ws: Workspace, rule: AggregationSettings) -> None:
    """Let the models of this experiment learn by this rule from now on.

    Raises:
        UserError: It is open read-only.
    """
    ws.check_writable()
    ws.experiment.settings.set(_RULE, rule.model_dump())


def preferences(ws: Workspace, rule: AggregationSettings) -> list[Preference]:
    """Chosen over rejected, one per pair of answers, as the rule has it.

    Of several votes that agree under "majority" the preference names all annotators, and its
    strength is the mean of what they said, rounded down. `comparison_id` is 0 where only ratings
    tell of the pair; these come last.
    """
    if rule == AggregationSettings():
        return ws.experiment.judgements.preferences()  # the same, and quicker
    chosen = [
        (votes, winner, strength)
        for votes in _counting(ws, rule)
        if (winner := _winner(votes, rule)) is not None
        and (strength := _strength(votes, winner)) >= rule.least_strength
    ]
    chosen.sort(key=lambda choice: (not choice[0][0].comparison_id, choice[0][0].comparison_id))
    texts = ws.experiment.labels.texts([i for votes, *_ in chosen for i in votes[0].pair])
    ids = sorted({votes[0].prompt_id for votes, *_ in chosen})
    prompts = {prompt.id: prompt for prompt in ws.experiment.prompts.get_many(ids)}
    found = []
    for votes, winner, strength in chosen:
        first, second = (texts[i] for i in votes[0].pair)
        names = sorted({v.annotator for v in votes if v.outcome == winner})
        found.append(
            Preference(
                comparison_id=votes[0].comparison_id,
                prompt=prompts[votes[0].prompt_id],
                chosen=first if winner == "first" else second,
                rejected=second if winner == "first" else first,
                annotator=", ".join(names),
                annotator_kind=votes[0].kind,
                strength=strength,
            )
        )
    return found


def answer_strengths(
    ws: Workspace, rule: AggregationSettings
) -> dict[int, tuple[AnswerStrength, ...]]:
    """Bradley-Terry strengths of the answers to each prompt, strongest first, by prompt.

    Ties, and pairs of which both were called bad, count as half a win for both.
    """
    votes_of: dict[int, list[Vote]] = defaultdict(list)
    for votes in _counting(ws, rule):
        for vote in votes:
            if vote.outcome != "skip":
                votes_of[vote.prompt_id].append(vote)
    # Prompts with equally many answers are solved together.
    by_size: dict[int, list[tuple[int, list[int], Array]]] = defaultdict(list)
    for prompt, votes in votes_of.items():
        answers = sorted({i for vote in votes for i in vote.pair})
        wins = _wins(((*vote.pair, vote.outcome) for vote in votes), answers)
        by_size[len(answers)].append((prompt, answers, wins))
    found = {}
    for problems in by_size.values():
        solved = bradley_terry(np.stack([wins for *_, wins in problems]))
        for (prompt, answers, wins), *figures in zip(problems, *solved, strict=True):
            n_votes = (wins + wins.T).sum(axis=1)
            strengths = [
                AnswerStrength(i, _estimate(row))
                for i, *row in zip(answers, *figures, n_votes, strict=True)
            ]
            found[prompt] = tuple(sorted(strengths, key=lambda s: -s.strength.value))
    return found


def model_strengths(
    ws: Workspace,
    rule: AggregationSettings,
    check: Callable[[], object] = lambda: None,
) -> tuple[ModelStrength, ...]:
    """Bradley-Terry strengths of the models (base, adapters, "edited", "imported"), best first.

    From pairs whose answers come from two different ones; empty when there is no such pair. The
    intervals take the votes for independent, so they are too narrow where many pairs share
    answers.
    """
    facts = ws.experiment.labels.answers(check)
    met = [
        (facts[vote.pair[0]].origin, facts[vote.pair[1]].origin, vote.outcome)
        for votes in _counting(ws, rule, facts, check)
        for vote in votes
        if vote.outcome != "skip" and facts[vote.pair[0]].origin != facts[vote.pair[1]].origin
    ]
    names = sorted({name for first, second, _ in met for name in (first, second)})
    if not names:
        return ()
    wins = _wins(met, names)
    n_votes = (wins + wins.T).sum(axis=1)
    strengths = [
        ModelStrength(name, _estimate(row))
        for name, *row in zip(names, *bradley_terry(wins), n_votes, strict=True)
    ]
    return tuple(sorted(strengths, key=lambda s: -s.strength.value))


def _estimate(row: Sequence[float]) -> Estimate:
    value, low, high, n = map(float, row)
    return Estimate(value, low, high, round(n))


def _wins(met: Iterable[tuple[Hashable, Hashable, _Outcome]], items: Sequence[Hashable]) -> Array:
    """How often each item was chosen over each other, half a time where neither was."""
    place = {item: i for i, item in enumerate(items)}
    wins = np.zeros((len(items), len(items)))
    for first, second, outcome in met:
        share = {"first": 1.0, "second": 0.0}.get(outcome, 0.5)
        wins[place[first], place[second]] += share
        wins[place[second], place[first]] += 1 - share
    return wins


def _counting(
    ws: Workspace,
    rule: AggregationSettings,
    facts: Mapping[int, AnswerFacts] | None = None,
    check: Callable[[], object] = lambda: None,
) -> Iterator[list[Vote]]:
    """The votes that count on each pair of answers: one under "authority", else a kind's."""
    on_pair: dict[_Pair, dict[str, Vote]] = {}
    for label in ws.experiment.labels.list(check):
        vote = _of_label(label)
        on_pair.setdefault(vote.pair, {})[vote.annotator] = vote
    if rule.stars_apart:
        for vote in _of_ratings(ws, rule.stars_apart, facts):
            others = on_pair.setdefault(vote.pair, {})
            comparison = next((v.comparison_id for v in others.values()), 0)
            others.setdefault(vote.annotator, replace(vote, comparison_id=comparison))
    for by_name in on_pair.values():
        votes = sorted(by_name.values(), key=lambda vote: vote.order)
        if rule.several == "authority":
            yield votes[-1:]
        elif votes := [vote for vote in votes if vote.outcome != "skip"]:
            yield [vote for vote in votes if vote.order[0] == votes[-1].order[0]]


def _of_label(label: Label) -> Vote:
    is_turned = label.second_id < label.first_id
    outcome: _Outcome = "neither"
    if label.verdict == "skip":
        outcome = "skip"
    elif label.verdict in ("first", "second"):
        outcome = "first" if (label.verdict == "first") != is_turned else "second"
    return Vote(
        (min(label.first_id, label.second_id), max(label.first_id, label.second_id)),
        label.prompt_id,
        label.comparison_id,
        outcome,
        label.strength,
        label.annotator,
        label.annotator_kind,
        (AUTHORITY[label.annotator_kind], label.created_at, label.id),
    )


def _of_ratings(
    ws: Workspace, stars_apart: int, facts: Mapping[int, AnswerFacts] | None
) -> Iterator[Vote]:
    """A vote for each two answers of a prompt that an annotator rated far enough apart."""
    ratings = ws.experiment.remarks.list("rating")
    if not ratings:
        return
    facts = facts or ws.experiment.labels.answers()
    rated: dict[tuple[str, int], list[tuple[int, int, str]]] = defaultdict(list)
    kinds = {remark.annotator: remark.annotator_kind for remark in ratings}
    for remark in ratings:
        answer = remark.completion_id
        if answer is not None and not facts[answer].is_deleted:
            stars = (answer, int(remark.value), remark.created_at)
            rated[remark.annotator, remark.prompt_id].append(stars)
    for (annotator, prompt), answers in rated.items():
        kind = kinds[annotator]
        for one, other in itertools.combinations(sorted(answers), 2):
            apart = one[1] - other[1]
            if abs(apart) >= stars_apart:
                yield Vote(
                    (one[0], other[0]),
                    prompt,
                    0,
                    "first" if apart > 0 else "second",
                    2 if abs(apart) >= CLEARLY_APART else 1,
                    annotator,
                    kind,
                    (AUTHORITY[kind], max(one[2], other[2]), 0),
                )


def _winner(votes: Sequence[Vote], rule: AggregationSettings) -> Literal["first", "second"] | None:
    counts = Counter(vote.outcome for vote in votes)
    for side in ("first", "second"):
        share = counts[side] / len(votes)
        if share > 0.5 and (rule.several == "authority" or share >= rule.least_share):
            return side
    return None


def _strength(votes: Sequence[Vote], winner: str) -> Strength:
    said = [vote.strength for vote in votes if vote.outcome == winner]
    mean = sum(said) // len(said)
    return 2 if mean >= 2 else 1 if mean == 1 else 0
