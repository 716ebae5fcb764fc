"""Before and after: base and trained policy on held-out prompts under the same luck."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from workbench.app import bases, scorers
from workbench.app.answers import all_prompts, usable_prompts
from workbench.app.planning import reward_source
from workbench.app.workspace import Workspace, require_model, require_whole
from workbench.cancel import CancelToken
from workbench.config.algorithms import EVALUATION
from workbench.config.annotator import AnnotatorSettings
from workbench.config.evaluation import EvaluationSettings
from workbench.data.records import Prompt, Run
from workbench.errors import UserError
from workbench.jobs.runner import Job, Working

_PAIRS = "pairs"


@dataclass(frozen=True, slots=True)
class Side:
    """One answer of a compared pair; no reward model, no reward; `kl` in nats per answer."""

    text: str
    n_tokens: int
    is_finished: bool
    reward: float | None
    kl: float


@dataclass(frozen=True, slots=True)
class Row:
    """Both answers to one prompt; winners are base, trained, tie, or None when nobody judged."""

    prompt: Prompt
    seed: int
    base: Side
    trained: Side
    reward_winner: str | None
    annotator_winner: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished evaluation: its rows, and win rates and means with 95 % intervals.

    In a win rate a tie counts one half. Its interval is Wilson's over prompts, each counting
    once with its mean result; means have intervals that resample whole prompts. Keys come in
    threes: `win_rate`, `win_rate_low`, `win_rate_high`.
    """

    run: Run
    policy: Run
    rows: tuple[Row, ...]
    summary: Mapping[str, float]


def compare(
    ws: Workspace,
    run_id: int,
    settings: EvaluationSettings,
    annotator: AnnotatorSettings | None = None,
) -> Job:
    """Answer held-out prompts with the base and with a run's policy, and judge the pairs.

    Args:
        ws: The experiment.
        run_id: The policy run.
        settings: Number of prompts and answers, sampling, seed.
        annotator: The simulated annotator that judges as well; None for the reward model only.

    Raises:
        UserError: No held-out prompts, no adapter, another model is chosen, or nobody judges.
    """
    policy = ws.run(run_id)
    folder = ws.artifact_folder(run_id, "adapter")
    info = ws.model_info()
    require_model(policy, info)
    prompts = all_prompts(ws, "heldout")[: settings.n_prompts or None]
    if not prompts:
        raise UserError(
            "There are no held-out prompts to compare on.",
            "Put some prompts into the held-out split on the Prompts page.",
        )
    judge_run = scorer(ws, policy)
    if judge_run is None and annotator is None:
        raise UserError(
            "Nobody would judge: there is no reward model for this policy.",
            "Let the simulated annotator judge, or train a reward model.",
        )
    if judge_run is not None:
        bases.require(judge_run, info)
        ws.artifact_folder(judge_run.id, "reward_model")
    eval_run = ws.new_run(
        "evaluation",
        EVALUATION,
        {
            **settings.model_dump(),
            "annotator": annotator.model_dump() if annotator is not None else None,
        },
        {
            "model": info.name,
            "model_digest": info.digest,
            "policy_run": run_id,
            **({} if judge_run is None else {"reward_run": judge_run.id}),
            "prompt_ids": [p.id for p in prompts],
        },
    )

    def work(cancel: CancelToken) -> Working:
        require_whole(folder)
        model = yield from ws.model(cancel)
        from workbench.evaluation import arena
        from workbench.models import adapters
        from workbench.rewards.annotator import SimulatedAnnotator

        fitting = yield from usable_prompts(model, prompts, settings.max_new_tokens)
        judge = SimulatedAnnotator(annotator) if annotator is not None else None
        with ExitStack() as stack:
            stack.callback(adapters.remove, model, arena.ADAPTER)
            reward = None
            if judge_run is not None:
                reward = yield from scorers.opened(ws, judge_run, model, cancel)
                stack.callback(reward.close)
            pairs, _ = yield from arena.compare(
                model, fitting, folder, reward, judge, settings, cancel
            )
        return {_PAIRS: [pair.to_dict() for pair in pairs]}

    name = ws.run(eval_run).name
    return ws.submit(f"{name} of {policy.name}", "evaluation", work, run_id=eval_run)


def scorer(ws: Workspace, policy: Run) -> Run | None:
    """The reward run that judges a policy: the one it was trained with, else the newest that fits.

    None when there is none for its model: supervised fine-tuning, DPO and KTO need no reward model.
    """
    trained_with = policy.inputs.get("reward_run")
    if trained_with is not None:
        return reward_source(ws, int(str(trained_with)))
    for artifact in reversed(ws.experiment.artifacts.list()):
        run = ws.run(artifact.run_id)
        digests = {base.digest for base in bases.of_reward(run)}
        is_fitting = digests <= {policy.inputs.get("model_digest")}
        is_there = not ws.experiment.runs.is_deleted(run.id)
        if artifact.kind == "reward_model" and is_fitting and is_there:
            return run
    return None


def result(ws: Workspace, eval_run_id: int) -> Comparison:
    """Rows and summary of a finished evaluation.

    Raises:
        UserError: It is no evaluation, or it has not finished.
    """
    run = ws.run(eval_run_id)
    pairs = run.results.get(_PAIRS)
    if run.kind != "evaluation" or not isinstance(pairs, list):
        raise UserError(f"{run.name} has no results.", "Choose an evaluation that is done.")
    prompts = {pair["prompt_id"]: ws.experiment.prompts.get(pair["prompt_id"]) for pair in pairs}
    return Comparison(
        run=run,
        policy=ws.run(int(str(run.inputs["policy_run"]))),
        rows=tuple(_row(pair, prompts) for pair in pairs),
        summary={k: v for k, v in run.results.items() if isinstance(v, int | float)},
    )


def evaluations(ws: Workspace, run_id: int | None = None) -> list[Run]:
    """Evaluations that finished, the newest first; of one policy run or of all."""
    found = [
        run
        for run in ws.experiment.runs.list("evaluation")
        if _PAIRS in run.results and run_id in (None, run.inputs.get("policy_run"))
    ]
    return found[::-1]


def _row(pair: Mapping[str, Any], prompts: Mapping[int, Prompt]) -> Row:
    return Row(
        prompt=prompts[pair["prompt_id"]],
        seed=pair["seed"],
        base=_side(pair["base"]),
        trained=_side(pair["trained"]),
        reward_winner=pair["reward_winner"],
        annotator_winner=pair["annotator_winner"],
    )


def _side(answered: Mapping[str, Any]) -> Side:
    return Side(
        text=answered["text"],
        n_tokens=answered["n_tokens"],
        is_finished=answered["is_finished"],
        reward=answered["reward"],
        kl=answered["kl"],
    )
