"""The standing judgements of an experiment, newest first."""

from __future__ import annotations

from workbench.app.workspace import Workspace
from workbench.data.records import Verdict
from workbench.store.judgements import JudgedPair
from workbench.ui.models.keyset import Fetch


def judgement_key(pair: JudgedPair) -> int:
    """What names a row across refreshes."""
    return pair.judgement.id


def judgement_fetch(
    ws: Workspace, *, verdict: Verdict | None = None, search: str = ""
) -> Fetch[JudgedPair]:
    """Pages of the judgements that match all filters."""

    def fetch(after: JudgedPair | None, limit: int) -> list[JudgedPair]:
        return ws.experiment.judgements.list(
            after_id=after.judgement.id if after else 0,
            limit=limit,
            verdict=verdict,
            search=search,
            is_newest_first=True,
        )

    return fetch
