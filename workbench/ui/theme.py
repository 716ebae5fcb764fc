"""Light and dark: colour tokens, palette, one style sheet, icons tinted at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QByteArray, QObject, QRectF, Qt, QTemporaryDir, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication, QWidget

from workbench.places import resource_dir

Mode = Literal["system", "light", "dark"]

# name: (light, dark); contrasts are checked by tests/ui/test_theme.py
TOKENS: Mapping[str, tuple[str, str]] = {
    "window": ("#F3F4F6", "#1A1C20"),
    "surface": ("#FFFFFF", "#23262B"),
    "sunken": ("#E9EBEF", "#141619"),
    "hover": ("#E4E7EC", "#2D3138"),
    "selected": ("#DCE6FB", "#263B66"),
    "border": ("#D3D7DD", "#383D46"),
    "control": ("#838B97", "#7B8491"),
    "grid": ("#E6E9ED", "#30343B"),
    "accent": ("#2B5FD0", "#3E6BE0"),
    "accent-hover": ("#234FB0", "#4470E2"),
    "on-accent": ("#FFFFFF", "#FFFFFF"),
    "focus": ("#2B5FD0", "#86AAFF"),
    "band": ("#DDEFE4", "#1F332A"),
    "band-line": ("#5E9C79", "#4C8464"),
    "text": ("#1B1E23", "#E7E9EC"),
    "text-2": ("#454C56", "#BCC2CB"),
    "muted": ("#5B636E", "#A0A8B3"),
    "link": ("#2456C2", "#93B4FF"),
    "disabled": ("#676E79", "#8B93A0"),
    "tooltip": ("#22262C", "#E7E9EC"),
    "on-tooltip": ("#F2F4F7", "#1B1E23"),
    "ok": ("#17703F", "#7BD3A0"),
    "ok-tint": ("#E3F3E9", "#1D3528"),
    "ok-line": ("#2E8B57", "#4FAE78"),
    "warn": ("#7A4D00", "#F0C163"),
    "warn-tint": ("#FDF1D8", "#3B2F14"),
    "warn-line": ("#B07A14", "#C99530"),
    "bad": ("#B0221B", "#FF9E95"),
    "bad-tint": ("#FCE9E7", "#432321"),
    "bad-line": ("#CF3A31", "#E5675D"),
    "info": ("#1F55A8", "#9CC2FF"),
    "info-tint": ("#E4EEFB", "#1F3050"),
    "info-line": ("#3B74C9", "#5B8DE0"),
    "neutral": ("#454C56", "#BCC2CB"),
    "neutral-tint": ("#E9EBEF", "#141619"),
    "neutral-line": ("#D3D7DD", "#383D46"),
    "answer-a": ("#1F5FBF", "#94BCFF"),
    "answer-a-tint": ("#DFEAFB", "#23365A"),
    "answer-b": ("#A34A00", "#F5AE6C"),
    "answer-b-tint": ("#FBE7D3", "#452E19"),
    "series-1": ("#1F5FC4", "#6FA5FF"),
    "series-2": ("#C25700", "#F0933F"),
    "series-3": ("#00503F", "#B4F2E2"),
    "series-4": ("#D24FBD", "#CF5CA6"),
    "reference": ("#737B87", "#8C94A0"),
}

STATUS_ICONS: Mapping[str, str] = {
    "ok": "check",
    "warn": "warn",
    "bad": "bad",
    "info": "info",
    "neutral": "info",
}


class Theme(QObject):
    """The look of the application. One instance, made with the QApplication: see `theme`."""

    changed = Signal()

    def __init__(self, app: QApplication) -> None:
        super().__init__(app)
        self._app = app
        self._mode: Mode = "system"
        # A style sheet takes images from files only: tinted glyphs are written here.
        self._glyphs = QTemporaryDir()
        self.is_dark = False
        app.setStyle("Fusion")
        app.styleHints().colorSchemeChanged.connect(self._follow_system)
        self._follow_system()

    @property
    def mode(self) -> Mode:
        """What the user chose."""
        return self._mode

    def set_mode(self, mode: Mode) -> None:
        """Choose light or dark, or follow the system."""
        self._mode = mode
        self._apply(self._system_is_dark() if mode == "system" else mode == "dark")

    def color(self, token: str) -> QColor:
        """The colour of a token in the current scheme."""
        return QColor(TOKENS[token][self.is_dark])

    def icon(self, name: str, token: str = "text-2", size: int = 16) -> QIcon:
        """An icon of resources/icons in a token's colour; its disabled state is tinted too."""
        icon = QIcon()
        for mode, tint in ((QIcon.Mode.Normal, token), (QIcon.Mode.Disabled, "disabled")):
            for ratio in (1, 2):
                icon.addPixmap(_pixmap(name, TOKENS[tint][self.is_dark], size, ratio), mode)
        return icon

    def pixmap(self, name: str, token: str = "text-2", size: int = 16) -> QPixmap:
        """As `icon`, for a label."""
        ratio = max(1, round(self._app.devicePixelRatio()))
        return _pixmap(name, TOKENS[token][self.is_dark], size, ratio)

    def status_icon(self, kind: str, size: int = 16) -> QIcon:
        """The icon that goes with a status word: ok, warn, bad, info, neutral."""
        return self.icon(STATUS_ICONS[kind], kind, size)

    def _system_is_dark(self) -> bool:
        return self._app.styleHints().colorScheme() == Qt.ColorScheme.Dark

    def _follow_system(self) -> None:
        if self._mode == "system":
            self._apply(self._system_is_dark())

    def _apply(self, is_dark: bool) -> None:
        self.is_dark = is_dark
        self._app.setPalette(self._palette())
        colours = {name: pair[is_dark] for name, pair in TOKENS.items()}
        self._app.setStyleSheet(_sheet(colours, self._glyph))
        self.changed.emit()

    def _glyph(self, name: str, token: str) -> str:
        """The file of an icon in a token's colour, for the style sheet."""
        path = Path(self._glyphs.filePath(f"{name}-{token}-{self.is_dark:d}.svg"))
        if not path.exists():
            path.write_text(_source(name, TOKENS[token][self.is_dark]), encoding="utf-8")
        return path.as_posix()

    def _palette(self) -> QPalette:
        """Set by hand: `setColorScheme` does nothing on bare X11 and on the offscreen platform."""
        palette = QPalette()
        role = QPalette.ColorRole
        for target, token in {
            role.Window: "window",
            role.WindowText: "text",
            role.Base: "surface",
            role.AlternateBase: "window",
            role.Text: "text",
            role.Button: "surface",
            role.ButtonText: "text",
            role.BrightText: "bad",
            role.Highlight: "selected",
            role.HighlightedText: "text",
            role.Link: "link",
            role.LinkVisited: "link",
            role.ToolTipBase: "tooltip",
            role.ToolTipText: "on-tooltip",
            role.PlaceholderText: "muted",
            role.Mid: "control",
            role.Dark: "border",
            role.Light: "surface",
        }.items():
            palette.setColor(target, self.color(token))
        for target in (role.WindowText, role.Text, role.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, target, self.color("disabled"))
        return palette


