"""What the parts of a design make of answers: a table of raw values.

`Part.contribution` and `RewardDesign.total` make rewards of them in no time, so that a weight can
be tried without measuring again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from workbench.app import scorers
from workbench.app.design_check import check, sources
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config.reward_parts import design as designs_config
from workbench.config.reward_parts.design import DesignError, RewardDesign
from workbench.config.reward_parts.kinds import AnyPart
from workbench.data import design_folder
from workbench.data.folders import GUIDANCE
from workbench.data.records import Completion, Message
from workbench.errors import UserError
from workbench.events import Event, Progress
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

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
        UserError: There are no parts or no answers, or no model is chosen.
    """
    ws.model_info()
    problems = check(ws, design)
    if not design.parts:
        raise DesignError(problems)
    wrong: dict[int, _Column] = {}
    for problem in problems:
        if problem.part is not None and problem.part not in wrong:
            wrong[problem.part] = (None, problem.message, 0.0)
    answers = _answers(ws, completion_ids, n)
    found = sources(ws, design, without=wrong)

    def work(cancel: CancelToken) -> Working:
        model = yield from ws.model(cancel)
        columns = _known(design, answers, known) | wrong
        cache = ws.path / "cache"
        cache.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as name:
            folder = Path(name)
            design_folder.write(folder, design, found.folders, found.references)
            yield from _fill(ws, model, folder, design, answers, columns, cancel)
        kl = yield from _distances(ws, model, answers, cancel)
        return _as_result(ws, model, design, answers, columns, kl)

    return ws.submit(
        f"Measure {design.name}", "measure", work, total=len(design.parts), unit="parts"
    )


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
            reward = scorers.part(model, folder, i, cancel)
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


def _distances(
    ws: Workspace, model: LoadedModel, answers: Sequence[Completion], cancel: CancelToken
) -> Generator[Event, None, list[float | None]]:
    """Ln of how much likelier each answer's policy was to give it than the base, in nats.

    0 for the base itself; None where it is not known who answered, or value heads had a say.
    """
    kl: list[float | None] = [0.0 if _is_base(model, answer) else None for answer in answers]
    adapters = dict.fromkeys(a.adapter for a in answers if _is_own(model, a) and a.adapter)
    folders = {run.name: run.id for run in ws.experiment.runs.list("policy")}
    for name in adapters:
        cancel.raise_if_stopping()
        folder = None if name not in folders else _adapter_folder(ws, folders[name])
        if folder is None:
            continue
        yield Progress(0, 0, f"Measuring how far {name} is from the base")
        rows = [i for i, a in enumerate(answers) if _is_own(model, a) and a.adapter == name]
        found = _log_ratios(model, folder, [_asked(ws, answers[i]) for i in rows])
        for i, value in zip(rows, found, strict=True):
            kl[i] = value
    return kl


def _adapter_folder(ws: Workspace, run_id: int) -> Path | None:
    """The adapter that a run wrote, when its answers come from it alone."""
    try:
        folder = ws.artifact_folder(run_id, "adapter")
    except UserError:
        return None
    return None if (folder / GUIDANCE).exists() else folder


_Asked = tuple[Sequence[Message], Sequence[int], float]


def _asked(ws: Workspace, answer: Completion) -> _Asked:
    """Prompt, tokens and the temperature that they were drawn with; 1 for the likeliest ones."""
    temperature = answer.sampling.get("temperature")
    messages = ws.experiment.prompts.get(answer.prompt_id).messages
    return messages, answer.token_ids, float(str(temperature or 1.0))


def _log_ratios(model: LoadedModel, folder: Path, asked: Sequence[_Asked]) -> list[float]:
    from workbench.models import adapters
    from workbench.rewards.parts.networks import token_logps

    adapters.load(model, _ADAPTER, folder)
    try:
        found = []
        for messages, ids, temperature in asked:
            batch = [model.encode_prompt(messages)], [ids]
            both = [token_logps(model, who, *batch, temperature)[0] for who in (_ADAPTER, None)]
            found.append(sum(both[0]) - sum(both[1]))
        return found
    finally:
        adapters.remove(model, _ADAPTER)


_ADAPTER = "measured"


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
