"""What the navigation says of each stage: it is the progress of the experiment."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QCoreApplication

from workbench.app.workspace import Workspace
from workbench.config.algorithms import DESIGN
from workbench.data.records import Run
from workbench.ui.pages.run_facts import heldout
from workbench.ui.pages.wording import percent
from workbench.ui.plural import counted
from workbench.ui.widgets.navigation import Navigation, NavState

PAGE_OF_KIND = {
    "reward": "reward",
    "report": "reward",
    "score": "reward",
    "measure": "design",
    "policy": "train",
    "evaluation": "evaluate",
}
"""The page of a kind of run, and of jobs that tell their end there."""

Facts = dict[str, tuple[str, NavState]]


def stages(ws: Workspace) -> Facts:
    """Count and state of each stage, from the records."""
    overview = ws.overview()
    rewards = ws.experiment.runs.list("reward")
    facts: Facts = {
        "models": ("1", "ok") if ws.selected_model else ("", ""),
        "prompts": (_n(overview.n_prompts), "ok" if overview.n_prompts else ""),
        "answers": (_n(overview.n_completions), "ok" if overview.n_completions else ""),
        "preferences": _judged(overview.n_judged, overview.n_comparisons),
        "reward": _reward([run for run in rewards if run.algorithm != DESIGN.name]),
        "design": (_n(sum(run.algorithm == DESIGN.name for run in rewards)), ""),
        "train": (_n(overview.policy_runs), "ok" if overview.policy_runs else ""),
        "evaluate": (_n(overview.evaluations), "ok" if overview.evaluations else ""),
        "runs": (_n(len(ws.experiment.runs.list())), ""),
    }
    return facts


def show(ws: Workspace, navigation: Navigation, problems: Iterable[tuple[str, int]]) -> None:
    """Write it into the navigation; settings that must be corrected come before counts."""
    facts = stages(ws)
    for key, n in problems:
        facts[key] = (counted(n, _tr("1 problem"), _tr("{n} problems")), "bad")
    for key, (count, state) in facts.items():
        navigation.set_count(key, count, state)


def _tr(text: str) -> str:
    return QCoreApplication.translate("progress", text)


def _n(count: int) -> str:
    return str(count) if count else ""


def _judged(done: int, total: int) -> tuple[str, NavState]:
    if not total:
        return "", ""
    return f"{done}/{total}", "ok" if done >= total else ""


def _reward(runs: list[Run]) -> tuple[str, NavState]:
    """Held-out accuracy of the newest model; a warning while it may be chance."""
    usable = [run for run in runs if run.status in ("done", "stopped")]
    if not usable:
        return "", ""
    held = heldout(usable[-1])
    if held is None:
        return str(len(usable)), "warn"
    return percent(held.accuracy), "ok" if held.low > 0.5 else "warn"
