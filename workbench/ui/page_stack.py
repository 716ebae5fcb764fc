"""The pages of the window, each built when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QStackedWidget

from workbench.app.workspace import Workspace
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.pages import GROUPS
from workbench.ui.pages.page import Page, UiContext

ENTRIES = {entry.key: entry for group in GROUPS for entry in group}


class PageStack(QStackedWidget):
    """Knows which page belongs to a stage, and which one is shown."""

    problems_changed = Signal()

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self._ws = ws
        self._built: dict[str, Page] = {}
        self.shown = ""

    def is_built(self, key: str) -> bool:
        """Whether a page was ever asked for."""
        return key in self._built

    def page(self, key: str, context: UiContext) -> Page:
        """The page of a stage."""
        if key not in self._built:
            module = importlib.import_module(f"workbench.ui.pages.{key}")
            page: Page = getattr(module, ENTRIES[key].class_name)(self._ws, context)
            self._built[key] = page
            self.addWidget(page)
            for form in page.findChildren(SettingsForm):
                form.problems_changed.connect(lambda _n: self.problems_changed.emit())
        return self._built[key]

    def show_page(self, page: Page) -> None:
        """Bring a page to the front and let it read the records."""
        self.shown = page.key
        self.setCurrentWidget(page)
        page.refresh()

    def problems(self) -> Iterator[tuple[str, int]]:
        """Stages whose settings must be corrected, with how many."""
        for key, page in self._built.items():
            n = sum(form.n_problems() for form in page.findChildren(SettingsForm))
            if n:
                yield key, n
