"""An open experiment with its worker: the one object that window and command line share."""

from __future__ import annotations

import ctypes
import getpass
import logging
import os
import platform
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from workbench import __version__
from workbench.app.logs import start_log
from workbench.app.settings import UserSettings
from workbench.cancel import CancelToken
from workbench.config.algorithms import EVALUATION, Method
from workbench.config.spec import Settings
from workbench.data.folders import verify
from workbench.data.records import Run, RunKind
from workbench.errors import UserError
from workbench.events import Progress
from workbench.jobs.journal import Journal, RunRecorder
from workbench.jobs.progress import with_progress
from workbench.jobs.runner import Job, JobRunner, Sink, Work
from workbench.store.experiment import Experiment

if TYPE_CHECKING:
    from workbench.models.catalog import ModelInfo
    from workbench.models.loading import LoadedModel
    from workbench.training.loop import LiveSettings

log = logging.getLogger(__name__)

Stage = Literal[
    "model", "prompts", "answers", "rank", "reward", "policy", "evaluate", "export", "done"
]
MIN_PAIRS = 8
_MODEL = "model"


@dataclass(frozen=True, slots=True)
class Overview:
    """Where an experiment stands, and what to do next."""

    n_prompts: int
    n_completions: int
    n_comparisons: int
    n_judged: int
    reward_runs: int
    policy_runs: int
    evaluations: int
    next_step: Stage


