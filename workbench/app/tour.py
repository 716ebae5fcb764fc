"""The tour: the whole loop by itself, on demo prompts, with the simulated annotator."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from pathlib import Path

from workbench.app import (
    answers,
    evaluate,
    exchange,
    labelling,
    library,
    preference_export,
    reward,
    runs,
)
from workbench.app.workspace import Workspace
from workbench.config.tour import TourSettings
from workbench.data.records import Run
from workbench.errors import Cancelled, UserError, WorkbenchError
from workbench.events import Event
from workbench.jobs.runner import Job

Jobs = Generator[Job, None, Mapping[str, object]]
_FIGURES = ("win_rate", "win_rate_reward", "reward_before", "reward_after", "kl")


class TourFailed(WorkbenchError):
    """A phase of the tour did not reach its end; what was made before it is kept."""


def steps(ws: Workspace, settings: TourSettings) -> Jobs:
    """The tour as jobs, one after the other.

    Take the next job only when the last one has finished: window and command line follow the
    jobs' events in their own way. The generator's value is the result, as `tour` gives it.

    Raises:
        UserError: The model or the prompts are not there.
        TourFailed: A phase failed.
        Cancelled: A phase was stopped or cancelled.
    """
    settings = settings.seeded()
    seconds: dict[str, float] = {}
    if not _has_model(settings.model):
        yield from _phase("fetch", library.fetch_starter(ws), seconds)
    library.select_model(ws, settings.model)
    train_ids = _add_prompts(ws, settings.prompt_group)
    yield from _phase("generate", answers.generate(ws, settings.generation, train_ids), seconds)
    if _has_pairs_to_judge(ws):
        yield from _phase("judge", labelling.simulate(ws, settings.annotator), seconds)
    trained_reward = yield from _phase("reward", reward.train_reward(ws, settings.reward), seconds)
    training = runs.train(ws, "ppo", settings.ppo, reward_run=trained_reward.run_id)
    policy = yield from _phase("policy", training, seconds)
    assert policy.run_id is not None
    assert trained_reward.run_id is not None
    comparing = evaluate.compare(ws, policy.run_id, settings.evaluation, settings.annotator)
    evaluation = yield from _phase("evaluate", comparing, seconds)
    began = time.perf_counter()
    writing = preference_export.export_preferences(ws, free_folder(ws, "preferences"))
    preferences = yield from _phase("export", writing, seconds)
    exporting = yield from _phase("export", runs.export_adapter(ws, policy.run_id), seconds)
    seconds["export"] = round(time.perf_counter() - began, 2)
    assert evaluation.run_id is not None
    assert exporting.finished is not None
    assert preferences.finished is not None
    return _result(
        ws,
        settings,
        ws.run(trained_reward.run_id),
        ws.run(evaluation.run_id),
        {
            "experiment": str(ws.path),
            "preferences": str(preferences.finished.result["folder"]),
            "adapter": str(exporting.finished.result["folder"]),
            "reward_model": str(ws.artifact_folder(trained_reward.run_id, "reward_model")),
        },
        seconds,
    )


def tour(ws: Workspace, settings: TourSettings) -> Generator[Event, None, Mapping[str, object]]:
    """The tour as one stream of events; its value is the result (a JSON object).

    Raises:
        WorkbenchError: As `steps`.
    """
    jobs = steps(ws, settings)
    while True:
        try:
            job = next(jobs)
        except StopIteration as end:
            result: Mapping[str, object] = end.value
            return result
        yield from job.follow()


def free_folder(ws: Workspace, name: str) -> Path:
    """A folder in the experiment's exports that is not there yet: name, name-2, name-3, ..."""
    n, folder = 1, ws.path / "exports" / name
    while folder.exists():
        n += 1
        folder = ws.path / "exports" / f"{name}-{n}"
    return folder


def _phase(name: str, job: Job, seconds: dict[str, float]) -> Generator[Job, None, Job]:
    """Hand out a job and check, when asked for the next, that it has ended well."""
    began = time.perf_counter()
    yield job
    job.wait()
    seconds[name] = round(time.perf_counter() - began, 2)
    finished = job.finished
    assert finished is not None
    if finished.outcome in ("stopped", "cancelled"):
        raise Cancelled
    if finished.error is not None:
        raise TourFailed(finished.error.message, finished.error.hint)
    return job


def _has_model(name: str) -> bool:
    """Whether the tour's model is here; only the starter can be fetched."""
    if name != "starter":
        return True
    return any(info.source == "starter" and not info.problems for info in library.models())


def _add_prompts(ws: Workspace, group: str) -> list[int]:
    """Add the tour's demo prompts where they are missing; ids of those to train on."""
    exchange.add_demo_prompts(ws, [group])
    ids = [p.id for p in answers.all_prompts(ws, "train") if p.group == group]
    if not ids or not ws.experiment.prompts.count(split="heldout"):
        raise UserError(
            f"The demo prompts {group!r} have no training or no held-out part.",
            "Choose another group with --prompt-group.",
        )
    return ids


def _has_pairs_to_judge(ws: Workspace) -> bool:
    from workbench.rewards.annotator import NAME

    return ws.experiment.comparisons.counts(NAME).pending > 0


def _result(
    ws: Workspace,
    settings: TourSettings,
    trained_reward: Run,
    evaluation: Run,
    paths: Mapping[str, str],
    seconds: Mapping[str, float],
) -> dict[str, object]:
    measured = trained_reward.results
    result: dict[str, object] = {
        "pairs_judged": trained_reward.inputs["n_pairs"],
        "reward_heldout_accuracy": measured["reward/heldout_accuracy"],
        "reward_heldout_accuracy_interval": [
            measured["reward/heldout_low"],
            measured["reward/heldout_high"],
        ],
    }
    summary = evaluate.result(ws, evaluation.id).summary
    for name in _FIGURES:
        key = "kl_mean" if name == "kl" else name
        result[key] = summary[name]
        result[f"{key}_interval"] = [summary[f"{name}_low"], summary[f"{name}_high"]]
    return {
        **result,
        "n_prompts": summary["n_prompts"],
        "model": ws.selected_model,
        "seed": settings.seed,
        "seconds": dict(seconds),
        "seconds_total": round(sum(seconds.values()), 2),
        "paths": dict(paths),
    }
