from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.data import folders
from workbench.data.folders import (
    MANIFEST,
    atomic_folder,
    clean_leftovers,
    digest_folder,
    leftovers,
    verify,
    write_atomic,
)
from workbench.errors import EnvironmentProblem, UserError

_DIES_AT = """
import os, signal, sys
from pathlib import Path
from workbench.data import folders

left = int(sys.argv[2])
real = os.fsync

def fsync(fd):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    real(fd)

os.fsync = fsync
with folders.atomic_folder(Path(sys.argv[1]), is_replacing=sys.argv[3] == "replace") as partial:
    (partial / "inner").mkdir()
    for i in range(3):
        (partial / "inner" / f"{i}.bin").write_bytes(bytes([i]) * 300_000)
print("done", flush=True)
"""


def make(target: Path, text: str = "text", *, is_replacing: bool = False) -> None:
    with atomic_folder(target, is_replacing=is_replacing) as partial:
        (partial / "sub").mkdir()
        (partial / "sub" / "名.txt").write_text(text, encoding="utf-8")
        (partial / "b.bin").write_bytes(b"\0" * 10)


def test_a_whole_folder_verifies_and_its_digest_is_that_of_its_content(tmp_path: Path) -> None:
    make(tmp_path / "a" / "one")
    make(tmp_path / "two")
    make(tmp_path / "three", "other")
    one = tmp_path / "a" / "one"
    assert verify(one) == []
    assert set(json.loads((one / MANIFEST).read_text("utf-8"))["files"]) == {"b.bin", "sub/名.txt"}
    assert (
        digest_folder(one) == digest_folder(tmp_path / "two") != digest_folder(tmp_path / "three")
    )
    digest = digest_folder(one)
    (one / MANIFEST).unlink()
    assert digest_folder(one) == digest


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("b.bin", b"\0" * 9 + b"\1", "b.bin has changed"),
        ("b.bin", b"\0" * 9, "b.bin has another size"),
        ("b.bin", None, "b.bin is missing"),
        (MANIFEST, None, "it has no MANIFEST.json"),
        (MANIFEST, b"{", "MANIFEST.json cannot be read"),
        (MANIFEST, b"[]", "MANIFEST.json cannot be read"),
        (MANIFEST, b'{"files": {"../x": {}}}', "names a file outside"),
    ],
)
def test_verify_says_what_is_wrong(
    tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    make(tmp_path / "f")
    (tmp_path / "f" / "sub" / "note.txt").write_text("a user's note is no problem")
    assert verify(tmp_path / "f") == []
    (tmp_path / "f" / name).unlink()
    if content is not None:
        (tmp_path / "f" / name).write_bytes(content)
    [problem] = verify(tmp_path / "f")
    assert sentence in problem


def test_an_error_in_the_body_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "f") as partial:
            (partial / "x").write_text("x")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_existing_folders_are_not_overwritten_unless_they_are_ours(tmp_path: Path) -> None:
    target = tmp_path / "f"
    target.mkdir()
    make(target)  # an empty folder, as a file dialog makes it, is taken over
    with pytest.raises(UserError, match="already there"):
        make(target)
    make(target, "new", is_replacing=True)
    assert (target / "sub" / "名.txt").read_text("utf-8") == "new"
    (target / "diary.txt").write_text("mine")
    with pytest.raises(UserError, match="already there"):
        make(target, "newer", is_replacing=True)
    assert (target / "sub" / "名.txt").read_text("utf-8") == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_kill_9_at_any_sync_leaves_no_half_folder(tmp_path: Path) -> None:
    """One process for each moment: it kills itself in front of its n-th sync."""
    n_died = 0
    for n_syncs in range(20):
        target = tmp_path / f"run-{n_syncs}" / "step-1"
        command = [sys.executable, "-c", _DIES_AT, str(target), str(n_syncs), "new"]
        result = subprocess.run(command, capture_output=True, check=False)
        assert not result.stderr
        if target.exists():
            assert verify(target) == []
        if result.stdout == b"done\n":
            break
        n_died += 1
        if not target.exists():
            assert len(leftovers(tmp_path)) == 1
            assert verify(leftovers(tmp_path)[0]) == [] or n_syncs < 6
        clean_leftovers(tmp_path)
        assert leftovers(tmp_path) == []
    assert n_died >= 6  # three files, the manifest, two folders, the parent


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("n_syncs", [0, 4, 6])
def test_kill_9_while_replacing_keeps_the_old_or_the_new(tmp_path: Path, n_syncs: int) -> None:
    target = tmp_path / "adapter"
    make(target)
    command = [sys.executable, "-c", _DIES_AT, str(target), str(n_syncs), "replace"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    clean_leftovers(tmp_path)
    assert verify(target) == []
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def test_a_folder_moved_aside_comes_back_when_its_successor_never_came(tmp_path: Path) -> None:
    make(tmp_path / "adapter")
    (tmp_path / "adapter").rename(tmp_path / ".adapter.999999999-0123abcd.old")
    clean_leftovers(tmp_path)
    assert verify(tmp_path / "adapter") == []


def test_leftovers_of_a_living_process_stay(tmp_path: Path) -> None:
    mine = tmp_path / f".step.{os.getpid()}-0123abcd.partial"
    mine.mkdir()
    (tmp_path / ".hidden.partial").mkdir()
    assert clean_leftovers(tmp_path) == []
    assert mine.exists()


def test_write_atomic_replaces_the_whole_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "f", b"old and long")
    write_atomic(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit there")
def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    import resource

    write_atomic(tmp_path / "f", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write_folder() -> None:
        with atomic_folder(tmp_path / "folder") as partial:
            (partial / "large").write_bytes(b"\0" * 100_000)

    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(EnvironmentProblem, match="The disk is full"):
            write_atomic(tmp_path / "f", b"\0" * 100_000)
        with pytest.raises(EnvironmentProblem, match="The disk is full") as caught:
            write_folder()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "Free some space" in caught.value.hint
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_other_refusals_of_the_disk_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentProblem, match="could not be written"):
        write_atomic(tmp_path / "file" / "inside", b"x")
    refusal = folders.disk_problem(PermissionError(13, "Permission denied"), tmp_path / "x")
    assert "read-only for this user" in refusal.message
