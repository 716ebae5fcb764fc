"""The right end of the menu bar: the way to a hidden rank panel, the device and its memory."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from workbench.app import labelling
from workbench.app.memory import memory
from workbench.app.workspace import Workspace
from workbench.ui.actions import Actions
from workbench.ui.theme import theme
from workbench.ui.widgets.basics import Meter, button, label

_INTERVAL_MS = 2000


class Corner(QWidget):
    """Figures are read again every two seconds."""

    rank_wanted = Signal()

    def __init__(self, ws: Workspace, height: int, actions: Actions) -> None:
        super().__init__()
        self._ws = ws
        # The menu bar gives its corner the height that it asks for, at the upper edge.
        self.setMinimumHeight(height)
        self._rank = button(self.tr("Rank"), "quiet", icon="rank")
        actions.show_key(self._rank, "rank.focus")
        self._rank.clicked.connect(self.rank_wanted)
        # Its place is kept: a menu bar does not lay out a corner that grows.
        policy = self._rank.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._rank.setSizePolicy(policy)
        self._rank.setMinimumWidth(self._rank.sizeHint().width() + 24)
        self._rank.hide()
        self._icon = QLabel()
        self._text = label("", "text-2")
        self._meter = Meter()
        self._meter.setFixedWidth(60)
        self._meter.setAccessibleName(self.tr("Memory"))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 0, 16, 0)
        layout.setSpacing(8)
        for part in (self._rank, self._icon, self._text, self._meter):
            layout.addWidget(part)
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self._measure)
        self._timer.start()
        theme().changed.connect(self._tint)
        self._tint()
        self._measure()

    def show_rank_button(self, is_shown: bool) -> None:
        """Offer the rank panel while it is out of sight."""
        self._rank.setVisible(is_shown)
        self.refresh()

    def refresh(self) -> None:
        """Count what waits to be ranked, where that is shown."""
        if not self._rank.isHidden():
            n = labelling.progress(self._ws).n_left
            self._rank.setText(self.tr("Rank {n}").format(n=n) if n else self.tr("Rank"))

    def stop(self) -> None:
        """Read no more."""
        self._timer.stop()

    def _measure(self) -> None:
        found = memory(self._ws)
        used, total = found.used_bytes / 2**30, found.total_bytes / 2**30
        text = self.tr("{device}  {used} / {total} GB").format(
            device=found.device, used=f"{used:.1f}", total=f"{total:.0f}"
        )
        self._meter.set_value(used, total)
        if len(text) != len(self._text.text()):
            # Room for any digit, so that the bar does not lay itself out at every measurement.
            wide = self.fontMetrics().horizontalAdvance("0") * sum(c.isdigit() for c in text)
            rest = "".join(c for c in text if not c.isdigit())
            self._text.setMinimumWidth(wide + self.fontMetrics().horizontalAdvance(rest) + 4)
        self._text.setText(text)

    def _tint(self) -> None:
        self._icon.setPixmap(theme().pixmap("chip", "text-2", 16))
