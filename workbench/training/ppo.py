"""LoRA PPO: proximal policy optimisation of a language model against a reward.

One update:
    1. answer a batch of prompts with the policy (adapter `policy`), keeping log-probabilities
       and values as they were when sampled;
    2. log-probabilities under the reference (the same base without adapter);
    3. score the answers; r_t = −β · KL_t, and the score is added at the last response token;
    4. advantages and returns by GAE, V = 0 after the last token (finite horizon, no bootstrap,
       for cut answers too, which pay `missing_eos_penalty` instead);
    5. `epochs` passes in `minibatches` steps over the clipped losses, one optimiser step each.

Schulman et al. 2017 (arXiv:1707.06347); Ziegler et al. 2019 (arXiv:1909.08593) for text;
details after Huang et al. 2024 (arXiv:2403.17031). Left out here: a value network of its own,
KL as a loss, several turns.

B answers, P prompt tokens, T response tokens.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.ppo import PPOSettings
from workbench.data.chat_template import decode_answer
from workbench.data.folders import atomic_folder
from workbench.data.records import Prompt
from workbench.errors import Cancelled, UserError
from workbench.events import Event, Progress, Sample, Saved, Step, Warned
from workbench.models import adapters
from workbench.models.decoding import Samples, sample, seeds
from workbench.models.loading import LoadedModel
from workbench.objectives.advantages import gae, place_rewards
from workbench.objectives.kl import kl_estimate
from workbench.objectives.masking import masked_mean, masked_whiten
from workbench.objectives.policy_gradient import explained_variance, ppo_policy_loss, value_loss
from workbench.objectives.rollout import Rollout
from workbench.rewards.base import RewardFunction
from workbench.training.learner import ADAPTER, Learner
from workbench.training.loop import LiveSettings, batch_indices, permutation, require_finite
from workbench.training.tally import Clock, Totals

log = logging.getLogger(__name__)

_SAMPLE, _MINIBATCH = 2, 3  # what a key of `seeds` is for
_MOST_SKIPPED = 3


def train(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    reward: RewardFunction,
    settings: PPOSettings,
    cancel: CancelToken,
    run_dir: Path,
    *,
    resume_from: Path | None = None,
    live: LiveSettings | None = None,
) -> Iterator[Event]:
    """Train the policy adapter; yields `Step` and `Sample`s per update, `Saved` per checkpoint.

    A stop gives up the answers being generated (they are drawn again on going on) or finishes the
    gradient steps under way, then saves; going on from there is bit-equal to never having stopped.

    Args:
        model: The base; its own weights do not change.
        prompts: Training prompts that fit into the context together with an answer.
        reward: Scores whole answers.
        settings: The hyperparameters.
        cancel: Stop, pause and cancel.
        run_dir: Gets `checkpoints/step-000020/` and at the end `adapter/`.
        resume_from: A checkpoint to go on from.
        live: Settings that may change while the run goes on.

    Raises:
        UserError: No prompts, or numbers that are not numbers any more.
        Cancelled: The token was cancelled; the last checkpoint stays.
    """
    if not prompts:
        raise UserError("There are no prompts to train on.", "Add prompts to the training split.")
    live = live or LiveSettings()
    learner = Learner.fresh(model, settings)
    if resume_from is not None:
        learner.load(resume_from)
    encoded = [model.encode_prompt(p.messages) for p in prompts]
    last_saved = learner.update if resume_from is not None else -1

    while learner.update < settings.updates and not cancel.should_stop:
        began = time.perf_counter()
        chosen = batch_indices(len(prompts), settings.batch_size, learner.update, settings.seed)
        batch = [prompts[i] for i in chosen]
        clock = Clock()
        try:
            rollout = yield from _roll_out(
                learner, batch, [encoded[i] for i in chosen], reward, cancel, clock
            )
        except Cancelled:
            if cancel.is_cancelled:
                raise
            break
        metrics = yield from _learn(learner, rollout, cancel, clock, live)
        learner.update += 1
        yield Step(learner.update, settings.updates, metrics, time.perf_counter() - began)
        yield from _samples(learner, batch, rollout)
        if learner.skipped_in_a_row >= _MOST_SKIPPED:
            raise UserError(
                f"The loss is not a number any more, {_MOST_SKIPPED} updates in a row.",
                "Lower the learning rate and go on from the last checkpoint.",
            )
        if settings.checkpoint_every and learner.update % settings.checkpoint_every == 0:
            yield _checkpoint(learner, run_dir)
            last_saved = learner.update

    if cancel.is_cancelled:
        raise Cancelled
    if last_saved != learner.update:
        yield _checkpoint(learner, run_dir)
    folder = run_dir / "adapter"
    with atomic_folder(folder, is_replacing=True) as partial:
        adapters.save(model, ADAPTER, settings.lora, partial)
    yield Saved(learner.update, "adapter", str(folder))


def _roll_out(
    learner: Learner,
    batch: Sequence[Prompt],
    encoded: Sequence[list[int]],
    reward: RewardFunction,
    cancel: CancelToken,
    clock: Clock,
) -> Generator[Event, None, Rollout]:
    """Steps 1 to 3: answers of the policy, the reference's view of them, and their scores."""
    model, settings = learner.model, learner.settings
    check = cancel.raise_if_stopping
    answer_seeds = seeds(settings.seed, _SAMPLE, learner.update, n=len(batch))
    with adapters.active(model, ADAPTER), clock.timing("generate"):
        sampling = sample(
            model,
            encoded,
            answer_seeds,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            value_head=learner.value_head,
            check=check,
        )
        samples = yield from _with_progress(sampling, len(batch))
    with model.checking(check), clock.timing("score"):
        with adapters.active(model, None):
            ref_logps = _logps(learner, samples)
        if model.dtype != torch.float32:
            # In bfloat16 the decode path and the training path differ by up to 1 per token:
            # the old log-probabilities must come from the path that will be differentiated.
            with adapters.active(model, ADAPTER):
                samples = samples._replace(logps=_logps(learner, samples))
        answers = [
            ids[is_response].tolist()
            for ids, is_response in zip(samples.response_ids, samples.is_response, strict=True)
        ]
        scores = reward.score([p.messages for p in batch], answers)
    require_finite(scores, f"The score of {reward.name}")
    return Rollout(
        prompt_ids=samples.prompt_ids,
        prompt_mask=samples.prompt_mask,
        response_ids=samples.response_ids,
        is_response=samples.is_response,
        old_logps=samples.logps,
        ref_logps=ref_logps,
        old_values=samples.values,
        scores=torch.tensor(scores, device=model.device),
        ended=samples.ended,
    )


