"""The token environment against what it is made of: the model, the reward, plain forwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3.common.env_checker
import torch
from gymnasium.utils.env_checker import check_env

from tests import tinymodels
from tests.close import EXACT, FORWARD, assert_close
from tests.tinymodels import EOS, PAD, VOCABULARY
from workbench import environments
from workbench.config.environment import TokenEnvSettings
from workbench.config.lora import LoraSettings
from workbench.environments.tokens import TokenEnv
from workbench.errors import UserError
from workbench.models import adapters
from workbench.models.decoding import pad_prompts
from workbench.models.loading import LoadedModel
from workbench.rewards.base import RewardFunction
from workbench.rewards.neural import RewardModel

PROMPTS = [p.messages for p in tinymodels.prompts()]
SHARE = tinymodels.TokenShare(7)
FORMS: dict[str, dict[str, Any]] = {
    "vocabulary": {},
    "likeliest": {"top_k": 5, "window": 3},
    "states": {"top_k": 5, "observation": "states"},
    "several states": {"observation": "states", "window": 4},
    "token rewards": {"reward_at": "token", "kl_coef": 0.1},
}
STOPPED = [7, 4, 9, EOS]
CUT = [7, 4, 9, 11, 3, 8]


class Positions:
    """Reward: Σ (t + 1)·token, so that order, prompt and length all count."""

    name = "positions"

    def score(self, prompts: Sequence[Any], answers: Sequence[Sequence[int]]) -> list[float]:
        return [
            len(prompt[-1].content) + 0.37 * sum((t + 1) * y for t, y in enumerate(answer))
            for prompt, answer in zip(prompts, answers, strict=True)
        ]


@torch.no_grad()
def _states(
    model: LoadedModel, adapter: str | None, prompt: int, answer: list[int]
) -> torch.Tensor:
    """States before each token of an answer and after it: one forward, without a cache."""
    prompt_ids, prompt_mask = pad_prompts(model, [model.encode_prompt(PROMPTS[prompt])])
    ids = torch.tensor([[*answer, EOS]])  # what comes last predicts nothing
    with adapters.active(model, adapter):
        is_response = torch.ones_like(ids, dtype=torch.bool)
        return model.response_states(prompt_ids, prompt_mask, ids, is_response)[0]


def _env(
    model: LoadedModel,
    reward: RewardFunction = SHARE,
    *,
    adapter: str | None = None,
    **settings: Any,
) -> TokenEnv:
    chosen = TokenEnvSettings.model_validate({"max_new_tokens": 6, **settings})
    return TokenEnv(model, PROMPTS, reward, chosen, adapter)


def _play(env: TokenEnv, tokens: Sequence[int], prompt: int = 2) -> list[tuple[Any, ...]]:
    """The steps of an episode that writes `tokens`."""
    env.reset(seed=0, options={"prompt": prompt})
    return [env.step(np.int64(token)) for token in tokens]


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize("settings", FORMS.values(), ids=FORMS)
def test_gymnasium_finds_nothing_to_say(policy: LoadedModel, settings: dict[str, Any]) -> None:
    env = gymnasium.make(
        environments.TOKEN_ENV,
        model=policy,
        prompts=PROMPTS,
        reward=SHARE,
        settings=TokenEnvSettings.model_validate({"max_new_tokens": 6, **settings}),
        adapter="policy",
    )
    check_env(env.unwrapped)


@pytest.mark.parametrize("settings", FORMS.values(), ids=FORMS)
def test_stable_baselines_finds_nothing_to_say(
    policy: LoadedModel, settings: dict[str, Any]
) -> None:
    stable_baselines3.common.env_checker.check_env(_env(policy, adapter="policy", **settings))


@pytest.mark.parametrize("settings", FORMS.values(), ids=FORMS)
def test_one_seed_gives_one_trajectory(policy: LoadedModel, settings: dict[str, Any]) -> None:
    def trajectory(seed: int) -> list[Any]:
        env = _env(policy, adapter="policy", **settings)
        env.action_space.seed(seed)
        observation, info = env.reset(seed=seed)
        seen: list[Any] = [observation.tolist(), info["prompt"]]
        for _ in range(3):  # episodes: those after the first are drawn without a seed
            has_ended = False
            while not has_ended:
                observation, reward, terminated, truncated, info = env.step(
                    env.action_space.sample()
                )
                has_ended = terminated or truncated
                seen += [observation.tolist(), reward, terminated, truncated, info["token"]]
            seen.append(env.reset()[1]["prompt"])
        return seen

    assert trajectory(3) == trajectory(3)
    assert trajectory(3) != trajectory(4)


def test_every_prompt_is_drawn(llama: LoadedModel) -> None:
    env = _env(llama)
    env.reset(seed=0)
    assert {env.reset()[1]["prompt"] for _ in range(200)} == set(range(len(PROMPTS)))


@pytest.mark.parametrize("tokens", [STOPPED, CUT], ids=["stopped", "cut"])
def test_the_reward_of_an_episode_is_the_score_of_its_tokens(
    llama: LoadedModel, tokens: list[int]
) -> None:
    reward_model = RewardModel.fresh(llama, LoraSettings(r=4, alpha=8), seed=0)
    for reward in (SHARE, Positions(), reward_model):
        (score,) = reward.score([PROMPTS[2]], [tokens])
        steps = _play(_env(llama, reward), tokens)
        assert_close([step[1] for step in steps], [0.0] * (len(tokens) - 1) + [score], EXACT)
        assert steps[-1][4]["score"] == score


@pytest.mark.parametrize("tokens", [STOPPED, CUT], ids=["stopped", "cut"])
def test_rewards_token_by_token_add_up_to_the_score(llama: LoadedModel, tokens: list[int]) -> None:
    reward = Positions()
    rewards = [step[1] for step in _play(_env(llama, reward, reward_at="token"), tokens)]
    (score,) = reward.score([PROMPTS[2]], [tokens])
    (first,) = reward.score([PROMPTS[2]], [tokens[:1]])
    gains = [0.37 * (t + 1) * token for t, token in enumerate(tokens)]
    assert_close(rewards[0], first, EXACT)
    assert_close(rewards[1:], gains[1:], FORWARD)
    assert_close(sum(rewards), score, FORWARD)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("tokens", [STOPPED, CUT], ids=["stopped", "cut"])
def test_kl_is_that_of_the_whole_answer_in_one_forward(
    policy: LoadedModel, tokens: list[int], estimator: str
) -> None:
    """The other path: no cache, all tokens at once, the estimators written out."""
    temperature, coef = 0.7, 0.2
    logps = []
    for name in ("policy", None):
        logits = policy.logits(_states(policy, name, 2, tokens)[:-1]).double().detach()
        logps.append((logits / temperature).log_softmax(-1)[range(len(tokens)), tokens].numpy())
    d = logps[0] - logps[1]
    kl = {"k1": d, "k2": d**2 / 2, "k3": np.exp(-d) - 1 + d}[estimator]
    env = _env(
        policy,
        adapter="policy",
        kl_coef=coef,
        kl_estimator=estimator,
        temperature=temperature,
    )
    steps = _play(env, tokens)
    assert np.abs(kl).max() > 0.05, "a KL of nothing shows nothing"
    assert_close([step[4]["kl"] for step in steps], kl, FORWARD)
    assert_close([step[4]["ref_logp"] for step in steps], logps[1], FORWARD)
    (score,) = SHARE.score([PROMPTS[2]], [tokens])
    assert_close(sum(step[1] for step in steps), score - coef * kl.sum(), FORWARD)


def test_the_base_has_no_kl_to_itself(policy: LoadedModel) -> None:
    assert [step[4]["kl"] for step in _play(_env(policy, kl_coef=1.0), CUT)] == [0.0] * len(CUT)


@pytest.mark.parametrize(
    ("tokens", "terminated", "truncated"),
    [
        (STOPPED, True, False),
        (CUT, False, True),
        ([*CUT[:-1], EOS], True, False),
        ([EOS], True, False),
    ],
    ids=["stopped", "cut", "stopped at the last moment", "stopped at once"],
)
def test_answers_end_at_a_stop_token_or_are_cut(
    llama: LoadedModel, tokens: list[int], *, terminated: bool, truncated: bool
) -> None:
    env = _env(llama)
    *before, last = _play(env, tokens)
    assert not any(step[2] or step[3] for step in before)
    assert (last[2], last[3]) == (terminated, truncated)
    assert last[4]["text"] == " ".join(VOCABULARY[t] for t in tokens if t != EOS)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.int64(4))


@pytest.mark.parametrize("adapter", ["policy", None])
def test_actions_are_ranks_among_the_likeliest(policy: LoadedModel, adapter: str | None) -> None:
    env = _env(policy, adapter=adapter, top_k=4)
    assert env.action_space.n == 4
    _, info = env.reset(seed=0, options={"prompt": 1})
    answer: list[int] = []
    for action in (3, 1, 2):
        logits = policy.logits(_states(policy, adapter, 1, answer)[-1]).tolist()
        wanted = sorted(range(len(logits)), key=lambda i: -logits[i])[:4]
        assert info["candidates"].tolist() == wanted
        if wanted[action] == EOS:
            action = 0
        info = env.step(np.int64(action))[4]
        assert info["token"] == wanted[action]
        answer.append(wanted[action])


def test_more_candidates_than_tokens_are_all_of_them(llama: LoadedModel) -> None:
    env = _env(llama, top_k=1000)
    assert sorted(env.reset(seed=0)[1]["candidates"]) == list(range(len(VOCABULARY)))


def test_tokens_are_seen_oldest_first_with_padding_that_is_no_token(llama: LoadedModel) -> None:
    ids = llama.encode_prompt(PROMPTS[0])
    env = _env(llama)
    whole = env.reset(seed=0, options={"prompt": 0})[0]
    longest = max(len(llama.encode_prompt(p)) for p in PROMPTS) + 6
    assert whole.tolist() == [-1] * (longest - len(ids)) + ids
    # A sampled padding token is a token like any other.
    whole = env.step(np.int64(PAD))[0]
    assert whole.tolist() == [-1] * (longest - len(ids) - 1) + [*ids, PAD]
    steps = _play(_env(llama, window=3), CUT)
    assert steps[-1][0].tolist() == CUT[-3:]


def test_states_are_those_of_a_plain_forward(policy: LoadedModel) -> None:
    env = _env(policy, adapter="policy", observation="states", window=3)
    observation, _ = env.reset(seed=0, options={"prompt": 0})
    states = _states(policy, "policy", 0, STOPPED)
    for n in range(len(STOPPED) + 1):
        seen = torch.cat([torch.zeros(3, policy.hidden_size), states[: n + 1]])[-3:]
        assert_close(observation, seen.flatten(), FORWARD)
        if n < len(STOPPED):
            observation = env.step(np.int64(STOPPED[n]))[0]


def test_nothing_is_computed_that_nobody_asked_for(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tokens to see, all of them to choose from and no KL, the model need not run."""
    monkeypatch.setattr(llama, "read", None)
    _play(_env(llama), CUT)
    with pytest.raises(TypeError):
        _play(_env(llama, top_k=3), CUT)


def test_an_action_outside_the_space_is_refused(llama: LoadedModel) -> None:
    env = _env(llama, top_k=4)
    env.reset(seed=0)
    for action in (4, -1):
        with pytest.raises(gymnasium.error.InvalidAction):
            env.step(np.int64(action))


def test_prompts_that_leave_no_room_are_told(llama: LoadedModel) -> None:
    with pytest.raises(UserError, match="no prompts"):
        TokenEnv(llama, [], SHARE)
    n = llama.context_length - max(len(llama.encode_prompt(p)) for p in PROMPTS)
    _env(llama, max_new_tokens=n)
    with pytest.raises(UserError, match="does not fit"):
        _env(llama, max_new_tokens=n + 1)
