"""Which pair is asked next: the order of the ranking queue, worked out in a job."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.app import bases, scorers
from workbench.app.features import Answers, cached, last_states
from workbench.app.planning import reward_source
from workbench.app.workspace import MIN_PAIRS, Workspace
from workbench.cancel import CancelToken
from workbench.config.queueing import QueueSettings
from workbench.config.toml import SettingsError, validate
from workbench.data.records import Comparison, Run
from workbench.data.sameness import are_alike, normalised, triples
from workbench.errors import UserError
from workbench.events import Event, Progress, Warned
from workbench.jobs.runner import Job, Working
from workbench.rewards import selection

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

KIND = "order"
_SETTINGS, _N_LABELS = "queue", "queue.n_labels"
_N_PICKS = 500
_LAST = 1.0
_AT_ONCE = 2000

Floats = NDArray[np.float64]
Shown = Callable[[], int | None]


def saved(ws: Workspace) -> QueueSettings:
    """The settings that the queue was last put in order with."""
    values = ws.experiment.settings.get(_SETTINGS, {})
    try:
        return validate(QueueSettings, values)
    except SettingsError:
        return QueueSettings()


def is_due(ws: Workspace) -> bool:
    """Whether enough labels came since the last order to work it out anew."""
    settings = saved(ws)
    if not settings.reorder_every or settings.strategy in ("in-order", "random"):
        return False
    if any(job.kind == KIND and job.outcome is None for job in ws.runner.jobs):
        return False
    n_before: int = ws.experiment.settings.get(_N_LABELS, 0)
    return abs(ws.experiment.judgements.count() - n_before) >= settings.reorder_every


def order(ws: Workspace, settings: QueueSettings, shown: Shown = lambda: None) -> Job:
    """Put this annotator's pending pairs in the order of a strategy; same answers go to the end.

    Pairs that come later stand behind those that were put in order.

    Args:
        ws: The experiment.
        settings: The strategy; remembered for the next time.
        shown: Tells which pair is on the screen, at the moment when the order changes: it stays
            first, so that what is next is the best of all others.

    Raises:
        UserError: No model is chosen, no reward model is there, or the mix has no share.
    """
    ws.check_writable()
    # Before anything can fail: what fails now would fail again at the next label.
    ws.experiment.settings.set(_N_LABELS, ws.experiment.judgements.count())
    uses = _parts(settings)
    if uses & {"uncertainty", "diversity"}:
        ws.model_info()
    scorer = None
    if "uncertainty" in uses and settings.doubt == "reward-model":
        scorer = reward_source(ws, None)
        bases.require(scorer, ws.model_info())

    def work(cancel: CancelToken) -> Working:
        ws.experiment.settings.set(_SETTINGS, settings.model_dump())
        pending = ws.experiment.comparisons.pending(ws.annotator)
        same = yield from find_same(ws, pending, settings.same_from, cancel)
        fresh = [c for c in pending if c.id not in same]
        ordered = yield from _arrange(ws, fresh, settings, scorer, cancel)
        first = shown()
        ordered = sorted(ordered, key=lambda i: i != first)
        priorities = {i: float(k - len(ordered)) for k, i in enumerate(ordered)}
        priorities |= dict.fromkeys(same, _LAST)
        ws.experiment.comparisons.set_priorities(ws.annotator, priorities)
        yield Progress(len(pending), len(pending), _sentence(len(ordered), len(same)))
        return {"n_ordered": len(ordered), "n_same": len(same)}

    return ws.submit("Order of the queue", KIND, work, unit="pairs")


def find_same(
    ws: Workspace, pairs: Sequence[Comparison], threshold: float, cancel: CancelToken
) -> Generator[Progress, None, set[int]]:
    """The pairs that ask nothing new: answers that are nearly the same, or a pair seen before.

    Nearly the same: a Jaccard index of `threshold` or more over the letter triples of the
    normalised texts. Seen before: the two normalised texts, in either order, of the same prompt.
    """
    texts = ws.experiment.completions.texts_of(
        [i for c in pairs for i in (c.first_id, c.second_id)]
    )
    forms = {i: normalised(text) for i, text in texts.items()}
    letters: dict[int, frozenset[str]] = {}
    seen: set[tuple[int, frozenset[str]]] = set()
    same = set()
    for k, pair in enumerate(pairs):
        if k % _AT_ONCE == 0:
            cancel.raise_if_cancelled()
            letters.clear()  # those of a large pool take a gigabyte
            yield Progress(k, len(pairs), "Looking for answers that are the same")
        ids = (pair.first_id, pair.second_id)
        for i in ids:
            if i not in letters:
                letters[i] = triples(forms[i])
        asked = (pair.prompt_id, frozenset(forms[i] for i in ids))
        if asked in seen or are_alike(letters[ids[0]], letters[ids[1]], threshold):
            same.add(pair.id)
        seen.add(asked)
    return same


def _parts(settings: QueueSettings) -> set[str]:
    """The strategies that an order is made of."""
    if settings.strategy != "mix":
        return {settings.strategy}
    parts = {name for name, share in _shares(settings).items() if share > 0}
    if not parts:
        raise UserError("The mix has no share of anything.", "Give one of its parts a share.")
    return parts


def _shares(settings: QueueSettings) -> dict[str, float]:
    return {
        "uncertainty": settings.share_uncertainty,
        "diversity": settings.share_diversity,
        "random": settings.share_random,
    }


def _arrange(
    ws: Workspace,
    fresh: Sequence[Comparison],
    settings: QueueSettings,
    scorer: Run | None,
    cancel: CancelToken,
) -> Generator[Event, None, list[int]]:
    """The candidates' ids in order; without any where the order is that of adding."""
    if settings.strategy == "in-order" or not fresh:
        return []
    rng = np.random.default_rng(settings.seed)
    shuffled = [fresh[i] for i in rng.permutation(len(fresh))]
    if settings.strategy == "random":
        return [c.id for c in shuffled]
    candidates = shuffled[: settings.candidates]
    uses = _parts(settings)
    orders: dict[str, Sequence[int]] = {"random": range(len(candidates))}
    if uses & {"uncertainty", "diversity"}:
        model = yield from ws.model(cancel)
        with model.checking(cancel.raise_if_cancelled):
            orders |= yield from _by_model(ws, model, candidates, settings, scorer, cancel)
    shares = _shares(settings)
    if settings.strategy != "mix":
        shares = {settings.strategy: 1.0}
    return [candidates[i].id for i in selection.interleave(orders, shares)]


