"""Model folders once per session, models in memory once per test: tests put adapters on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tinymodels
from workbench.models.loading import LoadedModel


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {kind: tinymodels.write(root / kind, kind) for kind in tinymodels.KINDS}


@pytest.fixture
def llama(folders: dict[str, Path]) -> LoadedModel:
    return tinymodels.load(folders["llama"])


@pytest.fixture(params=tinymodels.KINDS)
def model(request: pytest.FixtureRequest, folders: dict[str, Path]) -> LoadedModel:
    """Each kind of tiny model in turn."""
    return tinymodels.load(folders[request.param])


@pytest.fixture(params=tinymodels.CAUSAL_KINDS)
def causal_model(request: pytest.FixtureRequest, folders: dict[str, Path]) -> LoadedModel:
    """Each kind whose prompt and answer are one text."""
    return tinymodels.load(folders[request.param])
