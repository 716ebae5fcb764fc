"""What must hold in every PPO run, whatever it learns.

numerics.md items 13, 14, 15, 19, 20, 21, 31 to 37, 41 to 48. Item 18 is answered by having no
KL in the loss, 21 by `normalise_scores` (below), 26's dual clip and 37's own value network by
leaving them out.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests import tinymodels
from tests.close import EXACT, FORWARD, Level, assert_close
from tests.tinymodels import TokenShare
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.config.ppo import PPOSettings
from workbench.data.records import Message, Prompt
from workbench.errors import Cancelled, UserError
from workbench.events import Event, Saved, Step, Warned
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.rewards.base import RewardFunction
from workbench.rewards.neural import RewardModel
from workbench.training import policy_gradient, ppo
from workbench.training.inputs import Inputs
from workbench.training.loop import LiveSettings, permutation

TOKEN = 7
# Prompt and answer, with masks, as `response_states` takes them.
TEXT = tuple(torch.tensor([x]) for x in ([3, 4], [True, True], [5, 6], [True, True]))
GRADIENT = Level(1e-7, 2e-3)  # sums in another order, relative to the size of a step of 1e-2


def _settings(**changes: Any) -> PPOSettings:
    values: dict[str, Any] = {
        "updates": 3,
        "batch_size": 16,
        "micro_batch_tokens": 512,
        "minibatches": 2,
        "epochs": 2,
        "learning_rate": 1e-2,
        "max_new_tokens": 8,
        "temperature": 1.3,
        "checkpoint_every": 0,
        "lora": {"r": 4, "alpha": 8},
        **changes,
    }
    return PPOSettings.model_validate(values)


class Finished:
    """A run of PPO to its end: its events, and what it left behind."""

    def __init__(
        self,
        model: LoadedModel,
        settings: PPOSettings,
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
        for event in ppo.train(settings, inputs, cancel or CancelToken()):
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
        return Path(
            [e.path for e in self.events if isinstance(e, Saved) and e.kind == "checkpoint"][-1]
        )

    def adapter(self) -> dict[str, Tensor]:
        return load_file(self.run_dir / "adapter" / "adapter_model.safetensors")

    def optimiser(self) -> dict[str, Any]:
        state: dict[str, Any] = torch.load(self.last_checkpoint / "optimizer.pt", weights_only=True)
        return state

    def everything(self) -> tuple[object, ...]:
        """All that two equal runs must share, as plain numbers."""
        return (
            self.metrics,
            {k: v.tolist() for k, v in self.adapter().items()},
            {
                k: v.tolist()
                for k, v in load_file(self.last_checkpoint / "heads.safetensors").items()
            },
            _plain(self.optimiser()["state"]),
            (self.last_checkpoint / "state.json").read_text(),
        )


def _plain(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.tolist()
    return {k: _plain(v) for k, v in x.items()} if isinstance(x, dict) else x


def test_the_first_ratio_of_every_update_is_1(model: LoadedModel, tmp_path: Path) -> None:
    run = Finished(model, _settings(), tmp_path)
    assert len(run.steps) == 3
    for metrics in run.metrics:
        assert metrics["policy/first_ratio_error"] < 1e-4
        # Later steps of the same update do move: the check above is not of a dead policy.
        assert metrics["policy/approx_kl"] > 1e-6


def test_in_bf16_the_first_ratio_is_1_too(folders: dict[str, Path], tmp_path: Path) -> None:
    """Decoding and training differ there, so old log-probabilities come from the training path."""
    run = Finished(tinymodels.load(folders["llama"], "bfloat16"), _settings(), tmp_path)
    assert all(m["policy/first_ratio_error"] < 1e-4 for m in run.metrics)
    assert all(w.dtype == torch.float32 for w in run.adapter().values())


def test_nothing_is_in_training_mode_during_ppo(llama: LoadedModel, tmp_path: Path) -> None:
    """Attention dropout is read from `training`, not from a Dropout module."""
    modes = set()
    llama.model.register_forward_pre_hook(lambda module, _: modes.add(module.training))
    llama.model.base_model.register_forward_pre_hook(lambda module, _: modes.add(module.training))
    Finished(llama, _settings(updates=1), tmp_path)
    assert modes == {False}
    assert not any(module.training for module in llama.model.modules())


def test_all_linear_leaves_the_output_head_alone(model: LoadedModel) -> None:
    """With tied embeddings an adapted head could not be merged (peft #2018)."""
    adapters.add(model, "policy", LoraSettings(r=2), seed=0)
    adapted = {key.rsplit(".lora_A", 1)[0] for key in adapters.state(model, "policy")}
    assert len(adapted) >= 2 * 4
    assert not any("lm_head" in key or "embed" in key or "wte" in key for key in adapted)


@torch.no_grad()
def test_a_fresh_adapter_is_the_reference_exactly(model: LoadedModel) -> None:
    bare = model.response_states(*TEXT)
    adapters.add(model, "policy", LoraSettings(r=4), seed=0)
    with adapters.active(model, "policy"):
        policy = model.response_states(*TEXT)
    with adapters.active(model, None):
        reference = model.response_states(*TEXT)
    assert_close(policy, reference, EXACT)
    assert_close(reference, bare, EXACT)


def test_kl_starts_at_0_and_is_positive_later(model: LoadedModel, tmp_path: Path) -> None:
    """Up to the rounding between decoding and forward at the start."""
    first, *_, last = Finished(model, _settings(updates=6), tmp_path).metrics
    assert abs(first["objective/kl"]) < 1e-4
    assert last["objective/kl"] > 0.01


def test_base_and_reward_adapter_keep_every_bit(model: LoadedModel, tmp_path: Path) -> None:
    reward = RewardModel.fresh(model, LoraSettings(r=2), seed=1)
    for parameter in reward.trainable:  # B starts at 0: make the adapter do something
        parameter.data += 0.1
    adapters.freeze(model, "reward")
    base, reward_before = tinymodels.base_weights(model), adapters.state(model, "reward")
    with torch.no_grad(), adapters.active(model, None):
        reference = model.response_states(*TEXT)
    scores = reward.score([p.messages for p in tinymodels.prompts()], [[4, 5, 1]] * 6)

    Finished(model, _settings(), tmp_path, reward=reward)

    after = tinymodels.base_weights(model)
    assert base.keys() == after.keys()
    assert all(torch.equal(base[k], after[k]) for k in base)
    reward_after = adapters.state(model, "reward")
    assert all(torch.equal(reward_before[k], reward_after[k]) for k in reward_before)
    with torch.no_grad(), adapters.active(model, None):
        assert_close(model.response_states(*TEXT), reference, EXACT)
    assert scores == reward.score([p.messages for p in tinymodels.prompts()], [[4, 5, 1]] * 6)


def test_switching_adapters_changes_no_trainable_set(llama: LoadedModel) -> None:
    """PEFT's own switches do (peft #3447, #3580)."""
    policy = adapters.add(llama, "policy", LoraSettings(r=2), seed=0)
    reward = adapters.add(llama, "reward", LoraSettings(r=2), seed=1)
    adapters.freeze(llama, "reward")

    def trainable() -> set[int]:
        return {id(p) for p in llama.model.parameters() if p.requires_grad}

    wanted = {id(p) for p in policy}
    assert trainable() == wanted
    assert not wanted & {id(p) for p in reward}
    for name in ("reward", None, "policy", "reward"):
        with adapters.active(llama, name):
            assert trainable() == wanted
            with adapters.active(llama, None):
                assert trainable() == wanted
        assert trainable() == wanted


def test_gradients_reach_the_active_adapter_only(llama: LoadedModel) -> None:
    parameters = {
        name: adapters.add(llama, name, LoraSettings(r=2), seed=0) for name in ("policy", "reward")
    }
    ids, mask = torch.tensor([[3, 4, 5]]), torch.ones(1, 3, dtype=torch.bool)
    with adapters.active(llama, "policy"):
        llama.states(ids, mask).square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in parameters["policy"])
    assert all(p.grad is None for p in parameters["reward"])


