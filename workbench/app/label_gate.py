"""What a run asks people about its own answers, and whose reward it learns from afterwards."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from workbench.app import scorers
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config import toml
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import LabelRound, NewCompletion, Preference, Run
from workbench.data.sameness import normalised
from workbench.data.training_data import DATA_FILE, TrainingData
from workbench.events import Asked, Event, Marked, OwnAnswer
from workbench.objectives.intervals import wilson

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

_FEWEST = 8


class Gate(NamedTuple):
    """How two reward models do on the same held-out pairs; shares of pairs ordered right."""

    n_pairs: int
    n_unseen: int  # of these, pairs on prompts that the old one did not learn from
    before: float
    after: float


def ask(ws: Workspace, run: Run, asked: Asked) -> Marked:
    """Put a run's own answers first in the ranking queue; answers that are alike are left out."""
    rng = random.Random(f"{run.id}/{asked.step}")
    pairs = []
    with ws.experiment.database.write():
        for prompt_id, *both in asked.pairs:
            if normalised(both[0].text) == normalised(both[1].text):
                continue
            rng.shuffle(both)
            new = [_completion(run, prompt_id, answer) for answer in both]
            first, second = ws.experiment.completions.add_many(new)
            pairs.append((prompt_id, first, second))
        found = ws.experiment.comparisons.ensure(pairs)
        ids = [comparison.id for comparison, _ in found]
        ws.experiment.comparisons.put_first(ws.annotator, ids)
        before, _ = reward_run_at(ws, run, asked.step - 1)
        ws.experiment.label_rounds.open(run.id, asked.step, ids, before)
    return Marked(asked.step, "labels", f"{len(ids)} pairs of its own answers wait for labels.")


def reward_run_at(ws: Workspace, run: Run, step: int) -> tuple[int, bool]:
    """Whose reward a run learns from after `step`, and whether it has just changed there."""
    for past in reversed(ws.experiment.label_rounds.of_run(run.id)):
        if past.outcome == "accepted" and past.step <= step and past.reward_run_trained:
            return past.reward_run_trained, past.step == step
    return int(str(run.inputs["reward_run"])), False


def decide(
    ws: Workspace, model: LoadedModel, run: Run, step: int, cancel: CancelToken
) -> Generator[Event, None, None]:
    """Settle a run's open round: is the reward model that learned from it at least as good?

    Both order the pairs that the new one kept apart, those on prompts that the old one has not
    learned from where there are enough. The new one scores from here on when it orders no fewer
    of them right.
    """
    rounds = ws.experiment.label_rounds
    for waiting in rounds.of_run(run.id):
        if waiting.outcome != "open":
            continue
        trained = waiting.reward_run_trained
        has_model = trained is not None and any(
            a.kind == "reward_model" for a in ws.experiment.artifacts.for_run(trained)
        )
        if trained is None or not has_model:
            rounds.finish(waiting.id, "skipped", {})
            yield Marked(step, "labels", "It goes on with the reward that it had.")
            continue
        gate = yield from _compare(ws, model, waiting, trained, cancel)
        is_better = gate.after >= gate.before
        rounds.finish(waiting.id, "accepted" if is_better else "refused", gate._asdict())
        yield Marked(step, "labels", _sentence(ws, waiting, trained, gate))


def _sentence(ws: Workspace, waiting: LabelRound, trained: int, gate: Gate) -> str:
    old, new = ws.run(waiting.reward_run_before).name, ws.run(trained).name
    low, high = wilson(gate.after * gate.n_pairs, gate.n_pairs)
    measured = (
        f"{new} orders {gate.after:.0%} [{low:.0%}, {high:.0%}] of {gate.n_pairs} held-out pairs "
        f"right, {old} {gate.before:.0%}"
    )
    seen = gate.n_pairs - gate.n_unseen
    if seen:
        measured += f" (it has learned from {seen} of them)"
    scores = new if gate.after >= gate.before else old
    return f"{measured}: {scores} scores from here on."


def _compare(
    ws: Workspace, model: LoadedModel, waiting: LabelRound, trained: int, cancel: CancelToken
) -> Generator[Event, None, Gate]:
    new_all, new_heldout = yield from _heldout(ws, model, trained, cancel)
    old_all, old_heldout = yield from _heldout(ws, model, waiting.reward_run_before, cancel)
    learned = {pair.prompt.id for pair in old_all} - old_heldout
    kept = [pair for pair in new_all if pair.prompt.id in new_heldout]
    unseen = [pair for pair in kept if pair.prompt.id not in learned]
    used = unseen if len(unseen) >= _FEWEST else kept
    return Gate(
        n_pairs=len(used),
        n_unseen=sum(pair.prompt.id not in learned for pair in used),
        before=_accuracy(ws, model, waiting.reward_run_before, used),
        after=_accuracy(ws, model, trained, used),
    )


def _heldout(
    ws: Workspace, model: LoadedModel, run_id: int, cancel: CancelToken
) -> Generator[Event, None, tuple[Sequence[Preference], set[int]]]:
    """What a reward run learned from, and the prompts that it kept apart."""
    from workbench.training.inputs import Inputs
    from workbench.training.reward_items import encode_items

    folder = ws.run_folder(run_id)
    settings = toml.validate(RewardModelSettings, ws.run(run_id).settings)
    data = TrainingData.read(folder / DATA_FILE)
    inputs = Inputs(
        model,
        folder,
        preferences=data.preferences,
        ties=data.ties,
        rankings=data.rankings,
        ratings=data.ratings,
    )
    items = yield from encode_items(settings, inputs, cancel)
    return data.preferences, items.heldout_prompts


def _accuracy(ws: Workspace, model: LoadedModel, run_id: int, pairs: Sequence[Preference]) -> float:
    """Share of pairs that a run's reward orders right; equal scores count half."""
    prompts = [pair.prompt.messages for pair in pairs]
    with scorers.loaded(model, ws.artifact_folder(run_id, "reward_model")) as scorer:
        chosen = scorer.score_texts(prompts, [pair.chosen for pair in pairs])
        rejected = scorer.score_texts(prompts, [pair.rejected for pair in pairs])
    wins = [(a > b) + 0.5 * (a == b) for a, b in zip(chosen, rejected, strict=True)]
    return sum(wins) / len(wins)


def _completion(run: Run, prompt_id: int, answer: OwnAnswer) -> NewCompletion:
    return NewCompletion(
        prompt_id=prompt_id,
        text=answer.text,
        token_ids=answer.token_ids,
        finish="stop" if answer.is_finished else "length",
        model_digest=str(run.inputs.get("model_digest", "")),
        model_name=str(run.inputs.get("model", "")),
        adapter=run.name,
        sampling={
            "temperature": run.settings["temperature"],
            "top_p": 1.0,
            "top_k": 0,
            "max_new_tokens": run.settings["max_new_tokens"],
        },
        seed=answer.seed,
        run_id=run.id,
    )
