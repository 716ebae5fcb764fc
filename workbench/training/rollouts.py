"""Answers of the policy with everything that is measured when they are sampled.

    1. answer a batch of prompts with the policy, keeping log-probabilities (and values) as they
       were when sampled;
    2. hidden states below the first adapted layer, once, for all that follows;
    3. log-probabilities under the reference;
    4. scores.

B answers, P prompt tokens, T response tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.training import OnPolicySettings
from workbench.data.records import Message, Prompt
from workbench.errors import UserError
from workbench.events import Event, Progress, Warned
from workbench.models import adapters
from workbench.models.decoding import Samples, sample, seeds
from workbench.models.loading import Check, Trunk
from workbench.objectives.moments import Moments
from workbench.objectives.rollout import Rollout
from workbench.rewards.base import (
    InPieces,
    PartedReward,
    PrefixReward,
    RewardFunction,
    TrunkReward,
)
from workbench.training.batches import (
    FORWARD_FACTOR,
    is_out_of_memory,
    micro_batches,
    release,
    retried,
    too_little,
)
from workbench.training.critic import Critic
from workbench.training.learner import Learner
from workbench.training.loop import require_finite
from workbench.training.tally import Clock

SAMPLE = 2  # what a key of `seeds` is for
_AT_ONCE = "answers_at_once"  # the counter that remembers it after memory ran out


def roll_out(
    learner: Learner[OnPolicySettings],
    batch: Sequence[Prompt],
    encoded: Sequence[Sequence[int]],
    reward: RewardFunction,
    cancel: CancelToken,
    clock: Clock,
    critic: Critic | None = None,
    luck: Sequence[int] | None = None,
) -> Generator[Event, None, Rollout]:
    """Answer a batch of prompts, each process its share, and score the answers.

    Args:
        learner: Whose adapter answers.
        batch: The prompts.
        encoded: Their tokens.
        reward: What scores.
        cancel: Stop and cancel.
        clock: Counts the time.
        critic: What says what each token can expect.
        luck: A seed for each answer; None draws those of this update.

    Raises:
        Cancelled: On a stop as well: the same answers are drawn again on going on.
    """
    model, settings, mine = learner.model, learner.settings, learner.ranks.share(len(batch))
    batch, encoded = batch[mine], encoded[mine]
    drawn = luck or seeds(settings.seed, SAMPLE, learner.update, n=settings.batch_size)
    answer_seeds = drawn[mine]
    # Alone, a stop gives the answers up; several processes go on together to the step boundary.
    is_alone = learner.ranks.size == 1
    check = cancel.raise_if_stopping if is_alone else cancel.raise_if_cancelled
    with adapters.active(model, learner.adapter), clock.timing("generate"):
        answered = yield from _answered(learner, encoded, answer_seeds, critic, check)
    messages = [p.messages for p in batch]

    def measure() -> Rollout:
        with model.checking(check), clock.timing("score"), torch.no_grad():
            rollout = _measured(learner, answered, critic)
            scores, token_scores = _scored(learner, rollout, messages, reward)
        return rollout._replace(scores=scores, token_scores=token_scores)

    smallest = max(answered.widths()) // FORWARD_FACTOR
    rollout = yield from retried(learner, smallest, measure)
    require_finite(rollout.scores.tolist(), f"The score of {reward.name}")
    if is_alone:
        return rollout
    return Rollout.joined(learner.ranks.gathered(rollout.to("cpu"))).to(model.device)


def _answered(
    learner: Learner[OnPolicySettings],
    encoded: Sequence[Sequence[int]],
    answer_seeds: Sequence[int],
    critic: Critic | None,
    check: Check,
) -> Generator[Event, None, Rollout]:
    """Answers of the active adapter, half as many at once whenever memory runs out.

    Each comes from a seed of its own, so that what is sampled beside it does not matter.

    Raises:
        EnvironmentProblem: A single answer does not fit.
    """
    counters = learner.counters
    while True:
        size = int(counters.get(_AT_ONCE, len(encoded)))
        parts = [slice(i, i + size) for i in range(0, len(encoded), size)]
        try:
            answered = []
            for part in parts:
                sampling = _sampling(learner, encoded[part], answer_seeds[part], critic, check)
                told = _with_progress(sampling, part.start, len(encoded))
                answered.append(_unmeasured((yield from told)))
            return answered[0] if len(answered) == 1 else Rollout.joined(answered)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if size == 1:
            raise too_little()
        release(learner)
        counters[_AT_ONCE] = size // 2
        yield Warned(
            f"Memory ran out with {size} answers at once; they are drawn again, {size // 2} at "
            "once.",
            "Nothing is lost. Lower Batch size or Answer length in the next run.",
        )


def _sampling(
    learner: Learner[OnPolicySettings],
    encoded: Sequence[Sequence[int]],
    answer_seeds: Sequence[int],
    critic: Critic | None,
    check: Check,
) -> Generator[object, None, Samples]:
    return sample(
        learner.model,
        encoded,
        answer_seeds,
        max_new_tokens=learner.settings.max_new_tokens,
        temperature=learner.settings.temperature,
        value_head=None if critic is None or critic.is_own else critic.head,
        check=check,
    )


def _with_progress(
    sampling: Generator[object, None, Samples], done: int, total: int
) -> Generator[Event, None, Samples]:
    while True:
        try:
            next(sampling)
        except StopIteration as end:
            samples: Samples = end.value
            return samples
        done += 1
        yield Progress(done, total, "Generating answers")


def _unmeasured(samples: Samples) -> Rollout:
    """The samples, before anything else has looked at them."""
    return Rollout(
        prompt_ids=samples.prompt_ids,
        prompt_mask=samples.prompt_mask,
        response_ids=samples.response_ids,
        is_response=samples.is_response,
        old_logps=samples.logps,
        ref_logps=samples.logps,
        old_values=samples.values,
        scores=samples.logps.new_zeros(len(samples.ended)),
        ended=samples.ended,
    )


def _measured(
    learner: Learner[OnPolicySettings], rollout: Rollout, critic: Critic | None
) -> Rollout:
    """The answers with trunk, reference and values; scores follow."""
    model = learner.model
    if learner.first_layer:
        rollout = rollout._replace(trunk=_trunk(learner, rollout))
    if model.dtype != torch.float32:
        # In bfloat16 the decode path and the training path differ by up to 1 per token: the old
        # log-probabilities must come from the path that will be differentiated.
        with adapters.active(model, learner.adapter):
            old_logps = policy_logps(learner, rollout)
        rollout = rollout._replace(old_logps=old_logps, ref_logps=old_logps)
    if learner.update > 0:
        # Before the first step the policy is its reference, and their KL exactly 0.
        with adapters.active(model, learner.reference):
            rollout = rollout._replace(ref_logps=policy_logps(learner, rollout))
    if critic is not None and critic.is_own:
        values = in_parts(learner, rollout, lambda part: critic.values(part, None))
        rollout = rollout._replace(old_values=values)
    return rollout


def closed(rollout: Rollout, pad_id: int, stop_id: int) -> tuple[Tensor, Tensor]:
    """Answers that end with exactly one stop token, as rewards read them.

    Returns:
        (B, T + 1) ids and (B, T + 1) bool: cut answers got a stop token.
    """
    ids = torch.nn.functional.pad(rollout.response_ids, (0, 1), value=pad_id)
    is_closed = torch.nn.functional.pad(rollout.is_response, (0, 1), value=False)
    cut = (~rollout.ended).nonzero()[:, 0]
    ends = rollout.is_response.sum(1)[cut]
    ids, is_closed = ids.clone(), is_closed.clone()
    ids[cut, ends] = stop_id
    is_closed[cut, ends] = True
    return ids, is_closed


def _trunk(learner: Learner[OnPolicySettings], rollout: Rollout) -> Tensor:
    """Hidden states (B, P + T + 1, H) below the first adapted layer, of closed answers."""
    model = learner.model
    ids, is_closed = closed(rollout, model.pad_id, model.stop_id)
    all_ids = torch.cat([rollout.prompt_ids, ids], dim=1)
    mask = torch.cat([rollout.prompt_mask, is_closed], dim=1)
    size = max(1, learner.micro_batch_tokens * FORWARD_FACTOR // all_ids.shape[1])
    parts = [
        model.trunk(all_ids[i : i + size], mask[i : i + size], learner.first_layer).states
        for i in range(0, len(all_ids), size)
    ]
    return torch.cat(parts)


def trunk_of(learner: Learner[OnPolicySettings], part: Rollout) -> Trunk | None:
    """The stored lower states of some answers, if there are any."""
    return None if part.trunk is None else Trunk(part.trunk, learner.first_layer)


def response_states(learner: Learner[OnPolicySettings], part: Rollout) -> Tensor:
    """States (B, T, H) from which each response token was predicted, by the active adapter."""
    return learner.model.response_states(
        part.prompt_ids,
        part.prompt_mask,
        part.response_ids,
        part.is_response,
        trunk=trunk_of(learner, part),
    )


def policy_logps(learner: Learner[OnPolicySettings], rollout: Rollout) -> Tensor:
    """Log-probabilities (B, T) of sampled tokens under the active adapter, 0 on padding."""

    def logps(part: Rollout) -> Tensor:
        states = response_states(learner, part)
        temperature = learner.settings.temperature
        return learner.model.logps(states, part.response_ids, part.is_response, temperature)[0]

    return in_parts(learner, rollout, logps)


def in_parts(
    learner: Learner[OnPolicySettings], rollout: Rollout, compute: Callable[[Rollout], Tensor]
) -> Tensor:
    """A (B, T) figure of all answers, computed in pieces that fit into memory, no gradients."""
    result = torch.zeros_like(rollout.old_logps)
    budget = learner.micro_batch_tokens * FORWARD_FACTOR
    for rows in micro_batches(range(len(result)), rollout.widths(), budget):
        part = rollout.select(torch.tensor(rows, device=result.device)).trimmed()
        values = compute(part)
        result[rows, : values.shape[1]] = values
    return result


def _scored(
    learner: Learner[OnPolicySettings],
    rollout: Rollout,
    messages: Sequence[Sequence[Message]],
    reward: RewardFunction,
) -> tuple[Tensor, Tensor | None]:
    """Scores (B,), and what each token added to them (B, T) when that is wanted."""
    answers = [
        ids[is_response].tolist()
        for ids, is_response in zip(rollout.response_ids, rollout.is_response, strict=True)
    ]
    device = rollout.old_logps.device
    if isinstance(reward, InPieces):
        reward.tokens_at_once = learner.micro_batch_tokens * FORWARD_FACTOR
    pays_at = getattr(learner.settings, "reward_at", None)
    read = partial(_from_trunk, learner, rollout)
    if pays_at in ("token", "both"):
        if not isinstance(reward, PrefixReward):
            raise UserError(
                f"{reward.name} can only score whole answers.",
                "Set Reward at to end, or choose a reward model.",
            )
        potentials = reward.score_prefixes(messages, answers)
        scores = [p[-1] for p in potentials]
    elif isinstance(reward, PartedReward):
        # Who learns from whole answers has no use for what single tokens earn.
        by_token = pays_at is not None and reward.pays_tokens
        scores, potentials = reward.pay(messages, answers, read, with_potentials=by_token)
    else:
        known = read(reward)
        scores, potentials = reward.score(messages, answers) if known is None else known, []
    token_scores = _rises(rollout, potentials) if potentials else None
    return torch.tensor(scores, device=device), token_scores


def _rises(rollout: Rollout, potentials: Sequence[Sequence[float]]) -> Tensor:  # (B, T)
    """By how much each token raised a potential."""
    token_scores = torch.zeros_like(rollout.old_logps)
    for row, potential in enumerate(potentials):
        rises = torch.tensor(potential, device=token_scores.device).diff()
        token_scores[row, : len(rises)] = rises
    return token_scores


def _from_trunk(
    learner: Learner[OnPolicySettings], rollout: Rollout, reward: RewardFunction
) -> list[float] | None:
    """Scores of a reward that goes on from the rollout's lower states; None if it cannot."""
    if rollout.trunk is None or not isinstance(reward, TrunkReward):
        return None
    trunk = Trunk(rollout.trunk, learner.first_layer)
    if not reward.can_read(learner.model, trunk):
        return None
    ids, is_closed = closed(rollout, learner.model.pad_id, learner.model.stop_id)
    scores: list[float] = reward.score_rollout(
        rollout.prompt_ids, rollout.prompt_mask, ids, is_closed, trunk
    ).tolist()
    return scores


