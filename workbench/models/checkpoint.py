"""Everything a run needs to go on bit-equal: adapter, heads, optimiser, counters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from workbench.config.lora import LoraSettings
from workbench.data.folders import atomic_folder, verify
from workbench.errors import UserError
from workbench.models import adapters
from workbench.models.loading import LoadedModel

# 1 had one value head, in a file of its own.
_FORMAT = 2
_HEADS, _OPTIMISER, _STATE = "heads.safetensors", "optimizer.pt", "state.json"
_DIGITS = 12  # of a digest, as people are shown it


def save(
    folder: Path,
    base: LoadedModel,
    adapter: str,
    lora: LoraSettings,
    heads: Mapping[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    algorithm: str,
    state: Mapping[str, object],
) -> None:
    """Write a checkpoint that is complete or absent. The adapter in it is a plain PEFT folder.

    Args:
        folder: Where it shall be; it must not be there yet.
        base: The model, with the adapter on it.
        adapter: The adapter's name.
        lora: How it was made.
        heads: What else is kept of the run, by name.
        optimiser: Over everything that learns.
        algorithm: Its name; no other goes on from here.
        state: The run's counters, as JSON can hold them.
    """
    with atomic_folder(folder) as partial:
        adapters.save(base, adapter, lora, partial)
        save_file(_tensors(heads), str(partial / _HEADS))
        torch.save(optimiser.state_dict(), partial / _OPTIMISER)
        content = {
            "format": _FORMAT,
            "algorithm": algorithm,
            "base": {"name": base.info.name, "digest": base.info.digest},
            "state": dict(state),
        }
        (partial / _STATE).write_text(json.dumps(content), encoding="utf-8")


def load(
    folder: Path,
    base: LoadedModel,
    adapter: str,
    heads: Mapping[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    algorithm: str,
) -> dict[str, Any]:
    """Fill adapter, heads and optimiser from a checkpoint and return the run's counters.

    Nothing is filled before everything is known to fit.

    Raises:
        UserError: The checkpoint is damaged, or of another algorithm, version or base.
    """
    if problems := verify(folder):
        raise UserError(
            f"The checkpoint {folder.name} is damaged: {problems[0]}", "Go on from an earlier one."
        )
    content = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    # A checkpoint of format 1 has no such file, and is told so.
    stored = load_file(str(folder / _HEADS)) if (folder / _HEADS).is_file() else {}
    for problem, hint in _misfits(content, base, algorithm, _shapes(stored), heads):
        raise UserError(f"The checkpoint {folder.name} {problem}", hint)
    adapters.load_state(base, adapter, load_file(str(folder / adapters.WEIGHTS)))
    for name, head in heads.items():
        prefix = f"{name}."
        head.load_state_dict(
            {key.removeprefix(prefix): t for key, t in stored.items() if key.startswith(prefix)}
        )
    optimiser.load_state_dict(
        torch.load(folder / _OPTIMISER, map_location=base.device, weights_only=True)
    )
    state: dict[str, Any] = content["state"]
    return state


def _misfits(
    content: Mapping[str, Any],
    base: LoadedModel,
    algorithm: str,
    shapes: Mapping[str, torch.Size],
    heads: Mapping[str, nn.Module],
) -> Iterator[tuple[str, str]]:
    """What forbids going on from a checkpoint: the rest of the sentence, and what to do."""
    if content.get("format") != _FORMAT:
        yield (
            "was written by another version of this program.",
            "Go on with that version, or start the run anew.",
        )
    elif content["algorithm"] != algorithm:
        yield (
            f"is one of {content['algorithm']}, and this run is {algorithm}.",
            "Choose a checkpoint of this run.",
        )
    elif content["base"]["digest"] != base.info.digest:
        theirs, ours = content["base"]["digest"][:_DIGITS], base.info.digest[:_DIGITS]
        yield (
            f"belongs to the base model {content['base']['name']} ({theirs}), and "
            f"{base.info.name} ({ours}) is loaded.",
            "Load the model that the run was started on.",
        )
    elif shapes != _shapes(_tensors(heads)):
        yield (
            f"has other heads than this run: {', '.join(sorted(shapes)) or 'none'}.",
            "Go on with the settings that the run was started with.",
        )


def _tensors(heads: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name, head in heads.items()
        for key, tensor in head.state_dict().items()
    }


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in tensors.items()}
