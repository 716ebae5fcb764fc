"""The chat environment: dialogues with memory, a reward per turn, text of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from tests import tinymodels
from tests.close import EXACT, assert_close
from workbench import environments
from workbench.config.environment import ChatEnvSettings
from workbench.config.lora import LoraSettings
from workbench.data.chat_template import encode_answer
from workbench.data.records import Message
from workbench.environments.chat import CHARSET, UNKNOWN, ChatEnv
from workbench.environments.users import ModelUser, ScriptedUser, User
from workbench.errors import UserError
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import RewardModel

PROMPTS = [p.messages for p in tinymodels.prompts()]
SCRIPT = ["w3 w4", "w5", "w6"]


class Recorder:
    """Reward: the number of tokens; it remembers what it was asked."""

    name = "recorder"

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], list[int]]] = []

    def score(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[float]:
        for prompt, answer in zip(prompts, answers, strict=True):
            self.asked.append((tuple(m.content for m in prompt), list(answer)))
        return [float(len(answer)) for answer in answers]


def _env(
    model: LoadedModel,
    user: User | None = None,
    reward: Any = None,
    prompts: Sequence[Sequence[Message]] = PROMPTS,
    **settings: Any,
) -> ChatEnv:
    chosen = ChatEnvSettings.model_validate(settings)
    return ChatEnv(model, prompts, reward or Recorder(), user, chosen)


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize("user", ["none", "script", "model"])
def test_gymnasium_finds_nothing_to_say(tiny_model: LoadedModel, user: str) -> None:
    users: dict[str, User | None] = {
        "none": None,
        "script": ScriptedUser(SCRIPT),
        "model": ModelUser(tiny_model, max_new_tokens=4),
    }
    env = gymnasium.make(
        environments.CHAT_ENV,
        model=tiny_model,
        prompts=PROMPTS,
        reward=Recorder(),
        user=users[user],
        settings=ChatEnvSettings(max_answer_chars=12),
    )
    check_env(env.unwrapped)


def test_dialogues_remember_and_each_turn_is_scored(llama: LoadedModel) -> None:
    reward = Recorder()
    env = _env(llama, ScriptedUser(SCRIPT), reward, max_turns=9)
    observation, info = env.reset(seed=0, options={"prompt": 1})
    assert observation == "User: w3 w4"
    assert info["messages"] == [{"role": "user", "content": "w3 w4"}]
    answers = ["w1 w2", "", "w9", "w9 w9 w9"]
    steps = [env.step(answer) for answer in answers]
    assert [step[1] for step in steps] == [3.0, 1.0, 2.0, 4.0], "each with its stop token"
    asked = ("w3 w4", "w1 w2", "w3 w4", "", "w5", "w9", "w6")
    assert [prompt for prompt, _ in reward.asked] == [asked[: 2 * k + 1] for k in range(4)]
    assert reward.asked[2][1] == encode_answer(llama.tokenizer, "w9", llama.stop_id)
    assert steps[1][0] == (
        "User: w3 w4\n\nAssistant: w1 w2\n\nUser: w3 w4\n\nAssistant: \n\nUser: w5"
    )
    assert [(step[2], step[3]) for step in steps] == [(False, False)] * 3 + [(True, False)]
    assert steps[-1][4]["turn"] == 4
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step("w1")


def test_a_new_dialogue_has_forgotten_the_last(llama: LoadedModel) -> None:
    env = _env(llama, ScriptedUser(SCRIPT))
    first = env.reset(seed=0, options={"prompt": 1})[0]
    env.step("w1 w2")
    assert env.reset(options={"prompt": 1})[0] == first


def test_a_reward_model_scores_the_turn_in_its_dialogue(llama: LoadedModel) -> None:
    reward = RewardModel.fresh(llama, LoraSettings(r=4, alpha=8), seed=0)
    env = _env(llama, ScriptedUser(SCRIPT), reward)
    env.reset(seed=0, options={"prompt": 0})
    rewards = [env.step(answer)[1] for answer in ("w1 w2", "w8")]
    before = [Message("user", "w0"), Message("assistant", "w1 w2"), Message("user", "w3 w4")]
    wanted = [
        *reward.score_texts([before[:1]], ["w1 w2"]),
        *reward.score_texts([before], ["w8"]),
    ]
    assert_close(rewards, wanted, EXACT)
    assert rewards[0] != rewards[1]


def test_without_a_user_one_answer_is_the_dialogue(llama: LoadedModel) -> None:
    env = _env(llama)
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step("w1")
    assert (terminated, truncated) == (True, False)


@pytest.mark.parametrize(("max_turns", "ends"), [(3, (False, True)), (4, (True, False))])
def test_dialogues_are_cut_only_where_the_user_would_go_on(
    llama: LoadedModel, max_turns: int, ends: tuple[bool, bool]
) -> None:
    env = _env(llama, ScriptedUser(SCRIPT), max_turns=max_turns)
    env.reset(seed=0)
    steps = [env.step("w1") for _ in range(max_turns)]
    assert not any(step[2] or step[3] for step in steps[:-1])
    assert steps[-1][2:4] == ends


def test_dialogues_end_where_the_model_can_read_no_further(llama: LoadedModel) -> None:
    """Sixty-four tokens of context: the last answer is scored as far as it fits."""
    reward = Recorder()
    env = _env(llama, ScriptedUser(["w1"] * 50), reward, max_turns=50)
    env.reset(seed=0, options={"prompt": 0})
    ends = [env.step(" ".join(["w2"] * 20))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    lengths = [
        len(llama.encode_prompt([Message("user", text) for text in prompt])) + len(answer)
        for prompt, answer in reward.asked
    ]
    assert lengths[-1] == llama.context_length
    assert len(reward.asked[-1][1]) < 21


def test_chinese_spaces_and_lines_are_text(tiny_model: LoadedModel) -> None:
    text = 'Hello, "world"!\n\t你好，世界。「奖励」 – ñ, €, こんにちは, 안녕, 👍🏽'
    env = _env(tiny_model, prompts=[[Message("user", text)]])
    assert env.action_space.contains(text)
    observation, _ = env.reset(seed=0)
    assert observation == f"User: {text}"
    observation, _, _, _, info = env.step(text)
    assert observation == f"User: {text}\n\nAssistant: {text}"
    assert info["messages"][-1] == {"role": "assistant", "content": text}
    assert env.observation_space.contains(observation)


def test_what_is_no_text_is_refused_in_answers_and_shown_in_dialogues(
    tiny_model: LoadedModel,
) -> None:
    assert "\x00" not in CHARSET
    env = _env(tiny_model, prompts=[[Message("user", "a\x00b")]], max_answer_chars=4)
    observation, info = env.reset(seed=0)
    assert observation == f"User: a{UNKNOWN}b"
    assert info["messages"][0]["content"] == "a\x00b"
    for text in ("\x00", "five!"):
        with pytest.raises(gymnasium.error.InvalidAction):
            env.step(text)
    assert env.fitting("\x00 and more") == f"{UNKNOWN} an"
    env.step(env.fitting("\x00 and more"))


def test_of_long_dialogues_the_end_is_seen(llama: LoadedModel) -> None:
    env = _env(llama, max_dialogue_chars=10)
    env.reset(seed=0, options={"prompt": 4})
    observation = env.step("w1 w2 w3 w4")[0]
    assert observation == "w1 w2 w3 w4"[-10:]


def test_one_seed_gives_one_dialogue(tiny_model: LoadedModel) -> None:
    """With the same prompt always, only the user's luck can differ."""

    def dialogue(seed: int) -> list[Any]:
        env = _env(tiny_model, ModelUser(tiny_model, max_new_tokens=6), prompts=PROMPTS[:1])
        seen: list[Any] = [env.reset(seed=seed)[0]]
        for _ in range(2):  # the second is drawn without a seed
            for answer in ("Yes.", "No."):
                observation, reward, terminated, truncated, _ = env.step(answer)
                seen += [observation, reward, terminated, truncated]
                if terminated or truncated:
                    break
            seen.append(env.reset()[0])
        return seen

    assert dialogue(3) == dialogue(3)
    assert dialogue(3) != dialogue(5)


def test_every_prompt_is_drawn(llama: LoadedModel) -> None:
    env = _env(llama)
    env.reset(seed=0)
    assert {env.reset()[1]["prompt"] for _ in range(200)} == set(range(len(PROMPTS)))


def test_a_model_as_user_reads_the_dialogue_and_its_seed(tiny_model: LoadedModel) -> None:
    user = ModelUser(tiny_model, max_new_tokens=8)
    dialogue = [Message("user", "Tell me a story."), Message("assistant", "Once upon a time.")]
    said = user(dialogue, 1, 7)
    assert said == user(dialogue, 1, 7)
    assert said is not None
    assert said != user(dialogue, 1, 8)
    careful = ModelUser(tiny_model, max_new_tokens=8, temperature=0.0)
    assert careful(dialogue, 1, 7) == careful(dialogue, 1, 8)
    assert careful(dialogue, 1, 7) != careful(dialogue[:1] + dialogue[:1], 1, 7)


def test_prompts_must_leave_room(llama: LoadedModel) -> None:
    with pytest.raises(UserError, match="no prompts"):
        _env(llama, prompts=[])
    with pytest.raises(UserError, match="does not fit"):
        _env(llama, prompts=[[Message("user", "w1 " * 64)]])