def test_learning_rate_0_changes_nothing(model: LoadedModel, tmp_path: Path) -> None:
    run = Finished(model, _settings(learning_rate=0.0, epochs=3), tmp_path)
    for metrics in run.metrics:
        assert metrics["policy/approx_kl"] < 1e-9
        assert metrics["policy/clip_fraction"] == 0.0
        assert metrics["policy/first_ratio_error"] < 1e-4
    assert all(not v.any() for k, v in run.adapter().items() if "lora_B" in k)


def test_the_same_seed_gives_the_same_bits(folders: dict[str, Path], tmp_path: Path) -> None:
    runs = [
        Finished(tinymodels.load(folders["llama"]), _settings(seed=seed), tmp_path / str(i))
        for i, seed in enumerate([3, 3, 4])
    ]
    assert runs[0].everything() == runs[1].everything()
    assert runs[0].everything() != runs[2].everything()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_stopped_and_resumed_equals_uninterrupted(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Weights, head, optimiser, adaptive β, score normalisation and metrics, bit for bit."""
    settings = _settings(updates=5, is_kl_adaptive=True, kl_target=0.1, kl_horizon=50)
    whole = Finished(tinymodels.load(folders[kind]), settings, tmp_path / "whole")

    cancel = CancelToken()

    def stop_after_two(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2:
            cancel.request_stop()

    model = tinymodels.load(folders[kind])
    first = Finished(model, settings, tmp_path / "parts", cancel=cancel, on_event=stop_after_two)
    assert len(first.steps) == 2
    second = Finished(
        tinymodels.load(folders[kind]),
        settings,
        tmp_path / "parts",
        resume_from=first.last_checkpoint,
    )
    assert [e.step for e in second.steps] == [3, 4, 5]
    assert first.metrics + second.metrics == whole.metrics
    assert second.everything()[1:] == whole.everything()[1:]


def test_a_stop_at_any_event_resumes_to_the_same_bits(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Also while answers are being generated and between two optimiser steps."""
    settings = _settings(updates=2)
    whole = Finished(tinymodels.load(folders["llama"]), settings, tmp_path / "whole")
    for k in range(0, len(whole.events), 9):
        cancel, seen = CancelToken(), 0

        def stop_at(_event: Event, cancel: CancelToken = cancel, k: int = k) -> None:
            nonlocal seen
            seen += 1
            if seen > k:
                cancel.request_stop()

        folder = tmp_path / str(k)
        model = tinymodels.load(folders["llama"])
        first = Finished(model, settings, folder, cancel=cancel, on_event=stop_at)
        second = Finished(model, settings, folder, resume_from=first.last_checkpoint)
        assert first.metrics + second.metrics == whole.metrics, f"stopped at event {k}"
        assert second.adapter().keys() == whole.adapter().keys()
        for key, weight in whole.adapter().items():
            assert_close(second.adapter()[key], weight, EXACT)


def test_each_epoch_of_each_update_has_an_order_of_its_own(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole answers in a fresh permutation: none left out, none twice."""
    orders: list[list[int]] = []

    def note(n: int, *key: int) -> list[int]:
        orders.append(permutation(n, *key))
        return orders[-1]

    monkeypatch.setattr(policy_gradient, "permutation", note)
    Finished(llama, _settings(updates=3, epochs=2), tmp_path)
    assert len(orders) == 6
    assert all(sorted(order) == list(range(16)) for order in orders)
    assert len({tuple(order) for order in orders}) == 6


def test_answers_are_drawn_anew_in_every_update(llama: LoadedModel, tmp_path: Path) -> None:
    """One prompt and a policy that does not move: only the draw can differ."""
    batches: list[list[list[int]]] = []

    class Noting(TokenShare):
        def score(self, prompts: Any, answers: Any) -> list[float]:
            batches.append([list(answer) for answer in answers])
            return super().score(prompts, answers)

    settings = _settings(learning_rate=0.0)
    prompts = tinymodels.prompts(1)
    Finished(llama, settings, tmp_path, reward=Noting(TOKEN), prompts=prompts)
    assert len(batches) == 3
    for batch in batches:
        assert len({tuple(answer) for answer in batch}) > 8, "answers of a batch differ"
    assert batches[0] != batches[1] != batches[2]


@pytest.mark.parametrize(("epochs", "minibatches"), [(1, 1), (3, 1), (2, 4)])
def test_one_optimiser_step_per_minibatch(
    epochs: int, minibatches: int, llama: LoadedModel, tmp_path: Path
) -> None:
    """TRL's number does not depend on its minibatches at all (#5645)."""
    settings = _settings(epochs=epochs, minibatches=minibatches, micro_batch_tokens=32)
    run = Finished(llama, settings, tmp_path)
    assert [m["optim/steps"] for m in run.metrics] == [epochs * minibatches] * 3
    counts = {float(s["step"]) for s in run.optimiser()["state"].values()}
    assert counts == {3.0 * epochs * minibatches}


def _steepest(**changes: Any) -> PPOSettings:
    """Adam whose ε dwarfs the second moment: steps are proportional to gradients."""
    return _settings(
        updates=1,
        epochs=2,
        minibatches=1,
        adam_eps=1.0,
        max_grad_norm=1000.0,
        lr_schedule="constant",
        entropy_coef=0.01,
        **changes,
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_micro_batches_change_memory_only(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Answers of ragged lengths, weighted by their tokens, whatever part they sit in."""
    runs = {
        size: Finished(
            tinymodels.load(folders[kind]), _steepest(micro_batch_tokens=size), tmp_path / str(size)
        )
        for size in (512, 48, 16)
    }
    whole = runs[512].adapter()
    assert max(float(v.abs().max()) for k, v in whole.items() if "lora_B" in k) > 1e-5
    for size in (48, 16):
        for key, weight in runs[size].adapter().items():
            step = float(whole[key].abs().max())
            assert_close(weight, whole[key], Level(2e-4 * step, 0.0))
        for name, value in runs[512].metrics[0].items():
            assert_close(runs[size].metrics[0][name], value, Level(1e-5, 1e-4))


def test_gradients_are_clipped_before_the_step(folders: dict[str, Path], tmp_path: Path) -> None:
    """TRL 1.12 ignores max_grad_norm."""
    sizes = {}
    for norm in (1000.0, 1e-3):
        settings = _steepest().model_copy(update={"max_grad_norm": norm})
        run = Finished(tinymodels.load(folders["llama"]), settings, tmp_path / str(norm))
        assert run.metrics[0]["policy/grad_norm"] > 1e-3
        sizes[norm] = max(float(v.abs().max()) for k, v in run.adapter().items() if "lora_B" in k)
    assert sizes[1e-3] < 0.1 * sizes[1000.0]


def test_the_learning_rate_falls_linearly_by_update(llama: LoadedModel, tmp_path: Path) -> None:
    run = Finished(llama, _settings(updates=4, learning_rate=1e-3), tmp_path)
    rates = [m["optim/lr"] for m in run.metrics]
    assert_close(rates, [1e-3, 0.75e-3, 0.5e-3, 0.25e-3], Level(1e-12, 0.0))


def test_a_large_beta_keeps_the_policy_at_the_reference(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    kl = {}
    for beta in (0.0, 10.0):
        settings = _settings(updates=10, kl_coef=beta, lr_schedule="constant", learning_rate=5e-3)
        run = Finished(tinymodels.load(folders["llama"]), settings, tmp_path / str(beta))
        kl[beta] = sum(m["objective/kl"] for m in run.metrics[-3:]) / 3
    assert kl[0.0] > 0.5
    assert abs(kl[10.0]) < 0.1 * kl[0.0]


def test_adaptive_beta_follows_the_kl_of_the_update_before(
    llama: LoadedModel, tmp_path: Path
) -> None:
    settings = _settings(updates=4, is_kl_adaptive=True, kl_target=0.05, kl_horizon=100)
    metrics = Finished(llama, settings, tmp_path).metrics
    beta = settings.kl_coef
    for m in metrics:
        assert_close(m["objective/kl_coef"], beta, Level(1e-12, 0.0))
        error = min(max(m["objective/kl"] / 0.05 - 1, -0.2), 0.2)
        beta *= 1 + error * 16 / 100
    assert metrics[-1]["objective/kl_coef"] != settings.kl_coef


def test_the_step_kl_limit_ends_an_update_before_the_step(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    free = Finished(
        tinymodels.load(folders["llama"]), _settings(updates=1, epochs=8), tmp_path / "free"
    )
    limit = free.metrics[0]["policy/approx_kl"] / 4
    bound = Finished(
        tinymodels.load(folders["llama"]),
        _settings(updates=1, epochs=8, target_step_kl=limit),
        tmp_path / "bound",
    )
    assert 0 < bound.metrics[0]["optim/steps"] < free.metrics[0]["optim/steps"] == 16


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


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_reward_that_is_no_number_ends_the_run_with_a_sentence(
    bad: float, llama: LoadedModel, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="fixed is not a number any more"):
        Finished(llama, _settings(), tmp_path, reward=Fixed([1.0, bad]))
    assert not (tmp_path / "adapter").exists()


def test_a_loss_that_is_no_number_skips_the_step_and_ends_the_run_when_it_stays(
    llama: LoadedModel, tmp_path: Path
) -> None:
    """Finite scores that overflow on the way: no weight may take the damage."""
    settings = _settings(updates=10, normalise_scores=False, whiten_advantages=True)
    seen: list[Event] = []
    with pytest.raises(UserError, match="not a number"):
        Finished(llama, settings, tmp_path, reward=Fixed([3e38, -3e38]), on_event=seen.append)
    assert sum(isinstance(e, Warned) for e in seen) == 3
    assert all(torch.isfinite(w).all() for w in adapters.state(llama, "policy").values())


def test_normalised_scores_do_not_see_shift_and_scale_of_the_reward(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    class Scaled(TokenShare):
        def score(self, *args: Any) -> list[float]:
            return [5.0 + 64.0 * s for s in super().score(*args)]

    plain = Finished(tinymodels.load(folders["llama"]), _settings(), tmp_path / "plain")
    scaled = Finished(
        tinymodels.load(folders["llama"]), _settings(), tmp_path / "scaled", reward=Scaled(TOKEN)
    )
    for key, weight in plain.adapter().items():
        assert_close(scaled.adapter()[key], weight, Level(1e-3, 1e-3))
    assert scaled.metrics[0]["objective/scores"] > 5.0


def test_scores_are_shifted_scaled_clipped_and_then_punished_for_cut_answers(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Seen in the mean of score minus penalties, with a policy that does not move (KL = 0)."""
    scores = [3.0, -1.0, 0.5, 9.0]
    center, spread = statistics.mean(scores), statistics.pstdev(scores)
    shifted = [(s - center) / spread for s in scores]
    cases: list[tuple[dict[str, Any], list[float]]] = [
        ({"normalise_scores": False}, scores),
        ({"normalise_scores": True}, shifted),
        ({"normalise_scores": True, "score_clip": 1.0}, [min(max(s, -1.0), 1.0) for s in shifted]),
    ]
    for i, (changes, shaped) in enumerate(cases):
        settings = _settings(learning_rate=0.0, missing_eos_penalty=2.0, **changes)
        model = tinymodels.load(folders["llama"])
        run = Finished(model, settings, tmp_path / str(i), reward=Fixed(scores))
        for metrics in run.metrics:
            cut = 1.0 - metrics["completions/eos_rate"]
            assert 0.0 < cut < 1.0
            expected = sum(shaped) / len(shaped) - 2.0 * cut
            assert_close(metrics["objective/rlhf_reward"], expected, FORWARD)
            assert_close(metrics["objective/scores"], sum(scores) / len(scores), FORWARD)


# Whitened rewards keep their mean, so of their scale something is left.
@pytest.mark.parametrize(
    ("whitening", "low", "high"),
    [
        ({}, 0.5, math.inf),
        ({"whiten_advantages": True}, 0.0, 0.01),
        ({"whiten_rewards": True}, 0.01, 0.5),
    ],
    ids=str,
)
def test_whitening_hides_the_scale_of_the_reward_from_the_policy(
    whitening: dict[str, bool], low: float, high: float, folders: dict[str, Path], tmp_path: Path
) -> None:
    steps = []
    for scale in (1.0, 10.0):
        settings = _steepest(
            normalise_scores=False,
            missing_eos_penalty=0.0,
            kl_coef=0.0,
            value_coef=0.0,
            **{"whiten_advantages": False, **whitening},
        )
        reward = TokenShare(TOKEN, sign=scale)
        model = tinymodels.load(folders["llama"])
        run = Finished(model, settings, tmp_path / str(scale), reward=reward)
        steps.append({k: v for k, v in run.adapter().items() if "lora_B" in k})
    size = max(float(v.abs().max()) for v in steps[0].values())
    differences = [float((steps[1][k] - v).abs().max()) for k, v in steps[0].items()]
    assert size > 1e-6
    assert low <= max(differences) / size <= high


def test_an_entropy_bonus_keeps_the_policy_less_sure(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    entropy = {}
    for bonus in (0.0, 1.0):
        settings = _settings(updates=8, entropy_coef=bonus, kl_coef=0.0, lr_schedule="constant")
        run = Finished(tinymodels.load(folders["llama"]), settings, tmp_path / str(bonus))
        entropy[bonus] = run.metrics[-1]["objective/entropy"]
    assert entropy[1.0] > entropy[0.0] + 0.2


def test_live_settings_take_effect_at_the_next_update(llama: LoadedModel, tmp_path: Path) -> None:
    live = LiveSettings()

    def change(event: Event) -> None:
        if isinstance(event, Step) and event.step == 1:
            live.set("kl_coef", 0.5)
            live.set("learning_rate", 1e-4)

    settings = _settings(lr_schedule="constant")
    run = Finished(llama, settings, tmp_path, live=live, on_event=change)
    assert [m["objective/kl_coef"] for m in run.metrics] == [settings.kl_coef, 0.5, 0.5]
    assert [m["optim/lr"] for m in run.metrics] == [1e-2, 1e-4, 1e-4]


def test_cancel_leaves_the_last_checkpoint_and_no_adapter(
    llama: LoadedModel, tmp_path: Path
) -> None:
    cancel = CancelToken()

    def cancel_in_second(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2:
            cancel.cancel()

    with pytest.raises(Cancelled):
        Finished(
            llama,
            _settings(checkpoint_every=1),
            tmp_path,
            cancel=cancel,
            on_event=cancel_in_second,
        )
    assert (tmp_path / "checkpoints" / "step-000001" / "MANIFEST.json").exists()
    assert not (tmp_path / "adapter").exists()


def test_the_adapter_loads_in_plain_peft_with_equal_logits(
    causal_model: LoadedModel, tmp_path: Path
) -> None:
    model = causal_model
    Finished(model, _settings(updates=4), tmp_path)
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    with adapters.active(model, "policy"):
        ours = model.model(input_ids=ids).logits
    with adapters.active(model, None):
        assert (ours - model.model(input_ids=ids).logits).abs().max() > 1e-3
    base = AutoModelForCausalLM.from_pretrained(model.info.path, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    assert_close(theirs(input_ids=ids).logits, ours, FORWARD)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["task_type"] == "CAUSAL_LM"
    assert str(model.info.path) not in json.dumps(config), "no path of this disk in an export"


def test_the_merged_model_has_the_adapters_logits(
    causal_model: LoadedModel, tmp_path: Path
) -> None:
    model = causal_model
    Finished(model, _settings(updates=4), tmp_path)
    before = tinymodels.base_weights(model)
    adapters.merge(model, tmp_path / "adapter", tmp_path / "merged")
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    with adapters.active(model, "policy"):
        ours = model.model(input_ids=ids).logits
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert_close(merged(input_ids=ids).logits, ours, Level(1e-4, 0.0))
    assert all(torch.equal(v, before[k]) for k, v in tinymodels.base_weights(model).items())
