"""Reward models: whether the judgements suffice, and training on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workbench.app import reward_data
from workbench.app.planning import info_of
from workbench.app.reward_data import Contradictions
from workbench.app.runs import submit
from workbench.app.training_data import collect, too_few, usable_pairs
from workbench.app.workspace import MIN_PAIRS, Workspace
from workbench.config.algorithms import REWARD
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import Preference, Run
from workbench.jobs.runner import Job

_ONE_SIDED = 0.95
_FEW = 50


def check_pairs(ws: Workspace, settings: RewardModelSettings | None = None) -> list[str]:
    """What is wrong or doubtful about the judgements, as sentences; empty when all is well.

    Args:
        ws: The experiment.
        settings: How a reward model is to learn from them; None for the defaults.
    """
    settings = settings or RewardModelSettings()
    pairs, n_identical = usable_pairs(ws)
    sentences = _of_loss(ws, settings, pairs)
    if settings.loss == "regression":
        pass  # Pairs only measure it.
    elif len(pairs) < MIN_PAIRS:
        n_ties = len(reward_data.ties(ws, pairs, lambda _: 1.0))
        sentences.append(too_few(len(pairs), n_ties=n_ties).message)
    elif len(pairs) < _FEW:
        sentences.append(
            f"There are only {len(pairs)} pairs. About 150 give a reward model that can be trusted."
        )
    if n_identical:
        sentences.append(_identical(n_identical))
    sentences += _contradicting(reward_data.contradictions(ws, pairs))
    if len(pairs) >= MIN_PAIRS:
        sentences += [*_by_length(pairs), *_by_place(ws)]
        if len({p.prompt.id for p in pairs}) < 2:
            sentences.append("All pairs are about one prompt. Rank answers to others too.")
    return sentences


def train_reward(ws: Workspace, settings: RewardModelSettings, base: str = "") -> Job:
    """Train a reward model on all standing judgements.

    Args:
        ws: The experiment.
        settings: Its hyperparameters.
        base: Name of the model that it is trained on; empty for the chosen one. On another it
            reads what the policy writes as text.

    Raises:
        UserError: No model is chosen, or there are fewer than 8 usable pairs.
    """
    ws.check_writable()
    info = info_of(ws, base)
    data, facts = collect(ws, REWARD, settings)
    doubts = check_pairs(ws, settings)
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


def _of_loss(
    ws: Workspace, settings: RewardModelSettings, pairs: Sequence[Preference]
) -> list[str]:
    """What the loss asks for and is not there."""
    sentences = []
    if settings.loss == "regression":
        sentences.append(reward_data.hindrance_of_ratings(reward_data.n_rated(ws)))
    if settings.loss == "rao-kupper" and not reward_data.ties(ws, pairs, lambda _: 1.0):
        sentences.append("No judged pair is a tie, so the tie parameter has nothing to learn from.")
    if settings.loss == "plackett-luce" and not ws.experiment.rankings.list():
        sentences.append("There are no whole rankings: each pair counts as a ranking of two.")
    if settings.strength_margin and not any(pair.strength for pair in pairs):
        sentences.append("No pair says how much better the answer is, so the margin does nothing.")
    return [sentence for sentence in sentences if sentence]


def _contradicting(found: Contradictions) -> Iterator[str]:
    if n := found.annotators:
        yield (
            f"{'1 pair was' if n == 1 else f'{n} pairs were'} judged both ways by different "
            "annotators; what counts follows the rule on the Preferences page."
        )
    if n := found.texts:
        yield (
            f"{'1 pair' if n == 1 else f'{n} pairs'} of the same texts "
            f"{'was' if n == 1 else 'were'} judged both ways in different places; the reward model "
            "learns from both, which cancels out."
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
