"""What learns in a PPO run, and what a checkpoint keeps of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from workbench.config.ppo import PPOSettings
from workbench.models import adapters, checkpoint
from workbench.models.heads import ScalarHead
from workbench.models.loading import LoadedModel
from workbench.objectives.kl import AdaptiveKL

ADAPTER = "policy"


@dataclass
class Learner:
    """Policy adapter, value head, optimiser, and the counters that a checkpoint keeps."""

    model: LoadedModel
    settings: PPOSettings
    parameters: list[torch.nn.Parameter]
    value_head: ScalarHead
    optimiser: torch.optim.Optimizer
    kl: AdaptiveKL
    update: int = 0
    score_shift: float | None = None
    score_scale: float = 1.0
    skipped_in_a_row: int = 0

    @classmethod
    def fresh(cls, model: LoadedModel, settings: PPOSettings) -> Learner:
        """Start on the base: an adapter that changes nothing and values that are 0."""
        parameters = adapters.add(model, ADAPTER, settings.lora, settings.seed)
        value_head = ScalarHead(model.hidden_size, bias=True).to(model.device)
        optimiser = torch.optim.AdamW(
            [*parameters, *value_head.parameters()],
            lr=settings.learning_rate,
            eps=settings.adam_eps,
            weight_decay=0.0,
        )
        kl = AdaptiveKL(settings.kl_coef, settings.kl_target, settings.kl_horizon)
        return cls(model, settings, parameters, value_head, optimiser, kl)

    def save(self, folder: Path) -> None:
        """Write a checkpoint that is complete or absent."""
        state = {
            "update": self.update,
            "kl_coef": self.kl.coef,
            "score_shift": self.score_shift,
            "score_scale": self.score_scale,
        }
        lora = self.settings.lora
        checkpoint.save(folder, self.model, ADAPTER, lora, self.value_head, self.optimiser, state)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint, bit-equal to the run that wrote it."""
        state = checkpoint.load(folder, self.model, ADAPTER, self.value_head, self.optimiser)
        self.update = int(str(state["update"]))
        self.kl = replace(self.kl, coef=float(str(state["kl_coef"])))
        shift = state["score_shift"]
        self.score_shift = None if shift is None else float(str(shift))
        self.score_scale = float(str(state["score_scale"]))
