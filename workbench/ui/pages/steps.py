"""The eight steps of an experiment, with what is done, what is next and what comes later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QCoreApplication

from workbench.app.workspace import Overview
from workbench.ui.plural import counted

State = Literal["done", "next", "later"]
ORDER = ("model", "prompts", "answers", "rank", "reward", "policy", "evaluate", "export")


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One step as a row: `page` is where its button leads, `after` is shown while it is later."""

    key: str
    state: State
    icon: str
    title: str
    text: str
    action: str
    page: str
    after: str


def _tr(text: str) -> str:
    return QCoreApplication.translate("steps", text)


def steps_of(overview: Overview, model: str) -> list[StepInfo]:
    """The steps with their states; `model` is the selected model's name or empty."""
    texts = _texts(overview, model)
    next_step = overview.next_step
    reached = len(ORDER) if next_step == "done" else ORDER.index(next_step)
    steps = []
    for i, key in enumerate(ORDER):
        state: State = "done" if i < reached else "next" if i == reached else "later"
        icon, title, todo, done, action, page, after = texts[key]
        text = done if state == "done" else todo
        steps.append(StepInfo(key, state, icon, title, text, action, page, after))
    return steps


def _texts(overview: Overview, model: str) -> dict[str, tuple[str, str, str, str, str, str, str]]:
    """Icon, title, what to do, what was done, button, page, and what a later step waits for."""
    return {
        "model": (
            "models",
            _tr("Load a model"),
            _tr("A small starter model answers in seconds on a laptop."),
            model,
            _tr("Choose a model"),
            "models",
            "",
        ),
        "prompts": (
            "prompts",
            _tr("Add prompts"),
            _tr("Type or paste them, import a file, or take the demo prompts."),
            counted(overview.n_prompts, _tr("1 prompt"), _tr("{n} prompts")),
            _tr("Add prompts"),
            "prompts",
            "",
        ),
        "answers": (
            "answers",
            _tr("Generate answers"),
            _tr("Two or more answers for each prompt make the pairs."),
            counted(overview.n_completions, _tr("1 answer"), _tr("{n} answers")),
            _tr("Generate answers"),
            "answers",
            _tr("after prompts"),
        ),
        "rank": (
            "rank",
            _tr("Rank about 150 pairs"),
            _tr(
                "{judged} of {total} pairs ranked. "
                "Fewer than 100 seldom give a usable reward model."
            ).format(judged=overview.n_judged, total=overview.n_comparisons),
            _tr("{judged} of {total} pairs ranked").format(
                judged=overview.n_judged, total=overview.n_comparisons
            ),
            _tr("Rank pairs"),
            "rank",
            _tr("after answers"),
        ),
        "reward": (
            "reward",
            _tr("Train a reward model"),
            _tr("It learns from the ranked pairs which answer people prefer."),
            counted(overview.reward_runs, _tr("1 reward model"), _tr("{n} reward models")),
            _tr("Train a reward model"),
            "reward",
            _tr("after ranking"),
        ),
        "policy": (
            "train",
            _tr("Train the policy"),
            _tr("PPO, or another algorithm, moves the model towards answers that score well."),
            counted(overview.policy_runs, _tr("1 trained policy"), _tr("{n} trained policies")),
            _tr("Set up a run"),
            "train",
            _tr("after the reward model"),
        ),
        "evaluate": (
            "evaluate",
            _tr("Compare before and after"),
            _tr("Same prompts, same seeds, base and trained side by side."),
            counted(overview.evaluations, _tr("1 comparison"), _tr("{n} comparisons")),
            _tr("Compare"),
            "evaluate",
            _tr("after training"),
        ),
        "export": (
            "export",
            _tr("Export"),
            _tr("The adapter as a PEFT folder, the preferences as JSONL and CSV."),
            _tr("Adapter or preferences exported"),
            _tr("Export the adapter"),
            "runs",
            _tr("after comparing"),
        ),
    }
