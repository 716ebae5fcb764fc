"""Buttons, badges, meters, labels."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QEvent, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from workbench.ui.theme import repolish, scaled, theme

ButtonKind = Literal["filled", "outlined", "quiet", "link", "danger"]
Status = Literal["ok", "warn", "bad", "info", "neutral"]


class Keycap(QLabel):
    """A key as it stands on a button."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.setProperty("keycap", True)
        scaled(self, 0.85)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)


class Button(QPushButton):
    """A push button with an optional icon and the key that does the same."""

    def __init__(self, text: str, kind: ButtonKind, icon: str | None, key: str) -> None:
        super().__init__(text)
        self.setProperty("kind", kind)
        self._icon = icon
        self._kind = kind
        self._key = Keycap(key) if key else None
        if self._key is not None:
            self._key.setParent(self)
            # The words make room for the keycap beside them.
            width = self._key.sizeHint().width() + 19
            self.setStyleSheet(f"QPushButton {{ padding-right: {width}px; }}")
        self.setAccessibleName(text)
        self.setMinimumHeight(max(28, self.fontMetrics().height() + 10))
        self._tint()
        theme().changed.connect(self._tint)

    def setText(self, text: str) -> None:
        """Set the words and the accessible name with them."""
        super().setText(text)
        self.setAccessibleName(text)
        self._place_key()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The keycap stays beside the words, which are centred together with it."""
        super().resizeEvent(event)
        self._place_key()

    def _place_key(self) -> None:
        if self._key is None:
            return
        size = self._key.sizeHint()
        words = self.fontMetrics().horizontalAdvance(self.text())
        if not self.icon().isNull():
            words += self.iconSize().width() + 4
        left = (self.width() - words - 8 - size.width()) // 2 + words + 8
        self._key.setGeometry(left, (self.height() - size.height()) // 2, *size.toTuple())

    def set_kind(self, kind: ButtonKind) -> None:
        """Filled, outlined, quiet, link or danger."""
        self._kind = kind
        self.setProperty("kind", kind)
        repolish(self)
        self._tint()

    def _tint(self) -> None:
        if self._icon:
            token = {"filled": "on-accent", "link": "link", "danger": "bad"}.get(self._kind, "text")
            self.setIcon(theme().icon(self._icon, token))


def button(
    text: str, kind: ButtonKind = "outlined", icon: str | None = None, key: str = ""
) -> Button:
    """A button; `key` is shown as a keycap, the shortcut itself belongs to the command list."""
    return Button(text, kind, icon, key)


def label(text: str = "", role: str = "", *, wrap: bool = False) -> QLabel:
    """A plain-text label; roles: muted, text-2, small, card-title, page-title, prompt."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setWordWrap(wrap)
    if role:
        made.setProperty("role", role)
        style(made)
    return made


def style(made: QLabel) -> None:
    """Give a label the font of its role."""
    role = made.property("role")
    font = made.font()
    size = font.pointSizeF()
    if role in ("small", "muted-small"):
        font.setPointSizeF(size * 0.92)
    elif role in ("card-title", "semibold"):
        font.setWeight(font.Weight.DemiBold)
    elif role == "page-title":
        font.setWeight(font.Weight.DemiBold)
        font.setPointSizeF(size * 1.45)
    elif role == "prompt":
        font.setWeight(font.Weight.DemiBold)
        font.setPointSizeF(size * 1.08)
    made.setFont(font)


def line() -> QFrame:
    """A horizontal line between groups."""
    made = QFrame()
    made.setProperty("line", True)
    made.setFixedHeight(1)
    return made


class Badge(QWidget):
    """One or two words on a tint, with the icon of its status: never only a colour."""

    def __init__(self, kind: Status, text: str) -> None:
        super().__init__()
        self._kind = kind
        self._icon = QLabel()
        self._text = QLabel()
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        scaled(self._text, 0.92)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 1, 6, 1)
        layout.setSpacing(4)
        layout.addWidget(self._icon)
        layout.addWidget(self._text)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.set(kind, text)
        theme().changed.connect(self._tint)

    def set(self, kind: Status, text: str) -> None:
        """Change status and words."""
        self._kind = kind
        self.set_text(text)
        self._tint()

    def set_text(self, text: str) -> None:
        """Change the words only."""
        self._text.setText(text)
        self.setAccessibleName(text)
        self.adjustSize()

    def text(self) -> str:
        """The words."""
        return self._text.text()

    def _tint(self) -> None:
        self._icon.setVisible(self._kind != "neutral")
        if self._kind != "neutral":
            self._icon.setPixmap(theme().status_icon(self._kind, 14).pixmap(14, 14))
        palette = self._text.palette()
        palette.setColor(self._text.foregroundRole(), theme().color(self._kind))
        self._text.setPalette(palette)
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The tint."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme().color(f"{self._kind}-tint"))
        painter.drawRoundedRect(QRectF(self.rect()), 4, 4)


class Meter(QWidget):
    """A bar that says how much of a whole is done."""

    def __init__(self) -> None:
        super().__init__()
        self._done, self._total = 0.0, 1.0
        self.setFixedHeight(10)
        self.setMinimumWidth(60)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def set_value(self, done: float, total: float) -> None:
        """`done` of `total`; a total of 0 means unknown and shows an empty trough."""
        self._done, self._total = done, total
        share = self.share()
        self.setAccessibleDescription(f"{share:.0%}")
        self.update()

    def share(self) -> float:
        """Done over total, within [0, 1]."""
        return max(0.0, min(1.0, self._done / self._total)) if self._total else 0.0

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Trough, outline, fill."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(QPen(theme().color("control"), 1))
        painter.setBrush(theme().color("sunken"))
        painter.drawRoundedRect(frame, 4, 4)
        share = self.share()
        if share > 0:
            fill = QRectF(frame)
            fill.setWidth(max(4.0, frame.width() * share))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme().color("accent"))
            painter.drawRoundedRect(fill, 4, 4)


class ElidedLabel(QWidget):
    """One line of text that ends in an ellipsis when it is too long, whole in its tooltip."""

    def __init__(self, text: str = "", token: str = "text") -> None:
        super().__init__()
        self._text, self._token = "", token
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setText(text)
        theme().changed.connect(self.update)

    def text(self) -> str:
        """The whole text."""
        return self._text

    def setText(self, text: str) -> None:
        """Show another text."""
        self._text = " ".join(text.split())
        self.setToolTip(text)
        self.setAccessibleName(text)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """As wide as the whole text."""
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self._text) + 2, metrics.height() + 4)

    def minimumSizeHint(self) -> QSize:
        """A few letters."""
        return QSize(24, self.fontMetrics().height() + 4)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Elide while painting: a label's own text would push the window wider."""
        painter = QPainter(self)
        colour: QColor = theme().color(self._token if self.isEnabled() else "disabled")
        painter.setPen(colour)
        shown = self.fontMetrics().elidedText(self._text, Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(
            self.rect(), int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), shown
        )

    def changeEvent(self, event: QEvent) -> None:
        """Another font means another width."""
        self.updateGeometry()
        super().changeEvent(event)
