#!/usr/bin/env python3
"""From an empty machine to the open window: `python3 packaging/launch.py`.

Makes `.venv` beside this folder, installs the pinned set, gets the starter model, makes a demo
experiment and opens it. Run it again at any time: what is done is not done twice, what is half
done is completed. Standard library only; the syntax is kept to what Python 3.8 can read, so that
an old Python can at least say that it is too old.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, Sequence  # noqa: UP035

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
OLDEST, NEWEST = (3, 11), (3, 13)
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_INDEX = "https://download.pytorch.org/whl/cu130"
GIB = 1 << 30
# Two lanes that take about equally long. The last tool finds what is broken before any test runs,
# and leaves behind it compiled what all test processes would compile side by side.
CHECKS = (
    (["mypy"],),
    (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["lint-imports"],
        ["pytest", "--collect-only", "-q"],
    ),
)
# Shared libraries that Qt needs, and the Debian packages that hold them.
ALWAYS = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libglib-2.0.so.0": "libglib2.0-0",
}
WITH_DISPLAY = {
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libX11-xcb.so.1": "libx11-xcb1",
}


class Problem(Exception):
    """One plain sentence about what is in the way, with what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Set up RLHF Workbench and open it.")
    parser.add_argument("--setup", action="store_true", help="only set up")
    parser.add_argument("--test", action="store_true", help="set up and run all checks and tests")
    options, rest = parser.parse_known_args(arguments)
    # pip compiles nothing here, so each module is when it is first imported. Where that may not be
    # kept, every process compiles torch and all the rest again, which takes it some ten seconds.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        check_python(sys.version_info[:2])
        home = set_up(is_dev=options.test)
        if options.test:
            return run_checks(rest)
        if not options.setup:
            open_program(home, rest)
    except Problem as problem:
        return fail(str(problem))
    except KeyboardInterrupt:
        return fail("Stopped. Run the same command again to go on.")
    except OSError as error:
        return fail(os_sentence(error))
    else:
        say("Ready. Start it with: python3 packaging/launch.py")
        return 0


def say(text: str) -> None:
    print(text, flush=True)


def fail(sentence: str) -> int:
    print(sentence, file=sys.stderr, flush=True)
    return 1


def os_sentence(error: OSError) -> str:
    """What the operating system refused, for a person."""
    if error.errno == 28:
        return f"The disk is full. Free some space beside {ROOT} and run the same command again."
    if isinstance(error, PermissionError):
        return f"{error.filename or ROOT} cannot be written by this user. Nothing else was changed."
    return f"The system refused a step ({error}). Run the same command again when that is mended."


def check_python(version: tuple[int, int]) -> None:
    """Refuse a Python that the pinned set has no wheels for, and name one that fits."""
    if OLDEST <= version <= NEWEST:
        return
    found = [f"python3.{minor}" for minor in (13, 12, 11) if shutil.which(f"python3.{minor}")]
    what = f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} is needed"
    do = f"Run: {found[0]} packaging/launch.py" if found else "Install Python 3.12, then run this."
    raise Problem(f"{what}, and this is {version[0]}.{version[1]}. {do}")


def set_up(is_dev: bool) -> Path:
    """Make everything that is not there yet.

    Returns:
        The program's home folder, which holds the demo experiment.
    """
    stamp = read_stamp()
    if stamp.get("set") == fingerprint() and (stamp.get("dev") or not is_dev):
        return Path(os.environ.get("RLHF_WORKBENCH_HOME") or str(stamp["home"]))
    started = time.monotonic()
    has_card = has_nvidia()
    check_disk(VENV, (9 if has_card else 3) * GIB)
    install_system_libraries(missing_libraries())
    make_venv()
    install_torch(has_card)
    install_project(is_dev)
    home = Path(output_of("from workbench import places; print(places.home_dir())"))
    make_demo(home)
    # The last act of a set-up: without the stamp, the next start completes what is missing.
    stamp_path().write_text(
        json.dumps({"set": fingerprint(), "dev": is_dev, "home": str(home)}), encoding="utf-8"
    )
    say(f"Set up in {time.monotonic() - started:.0f} seconds.")
    return home


def stamp_path() -> Path:
    return VENV / "rlhf-workbench.json"


