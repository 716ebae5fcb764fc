"""The standing judgements of an experiment, as the list shows them."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.app import judgements_list
from workbench.app.workspace import Workspace
from workbench.store.judgement_list import ListedJudgement, Order, Wanted
from workbench.ui.models.keyset import Fetch


def judgement_key(listed: ListedJudgement) -> int:
    """What names a row across refreshes."""
    return listed.judgement.id


def judgement_fetch(ws: Workspace, wanted: Wanted, order: Order) -> Fetch[ListedJudgement]:
    """Pages of the judgements that are wanted, in order."""

    def fetch(after: ListedJudgement | None, limit: int) -> Sequence[ListedJudgement]:
        return judgements_list.page(ws, wanted, order, after, limit)

    return fetch
