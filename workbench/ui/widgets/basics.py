"""Buttons, badges, meters, labels."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QIcon,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QWidget,
)

from workbench.ui.theme import repolish, theme

ButtonKind = Literal["filled", "outlined", "quiet", "link", "danger"]
Status = Literal["ok", "warn", "bad", "info", "neutral"]


_KEY_GAP = 8
_SIGN = 14  # the chevron of a button with a menu
_INK: dict[str, str] = {"filled": "on-accent", "link": "link", "danger": "bad"}


def key_font(font: QFont) -> QFont:
    """The font of a key's name beside words in `font`."""
    small = QFont(font)
    small.setPointSizeF(font.pointSizeF() * 0.85)
    small.setWeight(QFont.Weight.DemiBold)
    return small


def key_size(font: QFont, key: str) -> QSize:
    """The room that a keycap takes."""
    metrics = QFontMetrics(key_font(font))
    height = metrics.height() + 2
    return QSize(max(height, metrics.horizontalAdvance(key) + 9), height)


def paint_key(painter: QPainter, area: QRect, key: str, ink: QColor, fill: QColor) -> None:
    """Draw a keycap; a transparent `fill` means that it lies on a coloured button."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(ink if fill.alpha() == 0 else theme().color("control"), 1))
    painter.setBrush(fill)
    painter.drawRoundedRect(QRectF(area).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
    painter.setFont(key_font(painter.font()))
    painter.setPen(ink)
    painter.drawText(area, int(Qt.AlignmentFlag.AlignCenter), key)
    painter.restore()


class Keycap(QWidget):
    """A key beside words."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key
        self.setAccessibleName(key)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """As wide as the key's name."""
        return key_size(self.font(), self._key)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The cap."""
        look = theme()
        paint_key(
            QPainter(self), self.rect(), self._key, look.color("text-2"), look.color("sunken")
        )


class Button(QPushButton):
    """A push button with an optional icon and the key that does the same.

    The style sheet draws the frame; icon, words and keycap are drawn here, centred together.
    """

    def __init__(self, text: str, kind: ButtonKind, icon: str | None, key: str) -> None:
        super().__init__(text)
        self._icon, self._key, self._own_key = icon, key, key
        self._is_key_shown = True
        self.setAccessibleName(text)
        self.setMinimumHeight(max(28, self.fontMetrics().height() + 10))
        self.set_kind(kind)
        theme().changed.connect(self._tint)

    def setText(self, text: str) -> None:
        """Set the words and the accessible name with them."""
        super().setText(text)
        self.setAccessibleName(text)

    def set_kind(self, kind: ButtonKind) -> None:
        """Filled, outlined, quiet, link or danger."""
        self._kind = kind
        font = self.font()
        font.setWeight(font.Weight.DemiBold if kind == "filled" else font.Weight.Medium)
        self.setFont(font)
        self.setProperty("kind", kind)
        repolish(self)
        self._tint()

    def set_icon(self, icon: str) -> None:
        """Show another icon of resources/icons."""
        self._icon = icon
        self._tint()

    def set_key(self, key: str) -> None:
        """Show another key; empty for none."""
        self._own_key = key
        self.show_key(self._is_key_shown)

    def show_key(self, is_shown: bool) -> None:
        """Leave the keycap out where there is little room."""
        self._is_key_shown = is_shown
        key = self._own_key if is_shown else ""
        if key != self._key:
            self._key = key
            self.updateGeometry()
            self.update()

    def _ink(self) -> str:
        return _INK.get(self._kind, "text") if self.isEnabled() else "disabled"

    def _tint(self) -> None:
        if self._icon:
            self.setIcon(theme().icon(self._icon, _INK.get(self._kind, "text")))

    def sizeHint(self) -> QSize:
        """As the words and the icon need, and the keycap or the sign of a menu beside them."""
        size = super().sizeHint()
        if self.menu() is not None:
            size.setWidth(size.width() + _SIGN + 4)
        if self._key:
            size.setWidth(size.width() + key_size(self.font(), self._key).width() + _KEY_GAP)
        return size

    def minimumSizeHint(self) -> QSize:
        """Words are never cut."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Frame from the style sheet, then icon, words and keycap."""
        option = QStyleOptionButton()
        self.initStyleOption(option)
        option.text, option.icon = "", QIcon()
        painter = QPainter(self)
        self.style().drawControl(QStyle.ControlElement.CE_PushButton, option, painter, self)
        self._paint_content(painter)

    def _paint_content(self, painter: QPainter) -> None:
        key = key_size(self.font(), self._key) if self._key else QSize()
        side = 16 if self._icon else 0
        sign = _SIGN + 4 if self.menu() is not None else 0
        gaps = (_KEY_GAP if self._key else 0) + (6 if self._icon else 0) + sign
        room = self.width() - 8 - side - gaps - max(0, key.width())
        words = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, room)
        wide = self.fontMetrics().horizontalAdvance(words)
        x = (self.width() - wide - side - gaps - max(0, key.width())) // 2
        if self._icon:
            mode = QIcon.Mode.Normal if self.isEnabled() else QIcon.Mode.Disabled
            y = (self.height() - side) // 2
            painter.drawPixmap(x, y, self.icon().pixmap(QSize(side, side), mode))
            x += side + 6
        ink = theme().color(self._ink())
        painter.setPen(ink)
        left = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.drawText(QRect(x, 0, wide + 1, self.height()), left, words)
        if self._key:
            area = QRect(QPoint(x + wide + _KEY_GAP, (self.height() - key.height()) // 2), key)
            is_filled = self._kind == "filled" or not self.isEnabled()
            fill = QColor(0, 0, 0, 0) if is_filled else theme().color("sunken")
            paint_key(painter, area, self._key, ink, fill)
        if sign:
            pixmap = theme().pixmap("chevron-down", self._ink(), _SIGN)
            painter.drawPixmap(x + wide + 4, (self.height() - _SIGN) // 2, pixmap)


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
        font = self._text.font()
        font.setPointSizeF(font.pointSizeF() * 0.92)
        font.setWeight(font.Weight.Medium)
        self._text.setFont(font)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 2, 6, 2)
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

    def __init__(
        self,
        text: str = "",
        token: str = "text",
        align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
    ) -> None:
        super().__init__()
        self._text, self._token, self._align = "", token, align
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

    def set_token(self, token: str) -> None:
        """Use another colour."""
        self._token = token
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
        painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignVCenter | self._align), shown)

    def changeEvent(self, event: QEvent) -> None:
        """Another font means another width."""
        self.updateGeometry()
        super().changeEvent(event)