def _with_progress(
    sampling: Generator[object, None, Samples], total: int
) -> Generator[Event, None, Samples]:
    done = 0
    while True:
        try:
            next(sampling)
        except StopIteration as end:
            samples: Samples = end.value
            return samples
        done += 1
        yield Progress(done, total, "Generating answers")


@torch.no_grad()
def _logps(learner: Learner, samples: Samples) -> Tensor:
    """Log-probabilities (B, T) of sampled tokens under the active adapter, 0 on padding."""
    size = learner.settings.micro_batch_size
    rows = []
    for start in range(0, len(samples.ended), size):
        part = Samples(*(x[start : start + size] for x in samples))
        states = learner.model.response_states(
            part.prompt_ids, part.prompt_mask, part.response_ids, part.is_response
        )
        logps, _ = learner.model.logps(
            states, part.response_ids, part.is_response, learner.settings.temperature
        )
        rows.append(logps)
    return torch.cat(rows)


def _shaped_scores(learner: Learner, rollout: Rollout) -> Tensor:
    """Scores (B,) normalised, clipped, and punished for cut answers.

    The first batch fixes shift and scale: the policy still is the reference then.
    """
    settings, scores = learner.settings, rollout.scores
    if settings.normalise_scores:
        if learner.score_shift is None:
            learner.score_shift = float(scores.mean())
            learner.score_scale = max(float(scores.std(unbiased=False)), 1e-6)
        scores = (scores - learner.score_shift) / learner.score_scale
    if settings.score_clip:
        scores = scores.clamp(-settings.score_clip, settings.score_clip)
    return scores - settings.missing_eos_penalty * (~rollout.ended).float()


