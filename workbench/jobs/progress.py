"""Turn a long call that reports through a callback into a generator of progress events."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from workbench.events import Progress

T = TypeVar("T")
OnProgress = Callable[[int, int, str], None]


def with_progress(call: Callable[[OnProgress], T]) -> Generator[Progress, None, T]:
    """Run `call(on_progress)` in a helper thread and yield what it reports.

    A generator that is closed early still waits for the helper, so the call must notice its own
    cancel token. Whatever the call raises is raised here.
    """
    told: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
    with ThreadPoolExecutor(1, thread_name_prefix="progress") as helper:
        future = helper.submit(
            call, lambda done, total, note: told.put(Progress(done, total, note))
        )
        future.add_done_callback(lambda _: told.put(None))
        while (progress := told.get()) is not None:
            yield progress
        return future.result()
