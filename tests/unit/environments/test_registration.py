"""Ids that `gymnasium.make` knows after `register`, and a sentence where there is no Gymnasium."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import pytest

from tests import tinymodels
from workbench import environments
from workbench.environments.chat import ChatEnv
from workbench.environments.tokens import TokenEnv
from workbench.models.loading import LoadedModel

IDS = {environments.TOKEN_ENV: TokenEnv, environments.CHAT_ENV: ChatEnv}


def test_importing_registers_nothing() -> None:
    assert not IDS.keys() & gymnasium.registry.keys()


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize(("name", "kind"), IDS.items())
def test_registered_ids_make_environments(
    tiny_model: LoadedModel, name: str, kind: type[gymnasium.Env]
) -> None:
    environments.register()  # a second time neither warns nor changes anything
    prompts = [p.messages for p in tinymodels.prompts()]
    reward = tinymodels.TokenShare(7)
    env = gymnasium.make(name, model=tiny_model, prompts=prompts, reward=reward)
    assert type(env.unwrapped) is kind
    _, info = env.reset(seed=1)
    assert 0 <= info["prompt"] < len(prompts)
    env.close()


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize("name", IDS)
def test_the_model_stays_the_only_one(tiny_model: LoadedModel, name: str) -> None:
    """Gymnasium copies an environment's arguments whenever somebody reads its spec."""
    prompts = [p.messages for p in tinymodels.prompts()]
    env = gymnasium.make(name, model=tiny_model, prompts=prompts, reward=tinymodels.TokenShare(7))
    assert env.spec is not None
    assert env.spec.kwargs["model"] is tiny_model
    assert env.spec.kwargs["reward"] is not env.unwrapped._reward, "its control: others are copied"


@pytest.mark.parametrize(
    "what", ["environments.register()", "importlib.import_module('workbench.environments.tokens')"]
)
def test_without_gymnasium_a_sentence_says_so(what: str) -> None:
    code = f"""
import importlib, sys
sys.modules["gymnasium"] = None
from workbench import environments
from workbench.errors import EnvironmentProblem
try:
    {what}
except EnvironmentProblem as problem:
    print(problem)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "gymnasium" in result.stdout
    assert "pip install" in result.stdout
