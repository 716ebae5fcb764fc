"""Writing an answer token by token, as a Markov decision process.

state       s_t = (x, y_1 … y_{t−1}): the prompt and the answer so far. `reset` draws x.
action      a_t = y_t, the next token: any of the vocabulary, or one of the k that the policy finds
            likeliest in s_t (action 0 is the likeliest).
transition  s_{t+1} = (s_t, a_t), without chance.
end         terminated at a stop token; truncated after `max_new_tokens`.
reward      r_t = R(x, y) at the last token, be the answer ended or cut, and 0 before. With
            reward_at = "token" r_t = R(x, y_1 … y_t) − R(x, y_1 … y_{t−1}), where the empty answer
            counts 0: the sum is R(x, y) again (potential-based shaping with discount 1, Ng et al.
            1999). With a KL coefficient −β·KL_t more at every token, where KL_t is estimated from
            log π(y_t | s_t) − log π_ref(y_t | s_t) (Ziegler et al. 2019, eq. 2).
observation the last tokens of s_t, oldest first, −1 where there are none: no token id means
            nothing, since padding can be sampled too. Or the last hidden states from which the
            policy predicts the tokens of its answer, up to the next one; 0 where there are none.

π is the adapter that was named, which need not be who acts; π_ref is the base. A learner that
bootstraps where an answer is truncated adds a value to the score that was paid there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.config.environment import TokenEnvSettings
from workbench.data.chat_template import decode_answer
from workbench.data.records import Message
from workbench.environments.library import gymnasium, spaces
from workbench.environments.prompts import encoded
from workbench.environments.reading import Reader
from workbench.models.loading import LoadedModel
from workbench.objectives.kl import kl_estimate
from workbench.rewards.base import RewardFunction

# Gymnasium asks for finite bounds. The last norm keeps states far below; what passes is cut.
STATE_BOUND = 1e4


class TokenEnv(gymnasium.Env[NDArray[Any], np.int64]):
    """One token per step; see the module for state, action and reward.

    `info` has the index of the prompt, and the last token; at the end the score and the text;
    with `top_k` the `candidates`, token ids of the actions of the next step; with a KL
    coefficient `logp`, `ref_logp` and `kl` of the token.

    Args:
        model: The loaded model: tokenizer, policy and reference.
        prompts: Dialogues that end with a user's turn; `reset` draws one, or takes the one whose
            index stands in its options as `prompt`.
        reward: Scores answers.
        settings: Those of `TokenEnvSettings`; the defaults when left out.
        adapter: Name of the policy's adapter on the model; None is the base.

    Raises:
        UserError: There are no prompts, or one leaves no room for an answer.
    """

    def __init__(
        self,
        model: LoadedModel,
        prompts: Sequence[Sequence[Message]],
        reward: RewardFunction,
        settings: TokenEnvSettings | None = None,
        adapter: str | None = None,
    ) -> None:
        self.settings = settings or TokenEnvSettings()
        self._model = model
        self._prompts = [tuple(prompt) for prompt in prompts]
        self._encoded = encoded(model, self._prompts, self.settings.max_new_tokens)
        self._reward = reward
        self._adapter = adapter
        n_tokens = int(model.model.get_output_embeddings().weight.shape[0])
        self._n_candidates = min(self.settings.top_k, n_tokens)
        self._sees_states = self.settings.observation == "states"
        self.action_space = spaces.Discrete(self._n_candidates or n_tokens)
        self.observation_space = self._box(n_tokens)
        self._has_ended = True

    def _box(self, n_tokens: int) -> spaces.Box[Any]:
        if self._sees_states:
            self._window = self.settings.window or 1
            shape = (self._window * self._model.hidden_size,)
            return spaces.Box(-STATE_BOUND, STATE_BOUND, shape, np.float32)
        longest = max(len(ids) for ids in self._encoded) + self.settings.max_new_tokens
        self._window = self.settings.window or longest
        return spaces.Box(-1, n_tokens - 1, (self._window,), np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin an answer to a prompt that the seed, or `options`, chooses."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(len(self._prompts)))
        self._index = int((options or {}).get("prompt", drawn))
        self._ids = list(self._encoded[self._index])
        self._answer: list[int] = []
        self._score = 0.0
        self._has_ended = False
        self._states = torch.zeros(self._window, self._model.hidden_size)
        self._policy: Reader | None = None
        self._reference: Reader | None = None
        if self._n_candidates or self._sees_states or self.settings.kl_coef:
            self._policy = Reader(self._model, self._adapter, self._ids)
        if self.settings.kl_coef:
            self._reference = Reader(self._model, None, self._ids)
        self._see()
        info: dict[str, Any] = {"prompt": self._index}
        return self._observation(), info | self._choice()

    def step(self, action: np.int64) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Append the token of `action`.

        Raises:
            gymnasium.error.ResetNeeded: The answer has ended, or none was begun.
            gymnasium.error.InvalidAction: There is no such action.
        """
        if self._has_ended:
            raise gymnasium.error.ResetNeeded("The answer has ended: call reset() first.")
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(f"{action!r} is not in {self.action_space}.")
        token = self._candidates[int(action)] if self._n_candidates else int(action)
        info: dict[str, Any] = {"prompt": self._index, "token": token}
        penalty = self._kl_penalty(token, info)
        self._ids.append(token)
        self._answer.append(token)
        terminated = token in self._model.stop_ids
        truncated = not terminated and len(self._answer) == self.settings.max_new_tokens
        self._has_ended = terminated or truncated
        paid = self._score
        if self._has_ended or self.settings.reward_at == "token":
            (self._score,) = self._reward.score([self._prompts[self._index]], [self._answer])
        reward = self._score - paid - penalty
        if self._has_ended:
            info["score"] = self._score
            info["text"] = decode_answer(self._model.tokenizer, self._answer)
        self._read(token)
        return self._observation(), reward, terminated, truncated, info | self._choice()

    def _read(self, token: int) -> None:
        """Let policy and reference read on, as far as anybody asks what they make of it."""
        if self._policy is not None and (self._sees_states or not self._has_ended):
            self._policy.append(token)
            self._see()
        if self._reference is not None and not self._has_ended:
            self._reference.append(token)

    def _see(self) -> None:
        if self._policy is not None and self._sees_states:
            new = self._policy.state.float().cpu().clamp(-STATE_BOUND, STATE_BOUND)
            self._states = torch.cat([self._states, new[None]])[-self._window :]

    def _choice(self) -> dict[str, Any]:
        """The tokens that the next action chooses among, when there are fewer than all."""
        if self._policy is None or not self._n_candidates or self._has_ended:
            return {}
        self._candidates = self._policy.likeliest(self._n_candidates)
        return {"candidates": np.array(self._candidates)}

    def _kl_penalty(self, token: int, info: dict[str, Any]) -> float:
        """β·KL of this token, with its parts in `info`; 0 without a KL coefficient."""
        if self._policy is None or self._reference is None:
            return 0.0
        temperature = self.settings.temperature
        logp = self._policy.logp(token, temperature)
        ref_logp = self._reference.logp(token, temperature)
        kl = float(kl_estimate(logp, ref_logp, self.settings.kl_estimator))
        info |= {"logp": float(logp), "ref_logp": float(ref_logp), "kl": kl}
        return self.settings.kl_coef * kl

    def _observation(self) -> NDArray[Any]:
        if self._sees_states:
            return self._states.flatten().numpy().copy()
        window = np.full(self._window, -1, dtype=np.int64)
        seen = self._ids[-self._window :]
        window[self._window - len(seen) :] = seen
        return window