def _learn(
    learner: Learner,
    rollout: Rollout,
    cancel: CancelToken,
    clock: Clock,
    live: LiveSettings,
) -> Generator[Event, None, dict[str, float]]:
    """Steps 4 and 5: advantages, then the optimiser steps; returns the update's metrics."""
    settings = learner.settings
    if not settings.is_kl_adaptive:
        learner.kl = replace(learner.kl, coef=live.get("kl_coef", learner.kl.coef))
    is_response = rollout.is_response
    kl = kl_estimate(rollout.old_logps, rollout.ref_logps, settings.kl_estimator) * is_response
    scores = _shaped_scores(learner, rollout)
    rewards = place_rewards(scores, kl, is_response, learner.kl.coef)
    if settings.whiten_rewards:
        rewards = masked_whiten(rewards, is_response, shift_mean=False)
    advantages, returns = gae(
        rewards, rollout.old_values, is_response, settings.gamma, settings.gae_lambda
    )
    if settings.whiten_advantages:
        advantages = masked_whiten(advantages, is_response)

    lr = live.get("learning_rate", settings.learning_rate)
    if settings.lr_schedule == "linear":
        lr *= 1.0 - learner.update / settings.updates
    for group in learner.optimiser.param_groups:
        group["lr"] = lr

    totals = Totals()
    with clock.timing("optimise"), adapters.active(learner.model, ADAPTER):
        yield from _epochs(learner, rollout, advantages, returns, cancel, totals)
    if totals.n_skipped:
        learner.skipped_in_a_row += 1
        yield Warned(
            f"{totals.n_skipped} optimiser steps of update {learner.update + 1} were left out: "
            "their gradient is not a number.",
            "Lower the learning rate if this comes again.",
        )
    else:
        learner.skipped_in_a_row = 0
    sequence_kl = (rollout.old_logps - rollout.ref_logps).mul(is_response).sum(1)
    mean_kl, kl_coef = float(sequence_kl.mean()), learner.kl.coef
    if settings.is_kl_adaptive:
        learner.kl = learner.kl.updated(mean_kl, settings.batch_size)
    return {
        "objective/scores": float(rollout.scores.mean()),
        "objective/rlhf_reward": float((scores - kl_coef * kl.sum(1)).mean()),
        "objective/kl": mean_kl,
        "objective/kl_coef": kl_coef,
        "value/explained_variance": float(
            explained_variance(rollout.old_values, returns, is_response)
        ),
        "completions/mean_length": float(is_response.sum(1).float().mean()),
        "completions/eos_rate": float(rollout.ended.float().mean()),
        "optim/lr": lr,
        **totals.metrics(),
        **clock.metrics(),
    }


def _epochs(
    learner: Learner,
    rollout: Rollout,
    advantages: Tensor,
    returns: Tensor,
    cancel: CancelToken,
    totals: Totals,
) -> Iterator[Event]:
    """A fresh permutation of whole answers per epoch, one optimiser step per minibatch."""
    settings = learner.settings
    size = settings.batch_size // settings.minibatches
    n_steps = settings.epochs * settings.minibatches
    for epoch in range(settings.epochs):
        order = torch.tensor(
            permutation(settings.batch_size, settings.seed, _MINIBATCH, learner.update, epoch),
            device=learner.model.device,
        )
        for start in range(0, settings.batch_size, size):
            index = order[start : start + size]
            _gradients(learner, rollout, advantages, returns, index, cancel, totals)
            if settings.target_step_kl and totals.last_kl > 1.5 * settings.target_step_kl:
                learner.optimiser.zero_grad(set_to_none=True)
                return
            _step(learner, totals)
            yield Progress(totals.n_minibatches, n_steps, "Learning")


