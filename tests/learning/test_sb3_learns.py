"""A library that knows nothing of language finds the arm of a bandit through the environment.

Stable-Baselines3's PPO (Raffin et al. 2021) with its own small network on the token form.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from stable_baselines3 import PPO

from tests import tinymodels
from workbench.config.environment import TokenEnvSettings
from workbench.environments.tokens import TokenEnv

TOKEN = 7
PROMPTS = [p.messages for p in tinymodels.prompts()]


def _env(folder: Path, sign: float, **settings: object) -> TokenEnv:
    return TokenEnv(
        tinymodels.load(folder),
        PROMPTS,
        tinymodels.TokenShare(TOKEN, sign=sign),
        TokenEnvSettings.model_validate({"max_new_tokens": 8, **settings}),
    )


def _share(agent: PPO, env: TokenEnv, n: int = 100) -> float:
    """Mean share of the token in answers that the agent samples."""
    total = 0.0
    for episode in range(n):
        observation, _ = env.reset(seed=episode)
        has_ended = False
        while not has_ended:
            action, _ = agent.predict(observation)
            observation, score, terminated, truncated, _ = env.step(action)
            has_ended = terminated or truncated
        total += abs(score)
    return total / n


def _shares(folder: Path, seed: int, sign: float) -> tuple[float, float]:
    """Before and after."""
    env = _env(folder, sign)
    agent = PPO(
        "MlpPolicy",
        env,
        n_steps=512,
        batch_size=128,
        learning_rate=3e-3,
        seed=seed,
        device="cpu",
    )
    before = _share(agent, env)
    agent.learn(6144)
    return before, _share(agent, env)


@pytest.mark.parametrize("seed", [0, 1])
def test_ppo_of_another_library_learns(llama_folder: Path, seed: int) -> None:
    """Five seeds came from 0.05 to between 0.30 and 0.53."""
    before, after = _shares(llama_folder, seed, sign=1.0)
    assert before < 0.1
    assert after > 3 * before


def test_a_broken_sign_does_not(llama_folder: Path) -> None:
    """The control: it learns the opposite, so it is the reward that is learnt, not the token."""
    before, after = _shares(llama_folder, seed=0, sign=-1.0)
    assert after < before / 3


def test_it_runs_on_states_and_ranks(llama_folder: Path) -> None:
    """The form for a real vocabulary, too slow here to learn from."""
    env = _env(llama_folder, 1.0, observation="states", top_k=5, kl_coef=0.1, reward_at="token")
    agent = PPO("MlpPolicy", env, n_steps=32, batch_size=16, seed=0, device="cpu")
    before = [p.detach().clone() for p in agent.policy.parameters()]
    agent.learn(32)
    assert agent.num_timesteps == 32
    assert any(not b.equal(p) for b, p in zip(before, agent.policy.parameters(), strict=True))
