"""PPO runs: starting, resuming, changing while they go on, reading."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench.app.answers import all_prompts, usable_prompts
from workbench.app.exports import export_adapter
from workbench.app.workspace import Workspace, require_model, require_whole
from workbench.cancel import CancelToken
from workbench.config import toml
from workbench.config.ppo import PPOSettings
from workbench.data.folders import verify
from workbench.data.records import Prompt, Run, RunKind
from workbench.errors import UserError
from workbench.events import Event, Sample, Warned
from workbench.jobs.runner import Job

__all__ = [
    "export_adapter",
    "metrics",
    "newest_checkpoint",
    "resume",
    "reward_source",
    "runs",
    "samples",
    "set_live",
    "train_ppo",
]

_RESUMABLE = ("interrupted", "stopped", "failed")


def train_ppo(ws: Workspace, settings: PPOSettings, reward_run: int | None = None) -> Job:
    """Train a policy adapter on the prompts of the training split.

    Args:
        ws: The experiment.
        settings: The hyperparameters.
        reward_run: Whose reward model scores; None takes the newest.

    Raises:
        UserError: No model, no prompts, or no reward model of this model.
    """
    info = ws.model_info()
    prompts = all_prompts(ws, "train")
    if not prompts:
        raise UserError(
            "There are no prompts to train on.", "Add or import some on the Prompts page."
        )
    scorer = reward_source(ws, reward_run)
    require_model(scorer, info)
    run_id = ws.new_run(
        "ppo",
        settings,
        {
            "model": info.name,
            "model_digest": info.digest,
            "reward_run": scorer.id,
            "labels_digest": scorer.inputs.get("labels_digest", ""),
            "prompt_ids": [p.id for p in prompts],
        },
    )
    return _submit(ws, run_id, settings, prompts, scorer, resume_from=None)


def resume(ws: Workspace, run_id: int) -> Job:
    """Go on with a run that was stopped, interrupted or failed, from its newest whole checkpoint.

    Raises:
        UserError: The run is no such run, or what it needs is gone.
    """
    run = ws.run(run_id)
    if run.kind != "ppo" or run.status not in _RESUMABLE:
        raise UserError(
            f"{run.name} cannot be resumed: it is {run.status}.",
            "Only PPO runs that were stopped, interrupted or failed can go on.",
        )
    ws.check_writable()
    require_model(run, ws.model_info())
    settings = toml.validate(PPOSettings, run.settings)
    ids = run.inputs["prompt_ids"]
    assert isinstance(ids, list)
    prompts = ws.experiment.prompts.get_many(ids)
    scorer = reward_source(ws, int(str(run.inputs["reward_run"])))
    checkpoint = newest_checkpoint(ws, run_id)
    ws.experiment.runs.rewind(run_id, 0 if checkpoint is None else _update_of(checkpoint))
    n_gone = len(ids) - len(prompts)
    return _submit(ws, run_id, settings, prompts, scorer, resume_from=checkpoint, n_gone=n_gone)


def newest_checkpoint(ws: Workspace, run_id: int) -> Path | None:
    """The newest checkpoint that is whole and whose figures are recorded, as only told ones are."""
    told = [a for a in ws.experiment.artifacts.for_run(run_id) if a.kind == "checkpoint"]
    folders = sorted((ws.path / a.path for a in told), reverse=True)
    return next((f for f in folders if f.is_dir() and not verify(f)), None)


def _clear_after(run_folder: Path, checkpoint: Path | None) -> None:
    """Remove later checkpoints, damaged or never told, which the resumed run writes again."""
    for folder in (run_folder / "checkpoints").glob("step-*"):
        if checkpoint is None or folder.name > checkpoint.name:
            shutil.rmtree(folder)


def reward_source(ws: Workspace, reward_run: int | None) -> Run:
    """The reward run to score with: the given one, or the newest that wrote a model.

    Raises:
        UserError: There is none.
    """
    if reward_run is not None:
        run = ws.run(reward_run)
        if run.kind != "reward":
            raise UserError(f"{run.name} is no reward model.", "Choose a reward-model run.")
        return run
    newest = ws.experiment.artifacts.latest("reward_model")
    if newest is None:
        raise UserError(
            "There is no reward model yet.", "Rank some answers and train one on the Reward page."
        )
    return ws.run(newest.run_id)


def set_live(ws: Workspace, run_id: int, name: str, value: float) -> None:
    """Change a setting of a running run; it takes effect at the next update.

    Raises:
        UserError: The run is not running, or the setting cannot be changed like this.
    """
    info = dict(toml.fields(PPOSettings)).get(name)
    extra = info.json_schema_extra if info is not None else None
    ui = extra.get("ui") if isinstance(extra, dict) else None
    if not (isinstance(ui, dict) and ui.get("is_live")):
        raise UserError(f"{name} cannot be changed while a run goes on.")
    run = ws.run(run_id)
    toml.validate(PPOSettings, {**run.settings, name: value})
    if run_id not in ws.live:
        raise UserError(f"{run.name} is not running.", "Change the settings of the next run.")
    ws.live[run_id].set(name, value)


def runs(ws: Workspace, kind: RunKind | None = None) -> list[Run]:
    """Runs, the newest first."""
    return sorted(ws.experiment.runs.list(kind), key=lambda run: -run.id)


def metrics(ws: Workspace, run_id: int) -> dict[str, list[tuple[int, float]]]:
    """Each metric of a run with its (step, value) points; what waits is written first."""
    if not ws.is_read_only:
        ws.journal.flush()
    return ws.experiment.runs.metrics(run_id)


def samples(ws: Workspace, run_id: int, step: int | None = None) -> list[Sample]:
    """Sample answers of a run, of all steps or of one."""
    if not ws.is_read_only:
        ws.journal.flush()
    return ws.experiment.runs.samples(run_id, step)


def _submit(
    ws: Workspace,
    run_id: int,
    settings: PPOSettings,
    prompts: Sequence[Prompt],
    scorer: Run,
    *,
    resume_from: Path | None,
    n_gone: int = 0,
) -> Job:
    reward_folder = ws.artifact_folder(scorer.id, "reward_model")

    def work(cancel: CancelToken) -> Iterator[Event]:
        require_whole(reward_folder)
        _clear_after(ws.run_folder(run_id), resume_from)
        model = yield from ws.model(cancel)
        from workbench.models import adapters
        from workbench.rewards.neural import RewardModel
        from workbench.training import learner, loop, ppo

        if n_gone:
            yield Warned(
                f"{n_gone} prompts of this run were deleted since; it goes on without them.",
                "Undo the deletion to go on exactly as before.",
            )
        fitting = yield from usable_prompts(model, prompts, settings.max_new_tokens)
        ws.live[run_id] = live = loop.LiveSettings()
        try:
            reward = RewardModel.load(model, reward_folder)
            yield from ppo.train(
                model,
                fitting,
                reward,
                settings,
                cancel,
                ws.run_folder(run_id),
                resume_from=resume_from,
                live=live,
            )
        finally:
            del ws.live[run_id]
            adapters.remove(model, learner.ADAPTER)

    name = ws.run(run_id).name
    return ws.submit(name, "ppo", work, run_id=run_id, total=settings.updates, unit="updates")


def _update_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))
