"""Random models of twenty words, and registered environments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
import torch

from tests import tinymodels
from workbench import environments
from workbench.config.lora import LoraSettings
from workbench.models import adapters
from workbench.models.loading import LoadedModel


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {kind: tinymodels.write(root / kind, kind) for kind in ("llama", "gpt2", "t5")}


@pytest.fixture
def llama(folders: dict[str, Path]) -> LoadedModel:
    return tinymodels.load(folders["llama"])


@pytest.fixture(params=["llama", "gpt2", "t5"])
def policy(request: pytest.FixtureRequest, folders: dict[str, Path]) -> LoadedModel:
    """Each kind of model with an adapter `policy` that differs from the base."""
    model = tinymodels.load(folders[request.param])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapters.add(model, "policy", LoraSettings(r=4, alpha=8), seed=0):
            parameter.normal_(0.0, 0.15, generator=generator)
    return model


@pytest.fixture
def _registered() -> Iterator[None]:
    """The ids are known inside of a test, and forgotten after it."""
    environments.register()
    yield
    for name in (environments.TOKEN_ENV, environments.CHAT_ENV):
        del gymnasium.registry[name]
