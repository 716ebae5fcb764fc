"""Environments of peers, and running the two sides of a comparison in processes of their own.

    python -m tests.benchmarks.peers trl==1.12.0 trl==1.16.0 [--folder DIR]

makes them beforehand. An environment is a venv that shares nothing with this one but the versions
of torch, transformers, peft and accelerate, so that a comparison is of two programs on the same
libraries. It is made once; nothing of it is ever imported here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

SAME = ("torch", "transformers", "peft", "accelerate")
_ROOT = Path(__file__).resolve().parents[2]


def default_folder() -> Path:
    """Where environments and random models of benchmarks lie unless `--folder` says otherwise."""
    import platformdirs  # not in a peer's environment, which imports this file too

    return Path(platformdirs.user_cache_dir("rlhf-workbench-benchmarks", False))


def python_of(requirement: str, folder: Path) -> Path:
    """The interpreter of a peer's environment, made when it is not there yet.

    Args:
        requirement: Such as trl==1.12.0.
        folder: Gets one environment per requirement.
    """
    place = folder / requirement.replace("==", "-")
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    is_done = place / "complete"
    if not is_done.is_file():
        sys.stderr.write(f"Making an environment with {requirement} in {place}\n")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        # Without the local part: pip then takes the build that this machine is set up for.
        same = [f"{name}=={metadata.version(name).split('+')[0]}" for name in SAME]
        install = [str(python), "-m", "pip", "install", "--quiet", requirement, *same]
        subprocess.run(install, check=True)
        is_done.touch()
    return python


def run_side(python: Path, module: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """Run one side as `python -m module --job FILE` with one thread, and return its figures.

    The side writes them to the path in the job's `result`. This process holds no torch, so what
    it holds cannot count as the side's.

    Raises:
        RuntimeError: The side failed; what it wrote is on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log.txt"
        file = Path(folder) / "job.json"
        file.write_text(json.dumps({**job, "result": str(result)}), encoding="utf-8")
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        with log.open("w", encoding="utf-8") as out:
            ended = subprocess.run(
                [str(python), "-m", module, "--job", str(file)],
                cwd=_ROOT,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if not result.is_file():
            sys.stderr.write(log.read_text(encoding="utf-8", errors="replace")[-5000:])
            raise RuntimeError(f"{module} ended with {ended.returncode} and no result.")
        figures: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return figures


def has_cuda() -> bool:
    """Whether there is an NVIDIA card, asked without torch."""
    return shutil.which("nvidia-smi") is not None


def beside(names: Sequence[str], columns: Sequence[Mapping[str, object]]) -> str:
    """Settings or figures of several sides as a table, in the order of the first that has them."""
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows = [["", *names]]
    rows += [[key, *(str(column.get(key, "-")) for column in columns)] for key in keys]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def figures_of(side: Mapping[str, Any]) -> dict[str, object]:
    """The measured part of a side, for `beside`."""
    phases = {f"  {name}": f"{seconds:.2f}" for name, seconds in side["phases"].items()}
    return {
        f"{side['clock']} per step": f"{side['seconds_per_step']:.2f}",
        **phases,
        "samples per second": f"{side['samples_per_second']:.3f}",
        "peak memory, GiB": f"{side['peak_gib']:.2f}",
    }


def verdict(what: str, ratio: float, bar: float) -> str:
    """One line: a ratio, its bar, and whether it is reached."""
    return f"{what}: {ratio:.2f}x (bar {bar:g}x: {'reached' if ratio >= bar else 'missed'})"


def main(argv: list[str] | None = None) -> int:
    """Make environments beforehand."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("requirements", nargs="+", metavar="trl==VERSION")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args(argv)
    for requirement in arguments.requirements:
        python = python_of(requirement, arguments.folder or default_folder())
        sys.stdout.write(f"{python}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
