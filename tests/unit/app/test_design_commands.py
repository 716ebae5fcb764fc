"""Reward designs on the command line, in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.app import designs
from workbench.app.workspace import Workspace
from workbench.cli import main
from workbench.config.reward_parts.design import PARTS, load

DESIGN = """
name = "Short"

[[parts]]
kind = "brevity"
longest = 20

[[parts]]
kind = "python-function"
file = "{file}"
weight = -1
"""


@pytest.fixture
def run(
    judged_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[dict[str, Any]], str]]:
    import shutil

    folder = shutil.copytree(judged_folder, tmp_path / "experiment")

    def run(*arguments: str | Path) -> tuple[int, list[dict[str, Any]], str]:
        code = main(["reward", *map(str, arguments), "--experiment", str(folder), "--json"])
        told = capsys.readouterr()
        return code, [json.loads(line) for line in told.out.splitlines()], told.err

    return run


def test_a_design_is_checked_allowed_measured_calibrated_and_saved(
    run: Callable[..., tuple[int, list[dict[str, Any]], str]], tmp_path: Path
) -> None:
    code, kinds, _ = run("parts")
    assert code == 0
    assert [kind["kind"] for kind in kinds] == list(PARTS)

    function = tmp_path / "mine.py"
    function.write_text("def reward(prompt, answer): return len(answer)\n", encoding="utf-8")
    file = tmp_path / "design.toml"
    file.write_text(DESIGN.format(file=function.as_posix()), encoding="utf-8")
    code, told, problem = run("design", file)
    assert code == 2
    assert "mine.py is not allowed to run yet" in problem + json.dumps(told)
    code, told, _ = run("allow", function)
    assert (code, told[0]["is_allowed"]) == (0, True)
    assert run("design", file)[0] == 0

    better = tmp_path / "better.toml"
    code, told, _ = run("measure", file, "-n", "6", "--calibrate", better)
    assert code == 0
    (table,) = [event for event in told if "rows" in event and "parts" in event]
    assert len(table["rows"]) == 6
    for row in table["rows"]:
        assert row["total"] == pytest.approx(row["raw"][0] - row["raw"][1])
        assert row["kl"] == 0.0
    assert load(better).parts[1].scale != 1.0

    assert run("design", better, "--save")[0] == 0
    ws = Workspace.open(tmp_path / "experiment")
    (saved,) = designs.designs(ws)
    assert designs.design_of(ws, saved.id) == load(better)
    ws.close()
    assert run("allow", function, "--withdraw")[0] == 0
    assert run("design", better)[0] == 2
