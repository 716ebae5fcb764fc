"""Take pictures of the real window in the middle of a real PPO run.

`python packaging/screenshot.py --out packaging/pictures` makes an experiment in a temporary
folder, generates, judges by the simulated annotator, trains a reward model, starts PPO and, once
enough updates have run, draws each page at each size in light and dark while the run goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication

from workbench.app import answers, exchange, labelling, library, reward, runs
from workbench.app.workspace import Workspace
from workbench.config.tour import TourSettings, defaults_for
from workbench.jobs.runner import Job
from workbench.rewards import annotator
from workbench.ui.application import collect_in_gui_thread
from workbench.ui.main_window import MainWindow
from workbench.ui.theme import theme

SIZES = ("1440x900", "1100x700")
MODES = ("light", "dark")
SETTLE_MS = 400


def main() -> int:
    options = parse()
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    app = QApplication(["rlhf-workbench"])
    app.setApplicationName("RLHF Workbench")
    collect_in_gui_thread(app)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.experiment or Path(temporary) / "my-experiment"
        ws = Workspace.open(folder, create=not (folder / "experiment.db").exists())
        # The window remembers its place and theme; those of the user are not touched.
        model = str(library.find(options.model).path)
        os.environ["RLHF_WORKBENCH_HOME"] = str(Path(temporary) / "home")
        settings = defaults_for(options.model)
        reward_run = prepare(ws, model, settings)
        take(ws, settings, reward_run, options)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--model", default="tiny", help="tiny, starter or a folder")
    parser.add_argument(
        "--experiment", type=Path, help="keep the experiment here, or go on with it"
    )
    parser.add_argument("--pages", nargs="+", default=["train"], metavar="PAGE")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WIDTHxHEIGHT")
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--updates", type=int, default=40, help="updates of the run")
    parser.add_argument("--at", type=int, default=28, help="take the pictures after this many")
    return parser.parse_args()


def prepare(ws: Workspace, model: str, settings: TourSettings) -> int:
    """Everything up to a reward model, by the calls that the window makes; its run."""
    library.select_model(ws, model)
    if not ws.experiment.prompts.count():
        exchange.add_demo_prompts(ws, ["tour"])
    end(answers.generate(ws, settings.generation))
    if ws.experiment.comparisons.counts(annotator.NAME).pending:
        end(labelling.simulate(ws, settings.annotator))
    done = [run for run in reward.reward_runs(ws) if run.status == "done"]
    if done:
        return done[-1].id
    job = reward.train_reward(ws, settings.reward)
    end(job)
    assert job.run_id is not None
    return job.run_id


def end(job: Job) -> None:
    """Follow a job to its end; pictures of a failed one would lie."""
    job.wait()
    if job.finished is not None and job.finished.error is not None:
        raise SystemExit(f"{job.title} failed: {job.finished.error.message}")


def take(
    ws: Workspace, settings: TourSettings, reward_run: int, options: argparse.Namespace
) -> None:
    """Show the window, train, and draw it while the run goes on."""
    window = MainWindow(ws)
    window.show()
    changed = {"updates": options.updates, "seed": 1}
    ppo = type(settings.ppo).model_validate({**settings.ppo.model_dump(), **changed})
    job = window.bridge.watch(runs.train(ws, "ppo", ppo, reward_run=reward_run))
    window.show_page("train")
    assert job.run_id is not None
    wait_until(lambda: n_updates(ws, job) >= options.at or job.finished is not None)
    if job.finished is not None:
        raise SystemExit(f"The run ended before update {options.at}: {job.finished}")
    for mode in options.modes:
        theme().set_mode(mode)
        for size in options.sizes:
            window.resize(*(int(part) for part in size.split("x")))
            for page in options.pages:
                window.show_page(page)
                wait(SETTLE_MS)
                path = options.out / f"{page}-{size}-{mode}.png"
                window.grab().save(str(path))
                print(path, flush=True)
    job.token.cancel()
    wait_until(lambda: job.finished is not None)
    window.close()


def n_updates(ws: Workspace, job: Job) -> int:
    assert job.run_id is not None
    return len(runs.metrics(ws, job.run_id).get("objective/kl", ()))


def wait(milliseconds: int) -> None:
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def wait_until(is_true: Callable[[], bool]) -> None:
    while not is_true():
        wait(200)


if __name__ == "__main__":
    sys.exit(main())
