"""Answers that are kept to be read: those of an update, and those to the same few prompts again.

B answers, T response tokens.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence

from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.training import OnPolicySettings
from workbench.data.chat_template import decode_answer, pieces
from workbench.data.records import Prompt
from workbench.errors import Cancelled
from workbench.events import Event, Sample
from workbench.models.decoding import seeds
from workbench.objectives.rollout import Rollout
from workbench.training.critic import Critic
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner
from workbench.training.rollouts import roll_out
from workbench.training.tally import Clock

_WATCH = 8  # what a key of `seeds` is for


def samples(
    learner: Learner[OnPolicySettings],
    prompts: Sequence[Prompt],
    rollout: Rollout,
    figures: Mapping[str, Tensor],  # (B, T), or (B,) for all tokens of an answer
    *,
    has_values: bool,
    is_watched: bool = False,
) -> Iterator[Sample]:
    """The first answers of a batch with the figures of their tokens.

    Args:
        learner: Whose answers they are.
        prompts: What each row answers.
        rollout: The answers.
        figures: What each token got, by names of `TOKEN_FIGURES`.
        has_values: Whether a critic has said something of them.
        is_watched: Whether the prompts are those that are asked again and again.
    """
    kl = ((rollout.old_logps - rollout.ref_logps) * rollout.is_response).sum(1)
    kept = {"logp": rollout.old_logps, "ref_logp": rollout.ref_logps, **figures}
    if has_values:
        kept["value"] = rollout.old_values
    for row in range(min(learner.settings.n_samples, len(prompts))):
        ids = rollout.response_ids[row][rollout.is_response[row]].tolist()
        yield Sample(
            step=learner.update,
            prompt_id=prompts[row].id,
            text=decode_answer(learner.model.tokenizer, ids),
            reward=float(rollout.scores[row]),
            kl=float(kl[row]),
            n_tokens=len(ids),
            is_finished=bool(rollout.ended[row]),
            is_watched=is_watched,
            tokens=tuple(pieces(learner.model.tokenizer, ids)),
            figures={name: _of_tokens(field[row], len(ids)) for name, field in kept.items()},
        )


def _of_tokens(figure: Tensor, n: int) -> tuple[float, ...]:  # (T,), or () for all tokens
    return tuple((figure.expand(n) if figure.dim() == 0 else figure[:n]).tolist())


class Watch:
    """The same prompts, answered again and again under the same luck.

    What differs between two steps is then the policy, and not the draw. Step 0 is the reference.
    Nothing is learned from these answers, and no state of the run depends on them.
    """

    def __init__(
        self,
        learner: Learner[OnPolicySettings],
        inputs: Inputs,
        cancel: CancelToken,
        critic: Critic | None,
    ) -> None:
        settings = learner.settings
        self._learner, self._critic, self._cancel = learner, critic, cancel
        self._reward = inputs.need_reward()
        self._prompts = list(inputs.watch[: settings.n_samples])
        # Several processes answer a share each, and none may be empty.
        is_on = settings.sample_every > 0 and len(self._prompts) >= learner.ranks.size
        self._every = settings.sample_every if is_on else 0
        self._encoded = [learner.model.encode_prompt(p.messages) for p in self._prompts]
        self._luck = seeds(settings.seed, _WATCH, n=len(self._prompts))

    def when_due(self) -> Generator[Event, None, None]:
        """Ask before the first update and every so many.

        Raises:
            Cancelled: On a stop as well: they are asked again on going on.
        """
        if self._every and self._learner.update % self._every == 0:
            yield from self._ask()

    def at_the_end(self) -> Iterator[Event]:
        """Ask what the finished policy answers, unless the run was stopped."""
        learner, cancel = self._learner, self._cancel
        is_done = learner.update >= learner.settings.updates
        if self._every and is_done and not learner.ranks.any(cancel.should_stop):
            try:
                yield from self._ask()
            except Cancelled:
                return

    def _ask(self) -> Generator[Event, None, None]:
        learner, critic = self._learner, self._critic
        rollout = yield from roll_out(
            learner,
            self._prompts,
            self._encoded,
            self._reward,
            self._cancel,
            Clock(),
            critic,
            self._luck,
        )
        has_values = critic is not None
        yield from samples(
            learner, self._prompts, rollout, {}, has_values=has_values, is_watched=True
        )
