"""A2C is PPO with one epoch, one minibatch and no clip (Huang et al. 2022, arXiv:2205.09123)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import tinymodels
from tests.close import FORWARD, Level, assert_close
from tests.training import Trained, on_policy_settings

NO_CLIP = {"epochs": 1, "minibatches": 1, "clip_range": 10.0, "value_clip_range": 1000.0}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"value_network": "own", "whiten_advantages": False},
        {"kl_in": "loss", "kl_estimator": "k3", "entropy_coef": 0.02, "gae_lambda": 0.5},
    ],
    ids=["plain", "own value network", "KL in the loss"],
)
def test_a2c_is_ppo_with_one_step_and_no_clip(
    changes: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    """The ratio differs from 1 by what decoding and training differ by, and by nothing else.

    Adam divides by the size of a gradient, so the noise of a tiny one would count in full: its ε
    is above that noise.
    """
    common = {"updates": 4, "value_coef": 0.5, "adam_eps": 1e-3, **changes}
    runs = []
    for algorithm, own in (("a2c", {}), ("ppo", NO_CLIP)):
        model = tinymodels.load(folders["llama"])
        settings = on_policy_settings(algorithm, **common, **own)
        runs.append(Trained(algorithm, model, settings, tmp_path / algorithm))
    a2c, ppo = runs
    assert max(float(v.abs().max()) for v in ppo.lora_b().values()) > 5e-3
    for key, weight in ppo.adapter().items():
        assert_close(a2c.adapter()[key], weight, FORWARD)
    for ours, theirs in zip(a2c.metrics, ppo.metrics, strict=True):
        # −A·logp and −A·ρ are other numbers with the same gradient; PPO also counts its clips.
        for name in ours.keys() - {"loss/policy", "policy/first_ratio_error"}:
            assert_close(ours[name], theirs[name], Level(1e-4, 1e-4))
        assert set(theirs) - set(ours) == {
            "policy/approx_kl",
            "policy/clip_fraction",
            "value/clip_fraction",
        }


def test_a_clip_or_a_second_epoch_makes_them_differ(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """The control: what is equal above could have differed."""
    adapters = []
    for i, own in enumerate([{}, {"epochs": 2}]):
        model = tinymodels.load(folders["llama"])
        settings = on_policy_settings("ppo", **{**NO_CLIP, **own})
        adapters.append(Trained("ppo", model, settings, tmp_path / str(i)).adapter())
    moved = [float((adapters[1][k] - v).abs().max()) for k, v in adapters[0].items()]
    assert max(moved) > 1e-3
