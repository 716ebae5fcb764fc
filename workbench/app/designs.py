"""Designed rewards: what is wrong with one, saving its versions, and what it makes of answers.

Values that were measured are raw: `Part.contribution` and `RewardDesign.total` make rewards of
them in no time, so that a weight can be tried without measuring again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from workbench.app import scorers
from workbench.app.design_check import check, sources
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config.algorithms import DESIGN
from workbench.config.reward_parts import design as designs_config
from workbench.config.reward_parts.design import DesignError, RewardDesign
from workbench.config.reward_parts.kinds import AnyPart
from workbench.data import design_folder
from workbench.data.folders import atomic_folder
from workbench.data.records import Completion, Run
from workbench.errors import UserError
from workbench.events import Event, Progress, Saved
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

__all__ = [
    "Measured",
    "Row",
    "calibrated",
    "check",
    "design_of",
    "designs",
    "measure",
    "measured",
    "save",
]

REWARD_MODEL = "reward_model"
_WHOLE = {"weight", "label", "paid", "shift", "scale", "clip"}
_SMALLEST_SCALE = 1e-6


@dataclass(frozen=True, slots=True)
class Row:
    """An answer and what the parts of a design make of it.

    Attributes:
        completion_id: The answer.
        prompt: Its prompt's last message.
        text: Its words.
        is_base: Whether the base wrote it.
        raw: The value of each part; None where the part has none.
        kl: Distance from the base in nats, 0 for the base itself; None where it is not known.
    """

    completion_id: int
    prompt: str
    text: str
    is_base: bool
    raw: tuple[float | None, ...]
    kl: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What a design makes of answers.

    Attributes:
        design: The design as it was measured.
        rows: One per answer.
        problems: Of each part, why it has no values; empty where it has.
        seconds: How long each part took for all answers.
    """

    design: RewardDesign
    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    seconds: tuple[float, ...]


def save(ws: Workspace, design: RewardDesign) -> Job:
    """Save a version of a design: a reward run, which everything that takes a reward takes.

    Raises:
        DesignError: With everything that is wrong with it.
        UserError: No model is chosen.
    """
    ws.check_writable()
    info = ws.model_info()
    if problems := check(ws, design):
        raise DesignError(problems)
    name = design.name.strip() or DESIGN.title
    version = 1 + sum(run.inputs.get("design") == name for run in designs(ws))
    inputs = {
        "model": info.name,
        "model_digest": info.digest,
        "design": name,
        "version": version,
        "labels_digest": "",
    }
    title = f"{name}, version {version}"
    run_id = ws.new_run("reward", DESIGN, design, inputs, title)
    found = sources(ws, design)

    def work(_cancel: CancelToken) -> Iterator[Event]:
        folder = ws.run_folder(run_id) / REWARD_MODEL
        with atomic_folder(folder, is_replacing=True) as partial:
            design_folder.write(partial, design, found.folders, found.references)
        yield Saved(0, "reward_model", str(folder))

    return ws.submit(title, DESIGN.name, work, run_id=run_id)


def designs(ws: Workspace) -> list[Run]:
    """All saved versions of all designs, the newest first."""
    runs = ws.experiment.runs.list("reward")
    return [run for run in runs if run.algorithm == DESIGN.name][::-1]


def design_of(ws: Workspace, run_id: int) -> RewardDesign:
    """The design that a run saved.

    Raises:
        UserError: It is no such run.
    """
    run = ws.run(run_id)
    if run.algorithm != DESIGN.name:
        raise UserError(f"{run.name} is no reward design.", "Choose a saved design.")
    return designs_config.read(run.settings)


def measure(
    ws: Workspace,
    design: RewardDesign,
    completion_ids: Sequence[int] | None = None,
    *,
    n: int = 16,
    known: Measured | None = None,
) -> Job:
    """See what each part makes of answers; `measured` gives the table of the job.

    A part that cannot score is told of in the table and does not hinder the others.

    Args:
        ws: The experiment.
        design: Saved or not.
        completion_ids: Which answers; None takes the newest ones of different prompts.
        n: How many answers where none are named.
        known: An earlier table: parts that are the same but for weight and normalisation are not
            scored again when it is of the same answers.

    Raises:
        DesignError: Settings are wrong so that nothing can be measured.
        UserError: There are no answers, or no model is chosen.
    """
    ws.model_info()
    if problems := check(ws, design):
        raise DesignError(problems)
    answers = _answers(ws, completion_ids, n)
    found = sources(ws, design)

    def work(cancel: CancelToken) -> Working:
        model = yield from ws.model(cancel)
        columns = _known(design, answers, known)
        cache = ws.path / "cache"
        cache.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as name:
            folder = Path(name)
            design_folder.write(folder, design, found.folders, found.references)
            yield from _fill(ws, model, folder, design, answers, columns, cancel)
        kl = [_kl(model, answer) for answer in answers]
        return _as_result(ws, model, design, answers, columns, kl)

    return ws.submit(f"Measure {design.name}", "measure", work, total=len(answers), unit="answers")


def measured(_ws: Workspace, job: Job) -> Measured:
    """The table of a `measure` job that is done.

    Raises:
        UserError: It is not done.
    """
    if job.finished is None or "rows" not in job.finished.result:
        raise UserError(f"{job.title} has no table.", "Measure again.")
    result: Mapping[str, Any] = job.finished.result
    return Measured(
        design=designs_config.read(result["design"]),
        rows=tuple(Row(**{**row, "raw": tuple(row["raw"])}) for row in result["rows"]),
        problems=tuple(result["problems"]),
        seconds=tuple(result["seconds"]),
    )


