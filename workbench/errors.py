"""The two kinds of trouble a user can act on; everything else is a bug and gets a report."""

from __future__ import annotations


class WorkbenchError(Exception):
    """Trouble with a sentence: what happened, and what to do about it.

    Args:
        message: What is wrong, as one sentence for the user.
        hint: What to do, as one sentence; empty when the message already says it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UserError(WorkbenchError):
    """The input can be corrected by the user: a setting, a file, a choice."""


class EnvironmentProblem(WorkbenchError):
    """The machine is in the way: disk, memory, lock, missing model or library."""


class Cancelled(WorkbenchError):
    """The user asked a long action to stop; raised where the action notices it."""

    def __init__(self) -> None:
        super().__init__("Stopped as asked.")
