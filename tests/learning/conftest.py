"""One tiny Llama folder for all learning tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tinymodels


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinymodels.write(tmp_path_factory.mktemp("tiny") / "llama", "llama")