_current: list[Theme] = []


def theme() -> Theme:
    """The application's theme, made at the first call after QApplication."""
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    if not _current or _current[0].parent() is not app:
        _current[:] = [Theme(app)]
    return _current[0]


def repolish(widget: QWidget) -> None:
    """Make a changed dynamic property show in the style sheet's rules."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)
    widget.update()


def bold(widget: QWidget, scale: float = 1.0) -> None:
    """Semibold and, if asked, larger: relative to the platform's font."""
    font = widget.font()
    font.setWeight(font.Weight.DemiBold)
    font.setPointSizeF(font.pointSizeF() * scale)
    widget.setFont(font)


def scaled(widget: QWidget, scale: float) -> None:
    """Another size of the platform's font."""
    font = widget.font()
    font.setPointSizeF(font.pointSizeF() * scale)
    widget.setFont(font)


def _source(name: str, colour: str) -> str:
    path = resource_dir() / "icons" / f"{name}.svg"
    return path.read_text(encoding="utf-8").replace("currentColor", colour)


@lru_cache(maxsize=1024)
def _pixmap(name: str, colour: str, size: int, ratio: int) -> QPixmap:
    source = _source(name, colour)
    pixmap = QPixmap(size * ratio, size * ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(source.encode())).render(
        painter, QRectF(0, 0, size * ratio, size * ratio)
    )
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return pixmap


