"""The command `judge --ai`: an AI judge is tried on the person's labels, then judges the rest."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from workbench.cli.following import Outcome, follow
from workbench.cli.options import SettingsFlags
from workbench.cli.show import Show
from workbench.config.judge import KEY_VARIABLE, JudgeSettings

if TYPE_CHECKING:
    from workbench.app.judge_agreement import Agreement
    from workbench.app.workspace import Workspace
    from workbench.objectives.agreement import Estimate

JUDGE = SettingsFlags(JudgeSettings, prefix="judge-")
WHICH = ("agree-check", "pending", "all")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `judge --ai`."""
    parser.add_argument(
        "--ai", action="store_true", help="let a model judge: the loaded one, or see --judge-where"
    )
    parser.add_argument(
        "--which",
        choices=WHICH,
        default="pending",
        help="with --ai: your own labels, to see how far it agrees with you (first of all); "
        "pairs that nobody has decided; or both",
    )
    parser.add_argument("--limit", type=int, default=0, help="with --ai: at most so many pairs")
    parser.add_argument(
        "--suggest", action="store_true", help="with --ai: keep its answers and judge nothing"
    )
    parser.epilog = f"The key of an endpoint is read from ${KEY_VARIABLE}; no flag holds it."
    JUDGE.add_to(parser)


def read(options: argparse.Namespace) -> JudgeSettings:
    """The judge; an address means an endpoint, a model alone another one of this machine.

    Raises:
        SettingsError: With everything that is wrong.
    """
    if not hasattr(options, "setting:judge-where"):
        for name, where in (("url", "endpoint"), ("model", "folder")):
            if getattr(options, f"setting:judge-{name}", ""):
                setattr(options, "setting:judge-where", where)
                break
    return JUDGE.read(options)


def judge(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Let it judge; after a check, how far it agrees."""
    from workbench.app import judge_agreement, judge_records, judging

    settings = read(options)
    # Not a flag: every user of the machine can read the arguments of a process.
    key = os.environ.get(KEY_VARIABLE, "").strip()
    job = judging.judge(
        ws, settings, options.which, limit=options.limit, is_suggestion=options.suggest, key=key
    )
    outcome = follow(job, show)
    if options.which == "agree-check":
        name = judge_records.name_of(ws, settings)
        shown = judge_agreement.show_agreement(ws, name)
        cost = judge_agreement.cost_sentence(ws, name)
        show.result(_values(shown), "\n".join(filter(None, [name, *_lines(shown), cost])))
    return outcome


def _lines(shown: Agreement) -> list[str]:
    from workbench.app import judge_agreement

    tags = [
        f"  {tag:20} kappa {k.value:.2f} ({k.low:.2f} to {k.high:.2f}) over {k.n}"
        for tag, k in shown.by_tag.items()
        if k.is_defined
    ]
    return [*judge_agreement.sentences(shown), *tags]


def _values(shown: Agreement) -> dict[str, Any]:
    return {
        "judge": shown.judge,
        "kappa": _estimate(shown.overall),
        "by_tag": {tag: _estimate(kappa) for tag, kappa in shown.by_tag.items()},
        "n_same": shown.n_same,
        "n_sided": shown.n_sided,
        "n_sided_same": shown.n_sided_same,
        "n_contradictions": shown.n_contradictions,
        "n_unreadable": shown.n_unreadable,
    }


def _estimate(kappa: Estimate) -> dict[str, float | int | None]:
    if not kappa.is_defined:
        return {"value": None, "low": None, "high": None, "n": kappa.n}
    return kappa._asdict()
