"""Importing torch before it is needed, so that the first job does not wait for it."""

from __future__ import annotations

import logging
import threading
import time

from workbench.app.workspace import prepare_torch

log = logging.getLogger(__name__)


def import_torch(*, keeps_core_free: bool) -> threading.Thread:
    """Start importing what models need; a job that comes meanwhile waits for the same import.

    The caller must not let the interpreter end while the thread lives: it would abort.
    """

    def work() -> None:
        began = time.perf_counter()
        prepare_torch(keeps_core_free)
        import workbench.models.loading  # noqa: F401

        log.info("torch is ready after %.1f s", time.perf_counter() - began)

    thread = threading.Thread(target=work, name="torch import", daemon=True)
    thread.start()
    return thread
