"""The loop of algorithms that learn from the policy's own answers, and what they share.

One update: roll out a batch, let the algorithm learn from it, tell its figures and some samples,
save a checkpoint now and then. An algorithm's own file says how it learns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

from workbench.cancel import CancelToken
from workbench.config.training import OnPolicySettings, TrainingSettings
from workbench.data.folders import atomic_folder
from workbench.errors import Cancelled, UserError
from workbench.events import Event, Marked, Paused, Saved, Step
from workbench.models import adapters, policy
from workbench.models.policy import Guidance
from workbench.objectives.masking import masked_var
from workbench.objectives.repetition import repeated_share
from workbench.objectives.rollout import Rollout
from workbench.training.critic import Critic
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner
from workbench.training.loop import batch_indices
from workbench.training.opinions import asked, judged
from workbench.training.rollouts import roll_out
from workbench.training.samples import Watch, samples
from workbench.training.tally import Clock, Totals

S = TypeVar("S", bound=OnPolicySettings)
T = TypeVar("T", bound=TrainingSettings)
R = TypeVar("R")

# How an algorithm learns from one batch: gradient steps, then figures of its own.
Learn = Callable[[Rollout, Totals], Generator[Event, None, dict[str, float]]]


def run(
    learner: Learner[S],
    inputs: Inputs,
    cancel: CancelToken,
    learn: Learn,
    critic: Critic | None = None,
) -> Iterator[Event]:
    """Train to the end; yields `Step` and `Sample`s per update, `Saved` per checkpoint.

    A stop gives up the answers being generated (they are drawn again on going on) or finishes the
    gradient steps under way, then saves; going on from there is bit-equal to never having stopped.

    Raises:
        UserError: No prompts, no reward, or numbers that are not numbers any more.
        Cancelled: The token was cancelled; the last checkpoint stays.
    """
    prompts, reward, settings = inputs.need_prompts(), inputs.need_reward(), learner.settings
    model, ranks = learner.model, learner.ranks
    if settings.batch_size < ranks.size:
        raise UserError(
            f"A batch of {settings.batch_size} answers does not fill {ranks.size} processes.",
            "Raise Batch size, or start fewer processes.",
        )
    encoded = [model.encode_prompt(p.messages) for p in prompts]
    watch = Watch(learner, inputs, cancel, critic)
    n_prompts = settings.batch_size // settings.answers_per_prompt
    last_saved = learner.update if inputs.resume_from is not None else -1

    while learner.update < settings.updates and not ranks.any(cancel.should_stop):
        began, clock, totals = time.perf_counter(), Clock(), Totals()
        chosen = [
            i
            for i in batch_indices(len(prompts), n_prompts, learner.update, settings.seed)
            for _ in range(settings.answers_per_prompt)
        ]
        batch = [prompts[i] for i in chosen]
        try:
            yield from _saving_first(learner, inputs.run_dir, watch.when_due())
            rolling = roll_out(
                learner, batch, [encoded[i] for i in chosen], reward, cancel, clock, critic
            )
            rollout = yield from _saving_first(learner, inputs.run_dir, rolling)
        except Cancelled:
            if cancel.is_cancelled:
                raise
            break
        lr = learner.set_learning_rate(settings.updates)
        with clock.timing("optimise"), adapters.active(model, learner.adapter):
            figures = yield from learn(rollout, totals)
        yield from totals.warnings(learner.update + 1)
        learner.update += 1
        figures = {
            **_facts(rollout, has_values=critic is not None),
            "optim/lr": lr,
            **totals.metrics(),
            **figures,
            **clock.metrics(),
        }
        figures |= judged(learner, inputs.judge, batch, rollout, cancel)
        yield Step(learner.update, settings.updates, figures, time.perf_counter() - began)
        yield from samples(learner, batch, rollout, totals.tokens, has_values=critic is not None)
        learner.count_skipped(totals)
        pause = _past_budget(learner, figures["objective/kl"])
        is_asking = _wants_labels(settings, learner.update) and not cancel.should_stop
        if is_asking or _is_due(settings.checkpoint_every, learner.update):
            yield from save_checkpoint(learner, inputs.run_dir)
            last_saved = learner.update
        if pause is not None and learner.update < settings.updates:
            cancel.pause()
            yield Marked(learner.update, "pause", pause.message)
            yield pause
        if is_asking:
            yield asked(learner, batch, rollout, cancel)
            cancel.request_stop()

    yield from watch.at_the_end()
    if cancel.is_cancelled:
        raise Cancelled
    if last_saved != learner.update:
        yield from save_checkpoint(learner, inputs.run_dir)
    yield from save_adapter(learner, inputs.run_dir)


def _saving_first(
    learner: Learner[T], run_dir: Path, scoring: Generator[Event, None, R]
) -> Generator[Event, None, R]:
    """What scores answers; a checkpoint is there when the reward fails.

    The reward may be mended (a judge that is not reached, a function with a mistake), and the run
    then goes on from here.
    """
    try:
        return (yield from scoring)
    except UserError:
        if not _checkpoint(learner, run_dir).exists():
            yield from save_checkpoint(learner, run_dir)
        raise


def _wants_labels(settings: OnPolicySettings, update: int) -> bool:
    """Whether people are asked now; after the last update their labels would come too late."""
    return _is_due(settings.labels_every, update) and update < settings.updates


def _is_due(every: int, update: int) -> bool:
    return bool(every) and update % every == 0


def _facts(rollout: Rollout, *, has_values: bool) -> dict[str, float]:
    """Figures of a batch that need no algorithm."""
    is_response = rollout.is_response
    kl = (rollout.old_logps - rollout.ref_logps).mul(is_response).sum(1)
    values = rollout.old_values
    spread = {"value/spread": float(masked_var(values, is_response).sqrt())} if has_values else {}
    return {
        "objective/scores": float(rollout.scores.mean()),
        "objective/kl": float(kl.mean()),
        "completions/mean_length": float(is_response.sum(1).float().mean()),
        "completions/eos_rate": float(rollout.ended.float().mean()),
        "completions/repetition": float(repeated_share(rollout.response_ids, is_response)),
        **spread,
    }


def _past_budget(learner: Learner[S], kl: float) -> Paused | None:
    """Why the run should wait, when KL has passed what it may spend.

    Going on gives it the budget once more. A checkpoint keeps how far it may go.
    """
    counters = learner.counters
    budget = counters.get("kl_budget", learner.settings.kl_budget)
    budget = counters["kl_budget"] = learner.live.get("kl_budget", budget)
    limit = max(budget, counters.get("kl_limit", 0.0))
    if not (budget and kl > limit):
        return None
    further = counters["kl_limit"] = budget * (math.floor(kl / budget) + 1)
    return Paused(
        f"KL is {kl:.3g} nats per answer, past its budget of {limit:.3g}.",
        f"Go on, and it pauses again past {further:.3g}, or stop and save.",
    )


def save_checkpoint(learner: Learner[T], run_dir: Path) -> Iterator[Event]:
    """Write a checkpoint of the update that is done; one process does."""
    if learner.ranks.is_main:
        folder = _checkpoint(learner, run_dir)
        learner.save(folder)
        yield Saved(learner.update, "checkpoint", str(folder))


def _checkpoint(learner: Learner[T], run_dir: Path) -> Path:
    return run_dir / "checkpoints" / f"step-{learner.update:06d}"


def save_adapter(
    learner: Learner[T], run_dir: Path, guidance: Guidance | None = None
) -> Iterator[Event]:
    """Write what was learned, as a PEFT folder, with the heads that guide its sampling."""
    if learner.ranks.is_main:
        folder = run_dir / "adapter"
        with atomic_folder(folder, is_replacing=True) as partial:
            adapters.save(learner.model, learner.adapter, learner.settings.lora, partial)
            if guidance is not None:
                policy.save_guidance(guidance, partial)
        yield Saved(learner.update, "adapter", str(folder))
