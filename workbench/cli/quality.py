"""How good the labels are: the report as sentences, or as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from workbench.cli.following import Outcome
from workbench.cli.options import SettingsFlags
from workbench.cli.show import Show
from workbench.config.aggregation import AggregationSettings
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.app.aggregate import ModelStrength
    from workbench.app.quality import QualityReport
    from workbench.app.workspace import Workspace

RULE = SettingsFlags(AggregationSettings)
_MARKS = {"ok": "  ", "info": "  ", "warn": "! ", "bad": "!!"}
_LISTED = 10


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Whose labels, and by what rule they count for the strengths of models."""
    parser.add_argument(
        "--annotator", metavar="NAME", help="whose labels (default: yours, else whose are most)"
    )
    parser.add_argument(
        "--keep-rule", action="store_true", help="let models learn by this rule from now on"
    )
    RULE.add_to(parser)


def report(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Print what the labels tell of an annotator, of all together, and of the models."""
    from workbench.app import aggregate, quality

    found = quality.report(ws, options.annotator)
    if options.annotator and options.annotator not in found.annotators:
        names = ", ".join(found.annotators) or "nobody"
        raise UserError(
            f"{options.annotator} has judged nothing here.", f"There are labels of {names}."
        )
    rule = RULE.read(options, aggregate.rule_of(ws))
    if options.keep_rule:
        aggregate.save_rule(ws, rule)
    models = aggregate.model_strengths(ws, rule)
    values = found.to_dict() | {"models": quality.plain(models)}
    show.result(values, "\n".join([*_lines(found), *_model_lines(models)]))
    return Outcome.DONE


def _lines(report: QualityReport) -> Iterator[str]:
    yield report.verdict()[1]
    if report.findings:
        yield f"\nLabels of {report.annotator}"
    for finding in report.findings:
        yield f"{_MARKS[finding.state]} {finding.sentence}"
    yield from _some(
        "Pairs judged too fast",
        [f"{f.comparison_id}: {f.seconds:.1f} s, {f.n_words:.0f} words" for f in report.too_fast],
        report.n_too_fast,
    )
    if report.between:
        yield "\nBetween annotators"
        yield from (f"   {pair.sentence}" for pair in report.between)
        yield from (f"{_MARKS[alpha.state]} {alpha.sentence}" for alpha in report.alphas)
    yield from _some(
        "Pairs to settle",
        [
            f"{d.comparison_id}: {', '.join(f'{who} {what}' for who, what in d.said)}"
            for d in report.disagreements
        ],
        report.n_disagreements,
    )


def _some(title: str, lines: Sequence[str], n: int) -> Iterator[str]:
    if n:
        yield f"\n{title}"
    yield from (f"   pair {line}" for line in lines[:_LISTED])
    if n > _LISTED:
        yield f"   and {n - _LISTED} more (--json lists up to a thousand)"


def _model_lines(models: Sequence[ModelStrength]) -> Iterator[str]:
    if not models:
        return
    yield "\nModels, by how often they would be chosen over one of mean strength"
    for model in models:
        rate = model.win_rate
        yield (
            f"   {model.name:40} {100 * rate.value:3.0f} %  95 % interval {100 * rate.low:.0f} to"
            f" {100 * rate.high:.0f} %  n = {rate.n}"
        )
