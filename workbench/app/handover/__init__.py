"""A training job in one folder, for a larger machine: this program's worker, TRL or OpenRLHF.

The folder is whole or absent, names no path of this disk, and holds the SHA-256 of each file.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__, places
from workbench.app import bases
from workbench.app.answers import all_prompts
from workbench.app.exports import copy_adapter, free_folder, relative_path
from workbench.app.handover import launch, openrlhf, trl
from workbench.app.handover.peers import Plan
from workbench.app.planning import reward_source
from workbench.app.training_data import collect, usable_pairs
from workbench.app.workspace import Workspace, require_model, require_whole
from workbench.cancel import CancelToken
from workbench.config import algorithms, toml
from workbench.config.algorithms import Algorithm
from workbench.config.training import TrainingSettings
from workbench.data import bundle
from workbench.data.chat_template import PLAIN_TEMPLATE
from workbench.data.folders import atomic_folder, digest_folder
from workbench.data.formats import training as forms
from workbench.data.records import Run
from workbench.data.training_data import DATA_FILE, TrainingData
from workbench.errors import UserError
from workbench.events import Progress, Saved
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.models.catalog import ModelInfo

_PINNED = ("torch", "transformers", "peft", "accelerate")


@dataclass(frozen=True, slots=True)
class _Job:
    """What goes into a bundle, with the folders of this experiment that are copied."""

    how: Algorithm
    settings: TrainingSettings
    data: TrainingData
    info: ModelInfo
    run: Run | None
    scorer: Run | None
    reward_model: Path | None
    start_adapter: Path | None
    adapter: Path | None


def choose(
    ws: Workspace, algorithm: str | None, run_id: int | None, config: Path | None = None
) -> tuple[str, TrainingSettings, int | None]:
    """What to hand over when only some of it is named.

    Without an algorithm it is the run's, without a run the newest policy run's. Settings come from
    the file, else from a run of that algorithm, else they are the defaults.

    Raises:
        UserError: There is no such algorithm or run, or the file is wrong.
    """
    if algorithm is None and run_id is None:
        newest = ws.experiment.artifacts.latest("adapter")
        if newest is None:
            raise UserError(
                "There is no trained policy yet.", "Name an algorithm with --algorithm."
            )
        run_id = newest.run_id
    run = None if run_id is None else ws.run(run_id)
    how = algorithms.find(algorithm or (run.algorithm if run else ""))
    if config is not None:
        return how.name, toml.load(how.settings, config), run_id
    if run is not None and run.algorithm == how.name:
        return how.name, toml.validate(how.settings, run.settings), run_id
    return how.name, how.settings(), run_id


def export_bundle(
    ws: Workspace,
    algorithm: str,
    settings: TrainingSettings,
    folder: Path | None = None,
    *,
    run_id: int | None = None,
    reward_run: int | None = None,
) -> Job:
    """Write everything that is needed to do a training job elsewhere.

    Args:
        ws: The experiment.
        algorithm: One of `config.algorithms`.
        settings: Its hyperparameters.
        folder: A new folder; None puts it into the experiment's exports.
        run_id: A run whose policy goes along. When it is of this algorithm, its data, its reward
            model and its start do too, so that the job is that run again.
        reward_run: Whose reward model goes along; None takes the run's or the newest, when the
            algorithm needs one.

    Raises:
        UserError: Something that the algorithm needs is not there.
    """
    job = _gather(ws, algorithms.find(algorithm), settings, run_id, reward_run)
    name = f"bundle-{algorithm}" if job.run is None else f"bundle-run-{job.run.id:04}"
    target = folder or free_folder(ws.path / "exports" / name)

    def work(_cancel: CancelToken) -> Working:
        yield Progress(0, 0, "Checking what goes along")
        for source in filter(None, (job.reward_model, job.start_adapter, job.adapter)):
            require_whole(source)
        yield Progress(0, 0, f"Writing {target.name}")
        with atomic_folder(target) as partial:
            _write(ws, job, partial)
        if job.run is not None:
            path = relative_path(target, ws.path)
            ws.experiment.artifacts.add(job.run.id, "export", path, digest_folder(target))
        yield Saved(0, "export", str(target))
        return {"folder": str(target)}

    return ws.submit(f"Hand over {job.how.title}", "export", work)


def _gather(
    ws: Workspace,
    how: Algorithm,
    settings: TrainingSettings,
    run_id: int | None,
    reward_run: int | None,
) -> _Job:
    info = ws.model_info()
    run = None if run_id is None else ws.run(run_id)
    if run is not None:
        require_model(run, info)
    again = run if run is not None and run.algorithm == how.name else None
    scorer = None
    if "reward" in how.needs or reward_run is not None:
        scorer = reward_source(ws, reward_run or _input(again, "reward_run"))
        bases.require(scorer, info)
    start = _input(again, "start_run")
    return _Job(
        how=how,
        settings=settings,
        data=_data(ws, how, settings, again),
        info=info,
        run=run,
        scorer=scorer,
        reward_model=ws.artifact_folder(scorer.id, "reward_model") if scorer else None,
        start_adapter=None if start is None else ws.artifact_folder(start, "adapter"),
        adapter=_adapter(ws, run),
    )


def _input(run: Run | None, name: str) -> int | None:
    value = None if run is None else run.inputs.get(name)
    return None if value is None else int(str(value))


def _data(
    ws: Workspace, how: Algorithm, settings: TrainingSettings, again: Run | None
) -> TrainingData:
    """What the run was trained on, whatever happened to the labels since; else what is there."""
    if again is not None and (path := ws.run_folder(again.id) / DATA_FILE).is_file():
        return TrainingData.read(path)
    return collect(ws, how, settings)[0]


def _adapter(ws: Workspace, run: Run | None) -> Path | None:
    if run is None or run.kind != "policy":
        return None
    written = [a for a in ws.experiment.artifacts.for_run(run.id) if a.kind == "adapter"]
    return ws.artifact_folder(run.id, "adapter") if written else None


def _write(ws: Workspace, job: _Job, folder: Path) -> None:
    (folder / "data").mkdir()
    job.data.write(folder / bundle.DATA)
    (folder / bundle.CONFIG).write_text(toml.dump(job.settings), encoding="utf-8")
    counts = _write_rows(ws, job.data, folder / "data")
    for source, name in (
        (job.reward_model, bundle.REWARD_MODEL),
        (job.start_adapter, bundle.START_ADAPTER),
        (job.adapter, "adapter"),
    ):
        if source is not None:
            (folder / name).mkdir()
            copy_adapter(source, job.info.path, folder / name)
    facts = json.dumps(_facts(job, counts), indent=1, ensure_ascii=False)
    (folder / bundle.JOB).write_text(f"{facts}\n", encoding="utf-8")
    for name, text in _texts(_plan(job, counts["prompts"])).items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    if job.reward_model is not None and _is_network(job.reward_model):
        source_file = places.resource_dir() / "handover" / "reward.py"
        shutil.copyfile(source_file, folder / source_file.name)
    if not job.info.has_chat_template:
        (folder / "chat_template.jinja").write_text(PLAIN_TEMPLATE, encoding="utf-8")


def _write_rows(ws: Workspace, data: TrainingData, folder: Path) -> dict[str, int]:
    """The JSONL files, and how many rows each has; prompts and pairs whatever is learned from."""
    pairs = data.preferences or usable_pairs(ws)[0]
    rows: dict[str, tuple[Iterable[Any], Callable[[Any], str]]] = {
        "prompts": (data.prompts or all_prompts(ws, "train"), forms.write_prompts),
        "heldout_prompts": (all_prompts(ws, "heldout"), forms.write_prompts),
        "preferences": (pairs, forms.write_preferences),
        "feedback": (data.feedback, forms.write_feedback),
        "answers": (data.answers, forms.write_answers),
    }
    counts = {}
    for name, (items, write) in rows.items():
        found = list(items)
        counts[name] = len(found)
        if found:
            text = write(found)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8", newline="\n")
    return counts


def _facts(job: _Job, counts: Mapping[str, int]) -> dict[str, Any]:
    """The contents of job.json: enough to know what this is without the experiment."""
    info, run, scorer = job.info, job.run, job.scorer
    return {
        "format": bundle.FORMAT,
        "program": "rlhf-workbench",
        "version": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "algorithm": job.how.name,
        "seeds": {"seed": job.settings.seed},
        "model": {
            "name": info.name,
            "hub_id": info.hub_id,
            "revision": _revision(info),
            "digest": info.digest,
            "dtype": info.dtype,
            "licence": info.licence,
            "context_length": info.context_length,
        },
        "run": run and {"id": run.id, "name": run.name, "status": run.status},
        "reward": scorer
        and {
            "run": scorer.id,
            "name": scorer.name,
            "n_pairs": scorer.inputs.get("n_pairs"),
            "annotators": scorer.inputs.get("annotators"),
            "labels_digest": scorer.inputs.get("labels_digest"),
            "heldout_accuracy": scorer.results.get("reward/heldout_accuracy"),
        },
        "rows": dict(counts),
    }


def _revision(info: ModelInfo) -> str:
    """The commit on the Hub, which names the folder of a snapshot in its cache."""
    return info.path.name if info.source == "hub" else ""


def _plan(job: _Job, n_prompts: int) -> Plan:
    return Plan(
        algorithm=job.how.name,
        settings=job.settings,
        model=job.info.name,
        hub_id=job.info.hub_id,
        revision=_revision(job.info),
        context_length=job.info.context_length,
        has_chat_template=job.info.has_chat_template,
        is_encoder_decoder=job.info.is_encoder_decoder,
        has_reward_model=job.reward_model is not None,
        is_reward_network=job.reward_model is None or _is_network(job.reward_model),
        has_start_adapter=job.start_adapter is not None,
        n_prompts=n_prompts,
        n_lighter=sum(pair.weight < 1 for pair in job.data.preferences),
    )


def _is_network(reward_model: Path) -> bool:
    """Whether a reward is one network on the base, which other programs can load."""
    return (reward_model / "adapter_config.json").is_file()


def _texts(plan: Plan) -> dict[str, str]:
    """The files for other trainers, by name; a trainer without a counterpart gets none."""
    by_trl, by_openrlhf = trl.translate(plan), openrlhf.translate(plan)
    texts = {"launch.md": launch.text(plan, by_trl, by_openrlhf)}
    if by_trl.command:
        texts[trl.CONFIG] = trl.config(plan, by_trl)
        texts[trl.SCRIPT] = trl.script(plan, by_trl)
        pins = [f"{name}=={importlib.metadata.version(name)}" for name in _PINNED]
        # A local version (+cpu) is of one index only.
        texts["requirements-trl.txt"] = "\n".join(
            [f"trl=={trl.VERSION}", *(pin.partition("+")[0] for pin in pins), ""]
        )
    if by_openrlhf.command:
        texts[openrlhf.SCRIPT] = openrlhf.script(plan, by_openrlhf)
        # It pins transformers, ray, deepspeed and flash-attn itself.
        texts["requirements-openrlhf.txt"] = f"openrlhf[vllm]=={openrlhf.VERSION}\n"
    return texts
