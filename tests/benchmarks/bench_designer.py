"""How long the designer page takes when a weight moves: 500 answers, ten parts.

    python -m tests.benchmarks.bench_designer

A weight is moved a hundred times as the mouse does it; what is timed is everything up to the
return to the event loop (totals, order, table, distributions, remarks), and the painting that
follows, as processor time of the window's thread. Nothing is measured by a model: the values are
drawn by chance.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication

from workbench.app import design_draft
from workbench.app.designs import Measured, Row
from workbench.app.workspace import Workspace
from workbench.config.reward_parts.design import read
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.design import DesignPage

N_ANSWERS, N_PARTS, N_MOVES = 500, 10, 100


def main() -> None:
    """Print medians and the worst of a hundred."""
    application = QApplication([])
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace.open(Path(folder) / "experiment", create=True)
        window = MainWindow(ws)
        window.show()
        window.show_page("design")
        page = window.page("design")
        assert isinstance(page, DesignPage)
        _fill(page)
        application.processEvents()
        moved, painted = [], []
        slider = page.view.parts.rows[0].slider
        slider.setSliderDown(True)
        for i in range(N_MOVES):
            start = time.thread_time()
            slider.setValue(-60 + i)
            moved.append(time.thread_time() - start)
            start = time.thread_time()
            application.processEvents()
            painted.append(time.thread_time() - start)
        print(f"{N_ANSWERS} answers, {N_PARTS} parts, {N_MOVES} moves of a weight")  # noqa: T201
        _tell("totals, order, table, distributions", moved)
        _tell("painting", painted)
        window.finish()


def _fill(page: DesignPage) -> None:
    draw = random.Random(0)
    draft = page.edits.now
    for i in range(N_PARTS):
        draft = draft.added(
            {**design_draft.fresh("brevity"), "longest": i + 1, "label": f"Part {i}"}
        )
    page.edits.change(draft)
    rows = tuple(
        Row(
            completion_id=k,
            prompt="A prompt",
            text="An answer of some words. " * 8,
            is_base=True,
            raw=tuple(draw.gauss(0, 1) for _ in range(N_PARTS)),
            kl=0.0,
        )
        for k in range(N_ANSWERS)
    )
    page.measuring.columns.take(
        Measured(read(draft.values()), rows, ("",) * N_PARTS, (0.0,) * N_PARTS)
    )
    page._show_draft()


def _tell(what: str, seconds: Sequence[float]) -> None:
    median, worst = statistics.median(seconds), max(seconds)
    print(f"{what}: median {median * 1e3:.1f} ms, worst {worst * 1e3:.1f} ms")  # noqa: T201


if __name__ == "__main__":
    main()
