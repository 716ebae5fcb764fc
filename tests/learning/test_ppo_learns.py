"""The value head of PPO learns what a bandit pays; the policy's own part is among the others."""

from __future__ import annotations

from pathlib import Path

from tests import tinymodels
from workbench.cancel import CancelToken
from workbench.config.ppo import PPOSettings
from workbench.events import Step
from workbench.training import ppo
from workbench.training.inputs import Inputs

TOKEN = 7
SETTINGS = {
    "updates": 12,
    "batch_size": 32,
    "micro_batch_tokens": 1024,
    "minibatches": 2,
    "epochs": 2,
    "learning_rate": 1e-2,
    "lr_schedule": "constant",
    "kl_coef": 0.01,
    "value_coef": 1.0,
    "max_new_tokens": 8,
    "missing_eos_penalty": 0.0,
    "checkpoint_every": 0,
    "lora": {"r": 4, "alpha": 8},
}


def test_the_value_head_learns_to_predict(llama_folder: Path, tmp_path: Path) -> None:
    inputs = Inputs(
        tinymodels.load(llama_folder),
        tmp_path,
        prompts=tinymodels.prompts(),
        reward=tinymodels.TokenShare(TOKEN),
    )
    events = ppo.train(PPOSettings.model_validate(SETTINGS), inputs, CancelToken())
    explained = [e.metrics["value/explained_variance"] for e in events if isinstance(e, Step)]
    assert abs(explained[0]) < 1e-6, "V = 0 at the start explains nothing"
    assert max(explained[-4:]) > 0.1
