"""Runs that train: starting, resuming, changing while they go on, reading."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.app import bases, label_gate, scorers, second_judge
from workbench.app.answers import fitting, usable_prompts
from workbench.app.exports import export_adapter
from workbench.app.planning import require_ready, reward_source
from workbench.app.training_data import collect
from workbench.app.workspace import Workspace, require_model, require_whole
from workbench.cancel import CancelToken
from workbench.config import algorithms, toml
from workbench.config.algorithms import DESIGN, PROBE, Algorithm
from workbench.config.training import OnPolicySettings, TrainingSettings
from workbench.data.folders import verify
from workbench.data.records import Run, RunKind
from workbench.data.training_data import DATA_FILE, TrainingData
from workbench.errors import UserError
from workbench.events import Asked, Event, Marked, Sample, Warned
from workbench.jobs.runner import Job

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

__all__ = [
    "export_adapter",
    "metrics",
    "newest_checkpoint",
    "resume",
    "runs",
    "samples",
    "set_live",
    "submit",
    "train",
]

_RESUMABLE = ("interrupted", "stopped", "failed")


def train(
    ws: Workspace,
    algorithm: str,
    settings: TrainingSettings,
    *,
    reward_run: int | None = None,
    start_run: int | None = None,
    judge: str = "",
) -> Job:
    """Train a policy adapter.

    Args:
        ws: The experiment.
        algorithm: One of `config.algorithms`.
        settings: Its hyperparameters.
        reward_run: Whose reward model scores; None takes the newest, when one is needed.
        start_run: A policy run that training starts from and is held near to, such as
            supervised fine-tuning; None starts on the base.
        judge: Who is held back to give a second opinion (`app.second_judge`); empty for nobody.

    Raises:
        UserError: No model, or something that the algorithm needs is not there: all of it at once.
    """
    how = algorithms.find(algorithm)
    require_ready(ws, how, settings, reward_run=reward_run, start_run=start_run)
    info = ws.model_info()
    data, facts = collect(ws, how, settings)
    inputs: dict[str, object] = {"model": info.name, "model_digest": info.digest}
    if start_run is not None:
        inputs["start_run"] = start_run
    scorer = None
    if "reward" in how.needs:
        scorer = reward_source(ws, reward_run)
        inputs["reward_run"] = scorer.id
        inputs["labels_digest"] = scorer.inputs.get("labels_digest", "")
    if judge and isinstance(settings, OnPolicySettings):
        if problem := second_judge.check(ws, judge, scorer.id if scorer else None):
            raise UserError(problem, "Choose another held-back judge, or none.")
        inputs["judge"] = judge
    run_id = ws.new_run("policy", how, settings, {**inputs, **facts})
    return submit(ws, run_id, how, settings, data)


def resume(ws: Workspace, run_id: int) -> Job:
    """Go on with a run that was stopped, interrupted or failed, from its newest whole checkpoint.

    Raises:
        UserError: The run is no such run, or what it needs is gone.
    """
    run = ws.run(run_id)
    is_quick = run.kind == "evaluation" or run.algorithm in (PROBE.name, DESIGN.name)
    if is_quick or run.status not in _RESUMABLE:
        raise UserError(
            f"{run.name} cannot be resumed: it is {run.status}.",
            "Only training runs that were stopped, interrupted or failed can go on.",
        )
    ws.check_writable()
    if run.kind == "reward":
        bases.require(run, ws.model_info() if ws.selected_model else None)
    else:
        require_model(run, ws.model_info())
    how = algorithms.find(run.algorithm)
    settings = toml.validate(how.settings, run.settings)
    checkpoint = newest_checkpoint(ws, run_id)
    ws.experiment.runs.rewind(run_id, 0 if checkpoint is None else _update_of(checkpoint))
    return submit(ws, run_id, how, settings, None, resume_from=checkpoint)


def submit(
    ws: Workspace,
    run_id: int,
    how: Algorithm,
    settings: TrainingSettings,
    data: TrainingData | None,
    *,
    resume_from: Path | None = None,
    doubts: Sequence[str] = (),
) -> Job:
    """Queue the training of a run that is recorded already.

    Args:
        ws: The experiment.
        run_id: The run.
        how: Its algorithm.
        settings: Its hyperparameters.
        data: What it works on; None reads what the run was started with.
        resume_from: A checkpoint to go on from.
        doubts: Sentences that the run warns of at its start.
    """
    run = ws.run(run_id)
    step = 0 if resume_from is None else _update_of(resume_from)
    start_folder = _input_folder(ws, run, "start_run", "adapter")

    def work(cancel: CancelToken) -> Iterator[Event]:
        folder = ws.run_folder(run_id)
        # Before a model is loaded, which takes its time.
        if start_folder is not None:
            require_whole(start_folder)
        if "reward_run" in run.inputs:
            scored_by, _ = label_gate.reward_run_at(ws, run, step)
            require_whole(ws.artifact_folder(scored_by, "reward_model"))
        _clear_after(folder, resume_from)
        if data is not None:
            data.write(folder / DATA_FILE)
        items = TrainingData.read(folder / DATA_FILE)
        for sentence in doubts:
            yield Warned(sentence)
        model = yield from _base_of(ws, run, cancel)
        cancel.while_paused = model.parked
        from workbench.models import adapters
        from workbench.training.inputs import Inputs
        from workbench.training.registry import trainer

        prompts = items.prompts
        if isinstance(settings, OnPolicySettings):
            prompts = tuple((yield from usable_prompts(model, prompts, settings.max_new_tokens)))
        with ExitStack() as stack:
            stack.callback(adapters.remove_all, model)
            reward, is_new = None, False
            if "reward_run" in run.inputs:
                yield from label_gate.decide(ws, model, run, step, cancel)
                reward_run, is_new = label_gate.reward_run_at(ws, run, step)
                reward = yield from scorers.opened(ws, ws.run(reward_run), model, cancel)
                stack.callback(reward.close)
            judge = None
            if "judge" in run.inputs:
                judge = yield from second_judge.load(ws, model, str(run.inputs["judge"]), cancel)
                stack.callback(judge.close)
            inputs = Inputs(
                model=model,
                run_dir=folder,
                prompts=prompts,
                watch=fitting(model, items.watch, settings),
                reward=reward,
                is_reward_new=is_new,
                judge=judge,
                preferences=items.preferences,
                feedback=items.feedback,
                answers=items.answers,
                ties=items.ties,
                rankings=items.rankings,
                ratings=items.ratings,
                start=start_folder,
                resume_from=resume_from,
            )
            ws.live[run_id] = inputs.live
            stack.callback(ws.live.pop, run_id, None)
            for event in trainer(how.name)(settings, inputs, cancel):
                yield label_gate.ask(ws, run, event) if isinstance(event, Asked) else event

    total = settings.updates if isinstance(settings, OnPolicySettings) else 0
    return ws.submit(run.name, run.kind, work, run_id=run_id, total=total, unit="updates")


def newest_checkpoint(ws: Workspace, run_id: int) -> Path | None:
    """The newest checkpoint that is whole and whose figures are recorded, as only told ones are."""
    told = [a for a in ws.experiment.artifacts.for_run(run_id) if a.kind == "checkpoint"]
    folders = sorted((ws.path / a.path for a in told), reverse=True)
    return next((f for f in folders if f.is_dir() and not verify(f)), None)


def set_live(ws: Workspace, run_id: int, name: str, value: float) -> None:
    """Change a setting of a running run; it takes effect at the next update.

    Raises:
        UserError: The run is not running, or the setting cannot be changed like this.
    """
    run = ws.run(run_id)
    how = algorithms.find(run.algorithm)
    info = dict(toml.fields(how.settings)).get(name)
    extra = info.json_schema_extra if info is not None else None
    ui = extra.get("ui") if isinstance(extra, dict) else None
    if not (isinstance(ui, dict) and ui.get("is_live")):
        raise UserError(f"{name} cannot be changed while a run goes on.")
    toml.validate(how.settings, {**run.settings, name: value})
    if run_id not in ws.live:
        raise UserError(f"{run.name} is not running.", "Change the settings of the next run.")
    ws.live[run_id].set(name, value)


def runs(ws: Workspace, kind: RunKind | None = None) -> list[Run]:
    """Runs, the newest first."""
    return sorted(ws.experiment.runs.list(kind), key=lambda run: -run.id)


def delete(ws: Workspace, run_ids: Sequence[int]) -> int:
    """Take runs out of all lists; undo brings them back, and what they wrote stays on the disk.

    Raises:
        UserError: One of them is still going on.
    """
    ws.check_writable()
    going = {job.run_id for job in ws.runner.jobs}
    for run_id in run_ids:
        if run_id in going:
            raise UserError(f"{ws.run(run_id).name} is still going on.", "Stop it first.")
    return ws.experiment.runs.delete(run_ids)


def set_note(ws: Workspace, run_id: int, note: str) -> None:
    """Say something about a run; undo takes it back."""
    ws.check_writable()
    ws.experiment.runs.set_note(run_id, note)


def set_tags(ws: Workspace, run_id: int, tags: Sequence[str]) -> None:
    """Give a run these tags in place of those it had; undo takes it back."""
    ws.check_writable()
    ws.experiment.runs.set_tags(run_id, tags)


def metrics(ws: Workspace, run_id: int) -> dict[str, list[tuple[int, float]]]:
    """Each metric of a run with its (step, value) points; what waits is written first."""
    if not ws.is_read_only:
        ws.journal.flush()
    return ws.experiment.runs.metrics(run_id)


def marks(ws: Workspace, run_id: int) -> list[Marked]:
    """What happened at which update of a run: rounds of labels, pauses."""
    if not ws.is_read_only:
        ws.journal.flush()
    return ws.experiment.runs.marks(run_id)


def samples(ws: Workspace, run_id: int, step: int | None = None) -> list[Sample]:
    """Sample answers of a run, of all steps or of one."""
    if not ws.is_read_only:
        ws.journal.flush()
    return ws.experiment.runs.samples(run_id, step)


def _input_folder(ws: Workspace, run: Run, name: str, kind: str) -> Path | None:
    source = run.inputs.get(name)
    return None if source is None else ws.artifact_folder(int(str(source)), kind)


def _base_of(ws: Workspace, run: Run, cancel: CancelToken) -> Generator[Event, None, LoadedModel]:
    """What is trained: the chosen model, or the base that a reward model asked for.

    Two bases at once may not fit, so the chosen one goes while another is trained.
    """
    chosen = ws.model_info().digest if ws.selected_model else ""
    if run.kind != "reward" or run.inputs.get("model_digest") == chosen:
        return (yield from ws.model(cancel))
    (base,) = bases.of_reward(run)
    ws.forget_model()
    return (yield from bases.loading(ws, base, run.name, cancel))


def _clear_after(run_folder: Path, checkpoint: Path | None) -> None:
    """Remove later checkpoints, damaged or never told, which the resumed run writes again."""
    for folder in (run_folder / "checkpoints").glob("step-*"):
        if checkpoint is None or folder.name > checkpoint.name:
            shutil.rmtree(folder)


def _update_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))
