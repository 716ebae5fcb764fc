"""Holding a dialogue answer by answer, as a Markov decision process.

state       s_k = (x, y_1, u_1, … y_{k−1}, u_{k−1}): the prompt, and each answer with what the user
            said to it. `reset` draws x.
action      a_k = y_k, a whole answer as text.
transition  the user speaks: a script, a model, or any other callable; with a seed of its own for
            each turn, so that its luck is the same whatever was drawn before.
end         terminated when the user has nothing more to say (without a user: after one answer);
            truncated after `max_turns` answers, or when the dialogue has outgrown the model.
reward      r_k = R(s_k, y_k), the score of each answer to the dialogue before it.
observation the dialogue as text. Characters that are not in `CHARSET` show as U+FFFD; `info` has
            the messages as they are.

The model lends its tokenizer, since rewards read token ids, and the length of its context. It need
not be who answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.config.environment import ChatEnvSettings
from workbench.data.chat_template import encode_answer
from workbench.data.records import Message
from workbench.environments.library import gymnasium, spaces
from workbench.environments.prompts import encoded
from workbench.environments.users import User
from workbench.models.decoding import seeds
from workbench.models.loading import LoadedModel
from workbench.rewards.base import RewardFunction

UNKNOWN = "\ufffd"
_RANGES = (
    (0x0020, 0x007E),  # printable ASCII
    (0x00A1, 0x024F),  # Latin letters with accents, and their signs
    (0x0370, 0x052F),  # Greek, Cyrillic
    (0x2010, 0x2027),  # dashes, quotation marks, ellipsis
    (0x2030, 0x205E),  # more punctuation
    (0x20A0, 0x20BF),  # currencies
    (0x2190, 0x22FF),  # arrows, mathematics
    (0x3000, 0x30FF),  # Chinese and Japanese punctuation, kana
    (0x3400, 0x4DBF),  # rare Chinese characters
    (0x4E00, 0x9FFF),  # Chinese characters
    (0xAC00, 0xD7A3),  # Hangul
    (0xFF01, 0xFF5E),  # full-width forms
    (0x1F300, 0x1FAFF),  # emoji
)
CHARSET = frozenset(
    {"\n", "\t", "\u200d", "\ufe0f", UNKNOWN}  # the joiner and the selector make emoji
    | {chr(code) for first, last in _RANGES for code in range(first, last + 1)}
)
"""What dialogues are written in. Gymnasium's own default has neither a space nor Chinese."""

_USER = 6  # what a key of `seeds` is for


class ChatEnv(gymnasium.Env[str, str]):
    """One answer per step; see the module for state, action and reward.

    `info` has the index of the prompt and the dialogue's `messages` with role and content; after
    a step also the number of answers so far, `turn`.

    Args:
        model: The loaded model.
        prompts: Dialogues that end with a user's turn; `reset` draws one, or takes the one whose
            index stands in its options as `prompt`.
        reward: Scores answers.
        user: Says the next thing; None for dialogues of one answer.
        settings: Those of `ChatEnvSettings`; the defaults when left out.

    Raises:
        UserError: There are no prompts, or one leaves no room for an answer.
    """

    def __init__(
        self,
        model: LoadedModel,
        prompts: Sequence[Sequence[Message]],
        reward: RewardFunction,
        user: User | None = None,
        settings: ChatEnvSettings | None = None,
    ) -> None:
        self.settings = settings or ChatEnvSettings()
        encoded(model, prompts, 1)
        self._model = model
        self._prompts = [tuple(prompt) for prompt in prompts]
        self._reward = reward
        self._user = user
        self.action_space = spaces.Text(
            self.settings.max_answer_chars, min_length=0, charset=CHARSET
        )
        self.observation_space = spaces.Text(
            self.settings.max_dialogue_chars, min_length=0, charset=CHARSET
        )
        self._has_ended = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin a dialogue with a prompt that the seed, or `options`, chooses."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(len(self._prompts)))
        self._seed = int(self.np_random.integers(2**31))
        self._index = int((options or {}).get("prompt", drawn))
        self._messages = self._prompts[self._index]
        self._room = self._room_now()
        self._turn = 0
        self._has_ended = False
        return self._observation(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Answer with `action`, be scored, and hear what the user says to it.

        Raises:
            gymnasium.error.ResetNeeded: The dialogue has ended, or none was begun.
            gymnasium.error.InvalidAction: The text is too long, or has a character that is not in
                the space; `fitting` makes one that is.
        """
        if self._has_ended:
            raise gymnasium.error.ResetNeeded("The dialogue has ended: call reset() first.")
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(
                f"This text is longer than {self.settings.max_answer_chars} characters, or has one "
                "that is not in CHARSET: pass it through fitting() first."
            )
        ids = encode_answer(self._model.tokenizer, action, self._model.stop_id)
        (reward,) = self._reward.score([self._messages], [ids[: self._room]])
        is_cut = len(ids) > self._room
        self._turn += 1
        self._messages = (*self._messages, Message("assistant", action))
        said = None
        if self._user is not None:
            key = seeds(self._seed, _USER, self._turn, n=1)[0]
            said = self._user(self._messages, self._turn, key)
        if said is not None:
            self._messages = (*self._messages, Message("user", said))
            self._room = self._room_now()
        terminated = said is None
        truncated = not terminated and (
            is_cut or self._room < 1 or self._turn == self.settings.max_turns
        )
        self._has_ended = terminated or truncated
        return self._observation(), reward, terminated, truncated, self._info()

    def fitting(self, text: str) -> str:
        """The nearest action to a text: cut, and with U+FFFD for characters outside the space."""
        return _in_charset(text[: self.settings.max_answer_chars])

    def _room_now(self) -> int:
        """Tokens that an answer may have."""
        return self._model.context_length - len(self._model.encode_prompt(self._messages))

    def _observation(self) -> str:
        turns = [f"{m.role.capitalize()}: {m.content}" for m in self._messages]
        return _in_charset("\n\n".join(turns)[-self.settings.max_dialogue_chars :])

    def _info(self) -> dict[str, Any]:
        messages = [{"role": m.role, "content": m.content} for m in self._messages]
        return {"prompt": self._index, "turn": self._turn, "messages": messages}


def _in_charset(text: str) -> str:
    return "".join(c if c in CHARSET else UNKNOWN for c in text)
