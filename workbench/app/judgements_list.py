"""The list of all judgements, and what can be done to many of them at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.events import Event, Progress
from workbench.jobs.runner import Job
from workbench.store.judgement_list import ListedJudgement, Order, Wanted
from workbench.store.undo import Group

BATCH = 1000
"""As many are changed at once, in about a tenth of a second; more are a job."""

Change = Callable[[Workspace, Sequence[int]], int]


def page(
    ws: Workspace,
    wanted: Wanted,
    order: Order = "newest",
    after: ListedJudgement | None = None,
    limit: int = 200,
) -> list[ListedJudgement]:
    """Some of the standing judgements in order, beginning behind `after`."""
    return ws.experiment.judgement_list.page(wanted, order, after, limit)


def count(ws: Workspace, wanted: Wanted) -> int:
    """How many judgements all pages have together."""
    return ws.experiment.judgement_list.count(wanted)


def delete_pairs(ws: Workspace, comparison_ids: Sequence[int]) -> int | Job:
    """Hide pairs, so that they neither wait nor count; one undoable operation.

    Returns:
        How many there were; for many a job, whose result has them as `n`.

    Raises:
        UserError: The experiment is open read-only.
    """
    ids = sorted(set(comparison_ids))
    return _change(ws, ids, "Delete pairs", _delete, "deleted {n} pair{s}")


def take_back(ws: Workspace, judgement_ids: Sequence[int]) -> int | Job:
    """Let the pairs wait again for those who judged them; one undoable operation.

    What the same annotator said of such a pair before does not stand any more either: else the
    pair would not wait.

    Returns:
        How many judgements stand no more; for many a job, whose result has them as `n`.

    Raises:
        UserError: The experiment is open read-only.
    """
    ids = ws.experiment.judgement_list.with_earlier(judgement_ids)
    return _change(ws, ids, "Queue pairs again", _take_back, "took back {n} judgement{s}")


def delete_all(ws: Workspace, wanted: Wanted) -> int | Job:
    """As `delete_pairs`, for all judgements that are wanted."""
    return delete_pairs(ws, [pair for _, pair in ws.experiment.judgement_list.ids(wanted)])


def take_back_all(ws: Workspace, wanted: Wanted) -> int | Job:
    """As `take_back`, for all judgements that are wanted."""
    return take_back(ws, [judgement for judgement, _ in ws.experiment.judgement_list.ids(wanted)])


def _delete(ws: Workspace, ids: Sequence[int]) -> int:
    return ws.experiment.comparisons.delete(ids)


def _take_back(ws: Workspace, ids: Sequence[int]) -> int:
    return ws.experiment.judgements.take_back(ids)


def _change(ws: Workspace, ids: Sequence[int], title: str, change: Change, name: str) -> int | Job:
    ws.check_writable()
    if len(ids) <= BATCH:
        return change(ws, ids)

    def work(cancel: CancelToken) -> Iterator[Event]:
        return _in_batches(ws, ids, title, change, name, cancel)

    return ws.submit(title, "change", work)


def _in_batches(
    ws: Workspace,
    ids: Sequence[int],
    title: str,
    change: Change,
    name: str,
    cancel: CancelToken,
) -> Generator[Event, None, Mapping[str, object]]:
    """One operation that grows, so that a verdict need not wait for more than a batch."""
    group = Group()
    n = 0
    for start in range(0, len(ids), BATCH):
        if cancel.should_stop:
            break
        with ws.experiment.undo.operation("", group) as operation:
            n += change(ws, ids[start : start + BATCH])
            operation.name = name.format(n=n, s="" if n == 1 else "s")
        yield Progress(min(start + BATCH, len(ids)), len(ids), title)
    return {"n": n}
