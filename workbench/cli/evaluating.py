"""Text metrics, safety measures and the regression gate on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.following import Outcome, follow
from workbench.cli.options import SettingsFlags
from workbench.cli.show import Show
from workbench.config.gate import GateSettings
from workbench.config.measures import measure_of
from workbench.config.safety import SafetySettings
from workbench.config.text_evaluation import TextEvaluationSettings

if TYPE_CHECKING:
    from workbench.app.measuring import Measured
    from workbench.app.workspace import Workspace
    from workbench.data.figures import Estimate, Figure
    from workbench.jobs.runner import Job

TEXT = SettingsFlags(TextEvaluationSettings)
SAFETY = SettingsFlags(SafetySettings)
GATE = SettingsFlags(GateSettings)
PolicyRun = Callable[["Workspace", argparse.Namespace], int]


def add_text_flags(parser: argparse.ArgumentParser) -> None:
    """Which policy, whose answers, what they are compared with."""
    _add_run(parser)
    parser.add_argument(
        "--pairs-run",
        type=int,
        metavar="RUN",
        help="measure the answers of this comparison (default: answer the prompts anew)",
    )
    parser.add_argument(
        "--references-file", metavar="FILE", help="JSONL or CSV with answers to held-out prompts"
    )
    parser.add_argument(
        "--text-file", metavar="FILE", help="TXT or JSONL with held-out text, for its perplexity"
    )
    TEXT.add_to(parser)


def add_safety_flags(parser: argparse.ArgumentParser) -> None:
    """Which policy, and what the user adds to the shipped prompts and words."""
    _add_run(parser)
    parser.add_argument(
        "--words", metavar="FILE", help="toxic words, one a line (default: a small list)"
    )
    parser.add_argument(
        "--classifier", metavar="DIR", help="folder of a text classifier that measures toxicity"
    )
    parser.add_argument(
        "--toxic-label",
        default="",
        metavar="NAME",
        help="its label that means toxic (default: the one that is called so)",
    )
    parser.add_argument(
        "--sentences", metavar="FILE", help="CSV of pairs of sentences like CrowS-Pairs"
    )
    SAFETY.add_to(parser)


def add_gate_flags(parser: argparse.ArgumentParser) -> None:
    """Which policy, and the bounds."""
    _add_run(parser)
    GATE.add_to(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=int, help="policy run (default: the newest)")


def text_metrics(
    ws: Workspace, options: argparse.Namespace, show: Show, policy_run: PolicyRun
) -> Outcome:
    """Measure texts before and after, and print the figures."""
    from workbench.app import text_evaluation

    job = text_evaluation.measure(
        ws,
        policy_run(ws, options),
        TEXT.read(options),
        pairs_run=options.pairs_run,
        references_file=_path(options.references_file),
        text_file=_path(options.text_file),
    )
    return _tell(job, show, lambda run: text_evaluation.result(ws, run))


def safety(
    ws: Workspace, options: argparse.Namespace, show: Show, policy_run: PolicyRun
) -> Outcome:
    """Measure safety before and after, and print the figures."""
    from workbench.app import safety as app_safety

    files = app_safety.SafetyFiles(
        _path(options.words),
        _path(options.classifier),
        options.toxic_label,
        _path(options.sentences),
    )
    job = app_safety.measure(ws, policy_run(ws, options), SAFETY.read(options), files)
    return _tell(job, show, lambda run: app_safety.result(ws, run))


def gate(ws: Workspace, options: argparse.Namespace, show: Show, policy_run: PolicyRun) -> Outcome:
    """Hold what was measured against the bounds; a gate that is not passed ends with a failure."""
    from workbench.app import gate as app_gate

    bounds = GATE.read(options)
    found = app_gate.check(ws, policy_run(ws, options), bounds)
    show.result(
        {"verdict": found.verdict, "checks": [check.to_dict() for check in found.checks]},
        "\n".join([found.sentence, *(f"{c.state:10} {c.sentence}" for c in found.checks)]),
    )
    return Outcome.DONE if found.verdict == "passed" else Outcome.FAILED


def _path(given: str | None) -> Path | None:
    return Path(given) if given else None


def _tell(job: Job, show: Show, read: Callable[[int], Measured]) -> Outcome:
    outcome = follow(job, show)
    if outcome is Outcome.DONE and job.run_id is not None and job.outcome == "done":
        found = read(job.run_id)
        values = {
            "figures": [figure.to_dict() for figure in found.figures],
            "notes": list(found.notes),
            "signatures": dict(found.signatures),
        }
        show.result(values, "\n".join(_lines(found)))
    return outcome


def _lines(found: Measured) -> Iterator[str]:
    yield f"{'':42} {'before':26} {'after':26} change"
    for figure in found.figures:
        yield (
            f"{_title(figure):42} {_words(figure, figure.before):26} "
            f"{_words(figure, figure.after):26} {_words(figure, figure.change)}"
        )
    for name, signature in found.signatures.items():
        yield f"{measure_of(name).title}: {signature}"
    yield from found.notes


def _title(figure: Figure) -> str:
    measure = measure_of(figure.name)
    part = figure.name.partition(".")[2]
    unit = f", {measure.unit}" if measure.unit else ""
    return f"{measure.title}{f' ({part})' if part else ''}{unit}"


def _words(figure: Figure, estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    measure = measure_of(figure.name)
    factor = 100.0 if measure.unit == "%" else 1.0
    value, low, high = (
        f"{factor * end:.{measure.digits}f}"
        for end in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"
