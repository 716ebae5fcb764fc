"""The numbers that look.md promises, computed from the tokens that the window really uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QLineEdit
from pytestqt.qtbot import QtBot

from workbench import places
from workbench.ui.theme import STATUS_ICONS, TOKENS, Theme, theme

LIGHT, DARK = 0, 1
SCHEMES = pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""

    def linear(channel: float) -> float:
        return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4

    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


def contrast(first: str, second: str, scheme: int) -> float:
    lighter, darker = sorted(
        (luminance(TOKENS[name][scheme]) for name in (first, second)), reverse=True
    )
    return (lighter + 0.05) / (darker + 0.05)


@SCHEMES
@pytest.mark.parametrize("ground", ["surface", "window", "selected"])
@pytest.mark.parametrize("ink", ["text", "text-2", "muted", "link"])
def test_words_are_readable_on_every_ground(ink: str, ground: str, scheme: int) -> None:
    assert contrast(ink, ground, scheme) >= 4.5


@SCHEMES
@pytest.mark.parametrize("kind", sorted(STATUS_ICONS))
def test_status_words_are_readable_on_their_tint(kind: str, scheme: int) -> None:
    assert contrast(kind, f"{kind}-tint", scheme) >= 4.5
    assert contrast("text", f"{kind}-tint", scheme) >= 9.8


@SCHEMES
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ("on-accent", "accent"),
        ("on-accent", "accent-hover"),
        ("on-tooltip", "tooltip"),
        ("disabled", "surface"),
        ("disabled", "window"),
        ("answer-a", "answer-a-tint"),
        ("answer-b", "answer-b-tint"),
        ("ok", "band"),
    ],
)
def test_other_words_are_readable(ink: str, ground: str, scheme: int) -> None:
    assert contrast(ink, ground, scheme) >= 4.45


@SCHEMES
@pytest.mark.parametrize("ink", ["control", "series-1", "series-2", "series-3", "series-4"])
def test_outlines_and_lines_are_seen_on_surface(ink: str, scheme: int) -> None:
    assert contrast(ink, "surface", scheme) >= 3


@SCHEMES
@pytest.mark.parametrize("ground", ["surface", "window", "selected"])
def test_focus_ring_is_seen_everywhere(ground: str, scheme: int) -> None:
    assert contrast("focus", ground, scheme) >= 3


@pytest.fixture
def look(qapp: QApplication) -> Iterator[Theme]:
    look = theme()
    yield look
    look.set_mode("system")


def test_light_dark_and_system(look: Theme, qtbot: QtBot) -> None:
    for mode, is_dark in (("dark", True), ("light", False)):
        with qtbot.waitSignal(look.changed):
            look.set_mode(mode)
        assert look.is_dark is is_dark
        ground = QApplication.palette().window().color()
        assert ground == QColor(TOKENS["window"][is_dark])
    look.set_mode("system")
    scheme = QApplication.styleHints().colorScheme()
    assert look.is_dark is (scheme == Qt.ColorScheme.Dark)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_file_of_the_style_sheet_exists(look: Theme, mode: str) -> None:
    look.set_mode(mode)
    sheet = QApplication.instance().styleSheet()
    files = re.findall(r'url\("([^"]+)"\)', sheet)
    assert files
    for file in files:
        text = Path(file).read_text(encoding="utf-8")
        assert "currentColor" not in text
        assert "<svg" in text


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_no_bare_rule_reaches_every_widget(look: Theme, mode: str) -> None:
    look.set_mode(mode)
    selectors = re.findall(r"([^{}]+)\{", QApplication.instance().styleSheet())
    parts = [part.strip() for selector in selectors for part in selector.split(",")]
    assert "QWidget" not in parts
    assert "*" not in parts


def test_every_icon_can_be_drawn(look: Theme) -> None:
    names = [path.stem for path in (places.resource_dir() / "icons").glob("*.svg")]
    assert len(names) > 20
    for name in names:
        image = look.icon(name).pixmap(16, 16).toImage()
        inked = sum(
            image.pixelColor(x, y).alpha() > 40
            for x in range(image.width())
            for y in range(image.height())
        )
        assert inked > 10, f"{name}.svg draws nothing"


def test_icons_take_the_colour_of_their_token(look: Theme) -> None:
    look.set_mode("dark")
    image = look.icon("check", "ok", 32).pixmap(32, 32).toImage()
    inks = {
        image.pixelColor(x, y).name()
        for x in range(image.width())
        for y in range(image.height())
        if image.pixelColor(x, y).alpha() == 255
    }
    assert QColor(TOKENS["ok"][DARK]).name() in inks


def inks_of(widget: object) -> set[str]:
    image = widget.grab().toImage()
    return {image.pixelColor(x, y).name() for x in range(image.width()) for y in (0, 1, 2)}


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("kind", [QLineEdit, QComboBox])
def test_fields_have_an_outline_and_a_ring(
    look: Theme, qtbot: QtBot, mode: str, kind: type
) -> None:
    look.set_mode(mode)
    field, other = kind(), QLineEdit()
    for widget in (other, field):
        qtbot.addWidget(widget)
        widget.show()
    with qtbot.waitActive(field):
        field.activateWindow()
    field.clearFocus()
    assert look.color("control").name() in inks_of(field)
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    assert look.color("focus").name() in inks_of(field)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_tick_is_seen(look: Theme, qtbot: QtBot, mode: str) -> None:
    look.set_mode(mode)
    box = QCheckBox("x")
    qtbot.addWidget(box)
    box.show()
    box.setChecked(True)
    image = box.grab().toImage()
    inks = {image.pixelColor(x, y).name() for x in range(20) for y in range(image.height())}
    assert look.color("accent").name() in inks
    assert look.color("on-accent").name() in inks
