"""What every test shares: a home of its own, one torch thread, the tiny model, and leak checks.

Neither torch nor Qt is imported before a test needs it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench import places
from workbench.cancel import CancelToken
from workbench.models import catalog, starter
from workbench.models.catalog import ModelInfo

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

# Read when torch, Qt and huggingface_hub are first imported, so they are set here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_CACHE"] = str(Path(__file__).with_name("no-hub-cache"))

_LEAVE_S = 30.0  # a thread that imports transformers on a busy machine takes that long


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the program: no test reads or writes the user's."""
    folder = tmp_path / "home"
    monkeypatch.setenv("RLHF_WORKBENCH_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _no_thread_survives() -> Iterator[None]:
    """A test that leaves a thread behind fails, after some seconds of grace."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + _LEAVE_S
    # tqdm keeps one monitor thread for the whole process.
    left = [t for t in threading.enumerate() if t not in before and type(t).__name__ != "TMonitor"]
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    survivors = [thread.name for thread in left if thread.is_alive()]
    assert not survivors, f"threads survive the test: {survivors}"


@pytest.fixture(autouse=True)
def _torch_state_restored() -> Iterator[None]:
    """Random state, default kind and thread count of torch are as before the test."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    n_threads = torch.get_num_threads()
    yield
    torch.set_rng_state(state)
    torch.set_default_dtype(dtype)
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def tiny_model_path() -> Path:
    """The shipped tiny model."""
    return places.resource_dir() / "tiny"


@pytest.fixture(scope="session")
def tiny_info(tiny_model_path: Path) -> ModelInfo:
    """The tiny model as the catalogue describes it."""
    return catalog.describe(tiny_model_path)


@pytest.fixture
def tiny_model(tiny_info: ModelInfo) -> LoadedModel:
    """The tiny model in memory, fresh: tests put adapters and heads on it."""
    from workbench.models.loading import load

    return load(
        tiny_info, device="cpu", dtype="float32", cancel=CancelToken(), on_progress=lambda *_: None
    )


@pytest.fixture(scope="session")
def starter_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter model, converted: the user's own copy, or one of this session."""
    if (folder := starter.starter_path()) is not None:
        return folder
    source = starter.starter_gguf()
    if source is None:
        if os.environ.get("CI"):
            pytest.fail("CI installs the starter model; its tests are never left out there")
        pytest.skip("the starter model is not installed")
    from workbench.models import gguf

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLHF_WORKBENCH_HOME", str(tmp_path_factory.mktemp("starter")))
        steps = gguf.convert(source, CancelToken())
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return Path(end.value)


@pytest.fixture(scope="session")
def starter_info(starter_model_path: Path) -> ModelInfo:
    """The starter model as the catalogue describes it."""
    return catalog.describe(starter_model_path)
