"""What was made from what, as a graph: a column per kind, walked through by the arrow keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFontMetricsF,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QToolTip, QWidget

from workbench.app.lineage import Edge, Lineage, Node, NodeKind
from workbench.ui.pages.wording import status
from workbench.ui.theme import Theme

_WIDE, _GAP, _MARGIN, _BETWEEN = 172.0, 56.0, 8.0, 14.0
_ICONS: dict[NodeKind, str] = {
    "labels": "preferences",
    "reward": "reward",
    "policy": "train",
    "evaluation": "evaluate",
    "export": "export",
}
_NOTHING = Lineage((), ())


class LineageGraph(QWidget):
    """Painted boxes and lines. One node is the current one: its lines are strong and named.

    Signals:
        opened: A node was double-clicked, or Enter was pressed on it.
        moved: Another node is the current one.
    """

    opened = Signal(object)
    moved = Signal(object)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._look = theme
        self._graph = _NOTHING
        self._boxes: dict[str, QRectF] = {}
        self._current = ""
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(self.tr("Lineage"))
        theme.changed.connect(self.update)

    def titles(self) -> dict[NodeKind, str]:
        """Heads of the columns."""
        return {
            "labels": self.tr("Labels"),
            "reward": self.tr("Reward models"),
            "policy": self.tr("Policies"),
            "evaluation": self.tr("Evaluations"),
            "export": self.tr("Exports"),
        }

    def set_graph(self, graph: Lineage, current: str = "") -> None:
        """Show a graph; the current node stays while it is there."""
        self._graph = graph
        keys = [node.key for node in graph.nodes]
        wanted = current or self._current
        self._place()
        self._go(wanted if wanted in keys else next(iter(keys), ""))
        self.updateGeometry()
        self.setMinimumSize(self.sizeHint())

    def current(self) -> Node | None:
        """The node that the keys act on."""
        return next((n for n in self._graph.nodes if n.key == self._current), None)

    def box(self, key: str) -> QRectF:
        """Where a node is drawn."""
        return self._boxes[key]

    def describe(self, node: Node) -> str:
        """A node in words: what it is, what it was made from, what was made from it."""
        names = {n.key: n.title for n in self._graph.nodes}
        sources = [
            f"{names[e.source]} ({e.role})" for e in self._graph.edges if e.target == node.key
        ]
        targets = [
            f"{names[e.target]} ({e.role})" for e in self._graph.edges if e.source == node.key
        ]
        parts = [f"{self.titles()[node.kind]}: {node.title}, {self._fact(node)}"]
        if sources:
            parts.append(self.tr("Made from {names}").format(names=", ".join(sources)))
        if targets:
            parts.append(self.tr("Went into {names}").format(names=", ".join(targets)))
        return ". ".join(parts) + "."

    def _fact(self, node: Node) -> str:
        if node.is_gone:
            return self.tr("deleted or gone")
        return status(node.fact)[1]

    # Where things are

    def _row_height(self) -> float:
        return 2 * QFontMetricsF(self.font()).height() + 16

    def _head(self) -> float:
        return QFontMetricsF(self.font()).height() + 12

    def _column(self, kind: NodeKind) -> list[Node]:
        """The nodes of a column from top to bottom, near to what they were made from."""
        nodes = [node for node in self._graph.nodes if node.kind == kind]

        def height(node: Node) -> float:
            above = [
                self._boxes[e.source].center().y()
                for e in self._graph.edges
                if e.target == node.key and e.source in self._boxes
            ]
            return sum(above) / len(above) if above else 0.0

        return sorted(nodes, key=height)

    def _place(self) -> None:
        self._boxes = {}
        tall = self._row_height()
        for i, kind in enumerate(_ICONS):
            x, y = _MARGIN + i * (_WIDE + _GAP), _MARGIN + self._head()
            for k, node in enumerate(self._column(kind)):
                self._boxes[node.key] = QRectF(x, y + k * (tall + _BETWEEN), _WIDE, tall)

    def sizeHint(self) -> QSize:
        """As large as all columns."""
        right = 2 * _MARGIN + len(_ICONS) * (_WIDE + _GAP) - _GAP
        bottom = max((box.bottom() for box in self._boxes.values()), default=80.0)
        return QSize(round(right), round(bottom + _MARGIN))

    # Moving

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows to the next node, Enter opens it."""
        node, key = self.current(), Qt.Key(event.key())
        if node is None:
            super().keyPressEvent(event)
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self._go_in_column(node, 1 if key == Qt.Key.Key_Down else -1)
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self._go_sideways(node, 1 if key == Qt.Key.Key_Right else -1)
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End):
            self._go(self._graph.nodes[0 if key == Qt.Key.Key_Home else -1].key)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.opened.emit(node)
        else:
            super().keyPressEvent(event)

    def _go_in_column(self, node: Node, step: int) -> None:
        column = [n.key for n in self._column(node.kind)]
        place = column.index(node.key) + step
        if 0 <= place < len(column):
            self._go(column[place])

    def _go_sideways(self, node: Node, step: int) -> None:
        """To what it is tied to on that side; else to the nearest of the next column there."""
        here = self._boxes[node.key]
        tied = [
            e.target if step > 0 else e.source
            for e in self._graph.edges
            if (e.source if step > 0 else e.target) == node.key
        ]
        beyond = [key for key, box in self._boxes.items() if (box.x() - here.x()) * step > 0]
        choice = [key for key in beyond if key in tied] or beyond
        if choice:
            self._go(min(choice, key=lambda key: self._distance(key, here)))

    def _distance(self, key: str, here: QRectF) -> tuple[float, float]:
        box = self._boxes[key]
        return abs(box.x() - here.x()), abs(box.y() - here.y())

    def _go(self, key: str) -> None:
        self._current = key
        node = self.current()
        words = self.describe(node) if node else self.tr("Nothing was made yet.")
        self.setAccessibleDescription(words)
        self.update()
        self.moved.emit(node)

    def _under(self, place: QPointF) -> Node | None:
        return next((n for n in self._graph.nodes if self._boxes[n.key].contains(place)), None)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """The node under the mouse becomes the current one."""
        if node := self._under(event.position()):
            self._go(node.key)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open the node under the mouse."""
        if node := self._under(event.position()):
            self.opened.emit(node)

    def event(self, event: QEvent) -> bool:
        """Say in a tooltip what a node is."""
        if event.type() != QEvent.Type.ToolTip:
            return super().event(event)
        asked = cast("QHelpEvent", event)
        node = self._under(QPointF(asked.pos()))
        QToolTip.showText(asked.globalPos(), self.describe(node) if node else "", self)
        return True

    # Drawing

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Heads, lines, boxes."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(self._look.color("muted"))
        for i, title in enumerate(self.titles().values()):
            x = _MARGIN + i * (_WIDE + _GAP)
            box = QRectF(x, _MARGIN, _WIDE, self._head() - 8)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter), title)
        strong = [e for e in self._graph.edges if self._current in (e.source, e.target)]
        for edge in self._graph.edges:
            if edge not in strong:
                self._draw_edge(painter, edge, is_strong=False)
        for edge in strong:
            self._draw_edge(painter, edge, is_strong=True)
        for node in self._graph.nodes:
            self._draw_node(painter, node)
        self._draw_roles(painter, strong)
        painter.end()

    def _ends(self, edge: Edge) -> tuple[QPointF, QPointF, float]:
        """Both ends, and how far the line bends: within a column it leaves and comes at right."""
        source, target = self._boxes[edge.source], self._boxes[edge.target]
        start = QPointF(source.right(), source.center().y())
        if source.x() < target.x():
            return start, QPointF(target.left(), target.center().y()), _GAP
        return start, QPointF(target.right(), target.center().y()), -_GAP

    def _draw_edge(self, painter: QPainter, edge: Edge, *, is_strong: bool) -> None:
        start, end, bend = self._ends(edge)
        path = QPainterPath(start)
        path.cubicTo(start + QPointF(abs(bend), 0), end - QPointF(bend, 0), end)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self._look.color("focus" if is_strong else "control"), 1 + is_strong))
        painter.drawPath(path)

    def _draw_roles(self, painter: QPainter, edges: Sequence[Edge]) -> None:
        """What the current node's lines mean, on the surface so that it can be read."""
        metrics = QFontMetricsF(painter.font())
        for edge in edges:
            start, end, _ = self._ends(edge)
            middle = (start + end) / 2
            wide = min(metrics.horizontalAdvance(edge.role) + 8, _GAP + 40)
            box = QRectF(0, 0, wide, metrics.height() + 2)
            box.moveCenter(middle)
            painter.fillRect(box, self._look.color("surface"))
            painter.setPen(self._look.color("text-2"))
            text = metrics.elidedText(edge.role, Qt.TextElideMode.ElideRight, wide - 4)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), text)

    def _draw_node(self, painter: QPainter, node: Node) -> None:
        box, look = self._boxes[node.key], self._look
        is_current = node.key == self._current
        painter.setBrush(look.color("selected" if is_current else "window"))
        is_ringed = is_current and self.hasFocus()
        line = Qt.PenStyle.DashLine if node.is_gone else Qt.PenStyle.SolidLine
        painter.setPen(QPen(look.color("focus" if is_ringed else "control"), 1 + is_ringed, line))
        painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), 4, 4)
        row = QFontMetricsF(painter.font()).height()
        icon = look.icon(_ICONS[node.kind])
        top = round(box.y() + 8)
        icon.paint(painter, round(box.x()) + 8, top, 16, 16)
        self._draw_words(painter, node.title, box.adjusted(30, 7, -8, 0), "text")
        kind = "warn" if node.is_gone else status(node.fact)[0]
        under = box.adjusted(30, 9 + row, -8, 0)
        if node.is_gone or node.kind not in ("labels", "export"):
            look.status_icon(kind, 14).paint(
                painter, round(box.x()) + 9, round(under.y() + row / 2) - 7, 14, 14
            )
        self._draw_words(painter, self._fact(node), under, "text-2")

    def _draw_words(self, painter: QPainter, words: str, area: QRectF, token: str) -> None:
        metrics = QFontMetricsF(painter.font())
        area.setHeight(metrics.height())
        painter.setPen(self._look.color(token))
        text = metrics.elidedText(words, Qt.TextElideMode.ElideRight, area.width())
        painter.drawText(area, int(Qt.AlignmentFlag.AlignVCenter), text)
