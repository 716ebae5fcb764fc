"""Probes on the command line: what they tell of the labels, and keeping one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.cli.following import Outcome, follow
from workbench.cli.options import SettingsFlags
from workbench.cli.show import Show
from workbench.config.probe import ProbeSettings

if TYPE_CHECKING:
    from workbench.app.probes import Report, Share
    from workbench.app.workspace import Workspace

PROBE = SettingsFlags(ProbeSettings)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Whether to keep one, and its settings."""
    parser.add_argument(
        "--keep", action="store_true", help="keep a probe of this kind as a reward model"
    )
    PROBE.add_to(parser)


def probe(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Keep a probe, or measure all kinds and print how good they are."""
    from workbench.app import probes

    settings = PROBE.read(options, probes.saved(ws))
    if options.keep:
        return follow(probes.keep(ws, settings), show)
    outcome = follow(probes.try_out(ws, settings, probes.KINDS), show)
    found = probes.report(ws)
    if outcome is Outcome.DONE and found is not None:
        show.result(found.to_dict(), "\n".join(_lines(found)))
    return outcome


def _lines(report: Report) -> Iterator[str]:
    yield f"Held-out accuracy of probes on {report.n_labels} labels, folds by prompt"
    for row in report.rows:
        place = f"layer {row.layer}, {row.pooling}"
        yield f"   {row.kind:9} {place:15} {_told(row.accuracy)}  {row.seconds:5.1f} s"
    yield "\nBy layer (least squares; the best one is a little flattered)"
    for layer, pooling, share in report.by_layer:
        yield f"   layer {layer:3}, {pooling}  {_told(share)}"
    yield f"\nWith so many labels ({report.rows[0].kind})"
    yield from (f"   {n:5}  {_told(share)}" for n, share in report.by_size)
    yield from (f"! {sentence}" for sentence in report.doubts)


def _told(share: Share) -> str:
    low, high = 100 * share.low, 100 * share.high
    return f"{100 * share.value:3.0f} %  95 % interval {low:.0f} to {high:.0f} %"
