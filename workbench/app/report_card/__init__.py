"""The report card: whether a reward can be trusted, before anything is trained with it.

`report` measures in a job and keeps the result beside the run; `read` gives it back, `staleness`
says whether labels have changed since, `text.lines` has it in words, and `next_step` what to do.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from workbench import __version__
from workbench.app import scorers
from workbench.app.report_card import text
from workbench.app.report_card.next_step import (
    NextStep,
    judge_again,
    next_step,
    queue_pairs,
)
from workbench.app.training_data import labels_digest, usable_pairs
from workbench.app.workspace import Workspace, require_model
from workbench.cancel import CancelToken
from workbench.config.report_card import ReportCardSettings
from workbench.data.folders import write_atomic
from workbench.errors import UserError
from workbench.evaluation.report_records import Measured, ReportCard
from workbench.evaluation.report_verdict import verdict
from workbench.events import Evaluated
from workbench.jobs.runner import Job, Working

__all__ = [
    "FILE",
    "KIND",
    "NextStep",
    "ReportCard",
    "export",
    "job_of",
    "judge_again",
    "next_step",
    "queue_pairs",
    "read",
    "report",
    "staleness",
    "text",
    "to_json",
]

KIND = "report"
FILE = "report.json"
_ADAPTER = TypeAdapter(ReportCard)


def report(ws: Workspace, reward_run: int, settings: ReportCardSettings | None = None) -> Job:
    """Measure a reward and keep the report card beside its run; `Finished.result` tells the level.

    Args:
        ws: The experiment.
        reward_run: Any reward: trained, imported, a probe, a design.
        settings: How much is measured, and the limits of the verdict.

    Raises:
        UserError: It is no reward run, wrote no reward, or was made with another model.
    """
    run = ws.run(reward_run)
    if run.kind != "reward":
        raise UserError(f"{run.name} is no reward.", "Choose a reward run.")
    folder = ws.artifact_folder(reward_run, "reward_model")
    require_model(run, ws.model_info())
    if job_of(ws, reward_run) is not None:
        raise UserError(f"The report on {run.name} is being made already.")
    chosen = settings or ReportCardSettings()

    def work(cancel: CancelToken) -> Working:
        model = yield from ws.model(cancel)
        from workbench.app.report_card.measuring import Measuring
        from workbench.app.report_card.pairs import choose

        pairs = yield from choose(ws, model, run, chosen.min_pairs, cancel)
        labels, _ = usable_pairs(ws)
        with scorers.loaded(model, folder) as scorer:
            measuring = Measuring(ws, model, scorer, pairs, chosen, cancel)
            measured = yield from measuring.measure()
        card = ReportCard(
            run_id=run.id,
            run_name=run.name,
            version=__version__,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            labels_digest=labels_digest(labels),
            n_labels=len(labels),
            pairs=pairs.sentence,
            notes=(*pairs.notes, *measuring.notes),
            measured=measured,
            verdict=verdict(measured, chosen),
            settings=chosen.model_dump(),
        )
        _keep(ws, card)
        return {"level": card.verdict.level, "sentence": card.verdict.sentence}

    # With a sink of its own: the reward's run has ended, and no job on it may change that.
    title = f"Report on {run.name}"
    return ws.submit(title, KIND, work, run_id=run.id, sink=lambda _event: None)


def job_of(ws: Workspace, reward_run: int) -> Job | None:
    """The job that makes a report on a run now, or will."""
    return next((j for j in ws.runner.jobs if j.kind == KIND and j.run_id == reward_run), None)


def read(ws: Workspace, reward_run: int) -> ReportCard | None:
    """The report on a run; None when none was made, or by a version that wrote another form."""
    try:
        return _ADAPTER.validate_json(_path(ws, reward_run).read_bytes())
    except (OSError, ValidationError):
        return None


def staleness(ws: Workspace, card: ReportCard) -> str:
    """What has changed since a report was made, as a sentence; empty when nothing has.

    Reads all labels.
    """
    labels, _ = usable_pairs(ws)
    if labels_digest(labels) == card.labels_digest:
        return ""
    n_more = len(labels) - card.n_labels
    if n_more > 0:
        what = "1 label was" if n_more == 1 else f"{n_more} labels were"
        return f"{what} added since this report was made."
    return "Labels have changed since this report was made."


def to_json(card: ReportCard) -> str:
    """The report as a JSON text."""
    return _ADAPTER.dump_json(card, indent=2).decode()


def export(card: ReportCard, path: Path) -> Path:
    """Write a report as JSON, or as text where the name ends in .txt or .md.

    Raises:
        EnvironmentProblem: The disk is full or refuses.
    """
    is_text = path.suffix.lower() in (".txt", ".md")
    said = "\n".join(text.lines(card)) + "\n" if is_text else to_json(card)
    write_atomic(path, said.encode())
    return path


def _path(ws: Workspace, reward_run: int) -> Path:
    return ws.run_folder(reward_run) / FILE


def _keep(ws: Workspace, card: ReportCard) -> None:
    """Write the file, whole or not at all, and the few figures that runs are compared by."""
    path = _path(ws, card.run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, to_json(card).encode())
    if figures := _metrics(card.measured):
        steps = [
            step
            for points in ws.experiment.runs.metrics(card.run_id).values()
            for step, _ in points
        ]
        ws.experiment.runs.append_events(card.run_id, [Evaluated(max(steps, default=0), figures)])


def _metrics(measured: Measured) -> dict[str, float]:
    figures = {}
    if measured.accuracy is not None:
        figures = {
            "report/accuracy": measured.accuracy.value,
            "report/accuracy_low": measured.accuracy.low,
            "report/accuracy_high": measured.accuracy.high,
        }
    if measured.calibration is not None:
        figures["report/ece"] = measured.calibration.error.value
        figures["report/temperature"] = measured.calibration.temperature.value
    if measured.length is not None and measured.length.correlation is not None:
        figures["report/length_correlation"] = measured.length.correlation.value
    return figures
