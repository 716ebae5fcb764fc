"""Tokens with one number each: where they lie, what is said of them, keys, what is painted."""

import math

import pytest
from PySide6.QtCore import QPoint, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter
from pytestqt.qtbot import QtBot

from workbench.ui.theme import theme
from workbench.ui.widgets.token_view import (
    TokenLegend,
    TokenView,
    paint_value,
    scale_of,
    signed,
    visible,
)

TOKENS = ("Sun", "light", " looks", " white", "\n", " ", "天", "", "空", "<|im_end|>")


@pytest.fixture
def view(qtbot: QtBot) -> TokenView:
    made = TokenView("Answer")
    qtbot.addWidget(made)
    made.resize(400, 200)
    made.show()
    return made


def test_what_cannot_be_seen_gets_a_sign() -> None:
    assert [visible(t) for t in ("a", " b", "  ", "\n", "", "\t")] == [
        "a",
        "b",
        "␣␣",
        "↵",
        "⋯",
        "⇥",
    ]
    assert [signed(v) for v in (1.5, -0.25, 0.0, -0.0, math.nan)] == [
        "+1.5",
        "−0.25",
        "0",
        "0",
        "–",
    ]
    assert scale_of([0.0, -3.0, math.nan, math.inf, 2.0]) == 3.0
    assert scale_of([0.0, math.nan]) == scale_of([]) == 1.0


def test_tokens_are_found_under_the_mouse_and_by_keys(view: TokenView, qtbot: QtBot) -> None:
    values = [float(i) - 4 for i in range(len(TOKENS))]
    told: list[int] = []
    view.chosen.connect(told.append)
    view.set_tokens(TOKENS, values, details=[f"detail {i}" for i in range(len(TOKENS))])
    assert view.scale == 5.0
    assert view.current == 0
    assert view.accessibleDescription() == "“Sun”  −4\ndetail 0"
    # Every token is where it is painted, and in no other place.
    row = view._row()
    found = {
        view.index_at(QPoint(x, y))
        for x in range(0, view.viewport().width(), 3)
        for y in range(0, 3 * row, 5)
    }
    assert found == {-1, *range(len(TOKENS))}

    qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_Down)  # over the line end
    assert 5 <= view.current < len(TOKENS)
    qtbot.keyClick(view, Qt.Key.Key_Up)
    assert view.current < 4
    qtbot.keyClick(view, Qt.Key.Key_End)
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert view.current == len(TOKENS) - 1 == told[-1]
    qtbot.keyClick(view, Qt.Key.Key_Home)
    assert view.current == 0 == told[-1]
    view.set_tokens([])
    assert (view.current, told[-1]) == (-1, -1)
    assert view.accessibleDescription() == "No tokens."
    qtbot.keyClick(view, Qt.Key.Key_Right)
    with pytest.raises(ValueError, match="2 values for 0 tokens"):
        view.set_values([1.0, 2.0])


def test_a_long_text_scrolls_to_the_current_token(view: TokenView) -> None:
    view.set_tokens([f" word{i}" for i in range(2000)], [math.nan] * 2000)
    bar = view.verticalScrollBar()
    assert bar.maximum() > 1000
    view.select(1999)
    assert bar.value() > bar.maximum() - view._row()
    shown = view._shown(0, view.viewport().height())
    assert 1999 in shown
    assert len(shown) < 60, "only rows in sight are painted"
    view.select(0)
    assert bar.value() == 0
    view.grab()


def painted(value: float) -> tuple[QColor, QColor]:
    """The colour in the middle of the bar under a chip, and that of its edge."""
    image = QImage(40, 40, QImage.Format.Format_RGB32)
    image.fill(theme().color("surface"))
    painter = QPainter(image)
    paint_value(painter, QRectF(4, 4, 30, 20), value, 2.0)
    painter.end()
    bottom = max(
        y for y in range(40) if image.pixelColor(20, y) != image.pixelColor(1, 1) or y == 0
    )
    return image.pixelColor(20, 28), image.pixelColor(20, bottom)


def test_the_sign_is_told_by_the_fill_not_only_by_the_colour(view: TokenView) -> None:
    surface = theme().color("surface").rgb()
    plus, minus = painted(2.0), painted(-2.0)
    assert plus[0].rgb() == theme().color("series-1").rgb()
    assert minus[0].rgb() == surface, "outlined"
    assert minus[1].rgb() != surface
    assert painted(0.0)[0].rgb() == painted(math.nan)[0].rgb() == surface


def test_the_legend_names_both_ends(qtbot: QtBot) -> None:
    legend = TokenLegend()
    qtbot.addWidget(legend)
    legend.show_scale("less", "more", 2.5, "nats")
    assert legend.accessibleName() == "−2.5 nats: less. +2.5 nats: more."
    legend.grab()
