import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import tinymodels
from workbench.app import answers, labelling, library
from workbench.app.workspace import Workspace
from workbench.config.annotator import AnnotatorSettings
from workbench.config.generation import SamplingSettings
from workbench.data.records import Message, NewPrompt
from workbench.events import Event, Finished
from workbench.jobs.runner import Job

WAIT = 60.0


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A Llama of a few thousand random weights that knows seventeen words."""
    return tinymodels.write(tmp_path_factory.mktemp("models") / "random-llama", "llama")


@pytest.fixture
def open_workspace(tmp_path) -> Iterator[Callable[..., Workspace]]:
    opened: list[Workspace] = []

    def open_one(name: str = "experiment", **kwargs: bool) -> Workspace:
        folder = tmp_path / name
        is_new = not (folder / "experiment.db").exists()
        opened.append(Workspace.open(folder, create=is_new, **kwargs))
        return opened[-1]

    yield open_one
    for ws in opened:
        assert ws.close(WAIT)


@pytest.fixture
def ws(open_workspace) -> Workspace:
    return open_workspace()


@pytest.fixture
def ready(ws, model_folder) -> Workspace:
    """With a model and twelve prompts, four of them held out."""
    make_ready(ws, model_folder)
    return ws


@pytest.fixture(scope="session")
def judged_folder(tmp_path_factory, model_folder) -> Path:
    """What `judged` is, closed; for copies."""
    folder = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLHF_WORKBENCH_HOME", str(folder / "home"))
        ws = Workspace.open(folder / "experiment", create=True)
        make_ready(ws, model_folder)
        settings = SamplingSettings(n_answers=3, max_new_tokens=10)
        assert end(answers.generate(ws, settings)).outcome == "done"
        assert end(labelling.simulate(ws, AnnotatorSettings(noise=0.0))).outcome == "done"
        assert ws.close(WAIT)
    return folder / "experiment"


@pytest.fixture
def judged(open_workspace, judged_folder, tmp_path) -> Workspace:
    """With two answers to each training prompt, all judged by the simulated annotator."""
    shutil.copytree(judged_folder, tmp_path / "experiment")
    return open_workspace()


def make_ready(ws: Workspace, model_folder: Path) -> None:
    """Choose the model and add twelve prompts, four of them held out."""
    library.select_model(ws, str(model_folder))
    add_prompts(ws, [f"w{i} w{i + 1}" for i in range(12)])


def add_prompts(ws: Workspace, texts: list[str]) -> list[int]:
    return ws.experiment.prompts.add_many(
        [
            NewPrompt((Message("user", text),), split="heldout" if i % 3 == 2 else "train")
            for i, text in enumerate(texts)
        ]
    )


def events_of(job: Job) -> list[Event]:
    return list(job.follow(WAIT))


def end(job: Job) -> Finished:
    assert job.wait(WAIT)
    assert job.finished is not None
    return job.finished
