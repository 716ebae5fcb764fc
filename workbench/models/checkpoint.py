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
from workbench.models.heads import ScalarHead
from workbench.models.loading import LoadedModel


def save(
    folder: Path,
    base: LoadedModel,
    name: str,
    lora: LoraSettings,
    value_head: ScalarHead,
    optimiser: torch.optim.Optimizer,
    state: Mapping[str, object],
) -> None:
    """Write a checkpoint that is complete or absent. The adapter in it is a plain PEFT folder."""
    with atomic_folder(folder) as partial:
        adapters.save(base, name, lora, partial)
        head = {k: v.detach().cpu().contiguous() for k, v in value_head.state_dict().items()}
        save_file(head, str(partial / "value_head.safetensors"))
        torch.save(optimiser.state_dict(), partial / "optimizer.pt")
        (partial / "state.json").write_text(json.dumps(dict(state)), encoding="utf-8")


def load(
    folder: Path,
    base: LoadedModel,
    name: str,
    value_head: ScalarHead,
    optimiser: torch.optim.Optimizer,
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
    value_head.load_state_dict(load_file(str(folder / "value_head.safetensors")))
    optimiser.load_state_dict(
        torch.load(folder / "optimizer.pt", map_location=base.device, weights_only=True)
    )
    state: dict[str, object] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return state
