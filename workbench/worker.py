"""`python -m workbench.worker BUNDLE`: the same training without a window, on one or many cards.

    torchrun --nproc-per-node 4 -m workbench.worker BUNDLE --model MODEL --out RUN

Never imports Qt. Events come as on the command line from rank 0.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from workbench.cancel import CancelToken
from workbench.cli.following import stop_if_paused
from workbench.cli.show import Show
from workbench.errors import Cancelled, WorkbenchError


def main(argv: Sequence[str] | None = None) -> int:
    """Work off one bundle.

    Returns:
        0 when it was done, or stopped and saved; 1 when it was cancelled or failed.
    """
    options = _parse(argv)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
    from workbench.app.worker import work_off
    from workbench.training.ranks import Ranks

    cancel, show = CancelToken(), Show(is_json=options.json)
    _stop_on_signals(cancel)
    ranks = Ranks.join()
    try:
        events = work_off(
            options.bundle, options.model, options.out, ranks, cancel, dtype=options.dtype
        )
        for event in events:
            if ranks.is_main:
                show.event(event)
            stop_if_paused(event, cancel, show if ranks.is_main else None)
    except (WorkbenchError, Cancelled) as error:
        if isinstance(error, WorkbenchError):
            show.problem(error)
        return 1
    finally:
        ranks.leave()
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workbench.worker", description=__doc__)
    parser.add_argument("bundle", type=Path, help="made by rlhf-workbench export bundle")
    parser.add_argument("--model", default="", help="name or folder of the base")
    parser.add_argument("--out", type=Path, default=Path("run"), help="where to write")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--json", action="store_true", help="events as JSON lines")
    return parser.parse_args(argv)


def _stop_on_signals(cancel: CancelToken) -> None:
    """Stop and save at the next step boundary; a second signal cancels."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if cancel.should_stop:
            cancel.cancel()
        cancel.request_stop()

    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), stop)


if __name__ == "__main__":
    sys.exit(main())
