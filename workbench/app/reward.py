"""Reward models: whether the judgements suffice, and training on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

from workbench.app.workspace import MIN_PAIRS, Workspace
from workbench.cancel import CancelToken
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import Preference, Run
from workbench.errors import UserError
from workbench.events import Event, Warned
from workbench.jobs.runner import Job

_ONE_SIDED = 0.95
_FEW = 50


def usable_pairs(ws: Workspace) -> tuple[list[Preference], int]:
    """The pairs that say something, and how many were left out because both answers are alike."""
    preferences = ws.experiment.judgements.preferences()
    differing = [p for p in preferences if p.chosen.strip() != p.rejected.strip()]
    return differing, len(preferences) - len(differing)


def check_pairs(ws: Workspace) -> list[str]:
    """What is wrong or doubtful about the judgements, as sentences; empty when all is well."""
    pairs, n_identical = usable_pairs(ws)
    sentences = []
    if len(pairs) < MIN_PAIRS:
        sentences.append(_too_few(len(pairs)).message)
    elif len(pairs) < _FEW:
        sentences.append(
            f"There are only {len(pairs)} pairs. About 150 give a reward model that can be trusted."
        )
    if n_identical:
        sentences.append(_identical(n_identical))
    if len(pairs) >= MIN_PAIRS:
        sentences += [*_by_length(pairs), *_by_place(ws)]
        if len({p.prompt.id for p in pairs}) < 2:
            sentences.append("All pairs are about one prompt. Rank answers to others too.")
    return sentences


def train_reward(ws: Workspace, settings: RewardModelSettings) -> Job:
    """Train a reward model on all standing judgements.

    Raises:
        UserError: No model is chosen, or there are fewer than 8 usable pairs.
    """
    ws.check_writable()
    info = ws.model_info()
    pairs, n_identical = usable_pairs(ws)
    if len(pairs) < MIN_PAIRS:
        raise _too_few(len(pairs))
    doubts = check_pairs(ws)
    run_id = ws.new_run(
        "reward",
        settings,
        {
            "model": info.name,
            "model_digest": info.digest,
            "n_pairs": len(pairs),
            "n_identical": n_identical,
            "labels_digest": labels_digest(pairs),
            "annotators": sorted({f"{p.annotator} ({p.annotator_kind})" for p in pairs}),
        },
    )

    def work(cancel: CancelToken) -> Iterator[Event]:
        for sentence in doubts:
            yield Warned(sentence)
        model = yield from ws.model(cancel)
        if not model.info.has_chat_template:
            yield Warned(
                f"{model.info.name} has no chat template; a plain one is used for the pairs."
            )
        from workbench.models import adapters
        from workbench.rewards.neural import ADAPTER
        from workbench.training import reward_model

        try:
            yield from reward_model.train(model, pairs, settings, cancel, ws.run_folder(run_id))
        finally:
            adapters.remove(model, ADAPTER)

    return ws.submit(ws.run(run_id).name, "reward", work, run_id=run_id)


def reward_runs(ws: Workspace) -> list[Run]:
    """All reward-model runs, the newest first."""
    return sorted(ws.experiment.runs.list("reward"), key=lambda run: -run.id)


def labels_digest(pairs: Sequence[Preference]) -> str:
    """SHA-256 of what was preferred to what: equal labels, equal digest."""
    rows = sorted((p.comparison_id, p.chosen, p.rejected, p.annotator) for p in pairs)
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def _too_few(n: int) -> UserError:
    return UserError(
        f"There are {n} ranked pairs that differ; a reward model needs at least {MIN_PAIRS}.",
        "Rank more pairs first. About 150 give a reward model that can be trusted.",
    )


def _identical(n: int) -> str:
    return (
        f"{n} pairs of identical answers are left out."
        if n > 1
        else ("1 pair of identical answers is left out.")
    )


def _by_length(pairs: Sequence[Preference]) -> Iterator[str]:
    """Warn when length alone explains the choices: the reward model would learn just that."""
    unequal = [p for p in pairs if len(p.chosen) != len(p.rejected)]
    if len(unequal) < MIN_PAIRS:
        return
    longer = sum(len(p.chosen) > len(p.rejected) for p in unequal) / len(unequal)
    for share, word in ((longer, "longer"), (1 - longer, "shorter")):
        if share >= _ONE_SIDED:
            yield (
                f"The {word} answer was chosen in {share:.0%} of the pairs, so the reward model "
                "may learn length and nothing else."
            )


def _by_place(ws: Workspace) -> Iterator[str]:
    """Warn when the place on the screen alone explains the choices."""
    n_first = ws.experiment.judgements.count(verdict="first")
    n_second = ws.experiment.judgements.count(verdict="second")
    if n_first + n_second < MIN_PAIRS:
        return
    for n, place in ((n_first, "first"), (n_second, "second")):
        share = n / (n_first + n_second)
        if share >= _ONE_SIDED:
            yield (
                f"The answer shown {place} was chosen in {share:.0%} of the pairs. "
                "Was the other one read?"
            )
