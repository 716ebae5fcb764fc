"""Training runs on the command line, with what they ask for on the way."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli import parser
from workbench.cli.following import Outcome, follow
from workbench.cli.plan import show_plan
from workbench.cli.show import Show
from workbench.config.algorithms import find
from workbench.config.reward_model import RewardModelSettings

if TYPE_CHECKING:
    from workbench.app.workspace import Workspace
    from workbench.jobs.runner import Job


def train(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Train, go on with a run, or only say what it would take."""
    from workbench.app import reward, runs

    name = options.command.removeprefix("train ")
    if options.resume is not None:
        return _with_labels(ws, [runs.resume(ws, options.resume)], options, show)
    settings = parser.TRAINING[name].read(options)
    chosen = {run: getattr(options, run, None) for run in ("reward_run", "start_run")}
    if options.plan:
        base = getattr(options, "base", "")
        return show_plan(ws, find(name), settings, show, base=base, **chosen)
    if isinstance(settings, RewardModelSettings):
        return follow(reward.train_reward(ws, settings, options.base), show)
    job = runs.train(ws, name, settings, **chosen, judge=getattr(options, "judge", ""))
    return _with_labels(ws, [job], options, show)


def _with_labels(
    ws: Workspace, jobs: list[Job], options: argparse.Namespace, show: Show
) -> Outcome:
    """Follow a run; where it asks for labels, let them be simulated, or say how to give them."""
    from workbench.app import label_rounds, labelling

    run_id = jobs[0].run_id
    while True:
        for job in jobs:
            outcome = follow(job, show)
        waits = None if run_id is None else label_rounds.waiting_of(ws, run_id)
        if waits is None or outcome is not Outcome.DONE:
            return outcome
        if not getattr(options, "simulate_labels", False):
            show.note(
                f"{waits.run.name} waits for {waits.n_wanted} labels on its own answers. Judge "
                f"them in the window, and it goes on by itself; or go on without them: "
                f"train {waits.run.algorithm} --resume {waits.run.id}"
            )
            return outcome
        outcome = follow(labelling.simulate(ws, parser.ANNOTATOR.model()), show)
        jobs = label_rounds.go_on(ws, waits.run.id)
