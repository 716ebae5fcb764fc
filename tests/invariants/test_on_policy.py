"""What must hold in every run of every algorithm that learns from its own answers.

numerics.md items 13, 19, 20, 33, 36, 41, 45, 47 and 48, for all of them and for their variants.
PPO by itself has more in test_ppo.py; what is special to one of the others stands in its file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests import tinymodels
from tests.close import EXACT, Level, assert_close
from tests.tinymodels import TokenShare
from tests.training import TOKEN, Fixed, Trained, on_policy_settings
from workbench.cancel import CancelToken
from workbench.events import METRICS, Event, Step

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo, own value network": ("ppo", {"value_network": "own", "value_coef": 0.5}),
    "ppo, KL in the loss": ("ppo", {"kl_in": "loss", "kl_estimator": "k3", "minibatches": 2}),
    "ppo, clips": ("ppo", {"clip_range_high": 0.28, "dual_clip": 3.0, "epochs": 3}),
    "a2c": ("a2c", {"value_coef": 0.5, "entropy_coef": 0.01}),
    "reinforce, moving average": ("reinforce", {"baseline": "moving_average"}),
    "reinforce, learned": ("reinforce", {"baseline": "learned", "value_network": "own"}),
    "reinforce++": ("reinforce", {"baseline": "none", "whiten_advantages": True}),
    "rloo": ("rloo", {"epochs": 2, "minibatches": 2, "is_kl_adaptive": True}),
    "grpo": ("grpo", {"group_size": 4, "epochs": 2, "minibatches": 2}),
    "dr grpo": ("grpo", {"group_size": 4, "aggregation": "fixed_length", "scale_by_std": False}),
    "dapo": (
        "grpo",
        {
            "group_size": 4,
            "aggregation": "token",
            "clip_range_high": 0.28,
            "kl_coef": 0.0,
            "skip_equal_groups": True,
        },
    ),
    "online dpo": ("online-dpo", {}),
    "online ipo": ("online-dpo", {"kind": "ipo", "beta": 0.3}),
    "soft q": ("soft-q", {"minibatches": 2}),
    "soft q, single tokens": ("soft-q", {"consistency": "token", "gamma": 0.9, "epochs": 1}),
}


def _run(variant: str, model_folder: Path, run_dir: Path, **kwargs: Any) -> Trained:
    """A run on a model of its own; settings by their names, the rest as `Trained` takes it."""
    algorithm, own = VARIANTS[variant]
    taken = ("reward", "cancel", "on_event", "resume_from")
    others = {name: kwargs.pop(name) for name in taken if name in kwargs}
    settings = on_policy_settings(algorithm, **{**own, **kwargs})
    return Trained(algorithm, tinymodels.load(model_folder), settings, run_dir, **others)


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """Each algorithm in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def whole(
    variant: str, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """A run of three updates from beginning to end."""
    return _run(variant, folders["llama"], tmp_path_factory.mktemp("whole"))


def test_kl_is_0_at_the_start_and_the_first_ratio_of_every_update_is_1(whole: Trained) -> None:
    assert len(whole.steps) == 3
    assert whole.metrics[0]["objective/kl"] == 0.0
    assert abs(whole.metrics[-1]["objective/kl"]) > 1e-3
    for metrics in whole.metrics:
        assert metrics["policy/first_ratio_error"] < 1e-4
        assert metrics["policy/grad_norm"] > 1e-6


def test_every_figure_is_explained(whole: Trained) -> None:
    for step in whole.steps:
        assert step.metrics.keys() <= METRICS.keys()


def test_stopped_and_resumed_equals_uninterrupted(
    variant: str, whole: Trained, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Weights, heads, optimiser, counters and figures, bit for bit: and so does a second run."""
    cancel = CancelToken()

    def stop_after_one(event: Event) -> None:
        if isinstance(event, Step):
            cancel.request_stop()

    llama = folders["llama"]
    first = _run(variant, llama, tmp_path, cancel=cancel, on_event=stop_after_one)
    assert len(first.steps) == 1
    second = _run(variant, llama, tmp_path, resume_from=first.last_checkpoint)
    assert first.metrics + second.metrics == whole.metrics
    assert second.checkpoint() == whole.checkpoint()


def test_another_seed_takes_another_way(
    variant: str, whole: Trained, folders: dict[str, Path], tmp_path: Path
) -> None:
    other = _run(variant, folders["llama"], tmp_path, seed=1, updates=1)
    assert other.metrics[0] != whole.metrics[0]


def test_learning_rate_0_changes_nothing(
    variant: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    run = _run(variant, folders["llama"], tmp_path, learning_rate=0.0, updates=2)
    assert all(not v.any() for v in run.lora_b().values())
    for metrics in run.metrics:
        assert abs(metrics["objective/kl"]) < 1e-4
        assert metrics.get("policy/approx_kl", 0.0) < 1e-9
        assert metrics.get("policy/clip_fraction", 0.0) == 0.0
        assert metrics["optim/steps"] >= 1


def test_micro_batches_change_memory_only(
    variant: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Ragged answers, weighted by what the whole minibatch holds, whatever piece they sit in.

    Adam's ε dwarfs the second moment, so that steps are proportional to gradients.
    """
    steepest = {"updates": 1, "adam_eps": 1.0, "max_grad_norm": 1000.0, "lr_schedule": "constant"}
    runs = [
        _run(variant, folders["llama"], tmp_path / str(n), micro_batch_tokens=n, **steepest)
        for n in (512, 32)
    ]
    wanted, got = (run.adapter() for run in runs)
    assert max(float(v.abs().max()) for v in runs[0].lora_b().values()) > 1e-6
    for key, weight in wanted.items():
        assert_close(got[key], weight, Level(2e-4 * float(weight.abs().max()), 0.0))
    for name, value in runs[0].metrics[0].items():
        assert_close(runs[1].metrics[0][name], value, Level(1e-5, 1e-4))


def test_the_base_keeps_every_bit(variant: str, folders: dict[str, Path], tmp_path: Path) -> None:
    algorithm, own = VARIANTS[variant]
    model = tinymodels.load(folders["llama"])
    before = tinymodels.base_weights(model)
    Trained(algorithm, model, on_policy_settings(algorithm, **{**own, "updates": 1}), tmp_path)
    after = tinymodels.base_weights(model)
    # Adapters of heads of their own come on top; the base's names are all still there.
    for name, weight in before.items():
        assert_close(after[name], weight, EXACT)


GROUPED = {"rloo": 4, "grpo": 4, "dapo": 4, "online dpo": 2}


@pytest.mark.parametrize("name", GROUPED)
def test_answers_to_one_prompt_stand_side_by_side_and_differ(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    batches: list[list[tuple[str, tuple[int, ...]]]] = []

    class Noting(TokenShare):
        def score(self, prompts: Any, answers: Any) -> list[float]:
            texts = [prompt[-1].content for prompt in prompts]
            batches.append(list(zip(texts, map(tuple, answers), strict=True)))
            return super().score(prompts, answers)

    _run(name, folders["llama"], tmp_path, learning_rate=0.0, reward=Noting(TOKEN))
    size = GROUPED[name]
    assert len(batches) == 3
    asked: list[str] = []
    for batch in batches:
        assert len(batch) == 16
        for group in (batch[i : i + size] for i in range(0, 16, size)):
            assert len({prompt for prompt, _ in group}) == 1
            asked.append(group[0][0])
        assert len({answer for _, answer in batch}) > 8, "each answer has luck of its own"
    # Six prompts, in whole shuffled passes.
    for start in range(0, len(asked) - 5, 6):
        assert len(set(asked[start : start + 6])) == 6


@pytest.mark.parametrize("name", GROUPED)
def test_equal_scores_teach_a_group_nothing(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Not even rounding noise: a spread of 0 must not blow it up."""
    changes: dict[str, Any] = {"missing_eos_penalty": 0.0, "normalise_scores": False, "updates": 2}
    is_dpo = name == "online dpo"
    if not is_dpo:
        changes["kl_coef"] = 0.0
    run = _run(name, folders["llama"], tmp_path, reward=Fixed([0.3]), **changes)
    assert all(not v.any() for v in run.lora_b().values())
    for metrics in run.metrics:
        assert metrics["rewards/tied" if is_dpo else "groups/equal_share"] == 1.0
        if name in ("dapo", "online dpo"):
            assert metrics["optim/steps"] == 0.0
        else:
            assert metrics["policy/grad_norm"] == 0.0


def test_a_step_without_gradients_leaves_the_optimiser_alone(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Weights that nothing pulls at do not move by what pulled before (Adam's first moment)."""

    class OnceThenEqual(Fixed):
        def score(self, *args: Any) -> list[float]:
            given = super().score(*args)
            self.scores = [0.3]
            return given

    run = _run(
        "dapo",
        folders["llama"],
        tmp_path,
        missing_eos_penalty=0.0,
        normalise_scores=False,
        checkpoint_every=1,
        reward=OnceThenEqual([1.0, 0.0, 0.0, 0.0]),
    )
    assert [m["optim/steps"] for m in run.metrics] == [1.0, 0.0, 0.0]
    first, last = (
        load_file(tmp_path / "checkpoints" / f"step-{k:06d}" / "adapter_model.safetensors")
        for k in (1, 3)
    )
    for key, weight in first.items():
        assert_close(last[key], weight, EXACT)