def _sheet(t: Mapping[str, str], glyph: Callable[[str, str], str]) -> str:
    """The one style sheet; rules go by class and property of our widgets, never by bare QWidget."""
    status = "".join(
        f"""
        QLabel[badge="{kind}"] {{ color: {t[kind]}; background: {t[f"{kind}-tint"]};
            border-radius: 4px; padding: 1px 6px; }}
        QFrame[banner="{kind}"] {{ background: {t[f"{kind}-tint"]};
            border: 1px solid {t[f"{kind}-line"]}; border-radius: 8px; }}
        QLabel[status="{kind}"] {{ color: {t[kind]}; }}
        """
        for kind in ("ok", "warn", "bad", "info", "neutral")
    )
    field = "QLineEdit, QPlainTextEdit, QTextEdit, QComboBox, QSpinBox"
    focused = ", ".join(f"{name}:focus" for name in field.split(", "))
    return f"""
    QLabel[role="muted"] {{ color: {t["muted"]}; }}
    QLabel[role="text-2"] {{ color: {t["text-2"]}; }}
    QToolTip {{ color: {t["on-tooltip"]}; background: {t["tooltip"]};
        border: 0; padding: 4px 6px; }}
    QFrame[card="true"] {{ background: {t["surface"]}; border: 1px solid {t["border"]};
        border-radius: 8px; }}
    QFrame[line="true"] {{ background: {t["border"]}; border: 0; max-height: 1px; }}
    {status}

    {field} {{ background: {t["surface"]}; color: {t["text"]}; border: 1px solid {t["control"]};
        border-radius: 4px; padding: 3px 6px; selection-background-color: {t["selected"]};
        selection-color: {t["text"]}; }}
    QLineEdit, QComboBox, QSpinBox {{ min-height: 20px; }}
    {focused} {{ border: 2px solid {t["focus"]}; padding: 2px 5px; }}
    QLineEdit[problem="true"] {{ border: 2px solid {t["bad-line"]}; padding: 2px 5px; }}
    QLineEdit[problem="true"]:focus {{ border: 2px solid {t["focus"]}; }}
    QLineEdit:disabled, QComboBox:disabled, QLineEdit:read-only {{ background: {t["window"]};
        color: {t["disabled"]}; border: 1px solid {t["border"]}; }}
    QComboBox::drop-down {{ border: 0; width: 22px; }}
    QComboBox::down-arrow {{ image: url("{glyph("chevron-down", "text-2")}");
        width: 14px; height: 14px; }}
    QComboBox::down-arrow:disabled {{ image: url("{glyph("chevron-down", "disabled")}"); }}
    QCheckBox {{ spacing: 8px; color: {t["text"]}; }}
    QCheckBox:disabled {{ color: {t["disabled"]}; }}
    QCheckBox::indicator {{ width: 14px; height: 14px; border: 1px solid {t["control"]};
        border-radius: 4px; background: {t["surface"]}; }}
    QCheckBox::indicator:checked {{ background: {t["accent"]}; border-color: {t["accent"]};
        image: url("{glyph("tick", "on-accent")}"); }}
    QCheckBox::indicator:disabled {{ background: {t["window"]}; border-color: {t["border"]}; }}
    QCheckBox::indicator:checked:disabled {{ image: url("{glyph("tick", "disabled")}"); }}
    QCheckBox::indicator:focus {{ border: 2px solid {t["focus"]}; width: 12px; height: 12px; }}
    QComboBox QAbstractItemView {{ background: {t["surface"]}; color: {t["text"]};
        border: 1px solid {t["control"]}; selection-background-color: {t["selected"]};
        selection-color: {t["text"]}; }}
    QTextEdit[reading="true"], QPlainTextEdit[reading="true"] {{ border: 0; padding: 0;
        background: transparent; }}
    QTextEdit[reading="true"]:focus, QPlainTextEdit[reading="true"]:focus {{
        border: 2px solid {t["focus"]}; }}

    QPushButton[kind] {{ border-radius: 4px; padding: 3px 11px; min-height: 20px; }}
    QPushButton[kind="outlined"] {{ background: {t["surface"]}; color: {t["text"]};
        border: 1px solid {t["control"]}; }}
    QPushButton[kind="quiet"] {{ background: transparent; color: {t["text"]};
        border: 1px solid transparent; }}
    QPushButton[kind="link"] {{ background: transparent; color: {t["link"]};
        border: 1px solid transparent; padding: 1px 5px; min-height: 18px; }}
    QPushButton[kind="filled"] {{ background: {t["accent"]}; color: {t["on-accent"]};
        border: 1px solid {t["accent"]}; }}
    QPushButton[kind="danger"] {{ background: {t["surface"]}; color: {t["bad"]};
        border: 1px solid {t["bad-line"]}; }}
    QPushButton[kind="outlined"]:hover, QPushButton[kind="quiet"]:hover,
    QPushButton[kind="link"]:hover, QPushButton[kind="danger"]:hover {{
        background: {t["hover"]}; }}
    QPushButton[kind="filled"]:hover {{ background: {t["accent-hover"]}; }}
    QPushButton[kind="outlined"]:pressed, QPushButton[kind="outlined"]:checked,
    QPushButton[kind="outlined"][flash="true"],
    QPushButton[kind="quiet"][flash="true"] {{ background: {t["selected"]}; }}
    QPushButton[kind]:focus {{ border: 2px solid {t["focus"]}; padding: 2px 10px; }}
    QPushButton[kind="filled"]:focus {{ border: 2px solid {t["text"]}; }}
    QPushButton[kind="link"]:focus {{ padding: 0 4px; }}
    QPushButton[kind="outlined"]:disabled, QPushButton[kind="filled"]:disabled {{
        background: {t["window"]}; color: {t["disabled"]}; border: 1px solid {t["border"]}; }}
    QPushButton[kind="quiet"]:disabled, QPushButton[kind="link"]:disabled {{
        color: {t["disabled"]}; }}

    QToolButton[fold="true"] {{ background: transparent; color: {t["text"]};
        border: 1px solid transparent; border-radius: 4px; padding: 3px; margin-left: -6px; }}
    QToolButton[fold="true"]:hover {{ background: {t["hover"]}; }}
    QToolButton[fold="true"]:focus {{ border: 2px solid {t["focus"]}; padding: 2px; }}
    QToolButton[quiet="true"] {{ background: transparent; color: {t["text"]};
        border: 1px solid transparent; border-radius: 4px; padding: 3px; }}
    QToolButton[quiet="true"]:hover {{ background: {t["hover"]}; }}
    QToolButton[quiet="true"]:focus {{ border: 2px solid {t["focus"]}; padding: 2px; }}

    QTableView, QListView[list="true"], QTreeView {{ background: {t["surface"]};
        border: 2px solid {t["surface"]}; gridline-color: {t["grid"]};
        selection-background-color: {t["selected"]}; selection-color: {t["text"]}; outline: 0; }}
    QTableView::item {{ padding: 0 5px; border-bottom: 1px solid {t["grid"]}; }}
    QTableView::item:selected {{ background: {t["selected"]}; color: {t["text"]}; }}
    QTableView:focus, QListView[list="true"]:focus {{ border: 2px solid {t["focus"]}; }}
    QHeaderView {{ background: {t["surface"]}; border: 0; }}
    QHeaderView::section {{ background: {t["surface"]}; color: {t["muted"]}; border: 0;
        border-bottom: 1px solid {t["border"]}; padding: 4px 8px; }}
    QTabBar::tab {{ background: transparent; color: {t["text-2"]}; padding: 6px 12px;
        border-bottom: 2px solid transparent; }}
    QTabBar::tab:selected {{ color: {t["text"]}; border-bottom: 2px solid {t["accent"]}; }}
    QTabBar::tab:focus {{ border: 2px solid {t["focus"]}; }}

    QMenuBar {{ background: {t["window"]}; color: {t["text"]};
        border-bottom: 1px solid {t["border"]}; }}
    QMenuBar::item {{ padding: 6px 11px; background: transparent; border-radius: 4px; }}
    QMenuBar::item:selected {{ background: {t["hover"]}; }}
    QStatusBar {{ background: {t["window"]}; }}
    QStatusBar::item {{ border: 0; }}
    QMenu {{ background: {t["surface"]}; color: {t["text"]}; border: 1px solid {t["border"]}; }}
    QMenu::item {{ padding: 5px 24px; }}
    QMenu::item:selected {{ background: {t["selected"]}; }}
    QMenu::item:disabled {{ color: {t["disabled"]}; }}
    QMenu::separator {{ height: 1px; background: {t["border"]}; margin: 4px 0; }}
    QFrame[dockhead="true"] {{ background: {t["window"]}; border: 0;
        border-bottom: 1px solid {t["border"]}; }}
    QFrame[jobbar="true"] {{ background: {t["window"]}; border: 0;
        border-top: 1px solid {t["border"]}; }}
    QFrame[column="true"] {{ background: {t["window"]}; border: 0;
        border-right: 1px solid {t["border"]}; }}
    QScrollArea[plain="true"] {{ background: transparent; border: 0; }}
    QScrollArea[plain="true"] > QWidget > QWidget {{ background: transparent; }}
    QScrollBar:vertical {{ background: transparent; width: 10px; margin: 0; }}
    QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 0; }}
    QScrollBar::handle {{ background: {t["control"]}; border-radius: 4px; min-height: 24px;
        min-width: 24px; margin: 1px; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
    QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
    QSplitter::handle {{ background: transparent; }}
    QSplitter::handle:horizontal {{ width: 12px; }}
    QSplitter::handle:vertical {{ height: 12px; }}
    QSplitter::handle:hover {{ background: {t["hover"]}; }}
    QPushButton[kind]::menu-indicator {{ image: none; width: 0; }}
    QFrame[overlay="true"] {{ background: {t["surface"]}; border: 1px solid {t["control"]};
        border-radius: 8px; }}
    QMainWindow::separator {{ background: {t["border"]}; width: 1px; height: 1px; }}
    """
