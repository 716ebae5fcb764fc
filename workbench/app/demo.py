"""The experiment of the first start: a model and prompts are there, so there is work to do."""

from __future__ import annotations

import logging
from pathlib import Path

from workbench.app import exchange, library
from workbench.app.workspace import Workspace

log = logging.getLogger(__name__)

_GROUPS = ("dialogue", "tour")
_MODELS = ("starter", "tiny")


def create_demo(path: Path) -> Workspace:
    """Make the demo experiment: demo prompts, and the best shipped model that is here.

    Raises:
        UserError: The folder holds something else.
        EnvironmentProblem: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ws = Workspace.open(path, create=True)
    exchange.add_demo_prompts(ws, _GROUPS)
    usable = {i.source: i for i in library.models() if not (i.problems or i.is_conversion_needed)}
    for source in _MODELS:
        if source in usable:
            library.select_model(ws, usable[source].name)
            break
    return ws
