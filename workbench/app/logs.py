"""The one set-up of logging: a rotating file in the experiment's logs folder."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from workbench import __version__

_FORMAT = "%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"
_SIZE_BYTES = 2_000_000
_KEPT_FILES = 3


def start_log(folder: Path) -> None:
    """Log this package to `folder`/workbench.log from now on, in place of an earlier folder.

    A folder that cannot be written costs the log, never the experiment.
    """
    logger = logging.getLogger("workbench")
    stop_log()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            folder / "workbench.log",
            maxBytes=_SIZE_BYTES,
            backupCount=_KEPT_FILES,
            encoding="utf-8",
            delay=True,
        )
    except OSError as error:
        logger.warning("no log is written: %s", error)
        return
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.info("RLHF Workbench %s", __version__)


def stop_log() -> None:
    """Close the log file, if one is open."""
    logger = logging.getLogger("workbench")
    for handler in [h for h in logger.handlers if isinstance(h, RotatingFileHandler)]:
        logger.removeHandler(handler)
        handler.close()
