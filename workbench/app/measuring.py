"""What the evaluations that tell figures have in common: which policy, and reading them back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.app.workspace import Workspace, require_model
from workbench.config.algorithms import Method
from workbench.config.measures import measure_of
from workbench.data.figures import Figure, flat, read_figures
from workbench.data.records import Run
from workbench.errors import UserError
from workbench.events import Evaluated, Event, Warned

FIGURES, NOTES = "figures", "notes"


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished evaluation.

    Attributes:
        run: The evaluation.
        policy: The run whose policy was measured.
        figures: Base and policy, with intervals.
        notes: Sentences on what was not measured, and why.
        signatures: How sacreBLEU computed a figure, by its name.
    """

    run: Run
    policy: Run
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    signatures: Mapping[str, str]


def policy_to_measure(ws: Workspace, run_id: int) -> tuple[Run, Path, dict[str, object]]:
    """A policy run, the folder of its adapter, and what an evaluation of it records.

    Raises:
        UserError: It has no adapter, or another model is chosen.
    """
    policy = ws.run(run_id)
    folder = ws.artifact_folder(run_id, "adapter")
    info = ws.model_info()
    require_model(policy, info)
    inputs = {"model": info.name, "model_digest": info.digest, "policy_run": run_id}
    return policy, folder, inputs


def require_file(path: Path | None) -> None:
    """Check that a file that is read later is there.

    Raises:
        UserError: It is not.
    """
    if path is not None and not path.is_file():
        raise UserError(f"There is no file {path}.", "Check the path, or leave it out.")


def told(figures: Sequence[Figure]) -> Iterator[Event]:
    """The figures as events; those that are no numbers are warned of by name."""
    yield Evaluated(0, flat(figures))
    names = [
        measure_of(figure.name).title
        for figure in figures
        if figure.after.value - figure.after.value != 0.0  # NaN or infinite
    ]
    if names:
        yield Warned(
            f"No finite number came out for: {', '.join(dict.fromkeys(names))}.",
            "The policy may have been trained to NaN, or its answers may be empty.",
        )


def result(ws: Workspace, run_id: int, how: Method) -> Measured:
    """What an evaluation told.

    Raises:
        UserError: It is no such evaluation, or it has not finished.
    """
    run = ws.run(run_id)
    if run.algorithm != how.name or FIGURES not in run.results:
        raise UserError(
            f"{run.name} has no figures.", f"Choose a run of {how.title.lower()} that is done."
        )
    notes, signatures = run.results.get(NOTES), run.results.get("signatures")
    return Measured(
        run,
        ws.run(int(str(run.inputs["policy_run"]))),
        tuple(read_figures(run.results[FIGURES])),
        tuple(map(str, notes)) if isinstance(notes, list) else (),
        {str(k): str(v) for k, v in signatures.items()} if isinstance(signatures, dict) else {},
    )


def evaluations(ws: Workspace, how: Method, policy_run: int | None = None) -> list[Run]:
    """Evaluations of this kind that finished, the newest first; of one policy run or of all."""
    return [
        run
        for run in ws.experiment.runs.list("evaluation")[::-1]
        if run.algorithm == how.name
        and FIGURES in run.results
        and policy_run in (None, run.inputs.get("policy_run"))
    ]
