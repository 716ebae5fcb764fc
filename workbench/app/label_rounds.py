"""Labels in the middle of a run: it stopped and asked; with the answers it goes on.

1. The run saves, puts pairs of its own answers first in the ranking queue, and stops.
2. People judge them like any others (`app/labelling.py`), while other jobs may run.
3. `go_on` trains a reward model on all labels, then resumes the run, which first lets both
reward models order held-out pairs and takes the new one when it is no worse.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.app.label_gate import reward_run_at
from workbench.app.labelling import is_pending
from workbench.app.reward import train_reward
from workbench.app.runs import resume
from workbench.app.workspace import Workspace
from workbench.config import toml
from workbench.config.algorithms import REWARD
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import LabelRound, Run
from workbench.errors import UserError
from workbench.jobs.runner import Job


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits for labels, and how many of them are there."""

    run: Run
    round: LabelRound
    n_judged: int

    @property
    def n_wanted(self) -> int:
        """How many pairs it asks about."""
        return len(self.round.comparison_ids)


def waiting(ws: Workspace) -> list[Waiting]:
    """Runs that wait for labels, the oldest first."""
    rounds = ws.experiment.label_rounds
    return [Waiting(ws.run(r.run_id), r, rounds.n_judged(r)) for r in rounds.waiting()]


def waiting_of(ws: Workspace, run_id: int) -> Waiting | None:
    """The labels that a run waits for; None when it waits for none."""
    return next((w for w in waiting(ws) if w.run.id == run_id), None)


def next_pair(ws: Workspace, run_id: int) -> int | None:
    """A pair that a run waits for and that this annotator has not judged; None without one."""
    found = waiting_of(ws, run_id)
    ids = () if found is None else found.round.comparison_ids
    return next((i for i in ids if is_pending(ws, i)), None)


def due(ws: Workspace) -> Waiting | None:
    """A run that has all labels that it asked for and is not going on yet."""
    going = {job.run_id for job in ws.runner.jobs}
    return next(
        (
            w
            for w in waiting(ws)
            if w.n_judged >= w.n_wanted
            and w.round.reward_run_trained is None
            and w.run.status == "stopped"
            and w.run.id not in going
        ),
        None,
    )


def go_on(ws: Workspace, run_id: int) -> list[Job]:
    """Train a reward model on all labels that there are now, then resume the run; the two jobs.

    Raises:
        UserError: The run waits for no labels, or its reward is none that learns from pairs.
    """
    found = waiting_of(ws, run_id)
    if found is None:
        raise UserError(f"{ws.run(run_id).name} waits for no labels.", "Resume it.")
    old = ws.run(reward_run_at(ws, found.run, found.round.step)[0])
    if old.algorithm != REWARD.name:
        raise UserError(
            f"{old.name} is no reward model that learns from pairs, so it cannot learn from "
            "these labels.",
            "Resume the run to go on with it as it is; the labels are kept.",
        )
    training = train_reward(ws, toml.validate(RewardModelSettings, old.settings))
    assert training.run_id is not None
    ws.experiment.label_rounds.set_trained(found.round.id, training.run_id)
    return [training, resume(ws, run_id)]
