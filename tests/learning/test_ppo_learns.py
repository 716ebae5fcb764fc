"""PPO finds the arm of a bandit, and goes the other way when the reward is turned round."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tinymodels
from workbench.cancel import CancelToken
from workbench.config.ppo import PPOSettings
from workbench.events import Step
from workbench.training import ppo
from workbench.training.inputs import Inputs

TOKEN = 7
SETTINGS = {
    "updates": 25,
    "batch_size": 32,
    "micro_batch_tokens": 1024,
    "minibatches": 2,
    "epochs": 2,
    "learning_rate": 1e-2,
    "lr_schedule": "constant",
    "kl_coef": 0.01,
    "max_new_tokens": 8,
    "missing_eos_penalty": 0.0,
    "checkpoint_every": 0,
    "lora": {"r": 4, "alpha": 8},
}


def _inputs(folder: Path, tmp_path: Path, sign: float) -> Inputs:
    return Inputs(
        tinymodels.load(folder),
        tmp_path,
        prompts=tinymodels.prompts(),
        reward=tinymodels.TokenShare(TOKEN, sign=sign),
    )


def _shares(folder: Path, tmp_path: Path, seed: int, sign: float) -> list[float]:
    """The mean share of the token in the answers of each update."""
    events = ppo.train(
        PPOSettings.model_validate({**SETTINGS, "seed": seed}),
        _inputs(folder, tmp_path, sign),
        CancelToken(),
    )
    return [sign * e.metrics["objective/scores"] for e in events if isinstance(e, Step)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_rewarded_token_comes_more_often(llama_folder: Path, tmp_path: Path, seed: int) -> None:
    shares = _shares(llama_folder, tmp_path, seed, sign=1.0)
    before, after = sum(shares[:3]) / 3, sum(shares[-3:]) / 3
    assert before < 0.15
    assert after > 0.5


def test_a_punished_token_goes_away(llama_folder: Path, tmp_path: Path) -> None:
    """The control: what rises above is the reward, not the token by itself."""
    shares = _shares(llama_folder, tmp_path, seed=0, sign=-1.0)
    assert sum(shares[-3:]) / 3 < 0.5 * sum(shares[:3]) / 3


def test_the_value_head_learns_to_predict(llama_folder: Path, tmp_path: Path) -> None:
    events = ppo.train(
        PPOSettings.model_validate({**SETTINGS, "updates": 12, "value_coef": 1.0}),
        _inputs(llama_folder, tmp_path, sign=1.0),
        CancelToken(),
    )
    explained = [e.metrics["value/explained_variance"] for e in events if isinstance(e, Step)]
    assert abs(explained[0]) < 1e-6, "V = 0 at the start explains nothing"
    assert max(explained[-4:]) > 0.1