def _gradients(
    learner: Learner,
    rollout: Rollout,
    advantages: Tensor,
    returns: Tensor,
    index: Tensor,
    cancel: CancelToken,
    totals: Totals,
) -> None:
    """Gradients of one minibatch, in micro-batches weighted by their tokens."""
    model, settings = learner.model, learner.settings
    n_tokens = int(rollout.is_response[index].sum())
    sums: dict[str, float] = {}
    for start in range(0, len(index), settings.micro_batch_size):
        rows = index[start : start + settings.micro_batch_size]
        part = rollout.select(rows)
        with model.checking(cancel.raise_if_cancelled):
            states = model.response_states(
                part.prompt_ids, part.prompt_mask, part.response_ids, part.is_response
            )
        logps, entropies = model.logps(
            states,
            part.response_ids,
            part.is_response,
            settings.temperature,
            with_entropy_grad=settings.entropy_coef > 0,
        )
        policy_loss, stats = ppo_policy_loss(
            logps, part.old_logps, advantages[rows], part.is_response, settings.clip_range, n_tokens
        )
        values = learner.value_head(states)
        v_loss, v_clipped = value_loss(
            values,
            part.old_values,
            returns[rows],
            part.is_response,
            settings.value_clip_range,
            n_tokens,
        )
        mean_entropy = masked_mean(entropies, part.is_response) * part.is_response.sum() / n_tokens
        loss = policy_loss + settings.value_coef * v_loss - settings.entropy_coef * mean_entropy
        torch.autograd.backward(loss)
        log_ratio = float(stats.log_ratio_abs_max)
        totals.first_ratio_error = max(totals.first_ratio_error, log_ratio * totals.is_first)
        for name, value in {
            "loss/policy": policy_loss,
            "loss/value": v_loss,
            "objective/entropy": mean_entropy,
            "policy/approx_kl": stats.approx_kl_sum / n_tokens,
            "policy/clip_fraction": stats.clipped_sum / n_tokens,
            "value/clip_fraction": v_clipped / n_tokens,
        }.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    totals.add(sums)


def _step(learner: Learner, totals: Totals) -> None:
    """Clip and step; a gradient that is not finite is dropped and counted instead."""
    settings = learner.settings
    policy_norm = _norm(learner.parameters)
    value_norm = _norm(list(learner.value_head.parameters()))
    total = torch.nn.utils.clip_grad_norm_(
        [*learner.parameters, *learner.value_head.parameters()], settings.max_grad_norm
    )
    if torch.isfinite(total):
        learner.optimiser.step()
        totals.n_steps += 1
    else:
        totals.n_skipped += 1
    totals.norms.append((policy_norm, value_norm))
    learner.optimiser.zero_grad(set_to_none=True)


def _norm(parameters: Sequence[torch.nn.Parameter]) -> float:
    grads = [p.grad for p in parameters if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(grads))


def _samples(learner: Learner, batch: Sequence[Prompt], rollout: Rollout) -> Iterator[Event]:
    """The first answers of the batch: an honest draw, not the best ones."""
    kl = ((rollout.old_logps - rollout.ref_logps) * rollout.is_response).sum(1)
    for row in range(min(learner.settings.n_samples, len(batch))):
        ids = rollout.response_ids[row][rollout.is_response[row]].tolist()
        yield Sample(
            step=learner.update,
            prompt_id=batch[row].id,
            text=decode_answer(learner.model.tokenizer, ids),
            reward=float(rollout.scores[row]),
            kl=float(kl[row]),
            n_tokens=len(ids),
            is_finished=bool(rollout.ended[row]),
        )


def _checkpoint(learner: Learner, run_dir: Path) -> Saved:
    folder = run_dir / "checkpoints" / f"step-{learner.update:06d}"
    learner.save(folder)
    return Saved(learner.update, "checkpoint", str(folder))
