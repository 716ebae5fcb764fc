"""Runs of algorithms that learn from fixed data, on tiny models: data, and what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests import tinymodels
from workbench.cancel import CancelToken
from workbench.config import algorithms
from workbench.config.training import OfflineSettings
from workbench.data.records import Answered, Feedback, Preference
from workbench.events import Evaluated, Event, Saved, Step
from workbench.models.loading import LoadedModel
from workbench.training.inputs import Inputs
from workbench.training.registry import trainer


def preferences(n: int = 24) -> list[Preference]:
    """Longer answers are liked, over six prompts; lengths are ragged."""
    prompts = tinymodels.prompts(6)
    return [
        Preference(
            comparison_id=i,
            prompt=prompts[i % 6],
            chosen=" ".join(f"w{(i + k) % 16}" for k in range(4 + i % 3)),
            rejected=f"w{i % 16}",
            annotator="rule",
            annotator_kind="simulated",
        )
        for i in range(n)
    ]


def feedback(n: int = 24) -> list[Feedback]:
    """The same answers, each by itself."""
    return [
        Feedback(p.prompt, p.chosen if is_good else p.rejected, is_good)
        for p in preferences(n // 2)
        for is_good in (True, False)
    ]


def answers(n: int = 24) -> list[Answered]:
    """The liked answers alone."""
    return [Answered(p.prompt, p.chosen) for p in preferences(n)]


def settings(name: str, **changes: Any) -> Any:
    """Small settings of an algorithm, with a held-out third of the prompts."""
    values = {
        "epochs": 1,
        "batch_size": 8,
        "heldout_share": 0.34,
        "learning_rate": 1e-2,
        "checkpoint_every": 0,
        "lora": {"r": 4, "alpha": 8},
        **changes,
    }
    return algorithms.find(name).settings.model_validate(values)


class Run:
    """A run to its end: its events, and what it left behind."""

    def __init__(
        self,
        name: str,
        model: LoadedModel,
        settings: OfflineSettings,
        run_dir: Path,
        *,
        cancel: CancelToken | None = None,
        on_event: Callable[[Event], None] = lambda _: None,
        **inputs: Any,
    ) -> None:
        self.run_dir = run_dir
        self.folder = run_dir / ("reward_model" if name == "reward" else "adapter")
        self.events: list[Event] = []
        data = {"preferences": preferences(), "feedback": feedback(), "answers": answers()}
        given = Inputs(model, run_dir, **{**data, **inputs})
        for event in trainer(name)(settings, given, cancel or CancelToken()):
            self.events.append(event)
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
    def heldout(self) -> list[dict[str, float]]:
        """What was measured on held-out data, the first time before the first update."""
        return [dict(e.metrics) for e in self.events if isinstance(e, Evaluated)]

    @property
    def last_checkpoint(self) -> Path:
        return checkpoints(self.events)[-1]

    def adapter(self) -> dict[str, Tensor]:
        return load_file(self.folder / "adapter_model.safetensors")

    def everything(self) -> tuple[object, ...]:
        """What two equal runs must share besides their figures, as plain numbers."""
        optimiser = torch.load(self.last_checkpoint / "optimizer.pt", weights_only=True)
        return (
            _plain(self.adapter()),
            _plain(load_file(self.last_checkpoint / "heads.safetensors")),
            _plain(optimiser["state"]),
            (self.last_checkpoint / "state.json").read_text(),
        )


def checkpoints(events: list[Event]) -> list[Path]:
    """The checkpoints that were told."""
    return [Path(e.path) for e in events if isinstance(e, Saved) and e.kind == "checkpoint"]


def _plain(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.tolist()
    return {k: _plain(v) for k, v in x.items()} if isinstance(x, dict) else x
