"""One flag that a long action reads to learn that it should stop or wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from workbench.errors import Cancelled


class CancelToken:
    """Stop and pause requests from any thread to one running action.

    A cancel asks the action to stop now and throw away the unfinished step.
    A stop asks it to end at the next step boundary and save.
    A pause holds it at the next step boundary until it is resumed.

    Attributes:
        while_paused: What is open during a pause, such as a model that leaves the card meanwhile.
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._stop = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self.while_paused: Callable[[], AbstractContextManager[object]] = nullcontext

    def cancel(self) -> None:
        """Ask for the quickest possible end."""
        self._cancelled.set()
        self._stop.set()
        self._running.set()

    def request_stop(self) -> None:
        """Ask for an end at the next step boundary, with everything saved."""
        self._stop.set()
        self._running.set()

    def pause(self) -> None:
        """Hold at the next step boundary."""
        self._running.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the action should abandon its work now."""
        return self._cancelled.is_set()

    @property
    def should_stop(self) -> bool:
        """Whether the action should end at this step boundary and save."""
        return self._stop.is_set()

    @property
    def is_paused(self) -> bool:
        """Whether the action should hold at its next step boundary."""
        return not self._running.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` when `cancel` was called: cheap enough for inner loops."""
        if self._cancelled.is_set():
            raise Cancelled

    def raise_if_stopping(self) -> None:
        """Raise `Cancelled` on a stop as well: for work that is drawn again on going on."""
        if self._stop.is_set():
            raise Cancelled

    def wait_while_paused(self) -> None:
        """Block until resumed, stopped or cancelled."""
        if self.is_paused:
            with self.while_paused():
                self._running.wait()
