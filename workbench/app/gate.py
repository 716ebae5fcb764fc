"""The regression gate of a policy: run on what was measured of it, and noted at its exports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from workbench.app import measuring
from workbench.app.workspace import Workspace
from workbench.config.algorithms import EVALUATION, GATE, SAFETY, TEXT_METRICS
from workbench.config.gate import GateSettings
from workbench.data.figures import Estimate, Figure
from workbench.data.records import Run
from workbench.errors import UserError
from workbench.evaluation import gate
from workbench.evaluation.gate import Check, Verdict

__all__ = ["GATE_FILE", "Check", "GateResult", "as_file", "card", "check", "latest", "result"]

GATE_FILE = "gate.json"
_CHECKS, _VERDICT = "checks", "verdict"
_WORDS: Mapping[Verdict, str] = {
    "passed": "passed",
    "failed": "failed",
    "incomplete": "is incomplete: not everything was measured",
}


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate said of a policy.

    Attributes:
        run: The record of it.
        policy: The policy run.
        verdict: Passed, failed, or incomplete.
        checks: Each check with its figure.
    """

    run: Run
    policy: Run
    verdict: Verdict
    checks: tuple[Check, ...]

    @property
    def sentence(self) -> str:
        """The verdict in words, with how many checks passed."""
        n = sum(check.state == "passed" for check in self.checks)
        words = _WORDS[self.verdict]
        return f"The gate {words}. {n} of {len(self.checks)} checks passed."


def check(ws: Workspace, run_id: int, settings: GateSettings) -> GateResult:
    """Hold the newest text metrics, safety measures and comparison of a policy against bounds.

    What was measured before the policy's last training does not count. The result is recorded as
    an evaluation of its own.

    Args:
        ws: The experiment.
        run_id: The policy run.
        settings: Which checks, and their bounds.

    Raises:
        UserError: The run has no policy, no check is wanted, or the experiment is read-only.
    """
    policy = ws.run(run_id)
    ws.artifact_folder(run_id, "adapter")
    inputs: dict[str, object] = {"policy_run": run_id}
    figures: dict[str, tuple[Figure, ...]] = {}
    for name, how in (("text_run", TEXT_METRICS), ("safety_run", SAFETY)):
        newest = next(_since(policy, measuring.evaluations(ws, how, run_id)), None)
        figures[name] = ()
        if newest is not None:
            inputs[name] = newest.id
            figures[name] = measuring.result(ws, newest.id, how).figures
    compared = next(_since(policy, _comparisons(ws, run_id)), None)
    if compared is not None:
        inputs["comparison_run"] = compared.id
    checks = gate.judge(settings, figures["text_run"], figures["safety_run"], _wins(compared))
    if not checks:
        raise UserError("No check is chosen, so there is nothing to pass.", "Choose one or more.")
    verdict = gate.verdict(checks)
    gate_run = ws.new_run("evaluation", GATE, settings, inputs)
    stored = {_VERDICT: verdict, _CHECKS: [one.to_dict() for one in checks]}
    ws.experiment.runs.finish(gate_run, "done", stored)
    return result(ws, gate_run)


def result(ws: Workspace, run_id: int) -> GateResult:
    """What a run of the gate said.

    Raises:
        UserError: It is no such run.
    """
    run = ws.run(run_id)
    stored = run.results.get(_CHECKS)
    if run.algorithm != GATE.name or not isinstance(stored, list):
        raise UserError(f"{run.name} is no run of the gate.")
    verdicts: dict[str, Verdict] = {word: word for word in _WORDS}
    return GateResult(
        run,
        ws.run(int(str(run.inputs["policy_run"]))),
        verdicts.get(str(run.results.get(_VERDICT)), "incomplete"),
        tuple(Check.read(one) for one in stored),
    )


def latest(ws: Workspace, run_id: int) -> GateResult | None:
    """The newest result for a policy as it is now; None when none was asked for since."""
    runs = [
        run
        for run in ws.experiment.runs.list("evaluation")[::-1]
        if run.algorithm == GATE.name
        and run.inputs.get("policy_run") == run_id
        and _CHECKS in run.results
    ]
    newest = next(_since(ws.run(run_id), runs), None)
    return None if newest is None else result(ws, newest.id)


def card(found: GateResult | None) -> Iterator[str]:
    """The section of a model card, line by line."""
    yield "## Regression gate"
    yield ""
    if found is None:
        yield "Not run for this policy."
        yield ""
        return
    yield f"{found.sentence} ({found.run.name}, {found.run.created_at[:10]})"
    yield ""
    for one in found.checks:
        yield f"- {one.state}: {one.sentence}"
    yield ""


def as_file(found: GateResult) -> bytes:
    """The same for programs, beside the weights and listed in the manifest."""
    values = {
        _VERDICT: found.verdict,
        "gate_run": found.run.name,
        "policy_run": found.policy.name,
        "at": found.run.created_at,
        "settings": dict(found.run.settings),
        _CHECKS: found.run.results[_CHECKS],
    }
    return json.dumps(values, indent=2, ensure_ascii=False).encode()


def _since(policy: Run, runs: list[Run]) -> Iterator[Run]:
    """Runs that saw the policy as it is: training that goes on ends later than they began."""
    ended = policy.finished_at or ""
    return (run for run in runs if run.created_at >= ended)


def _comparisons(ws: Workspace, run_id: int) -> list[Run]:
    return [
        run
        for run in ws.experiment.runs.list("evaluation")[::-1]
        if run.algorithm == EVALUATION.name
        and run.inputs.get("policy_run") == run_id
        and _wins(run) is not None
    ]


def _wins(compared: Run | None) -> tuple[str, Estimate] | None:
    """Who judged, and how often the policy won: one who did not train it comes first."""
    results = {} if compared is None else compared.results
    for name, who in (("win_rate", "the simulated annotator"), ("win_rate_reward", "the reward")):
        values = [results.get(f"{name}{end}") for end in ("", "_low", "_high")]
        numbers = [float(v) for v in values if isinstance(v, int | float)]
        if len(numbers) == len(values):
            return who, Estimate(*numbers)
    return None
