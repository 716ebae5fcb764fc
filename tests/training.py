"""One run of an algorithm on a tiny model: what it told, and what it left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests import tinymodels
from tests.tinymodels import TokenShare
from workbench.cancel import CancelToken
from workbench.config import algorithms, toml
from workbench.config.training import TrainingSettings
from workbench.data.records import Message, Prompt
from workbench.events import Event, Saved, Step
from workbench.models.loading import LoadedModel
from workbench.rewards.base import RewardFunction
from workbench.training.inputs import Inputs
from workbench.training.registry import trainer

TOKEN = 7
ON_POLICY: dict[str, Any] = {
    "updates": 3,
    "batch_size": 16,
    "micro_batch_tokens": 512,
    "learning_rate": 1e-2,
    "max_new_tokens": 8,
    "temperature": 1.3,
    "checkpoint_every": 0,
    "lora": {"r": 4, "alpha": 8},
}


def on_policy_settings(algorithm: str, **changes: Any) -> TrainingSettings:
    """Small settings of an algorithm that samples; answers are ragged with them."""
    how = algorithms.find(algorithm)
    return toml.validate(how.settings, {**ON_POLICY, **changes})


class Trained:
    """A run to its end; unlike a job it raises what the algorithm raises."""

    def __init__(
        self,
        algorithm: str,
        model: LoadedModel,
        settings: TrainingSettings,
        run_dir: Path,
        *,
        reward: RewardFunction | None = None,
        prompts: Sequence[Prompt] | None = None,
        cancel: CancelToken | None = None,
        on_event: Callable[[Event], None] | None = None,
        **kwargs: Any,
    ) -> None:
        self.run_dir = run_dir
        self.events: list[Event] = []
        inputs = Inputs(
            model,
            run_dir,
            prompts=tinymodels.prompts() if prompts is None else prompts,
            reward=reward or TokenShare(TOKEN),
            **kwargs,
        )
        for event in trainer(algorithm)(settings, inputs, cancel or CancelToken()):
            self.events.append(event)
            if on_event is not None:
                on_event(event)

    @property
    def steps(self) -> list[Step]:
        return [e for e in self.events if isinstance(e, Step)]

    @property
    def metrics(self) -> list[dict[str, float]]:
        """Of each update, without the times."""
        return [
            {k: v for k, v in e.metrics.items() if not k.startswith("time/")} for e in self.steps
        ]

    @property
    def last_checkpoint(self) -> Path:
        saved = [e for e in self.events if isinstance(e, Saved) and e.kind == "checkpoint"]
        return Path(saved[-1].path)

    def adapter(self) -> dict[str, Tensor]:
        return load_file(self.run_dir / "adapter" / "adapter_model.safetensors")

    def lora_b(self) -> dict[str, Tensor]:
        """The half of the adapter that starts at 0."""
        return {k: v for k, v in self.adapter().items() if "lora_B" in k}

    def checkpoint(self) -> dict[str, object]:
        """The last checkpoint, bit for bit, as plain values."""
        folder = self.last_checkpoint
        state = torch.load(folder / "optimizer.pt", weights_only=True)["state"]
        found: dict[str, object] = {"optimizer": _plain(state)}
        for path in sorted(folder.glob("*.safetensors")):
            found[path.name] = _plain(load_file(path))
        found["state"] = (folder / "state.json").read_text()
        return found


def _plain(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.tolist()
    return {k: _plain(v) for k, v in x.items()} if isinstance(x, dict) else x


class Fixed:
    """Rewards that are given, the same for every batch."""

    name = "fixed"

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = list(scores)

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        answers: Sequence[Sequence[int]],  # noqa: ARG002
    ) -> list[float]:
        return (self.scores * len(prompts))[: len(prompts)]
