"""The recorded runs of tests/golden/make_ill_runs.py, and experiments that hold one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.training import on_policy_settings
from workbench.app.workspace import Workspace
from workbench.events import Sample, Step

RUNS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "golden" / "ill_runs.json").read_text(encoding="utf-8")
)


def add_run(ws: Workspace, name: str) -> int:
    """A finished run with the figures of a recorded one, and samples."""
    recorded = RUNS[name]
    settings = on_policy_settings(recorded["algorithm"], **recorded["settings"])
    runs = ws.experiment.runs
    run_id = runs.create("policy", recorded["algorithm"], name, settings.model_dump(), {})
    by_step: dict[int, dict[str, float]] = {}
    for metric, points in recorded["metrics"].items():
        for step, value in points:
            by_step.setdefault(step, {})[metric] = value
    runs.append_events(run_id, [Step(s, 30, m, 1.0) for s, m in by_step.items()])
    prompts = ws.experiment.prompts.list(split="heldout")
    words = ("the sea is blue", "the sea is green", "the the the the")
    events = [
        Sample(
            10 * k,
            prompt.id,
            f"{words[k]} {i}",
            0.1 * k,
            2.0 * k,
            5,
            True,
            True,
            ("the", " sea", " is", " blue", "<eos>"),
            {"logp": (-1.0,) * 5, "ref_logp": (-1.0 - k,) * 5, "value": (0.5, 0, 0, 0, -0.5)},
        )
        for k in range(3)
        for i, prompt in enumerate(prompts)
    ]
    runs.append_events(run_id, [*events, Sample(30, prompts[0].id, "old", 0.9, 1.0, 2, True)])
    runs.finish(run_id, "done")
    return run_id
