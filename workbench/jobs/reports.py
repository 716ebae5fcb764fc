"""From an exception to what the user reads: a sentence where one can be given, else a report."""

from __future__ import annotations

import errno
import traceback

from workbench.errors import WorkbenchError
from workbench.events import ErrorReport

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_KEPT = "Everything up to the last checkpoint is kept."
_LOWER = "Lower the micro-batch size, the answer length or the batch size, or take a smaller model."


def report(error: BaseException) -> ErrorReport:
    """What to tell of an error that ended a job. A traceback comes only with bugs."""
    if isinstance(error, WorkbenchError):
        return ErrorReport(error.message, error.hint)
    if is_out_of_device_memory(error):
        return ErrorReport(f"The graphics card ran out of memory. {_KEPT}", _LOWER)
    if isinstance(error, MemoryError) or _is_torch_without_memory(error):
        return ErrorReport(f"The computer ran out of memory. {_KEPT}", _LOWER)
    if isinstance(error, OSError) and error.errno in _FULL:
        return ErrorReport(
            f"The disk is full. {_KEPT}", "Free some space, then resume the run from Runs."
        )
    return ErrorReport(
        f"Something went wrong inside the program ({type(error).__name__}). {_KEPT}",
        "The report below helps to find the fault.",
        "".join(traceback.format_exception(error)),
    )


def is_out_of_device_memory(error: BaseException) -> bool:
    """Whether this is torch's OutOfMemoryError; known by name, so that torch is not imported."""
    return any(
        cls.__name__ == "OutOfMemoryError" and cls.__module__.split(".")[0] == "torch"
        for cls in type(error).__mro__
    )


def _is_torch_without_memory(error: BaseException) -> bool:
    # torch's CPU allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
