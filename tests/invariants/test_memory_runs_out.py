"""Memory runs out: the same step is done again in smaller pieces, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tinymodels
from tests.close import Level, assert_close
from tests.training import Trained, on_policy_settings
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.errors import EnvironmentProblem
from workbench.events import Step, Warned
from workbench.models import adapters
from workbench.models.growing import GrowingTexts
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import RewardModel
from workbench.training.batches import is_out_of_memory

ROUNDING = Level(1e-4, 1e-2)  # other batches while decoding, over two updates of large steps


class Allocator:
    """Raises once, or always, when a method of a class is called as `fails` says."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        owner: type,
        name: str,
        fails: Callable[[], bool],
        *,
        error: BaseException | None = None,
        once: bool = True,
    ) -> None:
        self.n_failed = 0
        self.sizes: list[int] = []
        method = getattr(owner, name)

        def failing(this: Any, *args: Any, **kwargs: Any) -> Any:
            if fails() and not (once and self.n_failed):
                self.n_failed += 1
                raise error or torch.OutOfMemoryError("CUDA out of memory")
            if args:
                self.sizes.append(len(args[0]))
            return method(this, *args, **kwargs)

        patch.setattr(owner, name, failing)


def _run(folder: Path, run_dir: Path, algorithm: str = "ppo", **changes: Any) -> Trained:
    taken = {n: changes.pop(n) for n in ("resume_from", "cancel", "on_event") if n in changes}
    changes = {"updates": 2, "micro_batch_tokens": 64, "epochs": 1, **changes}
    settings = on_policy_settings(algorithm, **changes)
    return Trained(algorithm, tinymodels.load(folder), settings, run_dir, **taken)


def _warnings(run: Trained) -> list[str]:
    return [e.message for e in run.events if isinstance(e, Warned)]


@pytest.fixture
def folder(folders: dict[str, Path]) -> Path:
    return folders["llama"]


def test_the_processor_says_it_in_these_words() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_gradients_are_begun_again_with_half(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = _run(folder, tmp_path / "half", micro_batch_tokens=32)
    calls = iter(range(10_000))

    def in_the_second_piece() -> bool:
        return torch.is_grad_enabled() and next(calls) == 1

    with pytest.raises(RuntimeError) as real:
        torch.empty(1 << 60)
    allocator = Allocator(
        monkeypatch, LoadedModel, "response_states", in_the_second_piece, error=real.value
    )
    run = _run(folder, tmp_path / "failed")
    assert allocator.n_failed == 1
    assert run.metrics == half.metrics
    assert run.checkpoint() == half.checkpoint()
    assert _warnings(run) == [
        "Memory ran out with 64 tokens at once; the step is done again with 32."
    ]
    assert _warnings(half) == []


def test_scoring_is_begun_again_with_half(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = {"r": 4, "last_layers": 1}
    half = _run(folder, tmp_path / "half", micro_batch_tokens=32, lora=lora)
    calls = iter(range(10_000))
    # Critic and learner look whether the model can be split first.
    allocator = Allocator(monkeypatch, LoadedModel, "trunk", lambda: next(calls) == 2)
    run = _run(folder, tmp_path / "failed", lora=lora)
    assert allocator.n_failed == 1
    assert run.checkpoint() == half.checkpoint()
    assert "done again with 32" in _warnings(run)[0]


def test_a_reward_model_reads_smaller_batches(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tinymodels.load(folder)
    reward = RewardModel.fresh(model, LoraSettings(r=2), seed=1)
    adapters.freeze(model, "reward")
    allocator = Allocator(monkeypatch, RewardModel, "forward", lambda: True)
    settings = on_policy_settings("rloo", updates=1, micro_batch_tokens=64)
    run = Trained("rloo", model, settings, tmp_path, reward=reward)
    assert allocator.n_failed == 1
    assert len(run.steps) == 1
    assert reward.tokens_at_once == 4 * 32


def test_answers_are_drawn_again_half_as_many_at_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _run(folder, tmp_path / "whole")
    with monkeypatch.context() as patch:
        calls = iter(range(10_000))
        allocator = Allocator(patch, GrowingTexts, "append", lambda: next(calls) == 1)
        token = CancelToken()

        def stop(event: object) -> None:
            if isinstance(event, Step):
                token.request_stop()

        run = _run(folder, tmp_path / "run", cancel=token, on_event=stop)
        assert allocator.n_failed == 1
        assert len(run.steps) == 1
        assert max(allocator.sizes[1:]) <= 8 < allocator.sizes[0]
    assert _warnings(run) == [
        "Memory ran out with 16 answers at once; they are drawn again, 8 at once."
    ]
    state = json.loads((run.last_checkpoint / "state.json").read_text())["state"]
    assert state["counters"]["answers_at_once"] == 8
    # Going on keeps the smaller size; the answers are the same but for rounding.
    seen = Allocator(monkeypatch, GrowingTexts, "append", lambda: False)
    resumed = _run(folder, tmp_path / "run", resume_from=run.last_checkpoint)
    assert 0 < max(seen.sizes) <= 8
    assert _warnings(resumed) == []
    for before, after in zip([*run.metrics, *resumed.metrics], whole.metrics, strict=True):
        for name in ("objective/scores", "completions/mean_length", "objective/entropy"):
            assert_close(before[name], after[name], ROUNDING)


def test_a_smaller_size_outlives_a_stop(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _run(folder, tmp_path / "whole", micro_batch_tokens=32, checkpoint_every=1)
    token = CancelToken()

    def stop(event: object) -> None:
        if isinstance(event, Step):
            token.request_stop()

    with monkeypatch.context() as patch:
        Allocator(patch, LoadedModel, "response_states", torch.is_grad_enabled)
        first = _run(folder, tmp_path / "run", cancel=token, on_event=stop)
    second = _run(folder, tmp_path / "run", resume_from=first.last_checkpoint)
    assert [*first.metrics, *second.metrics] == whole.metrics
    assert second.checkpoint() == whole.checkpoint()


@pytest.mark.parametrize(
    ("owner", "name"), [(LoadedModel, "response_states"), (GrowingTexts, "append")]
)
def test_what_never_fits_ends_with_advice(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    allocator = Allocator(monkeypatch, owner, name, lambda: True, once=False)
    with pytest.raises(EnvironmentProblem) as caught:
        _run(folder, tmp_path)
    assert "single answer" in caught.value.message
    assert "recompute activations" in caught.value.hint
    assert 1 < allocator.n_failed < 8


def test_other_errors_are_not_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("shapes do not fit")
    allocator = Allocator(
        monkeypatch, LoadedModel, "response_states", lambda: True, error=error, once=False
    )
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        _run(folder, tmp_path)
    assert allocator.n_failed == 1