def shaped_scores(learner: Learner[OnPolicySettings], rollout: Rollout) -> Tensor:
    """Scores (B,) normalised, clipped, and punished for cut answers.

    `reference` lets the first batch fix shift and scale: the policy still is the reference then.
    `running` goes by all answers so far, this batch included.
    """
    settings, scores, counters = learner.settings, rollout.scores, learner.counters
    if settings.normalise_scores == "running":
        _count_scores(counters, scores)
    elif settings.normalise_scores == "reference" and "score_shift" not in counters:
        counters["score_shift"] = float(scores.mean())
        counters["score_scale"] = max(float(scores.std(unbiased=False)), SMALLEST_SCALE)
    if settings.normalise_scores != "off":
        scores = (scores - counters["score_shift"]) / counters["score_scale"]
    if settings.score_clip:
        scores = scores.clamp(-settings.score_clip, settings.score_clip)
    penalty = settings.missing_eos_penalty
    if settings.missing_eos_rule == "replace":
        return torch.where(rollout.ended, scores, -penalty)
    return scores - penalty * (~rollout.ended).float()


def _count_scores(counters: dict[str, float], scores: Tensor) -> None:
    """Take a batch into the mean and spread of all scores so far; a checkpoint keeps them."""
    before = Moments(*(counters.get(f"score_{name}", 0.0) for name in ("n", "shift", "squares")))
    now = before.merged(Moments.of(scores))
    counters |= {"score_n": now.n, "score_shift": now.mean, "score_squares": now.squares}
    counters["score_scale"] = max(now.std, SMALLEST_SCALE)


SMALLEST_SCALE = 1e-6
