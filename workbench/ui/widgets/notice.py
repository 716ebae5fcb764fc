"""The sentence above a page: what happened, what to do; it goes away or is dismissed."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QTimer

from workbench.ui.widgets.basics import Status
from workbench.ui.widgets.blocks import Banner

_READING_MS = 8000
_PASSING = ("ok", "info")


class Notice(Banner):
    """A banner for the whole window. Good news passes by itself; trouble stays."""

    def __init__(self) -> None:
        super().__init__("info", "", is_dismissable=True)
        self._do: Callable[[], object] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_READING_MS)
        self._timer.timeout.connect(self.hide)
        self.clicked.connect(self._act)
        self.hide()

    def tell(
        self,
        kind: Status,
        text: str,
        detail: str = "",
        action: str = "",
        do: Callable[[], object] | None = None,
    ) -> None:
        """Show a sentence; an `action` gives a button that does `do` and ends the notice."""
        self._do = do
        self.set(kind, text, detail, action)
        self.show()
        if kind in _PASSING and not action:
            self._timer.start()
        else:
            self._timer.stop()

    def _act(self) -> None:
        self.hide()
        if self._do is not None:
            self._do()
