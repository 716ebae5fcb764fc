"""A handed-over training job, done without an experiment and without a window."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.app import scorers
from workbench.app.answers import fitting, usable_prompts
from workbench.app.library import find
from workbench.app.workspace import prepare_torch
from workbench.cancel import CancelToken
from workbench.config.training import OnPolicySettings
from workbench.data import bundle
from workbench.data.folders import verify
from workbench.data.records import Prompt
from workbench.events import Event, Warned

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel
    from workbench.training.ranks import Ranks


def work_off(
    folder: Path, model: str, out: Path, ranks: Ranks, cancel: CancelToken, *, dtype: str = "auto"
) -> Iterator[Event]:
    """Train what a bundle says; several processes under torchrun do it together.

    A job that was ended goes on from its newest whole checkpoint. Rank 0 alone writes, and alone
    yields `Saved`; the other events are the same in all processes.

    Args:
        folder: The bundle.
        model: Name or folder of the base; empty takes the one that the bundle names.
        out: Where checkpoints and the adapter (or the reward model) go.
        ranks: The processes that train together.
        cancel: Stop and cancel.
        dtype: Of the base: auto, float32, bfloat16.

    Raises:
        UserError: The bundle is no such thing, or what it needs is not there.
    """
    job = bundle.read(folder)
    info = find(model or str(job.model.get("hub_id") or job.model["name"]))
    prepare_torch(keeps_core_free=False)
    from workbench.models.loading import load
    from workbench.training.inputs import Inputs
    from workbench.training.registry import trainer

    if info.digest != job.model.get("digest"):
        yield Warned(
            f"{info.name} has other weights than the model that this job was made for.",
            "Where they must be the same, give that model's folder with --model.",
        )
    base = load(info, dtype=dtype, cancel=cancel, on_progress=lambda *_: None)
    inputs = Inputs(
        model=base,
        run_dir=out,
        prompts=(yield from _fitting(base, job)),
        watch=fitting(base, job.data.watch, job.settings),
        reward=None
        if job.reward_model is None
        else scorers.read(base, job.reward_model, cancel=cancel),
        preferences=job.data.preferences,
        feedback=job.data.feedback,
        answers=job.data.answers,
        ties=job.data.ties,
        rankings=job.data.rankings,
        ratings=job.data.ratings,
        start=job.start_adapter,
        resume_from=newest_checkpoint(out),
        ranks=ranks,
    )
    settings = job.settings
    if isinstance(settings, OnPolicySettings) and settings.labels_every:
        yield Warned("Nobody can be asked for labels here, so the run does not stop for them.")
        settings = settings.model_copy(update={"labels_every": 0})
    yield from trainer(job.how.name)(settings, inputs, cancel)


def newest_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint that is whole."""
    folders = sorted((out / "checkpoints").glob("step-*"), reverse=True)
    return next((folder for folder in folders if not verify(folder)), None)


def _fitting(model: LoadedModel, job: bundle.Bundle) -> Generator[Event, None, Sequence[Prompt]]:
    if not isinstance(job.settings, OnPolicySettings):
        return job.data.prompts
    found = yield from usable_prompts(model, job.data.prompts, job.settings.max_new_tokens)
    return found
