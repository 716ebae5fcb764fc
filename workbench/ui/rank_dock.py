"""Where the rank panel is: in its dock at the right, or in the whole window for reading."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QDockWidget, QFrame, QHBoxLayout, QStackedWidget, QToolButton, QWidget

from workbench.ui.actions import Actions
from workbench.ui.rank_panel import RankPanel
from workbench.ui.theme import theme
from workbench.ui.widgets import label

WIDTH = 328


class RankDock(QDockWidget):
    """Holds the panel, or lends it to the window's middle; hidden in a narrow window until asked.

    Signals:
        moved: The panel has come, gone, grown or shrunk.
        left: The user goes back to the page.
    """

    moved = Signal()
    left = Signal()

    def __init__(self, panel: RankPanel, middle: QStackedWidget, actions: Actions) -> None:
        super().__init__(panel.tr("Rank"))
        self.setObjectName("rank-dock")
        self.setFeatures(QDockWidget.DockWidgetFeature.DockWidgetMovable)
        self._panel, self._middle = panel, middle
        self._is_narrow = False
        self._button = QToolButton()
        self._button.setProperty("quiet", True)
        self._button.setIconSize(QSize(14, 14))
        self._button.setAccessibleName(self.tr("Maximise rank panel"))
        self._actions = actions
        actions.keys_changed.connect(self._name_key)
        self._name_key()
        self._button.clicked.connect(self.toggle_maximised)
        head = QFrame()
        head.setProperty("dockhead", True)
        row = QHBoxLayout(head)
        row.setContentsMargins(12, 4, 8, 4)
        self._note = label("", "muted")
        row.addWidget(label(self.tr("Rank"), "card-title"), 1)
        row.addWidget(self._note)
        row.addWidget(self._button)
        self.setTitleBarWidget(head)
        self.setWidget(panel)
        panel.setMinimumWidth(280)
        panel.restore_wanted.connect(self.toggle_maximised)
        theme().changed.connect(self._tint)
        self._tint()

    def tell(self, note: str, tip: str = "") -> None:
        """One quiet line in the head, or none."""
        self._note.setText(note)
        self._note.setToolTip(tip)

    def _name_key(self) -> None:
        key = self._actions.key("rank.maximise")
        tip = self.tr("Read in the whole window")
        self._button.setToolTip(f"{tip} ({key})" if key else tip)

    @property
    def is_maximised(self) -> bool:
        """Whether the panel fills the window's middle."""
        return self.widget() is not self._panel

    @property
    def is_away(self) -> bool:
        """Whether the panel is nowhere to be seen."""
        return self.isHidden() and not self.is_maximised

    def has_focus(self) -> bool:
        """Whether the keys go to the panel."""
        # The stubs leave out that nothing may have the focus.
        focused: QWidget | None = self._panel.window().focusWidget()
        return self._panel is focused or self._panel.isAncestorOf(focused or self)

    def toggle_maximised(self) -> None:
        """F11: the panel in the whole window, and back into the dock."""
        if self.is_maximised:
            self._middle.removeWidget(self._panel)
            self.setWidget(self._panel)
            self._panel.set_maximised(False)
            self.show()
        else:
            self._middle.addWidget(self._panel)
            self._middle.setCurrentWidget(self._panel)
            self._panel.set_maximised(True)
            self.hide()
        self._panel.show()
        self._panel.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.moved.emit()

    def toggle_focus(self) -> None:
        """F6: to the panel, and back to the page."""
        if self.has_focus():
            self.leave()
            return
        self.setVisible(not self.is_maximised)
        self._panel.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.moved.emit()

    def leave(self) -> None:
        """Back to the page; in a narrow window the panel goes away."""
        if self.is_maximised:
            self.toggle_maximised()
        self.setVisible(not self._is_narrow)
        self.moved.emit()
        self.left.emit()

    def set_narrow(self, is_narrow: bool) -> None:
        """Hide in a narrow window; come back in a wide one."""
        if is_narrow != self._is_narrow:
            self._is_narrow = is_narrow
            self.setVisible(not is_narrow and not self.is_maximised)
            self.moved.emit()

    def sizeHint(self) -> QSize:
        """The dock's own width; the window may make it wider."""
        return QSize(WIDTH, super().sizeHint().height())

    def _tint(self) -> None:
        self._button.setIcon(theme().icon("maximise", "text-2", 14))
