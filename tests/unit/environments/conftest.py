"""A random model of twenty words, and registered environments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from tests import tinymodels
from workbench import environments
from workbench.models.loading import LoadedModel


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinymodels.write(tmp_path_factory.mktemp("tiny") / "llama", "llama")


@pytest.fixture
def llama(llama_folder: Path) -> LoadedModel:
    return tinymodels.load(llama_folder)


@pytest.fixture
def _registered() -> Iterator[None]:
    """The ids are known inside of a test, and forgotten after it."""
    environments.register()
    yield
    for name in (environments.TOKEN_ENV, environments.CHAT_ENV):
        del gymnasium.registry[name]
