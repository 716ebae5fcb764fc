"""A gradient that is NaN or infinite: its step is left out, counted and told; a few end the run.

The loss is a number all the while, so that it is the gradients that are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests import offline_runs, tinymodels
from tests.offline_runs import Run
from tests.training import Trained, on_policy_settings
from workbench.config import algorithms
from workbench.errors import UserError
from workbench.events import Event, Step, Warned
from workbench.models.loading import LoadedModel

NAMES = [*algorithms.ALGORITHMS, "reward"]
UPDATES = 4


class _Poison(torch.autograd.Function):
    """The same numbers forward, and `bad` in a gradient backward."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, bad: float) -> Tensor:
        ctx.bad = bad
        return states.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return torch.full_like(gradients[0], ctx.bad), None


class Poisoned:
    """A run whose gradients are no numbers in the updates that are said."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        name: str,
        folder: Path,
        run_dir: Path,
        bad: float,
        is_bad: Callable[[int], bool],
    ) -> None:
        self.events: list[Event] = []
        for method in ("response_states", "answer_states"):
            patch.setattr(LoadedModel, method, self._poisoned(method, bad, is_bad))
        model = tinymodels.load(folder)
        kwargs: Any = {"on_event": self.events.append}
        if "prompts" in algorithms.find(name).needs:
            how = on_policy_settings(name, updates=UPDATES, checkpoint_every=1, n_samples=0)
            Trained(name, model, how, run_dir, **kwargs)
        else:
            settings = offline_runs.settings(name, epochs=2, checkpoint_every=1)
            Run(name, model, settings, run_dir, **kwargs)

    def _poisoned(self, method: str, bad: float, is_bad: Callable[[int], bool]) -> Any:
        plain = getattr(LoadedModel, method)

        def states_of(*args: Any, **kwargs: Any) -> Tensor:
            states: Tensor = plain(*args, **kwargs)
            update = 1 + len(self.steps)
            if states.requires_grad and is_bad(update):
                poisoned: Tensor = _Poison.apply(states, bad)  # type: ignore[no-untyped-call]
                return poisoned
            return states

        return states_of

    @property
    def steps(self) -> list[Step]:
        return [e for e in self.events if isinstance(e, Step)]

    @property
    def told(self) -> list[str]:
        return [e.message for e in self.events if isinstance(e, Warned)]


def _weights(run_dir: Path, update: int) -> dict[str, Tensor]:
    return load_file(run_dir / f"checkpoints/step-{update:06}/adapter_model.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_one_bad_update_is_left_out_counted_and_told(
    name: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = math.nan if name in NAMES[::2] else math.inf
    run = Poisoned(monkeypatch, name, folders["llama"], tmp_path, bad, lambda update: update == 2)
    assert len(run.steps) == UPDATES
    (told,) = run.told
    assert "optimiser steps of update 2 were left out" in told
    done = [step.metrics["optim/steps"] for step in run.steps]
    assert done[1] == 0
    assert done[0] == done[2] == done[3] > 0
    before, left_out, after = (_weights(tmp_path, update) for update in (1, 2, 3))
    assert all(torch.equal(left_out[key], weight) for key, weight in before.items())
    assert any(not torch.equal(after[key], weight) for key, weight in before.items())
    assert all(torch.isfinite(weight).all() for weight in after.values())


@pytest.mark.parametrize("name", NAMES)
def test_three_bad_updates_in_a_row_end_the_run(
    name: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="not a number any more, 3 updates in a row"):
        Poisoned(monkeypatch, name, folders["llama"], tmp_path, math.nan, lambda update: update > 1)
    assert not (tmp_path / "adapter").exists()
    assert not (tmp_path / "reward_model").exists()
    weights = _weights(tmp_path, 3)
    assert all(torch.equal(weights[key], w) for key, w in _weights(tmp_path, 1).items())
