"""`train ... --plan`: what a run would take and what hinders it, and nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.cli.following import Outcome
from workbench.cli.show import Show

if TYPE_CHECKING:
    from workbench.app.planning import Plan
    from workbench.app.workspace import Workspace
    from workbench.config.algorithms import Algorithm
    from workbench.config.training import TrainingSettings

_GIB = 2**30


def show_plan(
    ws: Workspace,
    how: Algorithm,
    settings: TrainingSettings,
    show: Show,
    *,
    reward_run: int | None,
    start_run: int | None,
    base: str = "",
) -> Outcome:
    """Print the memory plan and every problem; failed when the run could not go well."""
    from workbench.app import planning

    is_known = bool(base or ws.selected_model)
    measured = planning.measure(ws, how, settings, base) if is_known else None
    problems = planning.problems(
        ws, how, settings, measured, reward_run=reward_run, start_run=start_run, base=base
    )
    plan = None
    if measured is not None:
        plan = planning.plan(ws, how, settings, measured, base=base, reward_run=reward_run)
    values: dict[str, object] = {"problems": [problem.message for problem in problems]}
    if plan is not None:
        values |= {
            "parts": dict(plan.memory.parts),
            "peak_bytes": plan.memory.peak_bytes,
            "room_bytes": plan.room.total_bytes,
            "is_enough": plan.is_enough,
        }
    lines = [] if plan is None else _lines(plan)
    lines += [f"{problem.where}: {problem.message}" for problem in problems]
    show.result(values, "\n".join(lines) or "Nothing is known of this model's size.")
    is_good = not problems and (plan is None or plan.is_enough)
    return Outcome.DONE if is_good else Outcome.FAILED


def _lines(plan: Plan) -> list[str]:
    parts = [f"{name:12} {n / _GIB:7.2f} GiB" for name, n in plan.memory.parts.items() if n]
    peak, there = plan.memory.peak_bytes / _GIB, plan.room.total_bytes / _GIB
    verdict = "fits" if plan.is_enough else "too much"
    return [*parts, f"{'peak':12} {peak:7.2f} GiB of {there:.2f} on {plan.room.device}: {verdict}"]
