"""Each policy gradient finds the arm of a bandit, and leaves it when the reward is turned round.

The reward is the share of one token in an answer: 1 is the optimum, and known. At temperature 0.5
the tiny model can come near it: with states of a fixed norm and tied embeddings its logits are
bounded, and at temperature 1 no policy gets above a share of 0.93.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import tinymodels
from tests.tinymodels import TokenShare
from tests.training import TOKEN, Trained, on_policy_settings

SETTINGS: dict[str, Any] = {
    "updates": 14,
    "batch_size": 32,
    "micro_batch_tokens": 2048,
    "lr_schedule": "constant",
    "temperature": 0.5,
    "missing_eos_penalty": 0.0,
    "n_samples": 0,
    "lora": {"r": 4, "alpha": 32},
}
LEARNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo": ("ppo", {"kl_coef": 0.01, "learning_rate": 4e-3, "minibatches": 2}),
    "a2c": ("a2c", {"kl_coef": 0.01}),
    "reinforce, learned": ("reinforce", {"kl_coef": 0.01, "baseline": "learned"}),
    # Whitening blows up what little spread is left near the optimum: smaller steps, more KL.
    "reinforce++": (
        "reinforce",
        {"baseline": "none", "whiten_advantages": True, "kl_coef": 0.05, "learning_rate": 5e-3},
    ),
    "rloo": ("rloo", {"kl_coef": 0.01}),
    "grpo": ("grpo", {"kl_coef": 0.01}),
    "dr grpo": ("grpo", {"kl_coef": 0.0, "aggregation": "fixed_length", "scale_by_std": False}),
    "dapo": ("grpo", {"kl_coef": 0.0, "aggregation": "token", "skip_equal_groups": True}),
    "online dpo": ("online-dpo", {}),
}


def _shares(name: str, folder: Path, run_dir: Path, seed: int, sign: float = 1.0) -> list[float]:
    """The mean share of the token in the answers of each update."""
    algorithm, own = LEARNERS[name]
    settings = on_policy_settings(algorithm, **{**SETTINGS, **own, "seed": seed})
    reward = TokenShare(TOKEN, sign=sign)
    run = Trained(algorithm, tinymodels.load(folder), settings, run_dir, reward=reward)
    return [sign * m["objective/scores"] for m in run.metrics]


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("seed", range(5))
def test_a_rewarded_token_takes_over(
    name: str, seed: int, llama_folder: Path, tmp_path: Path
) -> None:
    shares = _shares(name, llama_folder, tmp_path, seed)
    assert shares[0] < 0.3
    assert sum(shares[-3:]) / 3 > 0.9


@pytest.mark.parametrize("name", LEARNERS)
def test_a_punished_token_goes_away(name: str, llama_folder: Path, tmp_path: Path) -> None:
    """The control: what takes over above is what is rewarded, not the token by itself."""
    shares = _shares(name, llama_folder, tmp_path, seed=0, sign=-1.0)
    assert sum(shares[-3:]) / 3 < 0.03 < shares[0]
