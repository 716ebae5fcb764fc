"""What of an experiment an algorithm learns from, or the sentence that says what is missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from workbench.app import aggregate, reward_data
from workbench.app.answers import all_prompts
from workbench.app.judge_records import weights
from workbench.app.workspace import MIN_PAIRS, Workspace
from workbench.config.aggregation import AggregationSettings
from workbench.config.algorithms import BEST_OF_N, REWARD, Algorithm
from workbench.config.judge import JudgeSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.config.training import OnPolicySettings, TrainingSettings
from workbench.data.records import Answered, Feedback, Preference, Prompt, Source
from workbench.data.training_data import TrainingData
from workbench.errors import UserError

_AI_WEIGHT = JudgeSettings().weight  # of judges that are not known here, such as imported ones


def collect(
    ws: Workspace, how: Algorithm, settings: TrainingSettings
) -> tuple[TrainingData, Mapping[str, object]]:
    """Everything that an algorithm needs, and what its run records of it.

    Raises:
        UserError: Something is missing; the sentence says where to get it.
    """
    facts: dict[str, object] = {}
    data = TrainingData()
    if "prompts" in how.needs:
        prompts = tuple(_prompts(ws))
        data = replace(data, prompts=prompts, watch=_watched(ws, settings, prompts))
        facts["prompt_ids"] = [p.id for p in data.prompts]
    if "preferences" in how.needs:
        pairs, n_identical = usable_pairs(ws)
        extra = TrainingData()
        if isinstance(settings, RewardModelSettings):
            extra = reward_data.more(ws, settings, pairs, _weighing(ws))
        else:
            # What a policy is measured on later must not be what it learned from.
            pairs = [pair for pair in pairs if pair.prompt.split == "train"]
        if len(pairs) < MIN_PAIRS and not (extra.rankings or extra.ratings):
            raise too_few(
                len(pairs), "" if how is REWARD else " on training prompts", len(extra.ties)
            )
        data = reward_data.joined(replace(data, preferences=tuple(pairs)), extra)
        facts |= {
            "n_pairs": len(pairs),
            "n_identical": n_identical,
            "labels_digest": labels_digest(pairs, extra),
            "annotators": sorted({f"{p.annotator} ({p.annotator_kind})" for p in pairs}),
            **reward_data.counts(extra),
        }
        if (rule := aggregate.rule_of(ws)) != AggregationSettings():
            facts["rule"] = rule.model_dump()
    if "feedback" in how.needs:
        feedback = _feedback(ws)
        data = replace(data, feedback=tuple(feedback))
        facts |= {"n_feedback": len(feedback), "n_desirable": sum(f.is_desirable for f in feedback)}
    if "demonstrations" in how.needs or "answers" in how.needs:
        answers = _demonstrations(ws, settings) if "demonstrations" in how.needs else _answers(ws)
        data = replace(data, answers=tuple(answers))
        facts["n_answers"] = len(answers)
    return data, facts


def amount(ws: Workspace, how: Algorithm) -> str:
    """How much of what an algorithm learns from is there, in words; counted, not read."""
    return ", ".join(f"{n} {words}" for words, n in _counts(ws, how).items())


def hindrance(ws: Workspace, how: Algorithm, settings: TrainingSettings | None = None) -> str:
    """Why there is too little data for an algorithm, as a sentence; empty when there is enough."""
    if isinstance(settings, RewardModelSettings):
        if settings.loss == "regression":
            return reward_data.hindrance_of_ratings(reward_data.n_rated(ws))
        if settings.loss == "plackett-luce" and len(ws.experiment.rankings.list()) >= MIN_PAIRS:
            return ""
    for words, n in _counts(ws, how).items():
        if words == "prompts" and not n:
            return "There are no training prompts yet. Add some on the Prompts page."
        if words != "prompts" and n < MIN_PAIRS:
            return (
                f"There are {n} {words}; {how.title} needs at least {MIN_PAIRS}. {_REMEDY[words]}"
            )
    return ""


_REMEDY = {
    "ranked pairs": "Rank more pairs.",
    "answers": "Generate or import some on the Answers page.",
}


def _counts(ws: Workspace, how: Algorithm) -> dict[str, int]:
    counts = {}
    if "prompts" in how.needs:
        counts["prompts"] = ws.experiment.prompts.count(split="train")
    if how.needs & {"preferences", "feedback"}:
        judgements = ws.experiment.judgements
        counts["ranked pairs"] = sum(judgements.count(verdict=v) for v in ("first", "second"))
    if how.needs & {"answers", "demonstrations"}:
        counts["answers"] = ws.experiment.completions.count()
    return counts


def usable_pairs(ws: Workspace) -> tuple[list[Preference], int]:
    """The pairs that say something, and how many were left out because both answers are alike."""
    preferences = _preferences(ws)
    differing = [p for p in preferences if p.chosen.strip() != p.rejected.strip()]
    return differing, len(preferences) - len(differing)


def _preferences(ws: Workspace) -> list[Preference]:
    """By the experiment's rule; those of an AI judge count as much as its settings say."""
    weight_of = _weighing(ws)
    preferences = aggregate.preferences(ws, aggregate.rule_of(ws))
    return [replace(p, weight=weight_of(p)) for p in preferences]


def _weighing(ws: Workspace) -> Callable[[reward_data.Label], float]:
    """How much a label counts, by who gave it."""
    known = weights(ws)

    def weight_of(label: reward_data.Label) -> float:
        return known.get(label.annotator, _AI_WEIGHT) if label.annotator_kind == "ai" else 1.0

    return weight_of


