"""The layers of pyproject.toml hold, at rest and at run time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "workbench"

# contract -> (file, line that violates it)
VIOLATIONS = {
    "Imports go downward only": ("data/records.py", "import workbench.store"),
    "Qt only in ui": ("training/__init__.py", "import PySide6.QtCore"),
    "No torch in ui and cli": ("ui/__init__.py", "import torch"),
    "No torch in store, jobs, data, config": ("store/__init__.py", "import torch"),
    "transformers and peft only in models": ("training/__init__.py", "import peft"),
    "Gymnasium only in environments": ("rewards/__init__.py", "import gymnasium"),
    "objectives is pure: no models, no data, no I/O": ("objectives/kl.py", "import sqlite3"),
}

BLOCK = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
import importlib
for name in {modules!r}:
    importlib.import_module(name)
loaded = [name for name in {unwanted!r} if sys.modules.get(name) is not None]
assert not loaded, f"loaded: {{loaded}}"
"""


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command as c; c(['--no-cache'])"
    return _python(code, folder)


def _python(code: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def _modules(*, below: str = "") -> Iterator[str]:
    for path in sorted((PACKAGE / below).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__main__":
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _below_ui() -> list[str]:
    return [name for name in _modules() if not name.startswith("workbench.ui")]


def test_import_contracts_hold() -> None:
    result = _lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


def test_each_contract_sees_a_planted_violation(tmp_path: Path) -> None:
    """A contract that names the wrong modules guards nothing (it happened to napari)."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert {c["name"] for c in declared["contracts"]} == VIOLATIONS.keys()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "workbench", ignore=shutil.ignore_patterns("__pycache__"))
    for name, line in VIOLATIONS.values():
        path = tmp_path / "workbench" / name
        path.write_text(f"{path.read_text()}\n{line}\n")
    result = _lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    for contract in VIOLATIONS:
        assert f"{contract} BROKEN" in result.stdout, f"{contract} did not notice\n{result.stdout}"


def test_nothing_below_ui_needs_qt_and_no_import_starts_anything() -> None:
    """All below ui without Qt, then the rest with it; one process, as both import torch."""
    blocked, below = ["PySide6", "pyqtgraph"], _below_ui()
    rest = [name for name in _modules() if name not in below]
    assert "workbench.ui.main_window" in rest
    assert "workbench.models.loading" in below
    result = _python(
        BLOCK.format(blocked=blocked, modules=below, unwanted=[])
        + f"for name in {blocked!r}:\n    del sys.modules[name]\n"
        + BLOCK.format(blocked=[], modules=rest, unwanted=[])
        + """
import threading
assert threading.active_count() == 1, threading.enumerate()
from PySide6.QtCore import QCoreApplication
assert QCoreApplication.instance() is None
"""
    )
    assert result.returncode == 0, result.stderr


def test_qt_is_blocked_by_that_test() -> None:
    """Its control: with PySide6 blocked, ui cannot be imported."""
    code = BLOCK.format(
        blocked=["PySide6", "pyqtgraph"], modules=list(_modules(below="ui")), unwanted=[]
    )
    assert "PySide6" in _python(code).stderr


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("workbench.ui.main_window", ["torch", "transformers", "peft"]),
        ("workbench.ui.application", ["torch", "transformers", "peft"]),
        ("workbench.cli", ["torch", "transformers", "peft", "PySide6", "pyqtgraph"]),
        ("workbench.app.workspace", ["torch", "transformers", "peft", "PySide6"]),
        ("workbench.models.catalog", ["torch", "transformers", "peft", "PySide6"]),
        ("workbench.config", ["torch", "transformers", "peft", "PySide6"]),
    ],
)
def test_what_shows_the_window_or_the_help_stays_light(module: str, unwanted: list[str]) -> None:
    """The window is there before torch is imported, and --help needs neither torch nor Qt."""
    result = _python(BLOCK.format(blocked=[], modules=[module], unwanted=unwanted))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "order",
    [
        ["PySide6.QtWidgets", "workbench.config.ppo"],
        ["workbench.config.ppo", "PySide6.QtWidgets"],
        ["PySide6.QtWidgets", "workbench.ui.forms.settings_form"],
    ],
    ids=" then ".join,
)
def test_pydantic_and_pyside_load_in_either_order(order: list[str]) -> None:
    """PySide6's import hook inspects modules that pydantic loads half-way."""
    use = "\nfrom workbench.config.ppo import PPOSettings; PPOSettings().model_json_schema()"
    result = _python(BLOCK.format(blocked=[], modules=order, unwanted=[]) + use)
    assert result.returncode == 0, result.stderr
