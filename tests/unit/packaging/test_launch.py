"""The launcher's parts: what it refuses, what it repeats, and how it says so."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "packaging" / "launch.py"


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, its checkout moved to an empty folder."""
    spec = importlib.util.spec_from_file_location("launch", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "packaging").mkdir()
    (tmp_path / "packaging" / "constraints.txt").write_text("# pins\ntorch==2.13.0\ntqdm==4.70.1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "CONSTRAINTS", tmp_path / "packaging" / "constraints.txt")
    return module


def _fake_python(launch: ModuleType, script: str) -> None:
    """A Python of the environment that runs a shell script in its place."""
    path = launch.venv_python()
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)


posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")


def test_an_old_python_can_read_the_script_and_nothing_but_the_library_is_needed() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 8))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add((node.module or "").split(".")[0])
    assert modules <= sys.stdlib_module_names


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_fitting_pythons_are_taken(launch: ModuleType, version: tuple[int, int]) -> None:
    launch.check_python(version)


@pytest.mark.parametrize("version", [(2, 7), (3, 10), (3, 14)])
def test_other_pythons_are_refused_in_a_sentence(
    launch: ModuleType, version: tuple[int, int]
) -> None:
    with pytest.raises(launch.Problem, match=r"Python 3\.11 to 3\.13 is needed"):
        launch.check_python(version)


def test_the_stamp_holds_until_something_it_covers_changes(
    launch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RLHF_WORKBENCH_HOME")
    _fake_python(launch, "exit 1\n")
    stamp = {"set": launch.fingerprint(), "dev": False, "home": str(tmp_path / "home")}
    launch.stamp_path().write_text(json.dumps(stamp))
    assert launch.set_up(is_dev=False) == tmp_path / "home"
    launch.CONSTRAINTS.write_text("torch==9.9.9\n")
    assert launch.read_stamp()["set"] != launch.fingerprint()


def test_a_half_written_stamp_counts_as_none(launch: ModuleType) -> None:
    _fake_python(launch, "exit 1\n")
    launch.stamp_path().write_text('{"set": "ab')
    assert launch.read_stamp() == {}


@posix
def test_pip_that_fails_ends_in_one_sentence_and_exit_code_1(
    launch: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fake_python(launch, 'echo "NewConnectionError: [Errno -3] Temporary failure"; exit 1\n')
    for name, value in (
        ("has_nvidia", False),
        ("missing_libraries", {}),
        ("is_reachable", False),
        ("venv_works", True),
    ):
        monkeypatch.setattr(launch, name, lambda *_, value=value: value)
    monkeypatch.setattr(launch, "check_disk", lambda *_: None)
    assert launch.main(["--setup"]) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("The package index could not be reached.")
    assert "\n" not in told
    assert not launch.stamp_path().exists(), "the next start must complete the set-up"


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full."),
        ("WARNING: Retrying after connection broken by 'ProxyError'", "The package index could"),
        ("PermissionError: [Errno 13] Permission denied", "cannot be written"),
        ("ERROR: No matching distribution found for torch==2.13.0", "No matching distribution"),
        ("", "it gave no reason"),
    ],
)
def test_pip_failures_are_told_by_their_cause(
    launch: ModuleType, output: str, sentence: str
) -> None:
    assert sentence in launch.pip_sentence(output)


@pytest.mark.parametrize(
    ("platform", "has_card", "index"),
    [
        ("linux", False, "https://download.pytorch.org/whl/cpu"),
        ("linux", True, ""),
        ("darwin", False, ""),
        ("win32", True, "https://download.pytorch.org/whl/cu130"),
        ("win32", False, ""),
    ],
)
def test_the_build_of_torch_fits_the_machine(
    launch: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    has_card: bool,
    index: str,
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(launch.sys, "platform", platform)
    monkeypatch.setattr(launch, "is_reachable", lambda _: True)
    monkeypatch.setattr(launch, "pip_install", asked.append)
    launch.install_torch(has_card)
    assert asked == [[*(["--index-url", index] if index else []), "--no-deps", "torch==2.13.0"]]


def test_without_the_cpu_index_the_plain_build_is_taken(
    launch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(launch.sys, "platform", "linux")
    monkeypatch.setattr(launch, "is_reachable", lambda _: False)
    monkeypatch.setattr(launch, "pip_install", asked.append)
    launch.install_torch(has_card=False)
    assert asked == [["--no-deps", "torch==2.13.0"]]


def test_missing_libraries_are_named_with_the_line_that_installs_them(
    launch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.sys, "platform", "linux")
    monkeypatch.setattr(launch, "can_load", lambda name: name != "libEGL.so.1")
    missing = launch.missing_libraries()
    assert missing == {"libEGL.so.1": "libegl1"}
    monkeypatch.setattr(launch.shutil, "which", lambda _: "/usr/bin/apt-get")
    monkeypatch.setattr(launch.os, "geteuid", lambda: 1000, raising=False)
    with pytest.raises(launch.Problem, match=r"sudo apt-get install -y .* libegl1$"):
        launch.install_system_libraries(missing)
    monkeypatch.setattr(launch.shutil, "which", lambda _: None)
    with pytest.raises(launch.Problem, match=r"package manager"):
        launch.install_system_libraries(missing)


def test_a_full_disk_is_told_before_anything_is_made(launch: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(launch.Problem, match="GB are needed"):
        launch.check_disk(launch.VENV, 1 << 60)
    assert not launch.VENV.exists()


def test_a_folder_that_is_no_environment_is_not_touched(launch: ModuleType) -> None:
    (launch.VENV).mkdir()
    (launch.VENV / "my-notes.txt").write_text("keep")
    with pytest.raises(launch.Problem, match="is no virtual environment"):
        launch.make_venv()
    assert (launch.VENV / "my-notes.txt").read_text() == "keep"


def test_the_pins_cover_what_the_project_asks_for() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    root = SCRIPT.parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pins = [
        line.split("==")
        for line in (root / "packaging" / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    ]
    pinned = {canonicalize_name(name): version for name, version in pins}
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate():
            version = pinned[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), requirement