def too_few(n_pairs: int, where: str = "", n_ties: int = 0) -> UserError:
    """What to say when there are not enough pairs to train on."""
    if n_ties and not n_pairs:
        return UserError(
            f"All {n_ties} judged pairs{where} are ties: they do not say which answers are better.",
            f"Rank at least {MIN_PAIRS} pairs of which one answer is better.",
        )
    return UserError(
        f"There are {n_pairs} ranked pairs that differ{where}; training needs at least "
        f"{MIN_PAIRS}.",
        "Rank more pairs first. About 150 give a model that can be trusted.",
    )


def labels_digest(pairs: Sequence[Preference], extra: TrainingData | None = None) -> str:
    """SHA-256 of what was preferred to what: equal labels, equal digest.

    Args:
        pairs: What was preferred.
        extra: Ties, rankings and ratings that are learned from too.
    """
    rows: list[object] = [
        *sorted(
            (
                p.comparison_id,
                p.chosen,
                p.rejected,
                p.annotator,
                *([p.weight] if p.weight != 1 else []),
            )
            for p in pairs
        )
    ]
    if extra is not None:
        rows += sorted(("tie", t.prompt.id, t.first, t.second, t.weight) for t in extra.ties)
        rows += sorted(("ranking", r.prompt.id, r.places, r.weight) for r in extra.rankings)
        rows += sorted(("rating", r.prompt.id, r.answer, r.rating) for r in extra.ratings)
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def _prompts(ws: Workspace) -> Sequence[Prompt]:
    prompts = all_prompts(ws, "train")
    if not prompts:
        raise UserError(
            "There are no prompts to train on.", "Add or import some on the Prompts page."
        )
    return prompts


def _watched(
    ws: Workspace, settings: TrainingSettings, prompts: Sequence[Prompt]
) -> tuple[Prompt, ...]:
    """The first held-out prompts, or training prompts where none is held out."""
    n = settings.n_samples if isinstance(settings, OnPolicySettings) else 0
    heldout = ws.experiment.prompts.list(split="heldout", limit=n) if n else []
    return tuple(heldout or prompts[:n])


def _feedback(ws: Workspace) -> list[Feedback]:
    """Chosen answers are good, rejected ones and those of "both bad" are bad."""
    found = []
    preferences = _preferences(ws)
    decided = {pair.comparison_id for pair in preferences}
    for pair in preferences:
        found += [
            Feedback(pair.prompt, pair.chosen, True, pair.weight),
            Feedback(pair.prompt, pair.rejected, False, pair.weight),
        ]
    weight_of = _weighing(ws)
    for undecided in ws.experiment.judgements.ties():
        said = undecided.judgement
        if said.verdict == "both_bad" and said.comparison_id not in decided:
            texts = (undecided.first_text, undecided.second_text)
            weight = weight_of(said)
            found += [Feedback(undecided.prompt, text, False, weight) for text in texts]
    found.sort(key=lambda f: f.weight)  # said of one answer by several, the heaviest word stays
    unique = {
        (f.prompt.id, f.answer, f.is_desirable): f for f in found if f.prompt.split == "train"
    }
    feedback = list(unique.values())
    n_good = sum(f.is_desirable for f in feedback)
    if min(n_good, len(feedback) - n_good) < MIN_PAIRS:
        raise UserError(
            f"There are {n_good} answers called good and {len(feedback) - n_good} called bad; "
            f"training needs at least {MIN_PAIRS} of each.",
            "Rank more pairs first.",
        )
    return feedback


def _demonstrations(ws: Workspace, settings: TrainingSettings) -> list[Answered]:
    """Answers of people, those that were chosen in a pair, or those that best of n kept."""
    source = getattr(settings, "answers_from", "both")
    preferences = _preferences(ws)
    rejected = {(p.prompt.id, p.rejected) for p in preferences}
    found: list[Answered] = []
    texts = ws.experiment.completions
    candidates: list[tuple[int, str]] = []
    if source in ("written", "both"):
        candidates += texts.texts(("edited", "imported"))
    if source == "best":
        candidates += texts.kept_by(BEST_OF_N.name)
    found += [a for a in _answered(ws, candidates) if (a.prompt.id, a.answer) not in rejected]
    if source in ("chosen", "both"):
        found += [Answered(p.prompt, p.chosen) for p in preferences if p.prompt.split == "train"]
    return _enough(list({(a.prompt.id, a.answer): a for a in found}.values()))


def _answers(ws: Workspace) -> list[Answered]:
    """All answers to training prompts, whoever wrote them."""
    sources: Sequence[Source] = ("generated", "edited", "imported")
    return _enough(_answered(ws, ws.experiment.completions.texts(sources)))


def _answered(ws: Workspace, texts: Sequence[tuple[int, str]]) -> list[Answered]:
    """Those of these texts, by prompt, that say something to a training prompt."""
    prompts = {p.id: p for p in all_prompts(ws, "train")}
    return [
        Answered(prompts[prompt_id], text)
        for prompt_id, text in texts
        if prompt_id in prompts and text.strip()
    ]


def _enough(answers: list[Answered]) -> list[Answered]:
    if len(answers) < MIN_PAIRS:
        raise UserError(
            f"There are {len(answers)} answers to learn from; training needs at least {MIN_PAIRS}.",
            "Generate and rank more answers, or import some.",
        )
    return answers
