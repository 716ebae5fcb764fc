"""One scored text: its total, its parts, and what it owes to each token under the words."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from workbench.app.score_text import PartScore, TextScore, TokenScores
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.wording import MISSING, number
from workbench.ui.theme import bold, scaled
from workbench.ui.widgets import Card, label
from workbench.ui.widgets.token_view import TokenLegend, TokenView, signed

_DIGITS = 3
_MOST_PARTS_SEEN = 5


class ScoreView(QWidget):
    """Shows a `TextScore`; what is drawn under the words is chosen in its head."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: TextScore | None = None
        self.total = label(MISSING)
        bold(self.total, 2.2)
        self.total.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._by = label("", "muted", wrap=True)
        self.parts: RowsView[PartScore] = RowsView(
            [
                Column(self.tr("Part"), lambda p: p.title),
                Column(self.tr("Its value"), lambda p: number(p.value, _DIGITS), "−00.000", True),
                Column(self.tr("Adds"), lambda p: signed(p.contribution), "−00.000", True),
            ],
            self.tr("Parts of the reward"),
        )
        self.way = QComboBox()
        self.way.setAccessibleName(self.tr("What is drawn under the words"))
        self.way.activated.connect(self._show_way)
        self.tokens = TokenView(self.tr("Tokens of the answer"))
        self.tokens.chosen.connect(self._show_token)
        self.legend = TokenLegend()
        self._token = label("", "text-2")
        self._meaning = label("", "muted", wrap=True)
        scaled(self._meaning, 0.92)
        self._lay_out()
        self.show_score(None)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(self.total)
        head.addWidget(self._by, 1)
        self._card = Card(self.tr("What the score owes to each token"))
        self._card.add_head(self.way)
        self._card.body.addWidget(self.tokens, 1)
        under = QHBoxLayout()
        under.addWidget(self._token, 1)
        under.addWidget(self.legend)
        self._card.body.addLayout(under)
        self._card.body.addWidget(self._meaning)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(head)
        layout.addWidget(self.parts)
        layout.addWidget(self._card, 1)

    def show_score(self, shown: TextScore | None) -> None:
        """Show a score, or that there is none yet."""
        self._shown = shown
        self.total.setText(number(shown.score, _DIGITS) if shown else MISSING)
        self.total.setAccessibleName(
            self.tr("Score {score}").format(score=self.total.text()) if shown else ""
        )
        by = self.tr("by {reward}; higher is better, and only differences mean something")
        nothing = self.tr("Type a prompt and an answer, and score it.")
        told = by.format(reward=shown.run_name) if shown else nothing
        if shown and not shown.by_token:
            told += self.tr(". It scores whole answers only, so no token has a number.")
        self._by.setText(told)
        parts = shown.parts if shown else ()
        self.parts.setVisible(bool(parts))
        self.parts.set_rows(parts)
        self.parts.show_whole(min(len(parts), _MOST_PARTS_SEEN))
        self._card.setVisible(bool(shown and shown.by_token))
        chosen = self.way.currentData()
        self.way.clear()
        for found in shown.by_token if shown else ():
            self.way.addItem(self._name(found), found.way)
        self.way.setCurrentIndex(max(0, self.way.findData(chosen)))
        self._show_way()

    def _name(self, found: TokenScores) -> str:
        if found.way == "prefixes":
            return self.tr("Change of the score with each token")
        return self.tr("Gradient × input")

    def _way(self) -> TokenScores | None:
        ways = self._shown.by_token if self._shown else ()
        index = self.way.currentIndex()
        return ways[index] if 0 <= index < len(ways) else None

    def _show_way(self) -> None:
        found = self._way()
        if found is None:
            self.tokens.set_tokens(())
            return
        so_far = self.tr("score so far {score}")
        details = [so_far.format(score=number(s, _DIGITS)) for s in found.so_far]
        self.tokens.set_tokens(found.tokens, found.values, details=details)
        low, high = self.tr("lowers"), self.tr("raises")
        self.legend.show_scale(low, high, self.tokens.scale)
        if found.way == "prefixes":
            meaning = self.tr(
                "The score of every beginning of the answer was read; a token's number is how much "
                "it changed it, from {start} before the first to {end} at the end. Beginnings are "
                "read as they stand, but a reward is made for whole answers, so this is no cause."
            ).format(start=number(found.start, _DIGITS), end=number(found.so_far[-1], _DIGITS))
        else:
            meaning = self.tr(
                "How the score would begin to move if this token's embedding grew and nothing else "
                "changed. The numbers do not add up to the score, and they are no cause: only "
                "another answer, scored, tells what another answer would get."
            )
        self._meaning.setText(meaning)

    def _show_token(self, index: int) -> None:
        self._token.setText(" · ".join(self.tokens.words(index).split("\n")) if index >= 0 else "")
