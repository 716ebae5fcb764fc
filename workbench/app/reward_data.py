"""What a reward model learns from beside pairs, by its loss, and labels that contradict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from workbench.app.workspace import MIN_PAIRS, Workspace
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import (
    AnnotatorKind,
    Judgement,
    Preference,
    Prompt,
    RankedAnswers,
    Ranking,
    Rated,
    Remark,
    Tie,
)
from workbench.data.training_data import TrainingData
from workbench.errors import UserError

_AUTHORITY: Mapping[AnnotatorKind, int] = {"simulated": 0, "ai": 1, "imported": 2, "person": 3}

Label = Judgement | Preference | Ranking | Remark
WeightOf = Callable[[Label], float]


class Contradictions(NamedTuple):
    """Pairs that were judged both ways, by how that came about.

    Attributes:
        annotators: Two annotators chose differently; one of them counts, or the majority.
        texts: The same two texts stand in several pairs and were chosen differently there; both
            are learned from.
    """

    annotators: int
    texts: int


def more(
    ws: Workspace,
    settings: RewardModelSettings,
    pairs: Sequence[Preference],
    weight_of: WeightOf,
) -> TrainingData:
    """What the loss needs beside the pairs.

    Raises:
        UserError: There is too little of it.
    """
    match settings.loss:
        case "rao-kupper":
            return TrainingData(ties=tuple(ties(ws, pairs, weight_of)))
        case "plackett-luce":
            return TrainingData(rankings=tuple(rankings(ws, pairs, weight_of)))
        case "regression":
            rated = tuple(ratings(ws, weight_of))
            if problem := hindrance_of_ratings(len(rated)):
                raise UserError(problem)
            return TrainingData(ratings=rated)
        case _:
            return TrainingData()


def hindrance_of_ratings(n: int) -> str:
    """Why there are too few ratings; empty when there are enough."""
    if n >= MIN_PAIRS:
        return ""
    counted = "is 1 rated answer" if n == 1 else f"are {n} rated answers"
    return (
        f"There {counted}; regression needs at least {MIN_PAIRS}. Rate more answers, or learn from "
        "pairs."
    )


def counts(data: TrainingData) -> dict[str, int]:
    """What a run records of it; what is not there is left out."""
    found = {
        "n_ties": len(data.ties),
        "n_rankings": len(data.rankings),
        "n_ratings": len(data.ratings),
    }
    return {name: n for name, n in found.items() if n}


def ties(ws: Workspace, pairs: Sequence[Preference], weight_of: WeightOf) -> list[Tie]:
    """Judged pairs of which neither answer was called better: equally good, or both bad."""
    decided = {pair.comparison_id for pair in pairs}
    return [
        Tie(pair.prompt, pair.first_text, pair.second_text, weight_of(pair.judgement))
        for pair in ws.experiment.judgements.ties()
        if pair.judgement.verdict != "skip"
        and pair.judgement.comparison_id not in decided
        and pair.first_text.strip() != pair.second_text.strip()
    ]


def rankings(
    ws: Workspace, pairs: Sequence[Preference], weight_of: WeightOf
) -> list[RankedAnswers]:
    """The last ranking of the same answers by each annotator.

    One that is against a pair as it counts now (judged anew, or by somebody whose word counts
    more) is left out: its other pairs count one by one.
    """
    latest: dict[tuple[str, frozenset[int]], Ranking] = {}
    for ranking in ws.experiment.rankings.list():
        ids = frozenset(i for place in ranking.places for i in place)
        latest[ranking.annotator, ids] = ranking
    found = [*latest.values()]
    texts, prompts = _known(
        ws, [i for r in found for place in r.places for i in place], [r.prompt_id for r in found]
    )
    chosen = {(p.prompt.id, p.chosen, p.rejected) for p in pairs}
    ranked = []
    for ranking in found:
        places = [tuple(texts[i] for i in place if i in texts) for place in ranking.places]
        kept = tuple(place for place in places if place)
        is_refuted = any(
            (ranking.prompt_id, worse, better) in chosen
            for k, place in enumerate(kept)
            for better in place
            for later in kept[k + 1 :]
            for worse in later
        )
        if sum(map(len, kept)) > 1 and ranking.prompt_id in prompts and not is_refuted:
            prompt = prompts[ranking.prompt_id]
            ranked.append(RankedAnswers(prompt, kept, weight_of(ranking)))
    return ranked


def ratings(ws: Workspace, weight_of: WeightOf) -> list[Rated]:
    """The mean rating of each answer, by those whose word counts most."""
    said: dict[int, list[Remark]] = defaultdict(list)
    for remark in ws.experiment.remarks.list("rating"):
        if remark.completion_id is not None:
            said[remark.completion_id].append(remark)
    texts, prompts = _known(ws, [*said], [rs[0].prompt_id for rs in said.values()])
    found = []
    for answer, remarks in said.items():
        prompt = prompts.get(remarks[0].prompt_id)
        if answer not in texts or prompt is None or not texts[answer].strip():
            continue
        highest = max(_AUTHORITY[r.annotator_kind] for r in remarks)
        counting = [r for r in remarks if _AUTHORITY[r.annotator_kind] == highest]
        mean = sum(float(r.value) for r in counting) / len(counting)
        weight = sum(map(weight_of, counting)) / len(counting)
        found.append(Rated(prompt, texts[answer], mean, weight))
    return found


def amount(ws: Workspace) -> str:
    """How much of each kind is there, in words; counted, not read."""
    judgements = ws.experiment.judgements
    numbers = {
        "ranked pairs": sum(judgements.count(verdict=v) for v in ("first", "second")),
        "ties": sum(judgements.count(verdict=v) for v in ("tie", "both_bad")),
        "rankings": len(ws.experiment.rankings.list()),
        "rated answers": n_rated(ws),
    }
    there = [f"{n} {words}" for words, n in numbers.items() if n or words == "ranked pairs"]
    return ", ".join(there)


def n_rated(ws: Workspace) -> int:
    """How many answers have a rating; counted, not read."""
    rated = ws.experiment.remarks.list("rating")
    return len({remark.completion_id for remark in rated} - {None})


def contradictions(ws: Workspace, pairs: Sequence[Preference]) -> Contradictions:
    """How many pairs were judged both ways."""
    said: dict[int, set[str]] = defaultdict(set)
    for label in ws.experiment.labels.list():
        if label.verdict in ("first", "second"):
            said[label.comparison_id].add(label.verdict)
    chosen = {(p.prompt.id, p.chosen.strip(), p.rejected.strip()) for p in pairs}
    n_texts = sum((prompt, worse, better) in chosen for prompt, better, worse in chosen) // 2
    return Contradictions(sum(len(both) > 1 for both in said.values()), n_texts)


def joined(data: TrainingData, extra: TrainingData) -> TrainingData:
    """Both together."""
    return replace(data, ties=extra.ties, rankings=extra.rankings, ratings=extra.ratings)


def _known(
    ws: Workspace, answer_ids: Sequence[int], prompt_ids: Sequence[int]
) -> tuple[dict[int, str], dict[int, Prompt]]:
    """Texts and prompts that are not deleted, by their ids."""
    if not answer_ids:
        return {}, {}
    facts = ws.experiment.labels.answers()
    live = [i for i in answer_ids if i in facts and not facts[i].is_deleted]
    prompts = ws.experiment.prompts.get_many(sorted(set(prompt_ids)))
    return ws.experiment.completions.texts_of(live), {p.id: p for p in prompts}