def _by_model(
    ws: Workspace,
    model: LoadedModel,
    candidates: Sequence[Comparison],
    settings: QueueSettings,
    scorer: Run | None,
    cancel: CancelToken,
) -> Generator[Event, None, dict[str, Sequence[int]]]:
    """The orders that a model is asked for."""
    uses = _parts(settings)
    orders: dict[str, Sequence[int]] = {}
    if "uncertainty" in uses and scorer is not None:
        margins = yield from _reward_margins(ws, model, candidates, scorer, cancel)
        orders["uncertainty"] = selection.by_margin(margins).tolist()
        uses.discard("uncertainty")
    if not uses & {"uncertainty", "diversity"}:
        return orders
    labelled, is_first = _labels(ws, settings)
    both = yield from differences_of(ws, model, [*candidates, *labelled], cancel)
    differences, known = both[: len(candidates)], both[len(candidates) :]
    if "diversity" in uses:
        picks = selection.farthest_first(differences, known, _N_PICKS)
        orders["diversity"] = picks.tolist()
    if "uncertainty" in uses and len(labelled) < MIN_PAIRS:
        yield Warned(
            f"There are {len(labelled)} labels, too few to say what is uncertain: until there "
            f"are {MIN_PAIRS}, those pairs come in random order."
        )
        orders["uncertainty"] = range(len(candidates))
    elif "uncertainty" in uses:
        ensemble = selection.fit_ensemble(known, is_first, settings.seed)
        orders["uncertainty"] = selection.by_disagreement(ensemble @ differences.T).tolist()
    return orders


def _labels(ws: Workspace, settings: QueueSettings) -> tuple[list[Comparison], Floats]:
    """Pairs that were decided, at most as many as are looked at, with 1 where the first won."""
    preferences = ws.experiment.judgements.preferences()
    if len(preferences) > settings.candidates:
        rng = np.random.default_rng(settings.seed)
        chosen = np.sort(rng.permutation(len(preferences))[: settings.candidates])
        preferences = [preferences[i] for i in chosen]
    pairs = ws.experiment.comparisons.get_many([p.comparison_id for p in preferences])
    texts = ws.experiment.completions.texts_of([pair.first_id for pair in pairs])
    is_first = [
        p.chosen == texts[pair.first_id] for p, pair in zip(preferences, pairs, strict=True)
    ]
    return pairs, np.array(is_first, dtype=np.float64)


def differences_of(
    ws: Workspace, model: LoadedModel, pairs: Sequence[Comparison], cancel: CancelToken
) -> Generator[Event, None, Floats]:
    """Features of the first answers less those of the second, (N, k)."""
    ids, answers = _answers_of(ws, pairs)
    features = yield from last_states(ws, model, answers, cancel)
    places = {i: k for k, i in enumerate(ids)}
    compact = selection.compact(features)
    first = compact[[places[pair.first_id] for pair in pairs]]
    return np.asarray(first - compact[[places[pair.second_id] for pair in pairs]])


def _reward_margins(
    ws: Workspace,
    model: LoadedModel,
    pairs: Sequence[Comparison],
    scorer: Run,
    cancel: CancelToken,
) -> Generator[Event, None, Floats]:
    """The reward model's score of the first answer less that of the second, (N,)."""
    with closing((yield from scorers.opened(ws, scorer, model, cancel))) as reward:

        def compute(answers: Sequence[Any]) -> NDArray[Any]:
            return np.array([reward.score_texts(*zip(*answers, strict=True))]).T

        ids, answers = _answers_of(ws, pairs)
        name = f"scores-run-{scorer.id:04}"
        found = yield from cached(ws, name, answers, compute, cancel)
    scores = dict(zip(ids, found[:, 0].astype(np.float64), strict=True))
    margins = [scores[pair.first_id] - scores[pair.second_id] for pair in pairs]
    return np.array(margins, dtype=np.float64)


def _answers_of(ws: Workspace, pairs: Sequence[Comparison]) -> tuple[list[int], Answers]:
    """The answers of some pairs, each once, by id, with their prompts."""
    prompt_of = {i: pair.prompt_id for pair in pairs for i in (pair.first_id, pair.second_id)}
    ids = sorted(prompt_of)
    prompts = {p.id: p for p in ws.experiment.prompts.get_many(sorted(set(prompt_of.values())))}
    texts = ws.experiment.completions.texts_of(ids)
    return ids, [(prompts[prompt_of[i]].messages, texts[i]) for i in ids]


def _sentence(n_ordered: int, n_same: int) -> str:
    """What was done, for the job bar."""
    words = f"{n_ordered} pairs put in order" if n_ordered else "Pairs stay as they were added"
    if not n_same:
        return f"{words}."
    one = n_same == 1
    return (
        f"{words}; {n_same} pair{'' if one else 's'} with (nearly) the same answers "
        f"{'goes' if one else 'go'} to the end."
    )
