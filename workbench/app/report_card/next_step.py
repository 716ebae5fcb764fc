"""What a report card leads to: pairs to the front of the queue, or a pair to be judged again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.app.workspace import Workspace
from workbench.errors import UserError
from workbench.evaluation.report_records import ReportCard
from workbench.evaluation.report_verdict import weakest

_MOST = 80
_OVERRULED = ("simulated", "ai")


@dataclass(frozen=True, slots=True)
class NextStep:
    """The one thing to do next.

    Attributes:
        kind: Queue pairs, generate answers because no pair is left, or nothing.
        what: Which pairs, in words: a group, a tag, or "pairs".
        ids: The comparisons to queue.
    """

    kind: str
    what: str = ""
    ids: tuple[int, ...] = ()


def next_step(ws: Workspace, card: ReportCard) -> NextStep:
    """What would help most: pairs of the weak slice, or any pairs where no slice stands out.

    A good reward needs nothing. Reads pairs and labels.
    """
    if card.verdict.level == "good":
        return NextStep("none")
    said = {p.comparison_id: p.annotator_kind for p in ws.experiment.judgements.preferences()}
    # Those that nobody decided first, then those whose label a machine gave.
    waiting = ws.experiment.comparisons.pending(ws.annotator)
    pending = [c for c in waiting if c.id not in said]
    pending += [c for c in waiting if said.get(c.id) in _OVERRULED]
    weak = weakest(card.measured)
    if weak is not None:
        tags = ws.experiment.ai_answers.tags_of([c.id for c in pending])
        some = [c.id for c in pending if weak.name in tags.get(c.id, ())]
        if some:
            return NextStep("queue", weak.name, tuple(some[:_MOST]))
    if pending:
        return NextStep("queue", "pairs", tuple(c.id for c in pending[:_MOST]))
    return NextStep("generate")


def queue_pairs(ws: Workspace, ids: Sequence[int]) -> int:
    """Put pending pairs first in this annotator's queue, in the order given; how many.

    Raises:
        UserError: The experiment is open read-only.
    """
    ws.check_writable()
    return ws.experiment.comparisons.put_next(ws.annotator, ids)


def judge_again(ws: Workspace, comparison_id: int) -> None:
    """Send a judged pair back: it comes next in this annotator's queue.

    Their own verdict on it, if they gave one, is taken back as by undo: a pair is pending or
    judged, not both. Others' verdicts stand until the person's word goes before them.

    Raises:
        UserError: The pair is gone, or the experiment is open read-only.
    """
    ws.check_writable()
    ws.experiment.comparisons.get(comparison_id)
    latest = ws.experiment.judgements.latest(comparison_id, ws.annotator)
    while latest is not None:
        ws.experiment.judgements.take_back([latest.id])
        latest = ws.experiment.judgements.latest(comparison_id, ws.annotator)
    if not queue_pairs(ws, [comparison_id]):
        raise UserError(
            "This pair was deleted, so nobody can judge it.", "Take it back with undo first."
        )
