"""Three to eight answers in order, by dragging, by arrows or by digits; ties allowed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from PySide6.QtCore import QRect, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.data.records import Completion
from workbench.ui.theme import theme
from workbench.ui.widgets.basics import key_size, paint_key

_SIGN_WIDTH = 28
_HEIGHT = 40
_LETTERS = "ABCDEFGH"
_ALT = Qt.KeyboardModifier.AltModifier


class RankingStrip(QWidget):
    """Cards from best to worst with > or = between them.

    Left and right choose a card, with Alt they move it; a digit puts it at that place, "=" makes
    it as good as the one before it, Return hands the order in, Escape leaves it as a draft.
    """

    changed = Signal()
    handed_in = Signal()
    left = Signal()
    chosen = Signal()
    """Another card is chosen, or the same one stands elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[Completion] = []
        self._letters: dict[int, str] = {}
        # Whether a card is as good as the one before it, by place; the first never is.
        self._ties: list[bool] = []
        self._here = 0
        self._dragged: int | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(self.tr("Ranking"))
        theme().changed.connect(self.update)

    def show_answers(
        self, answers: Sequence[Completion], places: Sequence[Sequence[int]] = ()
    ) -> None:
        """Begin with these answers, or go on with a draft of places if it is about them."""
        self._letters = {a.id: letter for a, letter in zip(answers, _LETTERS, strict=False)}
        by_id = {a.id: a for a in answers}
        drafted = [i for place in places for i in place]
        if sorted(drafted) == sorted(by_id):
            self._order = [by_id[i] for i in drafted]
            self._ties = [k > 0 for place in places for k in range(len(place))]
        else:
            self._order, self._ties = list(answers), [False] * len(answers)
        self._here = 0
        self._tell(is_changed=False)

    @property
    def places(self) -> list[list[int]]:
        """Ids of the answers, best place first."""
        places: list[list[int]] = []
        for answer, is_tie in zip(self._order, self._ties, strict=True):
            if is_tie:
                places[-1].append(answer.id)
            else:
                places.append([answer.id])
        return places

    @property
    def current(self) -> Completion | None:
        """The chosen card's answer."""
        return self._order[self._here] if self._order else None

    @property
    def beside(self) -> Completion | None:
        """The answer to compare it with: the next one, or the one before the last."""
        if len(self._order) < 2:
            return None
        return self._order[self._here + 1 if self._here + 1 < len(self._order) else self._here - 1]

    def letter(self, answer: Completion) -> str:
        """The letter of an answer, which stays with it."""
        return self._letters[answer.id]

    def outcome(self) -> tuple[int, int]:
        """How many preferences and how many ties the order gives."""
        sizes = [len(place) for place in self.places]
        n, ties = sum(sizes), sum(k * (k - 1) // 2 for k in sizes)
        return n * (n - 1) // 2 - ties, ties

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is not None and event.modifiers() & _ALT:
            self._move(self._here + step)
        elif step is not None:
            self._choose(self._here + step)
        elif event.text().isdigit() and 1 <= int(event.text()) <= len(self._order):
            self._move(int(event.text()) - 1)
        elif event.text() == "=":
            self._toggle_tie(self._here)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.handed_in.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        at = event.position().toPoint()
        for place, card in enumerate(self._cards()):
            if card.contains(at):
                self._dragged = place
                self._choose(place)
                return
            if place and QRect(card.left() - _SIGN_WIDTH, 0, _SIGN_WIDTH, _HEIGHT).contains(at):
                self._toggle_tie(place)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if self._dragged is None:
            return
        x = event.position().x()
        for place, card in enumerate(self._cards()):
            if place != self._dragged and card.left() <= x <= card.right():
                self._move(place)
                self._dragged = place
                return

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:  # noqa: D102
        self._dragged = None

    def _choose(self, place: int) -> None:
        if 0 <= place < len(self._order):
            self._here = place
            self._tell(is_changed=False)

    def _move(self, place: int) -> None:
        """Put the chosen card at a place; a moved card ties with nothing."""
        if not 0 <= place < len(self._order) or place == self._here:
            return
        card, was_tied = self._order.pop(self._here), self._ties.pop(self._here)
        if self._here < len(self._ties) and not was_tied:
            # The next one leads what is left of the place.
            self._ties[self._here] = False
        self._order.insert(place, card)
        self._ties.insert(place, False)
        if place + 1 < len(self._ties):
            self._ties[place + 1] = False
        self._here = place
        self._tell(is_changed=True)

    def _toggle_tie(self, place: int) -> None:
        if place > 0:
            self._ties[place] = not self._ties[place]
            self._tell(is_changed=True)

    def _tell(self, *, is_changed: bool) -> None:
        words = [
            f"{'=' if is_tie else '>' if place else ''} {self.letter(answer)}"
            for place, (answer, is_tie) in enumerate(zip(self._order, self._ties, strict=True))
        ]
        self.setAccessibleDescription(" ".join(words).strip())
        self.update()
        if is_changed:
            self.changed.emit()
        self.chosen.emit()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(320, _HEIGHT)

    def _cards(self) -> list[QRect]:
        n = max(1, len(self._order))
        wide = (self.width() - (n - 1) * _SIGN_WIDTH) // n
        return [QRect(i * (wide + _SIGN_WIDTH), 2, wide, _HEIGHT - 4) for i in range(n)]

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        cards = self._cards()
        numbers = self._numbers()
        for place, (card, answer) in enumerate(zip(cards, self._order, strict=False)):
            is_here = place == self._here
            ring = "focus" if is_here and self.hasFocus() else "control" if is_here else "border"
            painter.setPen(QPen(theme().color(ring), 2 if is_here else 1))
            painter.setBrush(theme().color("surface"))
            painter.drawRoundedRect(card.adjusted(1, 1, -1, -1), 6, 6)
            painter.setPen(theme().color("text"))
            text = f"{numbers[place]}. {self.letter(answer)}  {' '.join(answer.text.split())}"
            room = card.adjusted(8, 0, -8, 0)
            shown = painter.fontMetrics().elidedText(
                text, Qt.TextElideMode.ElideRight, room.width()
            )
            painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter), shown)
        for before, after in pairwise(cards[: len(self._order)]):
            place = cards.index(after)
            sign = "=" if self._ties[place] else ">"
            size = key_size(self.font(), sign)
            middle = (before.right() + after.left()) // 2
            area = QRect(middle - size.width() // 2, (_HEIGHT - size.height()) // 2, 0, 0)
            area.setSize(size)
            paint_key(painter, area, sign, theme().color("text-2"), theme().color("sunken"))

    def _numbers(self) -> list[int]:
        """Place of each card as sport counts: two first, then a third."""
        numbers: list[int] = []
        for i, is_tie in enumerate(self._ties):
            numbers.append(numbers[-1] if is_tie else i + 1)
        return numbers
