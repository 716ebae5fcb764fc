"""Reward models: whether the judgements suffice, and training on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workbench.app.runs import submit
from workbench.app.training_data import collect, too_few, usable_pairs
from workbench.app.workspace import MIN_PAIRS, Workspace
from workbench.config.algorithms import REWARD
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import Preference, Run
from workbench.jobs.runner import Job

_ONE_SIDED = 0.95
_FEW = 50


def check_pairs(ws: Workspace) -> list[str]:
    """What is wrong or doubtful about the judgements, as sentences; empty when all is well."""
    pairs, n_identical = usable_pairs(ws)
    sentences = []
    if len(pairs) < MIN_PAIRS:
        sentences.append(too_few(len(pairs)).message)
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
    data, facts = collect(ws, REWARD, settings)
    doubts = check_pairs(ws)
    if not info.has_chat_template:
        doubts.append(f"{info.name} has no chat template; a plain one is used for the pairs.")
    inputs = {"model": info.name, "model_digest": info.digest, **facts}
    run_id = ws.new_run("reward", REWARD, settings, inputs)
    return submit(ws, run_id, REWARD, settings, data, doubts=doubts)


def reward_runs(ws: Workspace) -> list[Run]:
    """All reward-model runs, the newest first."""
    return sorted(ws.experiment.runs.list("reward"), key=lambda run: -run.id)


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
