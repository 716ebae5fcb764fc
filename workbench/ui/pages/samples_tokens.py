"""One answer token by token: a colour for a figure, every number of the current token, bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from workbench.app.samples import Tokens
from workbench.ui.theme import theme
from workbench.ui.widgets import EmptyState, button, label
from workbench.ui.widgets.token_view import TokenLegend, TokenView, scale_of, signed, visible

_BARS = 56


@dataclass(frozen=True, slots=True)
class Shade:
    """A figure that tokens can be coloured by, with words for both ends of its scale."""

    name: str
    title: str
    low: str
    high: str
    unit: str = ""


def shades() -> tuple[Shade, ...]:
    """Those there are, in the order of their keys."""
    tr = QCoreApplication.translate
    return (
        Shade(
            "log_ratio",
            tr("samples", "Log-probability change"),
            tr("samples", "likelier in the reference"),
            tr("samples", "likelier in the policy"),
            tr("samples", "nats"),
        ),
        Shade("kl", tr("samples", "KL"), "", tr("samples", "far apart"), tr("samples", "nats")),
        Shade(
            "advantage",
            tr("samples", "Advantage"),
            tr("samples", "worse than expected"),
            tr("samples", "better than expected"),
        ),
        Shade("value", tr("samples", "Value"), tr("samples", "low"), tr("samples", "high")),
        Shade(
            "reward",
            tr("samples", "Token reward"),
            tr("samples", "costs"),
            tr("samples", "earns"),
        ),
    )


class TokenSheet(QWidget):
    """Tokens coloured by a chosen figure; Alt with 1 to 5 chooses it."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens = Tokens((), {})
        self._shades = shades()
        self._shade = self._shades[0]
        self._scales: Mapping[str, float] = {}
        self.view = TokenView(self.tr("Tokens of the answer"))
        self.view.chosen.connect(self._on_token)
        self.legend = TokenLegend()
        self.bars = _Bars()
        self.bars.clicked.connect(self.view.select)
        self.numbers = label("", "text-2", wrap=True)
        self.numbers.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.empty = EmptyState(
            "answers",
            self.tr("No tokens were kept"),
            self.tr("Runs of earlier versions kept the texts of their samples only."),
        )
        self._build()
        self.show_tokens(self._tokens, {})

    def _build(self) -> None:
        self._choice = QButtonGroup(self)
        self.buttons = {}
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(label(self.tr("Colour by"), "text-2"))
        for i, shade in enumerate(self._shades, start=1):
            made = button(shade.title, "outlined", key=f"Alt+{i}")
            made.setCheckable(True)
            made.setShortcut(f"Alt+{i}")
            made.setToolTip(f"{shade.title} (Alt+{i})")
            made.clicked.connect(lambda _on=False, s=shade: self.choose(s.name))
            self._choice.addButton(made)
            self.buttons[shade.name] = made
            row.addWidget(made)
        row.addStretch(1)
        top = QVBoxLayout()
        top.addLayout(row)
        top.addWidget(self.legend, 0, Qt.AlignmentFlag.AlignRight)
        self._full = QWidget()
        inner = QVBoxLayout(self._full)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addLayout(top)
        inner.addWidget(self.view, 1)
        inner.addWidget(self.numbers)
        inner.addWidget(self.bars)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 8)
        layout.addWidget(self._full, 1)
        layout.addWidget(self.empty, 1)

    def show_tokens(self, tokens: Tokens, scales: Mapping[str, float]) -> None:
        """Show an answer; `scales` fixes sizes, so that answers of a run can be compared."""
        self._tokens, self._scales = tokens, scales
        has_tokens = bool(tokens.texts)
        self._full.setVisible(has_tokens)
        self.empty.setVisible(not has_tokens)
        there = [s for s in self._shades if s.name in tokens.figures]
        for name, made in self.buttons.items():
            made.setEnabled(name in tokens.figures)
            if not made.isEnabled():
                made.setToolTip(self.tr("This algorithm, or this kind of sample, has none."))
        self.view.set_tokens(tokens.texts)
        if there:
            self.choose(self._shade.name if self._shade in there else there[0].name)

    def choose(self, name: str) -> None:
        """Colour by a figure of `shades`."""
        self._shade = next(s for s in self._shades if s.name == name)
        values = self._tokens.figures.get(name, ())
        scale = self._scales.get(name) or scale_of(values)
        details = [self._told(i) for i in range(len(self._tokens.texts))]
        self.view.set_values(values or None, scale=scale, details=details)
        self.legend.show_scale(self._shade.low, self._shade.high, scale, self._shade.unit)
        self.bars.show_values(values, scale, self._shade.title)
        self.buttons[name].setChecked(True)
        self._on_token(self.view.current)

    def shade(self) -> str:
        """The figure that is shown."""
        return self._shade.name

    def _on_token(self, index: int) -> None:
        self.bars.set_current(index)
        if index < 0:
            self.numbers.setText("")
            return
        place = self.tr("Token {n} of {total}").format(n=index + 1, total=len(self._tokens.texts))
        words = visible(self._tokens.texts[index])
        self.numbers.setText(f"“{words}”   {place}   {self._told(index)}")

    def _told(self, index: int) -> str:
        """Every number of a token."""
        figures = self._tokens.figures
        told = []
        for name, title in (
            ("logp", self.tr("probability, policy")),
            ("ref_logp", self.tr("reference")),
        ):
            if name in figures and math.isfinite(figures[name][index]):
                told.append(f"{title} {math.exp(min(0.0, figures[name][index])):.3g}")
        told += [
            f"{shade.title} {signed(figures[shade.name][index])} {shade.unit}".strip()
            for shade in self._shades
            if shade.name in figures
        ]
        return "   ".join(told)


class _Bars(QWidget):
    """The same numbers by position: filled up for plus, outlined down for minus."""

    clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._values: tuple[float, ...] = ()
        self._scale = 1.0
        self._current = -1
        self.setFixedHeight(_BARS)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(300, _BARS)

    def show_values(self, values: Sequence[float], scale: float, title: str) -> None:
        self._values, self._scale = tuple(values), scale
        self.setAccessibleName(self.tr("{figure} by position").format(figure=title))
        self.update()

    def set_current(self, index: int) -> None:
        self._current = index
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._values:
            self.clicked.emit(int(event.position().x() / self._step()))

    def _step(self) -> float:
        return min(14.0, self.width() / max(1, len(self._values)))

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        middle, step = self.height() / 2, self._step()
        painter.setPen(QPen(theme().color("border"), 1))
        painter.drawLine(0, round(middle), self.width(), round(middle))
        gap = 1.0 if step > 3 else 0.0
        for i, value in enumerate(self._values):
            share = min(1.0, abs(value) / self._scale) if math.isfinite(value) else 0.0
            high = share * (middle - 2)
            top = middle - high if value > 0 else middle
            bar = QRectF(i * step, top, step - gap, high)
            if value > 0:
                painter.fillRect(bar, theme().color("series-1"))
            elif high:
                painter.setPen(QPen(theme().color("series-2"), 1))
                painter.drawRect(bar.adjusted(0.5, 0.0, -0.5, 0.0))
        if 0 <= self._current < len(self._values):
            painter.setPen(QPen(theme().color("focus"), 1, Qt.PenStyle.DashLine))
            x = round((self._current + 0.5) * step)
            painter.drawLine(x, 0, x, self.height())
