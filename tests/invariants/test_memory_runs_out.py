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
from tests.offline_runs import Run, assert_same_adapter
from tests.offline_runs import settings as offline_settings
from tests.tinymodels import TokenShare
from tests.training import Trained, on_policy_settings
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.data.records import Preference
from workbench.errors import EnvironmentProblem
from workbench.events import Step, Warned
from workbench.models import adapters
from workbench.models.growing import GrowingTexts
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import RewardModel
from workbench.training import offline
from workbench.training.batches import is_out_of_memory

BY = ("rule", "simulated")
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
        self.sizes_learned: list[int] = []  # those with gradients
        method = getattr(owner, name)

        def failing(this: Any, *args: Any, **kwargs: Any) -> Any:
            if fails() and not (once and self.n_failed):
                self.n_failed += 1
                raise error or torch.OutOfMemoryError("CUDA out of memory")
            if args:
                self.sizes.append(len(args[0]))
            if args and torch.is_grad_enabled():
                self.sizes_learned.append(len(args[0]))
            return method(this, *args, **kwargs)

        patch.setattr(owner, name, failing)


def _run(folder: Path, run_dir: Path, algorithm: str = "ppo", **changes: Any) -> Trained:
    taken = {n: changes.pop(n) for n in ("resume_from", "cancel", "on_event") if n in changes}
    changes = {"updates": 2, "micro_batch_tokens": 64, "epochs": 1, **changes}
    settings = on_policy_settings(algorithm, **changes)
    return Trained(algorithm, tinymodels.load(folder), settings, run_dir, **taken)


def _warnings(run: Trained | Run) -> list[str]:
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


def _offline(folder: Path, run_dir: Path, name: str, **changes: Any) -> Run:
    how = {"adam_eps": 1.0, "max_grad_norm": 1000.0, "batch_size": 12, **changes}
    return Run(name, tinymodels.load(folder), offline_settings(name, **how), run_dir)


def _assert_same_but_for_rounding(run: Run, whole: Run) -> None:
    assert_same_adapter(run.adapter(), whole.adapter())
    for after, before in zip(run.heldout, whole.heldout, strict=True):
        for figure, value in before.items():
            assert_close(after[figure], value, Level(1e-5, 1e-4))


@pytest.mark.parametrize("name", ["sft", "dpo", "kto", "ilql", "sarsa", "reward"])
@pytest.mark.parametrize("when", [0, 1])
def test_heldout_data_are_measured_again_with_half(
    name: str, when: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first piece and in a later one; what was learned is as if nothing had been."""
    whole = _offline(folder, tmp_path / "whole", name, micro_batch_tokens=16)
    owner = (RewardModel, "forward") if name == "reward" else (LoadedModel, "response_states")
    measured = offline._measured
    calls = iter(range(10_000))
    is_measuring = [False]

    def watched(*args: Any) -> Any:
        is_measuring[0] = True
        yield from measured(*args)
        is_measuring[0] = False

    monkeypatch.setattr(offline, "_measured", watched)
    allocator = Allocator(monkeypatch, *owner, lambda: is_measuring[0] and next(calls) == when)
    run = _offline(folder, tmp_path / "run", name, micro_batch_tokens=32)
    assert allocator.n_failed == 1
    _assert_same_but_for_rounding(run, whole)
    if name in ("ilql", "sarsa", "reward"):
        assert _warnings(run) == [
            "Memory ran out with 32 tokens at once; the step is done again with 16."
        ]
        state = json.loads((run.last_checkpoint / "state.json").read_text())["state"]
        assert state["micro_batch_tokens"] == 16


@pytest.mark.parametrize("name", ["sft", "ilql", "reward"])
def test_heldout_data_that_never_fit_end_the_run_with_advice(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocator = Allocator(
        monkeypatch, LoadedModel, "answer_states" if name == "reward" else "response_states",
        lambda: not torch.is_grad_enabled(), once=False,
    )  # fmt: skip
    with pytest.raises(EnvironmentProblem, match="single answer"):
        _offline(folder, tmp_path, name)
    assert 1 < allocator.n_failed < 12


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_the_reference_is_asked_again_with_half(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _offline(folder, tmp_path / "whole", name)
    allocator = Allocator(monkeypatch, LoadedModel, "response_states", lambda: True)
    run = _offline(folder, tmp_path / "run", name)
    assert allocator.n_failed == 1
    (told,) = _warnings(run)
    n = int(told.split()[4])
    assert f"with {n} answers at once; they are scored again, {n // 2} at once." in told
    assert allocator.sizes[0] == n // 2
    _assert_same_but_for_rounding(run, whole)


@pytest.mark.parametrize("name", ["ilql", "sarsa"])
def test_answers_are_scored_again_half_as_many_at_once(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _offline(folder, tmp_path / "whole", name)
    allocator = Allocator(monkeypatch, TokenShare, "score", lambda: True)
    run = _offline(folder, tmp_path / "run", name)
    assert allocator.n_failed == 1
    assert allocator.sizes == [12, 12]
    assert _warnings(run) == [
        "Memory ran out with 24 answers at once; they are scored again, 12 at once."
    ]
    assert run.metrics == whole.metrics
    assert run.everything() == whole.everything()


@pytest.mark.parametrize("name", ["dpo", "reward"])
def test_pairs_of_one_prompt_are_parted_when_they_do_not_fit_together(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pairs of the batch are about one prompt: one group, which must be cut itself."""
    first, second = tinymodels.prompts(2)
    pairs = [
        Preference(i, first if i < 8 else second, " ".join(["w7"] * (i % 4 + 2)), f"w{i % 5}", *BY)
        for i in range(12)
    ]
    owner = (RewardModel, "forward") if name == "reward" else (LoadedModel, "response_states")

    def run_of(folder_name: str) -> Run:
        how = offline_settings(
            name, adam_eps=1.0, max_grad_norm=1000.0, micro_batch_tokens=256, batch_size=8
        )
        model = tinymodels.load(folder)
        return Run(name, model, how, tmp_path / folder_name, preferences=pairs)

    with monkeypatch.context() as patch:
        seen = Allocator(patch, *owner, lambda: False)
        whole = run_of("whole")
    (together,) = seen.sizes_learned
    allocator = Allocator(
        monkeypatch, *owner, lambda: torch.is_grad_enabled() and allocator.n_failed < 2, once=False
    )
    run = run_of("run")
    assert allocator.n_failed == 2
    assert max(allocator.sizes_learned) < together
    assert [text.split()[4] for text in _warnings(run)] == ["256", "128"]
    _assert_same_but_for_rounding(run, whole)
