"""Best of n: the baseline without training, and its best answers to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.app import bases, scorers
from workbench.app.answers import usable_prompts
from workbench.app.planning import reward_source
from workbench.app.runs import metrics
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config.algorithms import BEST_OF_N
from workbench.config.annotator import AnnotatorSettings
from workbench.config.best_of_n import BestOfNSettings
from workbench.data.records import NewCompletion, Run
from workbench.errors import UserError
from workbench.events import Warned
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.evaluation.best_of_n import Best
    from workbench.models.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over prompts with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Point:
    """What the best of n is worth: its score, length and distance from the base.

    `kl_bound` in nats per answer. The annotator's opinions are None when it was not asked: how
    often it finds the best of n better than a plain answer, and how much it likes it.
    """

    n: int
    kl_bound: float
    score: Figure
    length: Figure
    win_rate: Figure | None
    utility: Figure | None


def best_of_n(
    ws: Workspace,
    settings: BestOfNSettings,
    prompt_ids: Sequence[int],
    *,
    reward_run: int | None = None,
    annotator: AnnotatorSettings | None = None,
    is_kept: bool = False,
) -> Job:
    """Answer prompts many times with the base and choose the best by a reward model.

    Args:
        ws: The experiment.
        settings: How many answers, and how they are drawn.
        prompt_ids: Which prompts: held-out ones to measure on, others to make answers for.
        reward_run: Whose reward model chooses; None takes the newest.
        annotator: The simulated annotator that judges the choice; None leaves it out.
        is_kept: Whether the best answers become answers of the experiment, from which
            supervised fine-tuning can learn. Those that were cut do not: an end would be taught
            where there is none.

    Raises:
        UserError: No model, no prompts or no reward model.
    """
    info = ws.model_info()
    prompts = ws.experiment.prompts.get_many(prompt_ids)
    if not prompts:
        raise UserError(
            "There are no prompts to answer.",
            "Add some, or put some into the held-out split, on the Prompts page.",
        )
    scorer = reward_source(ws, reward_run)
    bases.require(scorer, info)
    ws.artifact_folder(scorer.id, "reward_model")
    judge = None if annotator is None else annotator.model_dump()
    run_id = ws.new_run(
        "evaluation",
        BEST_OF_N,
        {**settings.model_dump(), "annotator": judge},
        {
            "model": info.name,
            "model_digest": info.digest,
            "reward_run": scorer.id,
            "prompt_ids": [p.id for p in prompts],
        },
    )

    def work(cancel: CancelToken) -> Working:
        model = yield from ws.model(cancel)
        from workbench.evaluation import best_of_n as evaluation
        from workbench.rewards.annotator import SimulatedAnnotator

        fitting = yield from usable_prompts(model, prompts, settings.max_new_tokens)
        judge = None if annotator is None else SimulatedAnnotator(annotator)
        with closing((yield from scorers.opened(ws, scorer, model, cancel))) as reward:
            best = yield from evaluation.best_of_n(model, fitting, reward, judge, settings, cancel)
        n_kept = 0
        if is_kept:
            n_kept = _keep(ws, run_id, model, settings, best)
            if n_kept < len(best):
                yield Warned(
                    f"{len(best) - n_kept} of {len(best)} best answers were cut, or are empty, and "
                    "are not kept.",
                    "Raise the answer length.",
                )
        return {"n_prompts": len(best), "n_kept": n_kept}

    return ws.submit(ws.run(run_id).name, BEST_OF_N.name, work, run_id=run_id)


def curve(ws: Workspace, run_id: int) -> list[Point]:
    """What a run of best of n measured, from n = 1 on.

    Raises:
        UserError: It is no such run, or has measured nothing.
    """
    run = ws.run(run_id)
    found = {
        name.removeprefix("best_of_n/"): dict(points)
        for name, points in metrics(ws, run_id).items()
        if name.startswith("best_of_n/")
    }
    if not found:
        raise UserError(f"{run.name} has no curve.", "Choose a run of best of n that is done.")

    def figure(name: str, n: int) -> Figure:
        return Figure(found[name][n], found[f"{name}_low"][n], found[f"{name}_high"][n])

    return [
        Point(
            n=n,
            kl_bound=found["kl_bound"][n],
            score=figure("score", n),
            length=figure("length", n),
            win_rate=figure("win_rate", n) if "win_rate" in found else None,
            utility=figure("utility", n) if "utility" in found else None,
        )
        for n in sorted(found["kl_bound"])
    ]


def turning_point(points: Sequence[Point]) -> tuple[Point, bool] | None:
    """Where the judge liked the best of n most, when that is not at the end of the curve.

    From there on a higher score is no better answer: the reward is over-optimised (Gao et al.
    2023, arXiv:2210.10760). True with it when even the intervals of peak and end do not meet;
    they are of the same prompts, so that this asks for more than is needed.
    """
    judged = [(point, point.win_rate) for point in points if point.win_rate is not None]
    if not judged:
        return None
    peak, best = max(judged, key=lambda one: one[1].value)
    last = judged[-1][1]
    return None if last.value >= best.value else (peak, last.high < best.low)


def best_of_n_runs(ws: Workspace) -> list[Run]:
    """Runs of best of n, the newest first."""
    runs = ws.experiment.runs.list("evaluation")
    return [run for run in runs if run.algorithm == BEST_OF_N.name][::-1]


def _keep(
    ws: Workspace,
    run_id: int,
    model: LoadedModel,
    settings: BestOfNSettings,
    best: Sequence[Best],
) -> int:
    """Store the best answers that ended by themselves; their number."""
    sampling = {
        "temperature": settings.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "max_new_tokens": settings.max_new_tokens,
    }
    kept = [
        NewCompletion(
            prompt_id=one.prompt.id,
            text=one.text,
            token_ids=tuple(one.answer.ids),
            finish="stop",
            model_digest=model.info.digest,
            model_name=model.info.name,
            sampling=sampling,
            seed=one.answer.seed,
            run_id=run_id,
        )
        for one in best
        if one.answer.is_finished and one.text.strip()
    ]
    return len(ws.experiment.completions.add_many(kept))
