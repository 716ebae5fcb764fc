"""Reward models that others trained: a classifier's folder, or a PEFT adapter with a score head."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.app import bases, library, scorers
from workbench.app.training_data import usable_pairs
from workbench.app.workspace import Workspace, prepare_torch
from workbench.cancel import CancelToken
from workbench.config.algorithms import IMPORTED
from workbench.data.folders import MANIFEST, atomic_folder
from workbench.data.records import Message, Preference
from workbench.errors import UserError
from workbench.events import Evaluated, Event, Progress, Saved, Warned
from workbench.jobs.runner import Job
from workbench.models import classifier_folder
from workbench.objectives.intervals import wilson

if TYPE_CHECKING:
    from workbench.models.catalog import ModelInfo
    from workbench.rewards.base import Scorer

COPIED_BELOW = 2 << 30
"""Bytes of weights that are copied into the experiment unless something else is said."""

_ADAPTER = "adapter_config.json"
# What would change the numbers, and is not read here.
_PLAIN: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False,),
    "use_rslora": (False,),
    "rank_pattern": ({},),
    "alpha_pattern": ({},),
    "modules_to_save": ([], ["score"], ["classifier", "score"], ["score", "classifier"]),
}
Write = Callable[[Path], Iterator[Event]]
_MOST_PAIRS = 200  # that an imported reward is tried on
_AT_ONCE = 16


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files in a folder."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def import_reward(
    ws: Workspace, folder: Path, *, base: str = "", is_copied: bool | None = None
) -> Job:
    """Take in a reward model that was trained elsewhere: it becomes a reward run like the others.

    It is tried on the experiment's own pairs, none of which it has seen.

    Args:
        ws: The experiment.
        folder: A sequence classifier with one label (whole weights), or a LoRA adapter of one.
        base: Name of the model that an adapter belongs to; empty takes the one that it names.
        is_copied: Whether whole weights are copied into the experiment, or stay where they are and
            are found by their digest; None copies what is smaller than 2 GB.

    Raises:
        UserError: It is neither, has another number of labels, its weights are pickle files, or
            its base is not here.
    """
    ws.check_writable()
    ws.model_info()  # whose answers it will score
    folder = folder.expanduser().absolute()
    if (folder / _ADAPTER).is_file():
        return _import_adapter(ws, folder, base)
    found = classifier_folder.read(folder)
    _require_one(len(found.labels), folder)
    copies = found.size_bytes < COPIED_BELOW if is_copied is None else is_copied
    inputs: dict[str, object] = {
        "source": str(folder),
        "architecture": found.architecture,
        "digest": found.digest,
        "n_parameters": found.n_parameters,
        "bases": [],
    }
    run_id = ws.new_run("reward", IMPORTED, {"is_copied": copies}, inputs)

    def write(partial: Path) -> Iterator[Event]:
        described: dict[str, str] = {"digest": found.digest}
        if copies:
            yield from _copied(folder, partial)
        else:
            described["path"] = str(folder)
        (partial / "classifier.json").write_text(json.dumps(described), encoding="utf-8")

    return _submit(ws, run_id, folder, write)


def _import_adapter(ws: Workspace, folder: Path, base: str) -> Job:
    config = _adapter_config(folder)
    info = _base_of(folder, base or str(config.get("base_model_name_or_path") or ""))
    inputs: dict[str, object] = {
        "source": str(folder),
        "model": info.name,
        "model_digest": info.digest,
    }
    run_id = ws.new_run("reward", IMPORTED, {"is_copied": True}, inputs)

    def write(partial: Path) -> Iterator[Event]:
        yield from _copied(folder, partial)
        facts = {"base": {"name": info.name, "digest": info.digest}}
        (partial / "reward.json").write_text(json.dumps(facts), encoding="utf-8")

    return _submit(ws, run_id, folder, write)


def _adapter_config(folder: Path) -> dict[str, Any]:
    """The settings of an adapter whose numbers are the same here as in PEFT."""
    try:
        config = json.loads((folder / _ADAPTER).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"The {_ADAPTER} of {folder.name} cannot be read.") from error
    if config.get("task_type") != "SEQ_CLS":
        task = config.get("task_type") or "no known task"
        raise UserError(
            f"{folder.name} is an adapter for {task}, not for a sequence classifier.",
            "Choose an adapter with a score head (SEQ_CLS).",
        )
    for name, allowed in _PLAIN.items():
        value = config.get(name)
        if value is not None and value not in allowed:
            raise UserError(
                f"{folder.name} is no plain LoRA adapter: its {name} is {value}.",
                "Merge it into its base with PEFT and import the merged folder.",
            )
    if not (folder / "adapter_model.safetensors").is_file():
        raise UserError(
            f"{folder.name} has no adapter_model.safetensors. Pickle files can run any program "
            "hidden in them and are not loaded.",
            "Get the safetensors version of the adapter.",
        )
    return dict(config)


def _base_of(folder: Path, named: str) -> ModelInfo:
    try:
        info = library.find(named)
    except UserError as error:
        raise UserError(
            f"{folder.name} belongs to {named or 'a base that it does not name'}, which is not on "
            "this machine.",
            "Add that model on the Models page, or say which one it is.",
        ) from error
    if info.problems or info.is_encoder_decoder:
        why = info.problems[0] if info.problems else "It has an encoder."
        raise UserError(f"{info.name} cannot carry the adapter {folder.name}. {why}")
    return info


def _require_one(n_labels: int, folder: Path) -> None:
    if n_labels != 1:
        raise UserError(
            f"{folder.name} has {n_labels} labels; a reward is one number.",
            "Choose a classifier with one label.",
        )


def _copied(folder: Path, partial: Path) -> Iterator[Event]:
    """Copy the files of a model folder, without pickle files and what else is not read."""
    kept = {".json", ".safetensors", ".model", ".txt", ".jinja", ".md"}
    files = [f for f in sorted(folder.iterdir()) if f.suffix in kept and f.name != MANIFEST]
    for done, file in enumerate(files):
        yield Progress(done, len(files), f"Copying {file.name}")
        shutil.copyfile(file, partial / file.name)


def _submit(
    ws: Workspace, run_id: int, source: Path, write: Callable[[Path], Iterator[Event]]
) -> Job:
    run = ws.run(run_id)

    def work(cancel: CancelToken) -> Iterator[Event]:
        prepare_torch(ws.keeps_core_free)
        folder = ws.run_folder(run_id) / "reward_model"
        with atomic_folder(folder, is_replacing=True) as partial:
            yield from write(partial)
        yield Progress(0, 0, f"Trying {source.name}")
        model = yield from ws.model(cancel)
        held = yield from bases.ready(ws, run, cancel)
        try:
            with scorers.loaded(model, folder) as scorer:
                yield from _tried(ws, scorer, cancel)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        held.clear()
        yield Saved(0, "reward_model", str(folder))

    return ws.submit(run.name, "reward", work, run_id=run_id)


def _tried(ws: Workspace, scorer: Scorer, cancel: CancelToken) -> Iterator[Event]:
    """Score some pairs; a reward whose scores are no numbers, or all the same, shows here."""
    pairs = usable_pairs(ws)[0][:_MOST_PAIRS]
    if not pairs:
        scorer.score_texts([[Message("user", "Hello!")]], ["Hello."])
        return
    wins, differ = 0.0, False
    for start in range(0, len(pairs), _AT_ONCE):
        cancel.raise_if_cancelled()
        part = pairs[start : start + _AT_ONCE]
        yield Progress(start, len(pairs), "Scoring the ranked pairs")
        chosen, rejected = _sides(scorer, part)
        for better, worse in zip(chosen, rejected, strict=True):
            wins += 1.0 if better > worse else 0.5 * (better == worse)
            differ |= better != worse
    if not differ:
        yield Warned("It gives both answers of every ranked pair the same score.")
    low, high = wilson(wins, len(pairs))
    yield Evaluated(
        0,
        {
            "reward/heldout_accuracy": wins / len(pairs),
            "reward/heldout_low": low,
            "reward/heldout_high": high,
            "reward/heldout_pairs": float(len(pairs)),
        },
    )


def _sides(scorer: Scorer, pairs: list[Preference]) -> tuple[list[float], list[float]]:
    prompts = [pair.prompt.messages for pair in pairs]
    texts = [*(p.chosen for p in pairs), *(p.rejected for p in pairs)]
    scores = scorer.score_texts([*prompts, *prompts], texts)
    return scores[: len(pairs)], scores[len(pairs) :]