class Workspace:
    """An open experiment folder, its job runner and the model in memory.

    Attributes:
        path: The experiment folder.
        experiment: Its records.
        runner: The one worker.
        readers: A second one beside it, for what only reads and nobody sees as a job.
        is_read_only: Whether nothing may be changed: another program holds the folder.
        annotator: Who judges; the name that was chosen, or that of the user of this machine.
        keeps_core_free: Whether one core is left to the window while models compute. The
            window sets it; all cores at once cost it a factor of 7 to 40.
        live: Settings of running runs that may change, by run.
        program_bytes: What the program took by itself before its model was loaded; 0 until then.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.path = experiment.path
        self.is_read_only = experiment.is_read_only
        self.annotator = UserSettings.load().annotator or _user_name()
        self.keeps_core_free = False
        self.runner = JobRunner()
        self.readers = JobRunner()
        self.journal = Journal(experiment)
        self.live: dict[int, LiveSettings] = {}
        self.program_bytes = 0
        self._loaded: LoadedModel | None = None

    @classmethod
    def open(cls, path: Path, *, create: bool = False, is_read_only: bool = False) -> Workspace:
        """Open an experiment folder, or make one.

        Runs that a crash left running are marked as interrupted; they can be resumed.

        Raises:
            UserError: There is no experiment, or with `create` there is something already.
            EnvironmentProblem: Another program holds it, or the disk refuses.
        """
        if create:
            experiment = Experiment.create(path)
        else:
            experiment = Experiment.open(path, is_read_only=is_read_only)
        if not experiment.is_read_only:
            start_log(experiment.path / "logs")
            experiment.runs.mark_interrupted()
        return cls(experiment)

    def close(self, timeout: float = 1.0) -> bool:
        """Cancel all jobs, write what waits and close the records.

        Returns:
            False when the worker still runs after `timeout` seconds: everything is written,
            but the process must be ended with `os._exit`.
        """
        is_idle = self.readers.close(timeout) & self.runner.close(timeout)
        self.journal.close()
        if is_idle:
            self.experiment.close()
        return is_idle

    @property
    def selected_model(self) -> str:
        """Name or path of the chosen model; empty when none is chosen yet."""
        return str(self.experiment.settings.get(_MODEL) or "")

    @selected_model.setter
    def selected_model(self, name: str) -> None:
        self.check_writable()
        self.experiment.settings.set(_MODEL, name)

    @property
    def model_name(self) -> str | None:
        """Name of the model in memory."""
        return self._loaded.info.name if self._loaded else None

    @property
    def is_model_loaded(self) -> bool:
        """Whether a model is in memory."""
        return self._loaded is not None

    def model_info(self) -> ModelInfo:
        """What the catalogue knows of the chosen model.

        Raises:
            UserError: No model is chosen, or it is not there any more.
        """
        from workbench.app.library import find

        if not self.selected_model:
            raise UserError("No model is chosen yet.", "Choose one on the Models page.")
        return find(self.selected_model)

    def model(self, cancel: CancelToken) -> Generator[Progress, None, LoadedModel]:
        """The chosen model, loaded when it is not in memory yet: `yield from` it in a job.

        Raises:
            UserError: No model is chosen, or it cannot be loaded.
            EnvironmentProblem: There is not enough memory.
        """
        info = self.model_info()
        if self._loaded is not None and self._loaded.info.digest == info.digest:
            return self._loaded
        self._loaded = None
        yield Progress(0, 0, "Starting torch")
        prepare_torch(self.keeps_core_free)
        from workbench.models.loading import load

        self.program_bytes = self.program_bytes or psutil.Process().memory_info().rss
        self._loaded = yield from with_progress(
            lambda told: load(info, cancel=cancel, on_progress=told)
        )
        log.info("loaded %s (%s)", info.name, info.digest[:12])
        return self._loaded

    def forget_model(self) -> None:
        """Let the chosen model go out of memory; it is loaded again when it is next needed."""
        self._loaded = None

    def submit(
        self,
        title: str,
        kind: str,
        work: Work,
        *,
        run_id: int | None = None,
        sink: Sink | None = None,
        total: int = 0,
        unit: str = "steps",
    ) -> Job:
        """Queue work; a run's events go to the experiment by themselves.

        Raises:
            UserError: The experiment is open read-only.
        """
        self.check_writable()
        if run_id is not None and sink is None:
            sink = RunRecorder(self.experiment, self.journal, run_id)
        return self.runner.submit(
            title, kind, work, run_id=run_id, sink=sink, total=total, unit=unit
        )

    def check_writable(self) -> None:
        """Refuse to change an experiment that is open read-only.

        Raises:
            UserError: It is.
        """
        if self.is_read_only:
            raise UserError(
                "This experiment is open read-only, so nothing can be changed.",
                "Close it in the other program, then open it here again.",
            )

    def overview(self) -> Overview:
        """Counts and the next step."""
        experiment = self.experiment
        n_comparisons = experiment.comparisons.counts(self.annotator).total
        n_judged = experiment.judgements.count() - experiment.judgements.count(verdict="skip")
        n_judged = min(n_judged, n_comparisons)  # two people may have judged one pair
        finished = [r for r in experiment.runs.list() if r.status in ("done", "stopped")]
        n = {kind: sum(r.kind == kind for r in finished) for kind in ("reward", "policy")}
        n["evaluation"] = sum(r.algorithm == EVALUATION.name for r in finished)
        n_prompts = experiment.prompts.count()
        n_completions = experiment.completions.count()
        done: dict[Stage, bool] = {
            "model": bool(self.selected_model),
            "prompts": n_prompts > 0,
            "answers": n_comparisons > 0,
            "rank": n_judged >= MIN_PAIRS,
            "reward": n["reward"] > 0,
            "policy": n["policy"] > 0,
            "evaluate": n["evaluation"] > 0,
            "export": experiment.artifacts.latest("export") is not None,
        }
        return Overview(
            n_prompts=n_prompts,
            n_completions=n_completions,
            n_comparisons=n_comparisons,
            n_judged=n_judged,
            reward_runs=n["reward"],
            policy_runs=n["policy"],
            evaluations=n["evaluation"],
            next_step=next((stage for stage, is_done in done.items() if not is_done), "done"),
        )

    def run(self, run_id: int) -> Run:
        """A run by its number.

        Raises:
            UserError: There is none.
        """
        return self.experiment.runs.get(run_id)

    def new_run(
        self,
        kind: RunKind,
        how: Method,
        settings: Settings | Mapping[str, object],
        inputs: Mapping[str, object],
        name: str = "",
    ) -> int:
        """A new run; its number.

        Args:
            kind: What it makes.
            how: Its algorithm, or what it measures.
            settings: All hyperparameters.
            inputs: What it is made from.
            name: How lists show it; empty for the next free one of its method.
        """
        self.check_writable()
        values = settings.model_dump() if isinstance(settings, Settings) else settings
        n = self.experiment.runs.count(kind, how.name)
        made_with = {"version": __version__, "platform": platform.platform()}
        return self.experiment.runs.create(
            kind, how.name, name or f"{how.title} {n + 1}", values, {**inputs, **made_with}
        )

    def run_folder(self, run_id: int) -> Path:
        """Where a run writes: its adapter and its checkpoints, or its reward model."""
        kind = self.run(run_id).kind
        return (
            self.path / ("reward_models" if kind == "reward" else "adapters") / f"run-{run_id:04}"
        )

    def artifact_folder(self, run_id: int, kind: str) -> Path:
        """The last folder of a kind that a run wrote.

        Raises:
            UserError: It wrote none, or the folder is gone.
        """
        written = [a for a in self.experiment.artifacts.for_run(run_id) if a.kind == kind]
        name = self.run(run_id).name
        if not written:
            raise UserError(
                f"{name} has not written a {kind.replace('_', ' ')} yet.",
                "Let it finish, or choose another run.",
            )
        folder = self.path / written[-1].path
        if not folder.is_dir():
            raise UserError(f"What {name} wrote is gone: {folder}.", "Train it again.")
        return folder


def require_model(run: Run, info: ModelInfo) -> None:
    """Check that a run was made with the model that is chosen now.

    Raises:
        UserError: It was made with another model, or with other weights of that name.
    """
    if run.inputs.get("model_digest") == info.digest:
        return
    name = run.inputs.get("model")
    if name == info.name:
        raise UserError(
            f"{run.name} was trained on other weights of {name} than those chosen now.",
            "Choose the folder with those weights on the Models page, or train anew.",
        )
    raise UserError(
        f"{run.name} was trained on {name}, not on {info.name}.",
        f"Choose {name} on the Models page, or train anew on {info.name}.",
    )


def require_whole(folder: Path) -> None:
    """Check a folder that a run wrote against its manifest; hashing takes its time.

    Raises:
        UserError: It has changed since it was written.
    """
    if problems := verify(folder):
        raise UserError(f"{folder.name} is damaged: {problems[0]}", "Train it again.")


def prepare_torch(keeps_core_free: bool) -> None:
    """Set torch's threads before the worker uses it first: a live thread keeps its value.

    Spinning at OpenMP barriers on a core that somebody else uses costs a factor of 7 to 40, so
    it is off.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    _keep_freed_memory()
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        cores = os.cpu_count() or 1
        torch.set_num_threads(max(1, cores - 1) if keeps_core_free else cores)


def _keep_freed_memory() -> None:
    """Let glibc keep what a forward pass frees for the next one.

    By default it gives large blocks back at once and faults every page in anew. What that costs
    differs: a quarter of a forward and backward pass on one processor, nothing on another.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest that it takes
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_TOP_PAD, 64 << 20)


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "me"