def read_stamp() -> dict[str, object]:
    """What the last complete set-up wrote; empty when none was completed."""
    try:
        content = json.loads(stamp_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and venv_python().exists() else {}


def fingerprint() -> str:
    """Changes when the pinned set, the project's needs, this Python or the folder change."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for path in (CONSTRAINTS, ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def check_disk(path: Path, need: int) -> None:
    """Refuse to begin what the disk cannot hold."""
    free = shutil.disk_usage(path.parent).free
    if free < need and not stamp_path().exists():
        raise Problem(
            f"About {need // GIB} GB are needed in {path.parent}, {free / GIB:.1f} GB are free. "
            "Free some space and run the same command again."
        )


def has_nvidia() -> bool:
    """Whether an NVIDIA card answers."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        return (
            subprocess.run([program, "-L"], capture_output=True, timeout=20, check=False).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def has_display() -> bool:
    """Whether a window could be shown."""
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def missing_libraries() -> dict[str, str]:
    """Shared libraries that Qt will look for in vain, with their Debian packages."""
    if sys.platform != "linux":
        return {}
    wanted = {**ALWAYS, **WITH_DISPLAY} if has_display() else ALWAYS
    return {name: package for name, package in wanted.items() if not can_load(name)}


def can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def install_system_libraries(missing: dict[str, str]) -> None:
    """Install what is missing as root on Debian and Ubuntu; name the line otherwise."""
    if not missing:
        return
    packages = sorted(set(missing.values()))
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        raise Problem(
            f"The window needs system libraries that are not here: {', '.join(sorted(missing))}. "
            "Install them with your system's package manager and run the same command again."
        )
    line = "apt-get install -y --no-install-recommends " + " ".join(packages)
    if os.geteuid() != 0:
        raise Problem(f"Some system libraries are missing. Install them with: sudo {line}")
    say(f"Installing system libraries: {' '.join(packages)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ([apt_get, "update"], line.split()):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["apt-get gave no reason"]
        raise Problem(
            f"System libraries could not be installed ({last[0]}). "
            f"When the network is there, run: apt-get update && {line}"
        )


def venv_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_venv() -> None:
    """A virtual environment of this Python; a broken or foreign one is made anew."""
    if venv_works():
        return
    if VENV.exists() and not (VENV / "pyvenv.cfg").exists() and any(VENV.iterdir()):
        raise Problem(f"{VENV} is no virtual environment. Move it away and run this again.")
    say(f"Making {VENV}")
    done = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "ensurepip" in done.stdout + done.stderr:
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise Problem(f"This Python cannot make environments. Run: sudo apt-get install -y {name}")
    if done.returncode:
        raise Problem(f"{VENV} could not be made: {last_line(done.stderr + done.stdout)}")


def venv_works() -> bool:
    """Whether the environment is whole and of this version of Python."""
    code = "import sys, pip; print(sys.version_info[:2] == tuple(map(int, sys.argv[1:])))"
    version = [str(part) for part in sys.version_info[:2]]
    try:
        done = subprocess.run(
            [str(venv_python()), "-c", code, *version], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return done.stdout.strip() == "True"


def install_torch(has_card: bool) -> None:
    """The build of torch that fits the machine.

    PyPI holds the CUDA build for Linux (gigabytes) and the CPU build for Windows and macOS, so a
    Linux machine without a card asks PyTorch's own index for the CPU build first. Where that
    index cannot be reached (a company's mirror of PyPI), the plain build does too, only larger.
    """
    pin = next(line for line in pins() if line.startswith("torch=="))
    index = ""
    if sys.platform == "linux" and not has_card:
        index = CPU_INDEX
    elif sys.platform == "win32" and has_card:
        index = CUDA_INDEX
    # What it depends on comes with the project, from PyPI and pinned.
    command = ["--no-deps", pin]
    say(f"Installing torch ({'CUDA' if has_card else 'CPU'} build)")
    if index and is_reachable(index + "/torch/"):
        try:
            pip_install(["--index-url", index, *command])
        except Problem as problem:
            say(f"  not from {index}: {problem}")
        else:
            return
    pip_install(command)


def pins() -> list[str]:
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if "==" in line and not line.startswith("#")]


def is_reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=8):
            return True
    except OSError:
        return False


def install_project(is_dev: bool) -> None:
    """This checkout, editable, with everything it needs at the pinned versions."""
    say("Installing the program and what it needs")
    target = f"{ROOT}[dev]" if is_dev else str(ROOT)
    pip_install(["-c", str(CONSTRAINTS), "-e", target])


def pip_install(arguments: list[str]) -> None:
    """Run pip, show what it downloads, and turn a failure into a sentence."""
    command = [str(venv_python()), "-m", "pip", "install", "--no-input", "--no-compile"]
    lines: list[str] = []
    process = subprocess.Popen(
        [*command, "--progress-bar", "off", "--disable-pip-version-check", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if line.lstrip().startswith(("Downloading ", "Building ", "Installing collected")):
                say("  " + line.strip()[:96])
    if process.returncode:
        raise Problem(pip_sentence("\n".join(lines)))


def pip_sentence(output: str) -> str:
    """Why pip failed, as one sentence: network, disk, or its own last word."""
    again = "Run the same command again; what was installed already is kept."
    if "No space left" in output or "Errno 28" in output:
        return f"The disk is full. Free some space. {again}"
    if "Permission denied" in output or "Errno 13" in output:
        return f"{VENV} cannot be written by this user. {again}"
    offline = ("NewConnectionError", "Temporary failure in name", "ConnectTimeout", "ProxyError",
               "Connection refused", "Network is unreachable", "ReadTimeout", "getaddrinfo",
               "ConnectionResetError", "SSLError")  # fmt: skip
    if any(sign in output for sign in offline):
        return f"The package index could not be reached. Check the network. {again}"
    errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
    return f"pip could not install a package: {last_line(chr(10).join(errors) or output)} {again}"


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300].replace("ERROR: ", "") if lines else "it gave no reason."


def output_of(code: str) -> str:
    done = subprocess.run(
        [str(venv_python()), "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode:
        raise Problem(f"The program does not start: {last_line(done.stderr)}")
    return done.stdout.strip()


def make_demo(home: Path) -> None:
    """An experiment with prompts and a model, ready to generate answers."""
    demo = home / "demo"
    if not (demo / "experiment.db").exists():
        say(f"Making a demo experiment in {demo}")
        home.mkdir(parents=True, exist_ok=True)
        if workbench("new", str(demo)):
            raise Problem(f"The demo experiment could not be made in {demo}.")
        groups = [path.stem for path in sorted((ROOT / "resources/prompts").glob("*.jsonl"))]
        workbench("prompts", "demo", *groups, "--experiment", str(demo))
    say("Getting the starter model (98 MB, converted once)")
    if workbench("models", "starter", "--experiment", str(demo)):
        say("The starter model is not here yet: get it later on the Models page.")
        workbench("models", "use", "tiny", "--experiment", str(demo))


def workbench(*arguments: str) -> int:
    """Run a command of the program and give its exit code."""
    command = [str(venv_python()), "-m", "workbench", *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode


def open_program(home: Path, arguments: list[str]) -> NoReturn:
    """Become the program: the window on the demo experiment, or the tour without a display."""
    command = [str(venv_python()), "-m", "workbench"]
    if arguments:
        command += arguments
    elif has_display():
        command += ["--experiment", str(home / "demo")]
    else:
        say("There is no display here, so the tour plays without a window (about 15 minutes).")
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        folder = home / time.strftime("tour-%Y%m%d-%H%M%S")
        command += ["tour", "--experiment", str(folder)]
    os.environ["PYTHONPATH"] = str(ROOT)
    if os.name == "nt":
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)


def run_checks(arguments: list[str]) -> int:
    """Linters, types, import contracts, then the tests.

    Returns:
        The exit code of pytest; that of the first failed check when the tests pass.
    """
    failed = {} if arguments else run_at_once(CHECKS)
    code = run_tool(["pytest", *(arguments or ["-n", str(n_workers()), "--dist", "worksteal"])])
    if failed:
        fail(f"These checks failed: {', '.join(failed)}.")
    return code or next(iter(failed.values()), 0)


def n_workers() -> int:
    """One test process per core, four at most: each holds torch and Qt."""
    return max(1, min(4, os.cpu_count() or 1))


def run_at_once(lanes: Sequence[Sequence[Sequence[str]]]) -> dict[str, int]:
    """Run lanes of tools side by side, and tell what each said when it has ended.

    Returns:
        The exit codes of those that failed.
    """
    failed = {}

    def run_lane(lane: Sequence[Sequence[str]]) -> None:
        for command in lane:
            done = subprocess.run(
                tool(command), cwd=ROOT, env=quiet(), stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
            )  # fmt: skip
            said = done.stdout if done.returncode else last_line(done.stdout)
            say(f"$ {' '.join(command)}\n{said.rstrip()}")
            if done.returncode:
                failed[command[0]] = done.returncode

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(run_lane, lanes))
    return failed


def run_tool(command: Sequence[str]) -> int:
    """Run a tool of the environment on this checkout and give its exit code."""
    say("$ " + " ".join(command))
    return subprocess.run(tool(command), cwd=ROOT, env=quiet(), check=False).returncode


def tool(command: Sequence[str]) -> list[str]:
    """The command with the path of its program."""
    program = shutil.which(command[0], path=str(venv_python().parent))
    if program is None:
        raise Problem(f"{command[0]} is missing. Remove {stamp_path()} and run this again.")
    return [program, *command[1:]]


def quiet() -> dict[str, str]:
    """An environment without windows, of one thread per process."""
    return {**os.environ, "QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    sys.exit(main())
