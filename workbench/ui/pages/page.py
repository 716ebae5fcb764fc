"""What every page is, and what it may ask of the window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from PySide6.QtWidgets import QWidget

from workbench.app.workspace import Workspace

if TYPE_CHECKING:
    from workbench.ui.actions import Actions
    from workbench.ui.bridge import JobBridge
    from workbench.ui.rank_panel import RankPanel
    from workbench.ui.theme import Theme


@dataclass(frozen=True, slots=True)
class UiContext:
    """What pages share.

    Attributes:
        actions: The commands: `actions.on(id, do)`, `actions[id]`.
        bridge: Jobs and changes as signals.
        theme: Colours and icons.
        show_page: Go to a page by its key.
        show_run: Go to the page (train, reward, evaluate) of a run.
        clone_run: Go to the Train page with the settings and inputs of a run in its form.
        notify: Say a sentence in the window: status kind, sentence, what to do.
        rank_panel: The side panel.
    """

    actions: Actions
    bridge: JobBridge
    theme: Theme
    show_page: Callable[[str], None]
    show_run: Callable[[str, int], None]
    clone_run: Callable[[int], None]
    notify: Callable[[str, str, str], None]
    rank_panel: Callable[[], RankPanel]


class Page(QWidget):
    """One stage of the experiment.

    `refresh` is called when the page is shown, and whenever the experiment changed meanwhile.
    """

    key: ClassVar[str]

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__()
        self.ws = ws
        self.context = context
        self.setObjectName(f"page-{self.key}")

    def refresh(self) -> None:
        """Show the records as they are now."""
