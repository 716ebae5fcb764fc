"""Everything a run needs to go on bit-equal: adapter, value head, optimiser, counters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from workbench.config.lora import LoraSettings
from workbench.data.folders import atomic_folder, verify
from workbench.errors import UserError
from workbench.models import adapters
from workbench.models.loading import LoadedModel


def save(
    folder: Path,
    base: LoadedModel,
    name: str,
    lora: LoraSettings,
    heads: Mapping[str, torch.nn.Module],
    optimiser: torch.optim.Optimizer,
    algorithm: str,
    state: Mapping[str, object],
) -> None:
    """Write a checkpoint that is complete or absent. The adapter in it is a plain PEFT folder."""
    with atomic_folder(folder) as partial:
        adapters.save(base, name, lora, partial)
        head = {
            f"{n}.{k}": v.detach().cpu().contiguous()
            for n, h in heads.items()
            for k, v in h.state_dict().items()
        }
        save_file(head, str(partial / "heads.safetensors"))
        torch.save(optimiser.state_dict(), partial / "optimizer.pt")
        (partial / "state.json").write_text(json.dumps(dict(state)), encoding="utf-8")


def load(
    folder: Path,
    base: LoadedModel,
    name: str,
    heads: Mapping[str, torch.nn.Module],
    optimiser: torch.optim.Optimizer,
    algorithm: str,
) -> dict[str, object]:
    """Fill adapter, head and optimiser from a checkpoint and return its counters.

    Raises:
        UserError: The checkpoint is damaged or belongs to another model.
    """
    if problems := verify(folder):
        raise UserError(
            f"The checkpoint {folder.name} is damaged: {problems[0]}", "Go on from an earlier one."
        )
    adapters.load_state(base, name, load_file(str(folder / "adapter_model.safetensors")))
    stored = load_file(str(folder / "heads.safetensors"))
    for n, h in heads.items():
        h.load_state_dict(
            {k.removeprefix(n + "."): v for k, v in stored.items() if k.startswith(n + ".")}
        )
    optimiser.load_state_dict(
        torch.load(folder / "optimizer.pt", map_location=base.device, weights_only=True)
    )
    state: dict[str, object] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return state
