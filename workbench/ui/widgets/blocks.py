"""Page header, card, banner, empty state."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from workbench.ui.theme import bold, theme
from workbench.ui.widgets.basics import Badge, Button, ElidedLabel, Status, button, label


class PageHeader(QWidget):
    """Title, one muted line of facts, badges; actions at the right."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.setMinimumHeight(56)
        self._facts = ElidedLabel("", "muted")
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(0, 8, 0, 8)
        self._layout.setSpacing(8)
        self._layout.addWidget(label(title, "page-title"))
        self._layout.addSpacing(4)
        # As wide as its words, so that badges follow them; it gives way first.
        self._facts.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self._layout.addWidget(self._facts)
        self._layout.addStretch(1)
        self._n_badges = 0

    def set_facts(self, facts: str) -> None:
        """The muted line beside the title."""
        self._facts.setText(facts)

    def facts(self) -> str:
        """The muted line beside the title."""
        return self._facts.text()

    def add_badge(self, badge: Badge) -> None:
        """Put a state badge after the facts."""
        self._layout.insertWidget(self._layout.indexOf(self._facts) + 1 + self._n_badges, badge)
        self._n_badges += 1

    def add_action(self, widget: QWidget) -> None:
        """Put a button at the right end; add quiet ones first, the filled one last."""
        self._layout.addWidget(widget)


class Card(QFrame):
    """A surface with a head: title left, one fact or one widget right. `body` takes the rest."""

    def __init__(self, title: str = "", fact: str = "") -> None:
        super().__init__()
        self.setProperty("card", True)
        self._title = label(title, "card-title")
        self._fact = label(fact, "muted")
        self._head = QHBoxLayout()
        self._head.setContentsMargins(0, 0, 0, 0)
        self._head.addWidget(self._title)
        self._head.addStretch(1)
        self._head.addWidget(self._fact)
        self.body = QVBoxLayout()
        self.body.setSpacing(8)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 12)
        layout.setSpacing(6)
        layout.addLayout(self._head)
        layout.addLayout(self.body, 1)
        # Only now: a widget without a parent would be shown as a window of its own.
        self._title.setVisible(bool(title))
        self._fact.setVisible(bool(fact))
        self.setAccessibleName(title)

    def set_title(self, title: str) -> None:
        """Change the title."""
        self._title.setText(title)
        self._title.setVisible(bool(title))
        self.setAccessibleName(title)

    def set_fact(self, fact: str) -> None:
        """Change the fact at the right of the head."""
        self._fact.setText(fact)
        self._fact.setVisible(bool(fact))

    def add_head(self, widget: QWidget) -> None:
        """Put a link or badge at the right of the head."""
        self._head.addWidget(widget)


class Banner(QFrame):
    """A verdict as a sentence, its reason under it, and the button that does the next thing."""

    clicked = Signal()
    dismissed = Signal()

    def __init__(
        self,
        kind: Status,
        text: str,
        detail: str = "",
        action: str = "",
        key: str = "",
        *,
        is_dismissable: bool = False,
    ) -> None:
        super().__init__()
        self._icon = QLabel()
        self._text = label("", wrap=True)
        bold(self._text, 1.08)
        self._detail = label("", "text-2", wrap=True)
        self._button: Button | None = None
        self._close = button(self.tr("Dismiss"), "quiet")
        self._close.clicked.connect(self._dismiss)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self._text)
        words.addWidget(self._detail)
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(12, 8, 12, 8)
        self._layout.setSpacing(10)
        self._layout.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        self._layout.addLayout(words, 1)
        self._layout.addWidget(self._close)
        self._close.setVisible(is_dismissable)
        theme().changed.connect(self._tint)
        self.set(kind, text, detail, action, key)

    def set(
        self, kind: Status, text: str, detail: str = "", action: str = "", key: str = ""
    ) -> None:
        """Show another verdict; an `action` gives a button that emits `clicked`."""
        self._kind = kind
        self._text.setText(text)
        self._detail.setText(detail)
        self._detail.setVisible(bool(detail))
        middle, top = Qt.AlignmentFlag.AlignVCenter, Qt.AlignmentFlag.AlignTop
        self._layout.setAlignment(self._icon, top if detail else middle)
        self.setAccessibleName(text)
        self.setAccessibleDescription(detail)
        if self._button is not None:
            self._layout.removeWidget(self._button)
            self._button.deleteLater()
            self._button = None
        if action:
            self._button = button(action, "outlined", key=key)
            self._button.clicked.connect(self.clicked)
            self._layout.insertWidget(2, self._button)
        self._tint()

    @property
    def action_button(self) -> QPushButton | None:
        """The button, when there is an action."""
        return self._button

    def text(self) -> str:
        """The verdict."""
        return self._text.text()

    def detail(self) -> str:
        """The reason."""
        return self._detail.text()

    def _dismiss(self) -> None:
        self.hide()
        self.dismissed.emit()

    def _tint(self) -> None:
        self._icon.setPixmap(theme().status_icon(self._kind, 20).pixmap(20, 20))
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Tint and line of the status."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme().color(f"{self._kind}-line"), 1))
        painter.setBrush(theme().color(f"{self._kind}-tint"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)


class EmptyState(QWidget):
    """What will be here, what to do next, and the button for it."""

    def __init__(self, icon: str, title: str, text: str, action: QPushButton | None = None) -> None:
        super().__init__()
        self._name = icon
        self._icon = QLabel()
        self._icon.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._title = label(title, "prompt")
        self._title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._text = label(text, "text-2", wrap=True)
        self._text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._text.setMaximumWidth(440)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addStretch(1)
        layout.addWidget(self._icon)
        layout.addWidget(self._title)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self._text, 8)
        row.addStretch(1)
        layout.addLayout(row)
        if action is not None:
            layout.addWidget(action, 0, Qt.AlignmentFlag.AlignCenter)
        layout.addStretch(1)
        self._tint()
        theme().changed.connect(self._tint)

    def set_texts(self, title: str, text: str) -> None:
        """Change both lines."""
        self._title.setText(title)
        self._text.setText(text)

    def set_text(self, text: str) -> None:
        """Change the second line."""
        self._text.setText(text)

    def _tint(self) -> None:
        self._icon.setPixmap(theme().icon(self._name, "muted", 40).pixmap(40, 40))