def calibrated(design: RewardDesign, table: Measured) -> RewardDesign:
    """The design with shift and scale of each part measured on the base's answers in a table.

    Their mean becomes 0 and their spread 1; parts that give them all one value, or have none,
    stay as they are.

    Raises:
        UserError: The table is of other parts, or has fewer than two answers of the base.
    """
    if [_core(part) for part in design.parts] != [_core(part) for part in table.design.parts]:
        raise UserError("The parts have changed since they were measured.", "Measure again.")
    rows = [row for row in table.rows if row.is_base]
    if len(rows) < 2:
        raise UserError(
            "Two answers of the base are needed at least.", "Generate some on the Answers page."
        )
    parts = tuple(
        _calibrated(part, [row.raw[i] for row in rows]) for i, part in enumerate(design.parts)
    )
    return design.model_copy(update={"parts": parts})


def _calibrated(part: AnyPart, raw: Sequence[float | None]) -> AnyPart:
    values = [value for value in raw if value is not None]
    spread = pstdev(values) if values else 0.0
    if len(values) < len(raw) or spread <= _SMALLEST_SCALE:
        return part
    return part.model_copy(update={"shift": fmean(values), "scale": spread})


def _answers(ws: Workspace, ids: Sequence[int] | None, n: int) -> list[Completion]:
    completions = ws.experiment.completions
    if ids is None:
        # One of each prompt before a second of any.
        by_prompt = [found[::-1] for _, found in completions.by_prompt()][::-1]
        rounds = max(map(len, by_prompt), default=0)
        ids = [found[k] for k in range(rounds) for found in by_prompt if k < len(found)][:n]
    if not ids:
        raise UserError("There are no answers to measure.", "Generate some on the Answers page.")
    return [completions.get(i) for i in ids]


_Column = tuple[tuple[float | None, ...] | None, str, float]


def _core(part: Any) -> dict[str, Any]:
    """What of a part decides its raw value."""
    values: dict[str, Any] = part.model_dump(exclude=_WHOLE)
    return values


def _known(
    design: RewardDesign, answers: Sequence[Completion], table: Measured | None
) -> dict[int, _Column]:
    """Columns of an earlier table that still hold."""
    if table is None or [r.completion_id for r in table.rows] != [a.id for a in answers]:
        return {}
    found: dict[int, _Column] = {}
    for i, part in enumerate(design.parts):
        for j, other in enumerate(table.design.parts):
            if _core(part) == _core(other) and not table.problems[j]:
                found[i] = (tuple(row.raw[j] for row in table.rows), "", table.seconds[j])
    return found


def _fill(
    ws: Workspace,
    model: LoadedModel,
    folder: Path,
    design: RewardDesign,
    answers: Sequence[Completion],
    columns: dict[int, _Column],
    cancel: CancelToken,
) -> Iterator[Event]:
    """Score what no column is known for, part by part."""
    missing = [i for i in range(len(design.parts)) if i not in columns]
    for done, i in enumerate(missing):
        cancel.raise_if_stopping()
        yield Progress(done, len(missing), f"Measuring {design.parts[i].title}")
        try:
            reward = scorers.part(model, folder, i)
        except UserError as error:
            columns[i] = (None, str(error), 0.0)
            continue
        try:
            prompts = [ws.experiment.prompts.get(a.prompt_id).messages for a in answers]
            ids = [_ids_of(model, answer) for answer in answers]
            values = next(iter(reward.table(prompts, [a.text for a in answers], ids)))
        finally:
            reward.close()
        columns[i] = (values.raw, values.problem, values.seconds)
    yield Progress(len(missing), len(missing), "Measured")


def _ids_of(model: LoadedModel, answer: Completion) -> tuple[int, ...] | None:
    """The answer's own tokens, where this model's tokenizer made them."""
    return answer.token_ids if _is_own(model, answer) else None


def _is_own(model: LoadedModel, answer: Completion) -> bool:
    return bool(answer.token_ids) and answer.model_digest == model.info.digest


def _is_base(model: LoadedModel, answer: Completion) -> bool:
    return _is_own(model, answer) and answer.adapter is None


def _kl(model: LoadedModel, answer: Completion) -> float | None:
    return 0.0 if _is_base(model, answer) else None


def _as_result(
    ws: Workspace,
    model: LoadedModel,
    design: RewardDesign,
    answers: Sequence[Completion],
    columns: Mapping[int, _Column],
    kl: Sequence[float | None],
) -> dict[str, object]:
    ordered = [columns[i] for i in range(len(design.parts))]
    rows = [
        {
            "completion_id": answer.id,
            "prompt": ws.experiment.prompts.get(answer.prompt_id).text,
            "text": answer.text,
            "is_base": _is_base(model, answer),
            "raw": [None if raw is None else raw[k] for raw, _, _ in ordered],
            "kl": kl[k],
        }
        for k, answer in enumerate(answers)
    ]
    return {
        "design": design.model_dump(),
        "rows": rows,
        "problems": [problem for _, problem, _ in ordered],
        "seconds": [seconds for _, _, seconds in ordered],
    }
