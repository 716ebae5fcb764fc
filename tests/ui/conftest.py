"""The real window on a real experiment folder, and jobs whose steps a test decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from tests import ready
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.events import Event
from workbench.jobs.runner import Job
from workbench.ui.main_window import MainWindow
from workbench.ui.theme import theme


@pytest.fixture(autouse=True)
def _same_look(qtbot: QtBot) -> Iterator[None]:
    """A test that changes the theme does not change it for the next one."""
    mode = theme().mode
    yield
    if theme().mode != mode:
        theme().set_mode(mode)


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    """An experiment with the tiny model and a dozen prompts."""
    workspace = ready.new_experiment(tmp_path / "experiment", "tiny", n_repeats=1)
    yield workspace
    assert workspace.close(30)


@pytest.fixture
def window(qtbot: QtBot, ws: Workspace) -> MainWindow:
    """The window of `ws`, shown and active."""
    shown = MainWindow(ws)
    qtbot.addWidget(shown)
    with qtbot.waitActive(shown):
        shown.show()
        shown.activateWindow()
    return shown


class Script:
    """A job that says what a test lets it say, one event per call of `say`.

    It ends by `end`, by a stop or by a cancel.
    """

    def __init__(self) -> None:
        self._events: list[Event | Exception] = []
        self._changed = threading.Condition()
        self._is_over = False

    def say(self, event: Event | Exception) -> None:
        """Let the job tell an event; an exception ends it."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def end(self) -> None:
        """Let the job come to its end."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def work(self, cancel: CancelToken) -> Iterator[Event]:
        """The generator that the runner draws from."""
        while not cancel.should_stop:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._is_over, timeout=0.01)
                if not self._events and self._is_over:
                    return
                said = self._events.pop(0) if self._events else None
            if isinstance(said, Exception):
                raise said
            if said is not None:
                yield said


@pytest.fixture
def submit(window: MainWindow) -> Iterator[Callable[..., tuple[Job, Script]]]:
    """Submits a scripted job and lets the window follow it."""
    scripts: list[Script] = []

    def submit_(title: str = "PPO 1", kind: str = "policy", total: int = 5) -> tuple[Job, Script]:
        script = Script()
        scripts.append(script)
        job = window.ws.submit(title, kind, script.work, total=total, unit="updates")
        return window.bridge.watch(job), script

    yield submit_
    for script in scripts:
        script.end()
