"""Before a run: what it would take of memory, and everything that hinders it, at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.app import bases, library
from workbench.app.memory import MemoryUse, free_on_card, room
from workbench.app.training_data import amount, collect, hindrance
from workbench.app.workspace import Workspace, require_model
from workbench.config.algorithms import DESIGN, Algorithm
from workbench.config.training import OfflineSettings, OnPolicySettings, TrainingSettings
from workbench.data.records import Message, Run
from workbench.data.training_data import TrainingData
from workbench.errors import UserError
from workbench.models import memory_plan
from workbench.models.catalog import ModelInfo
from workbench.models.memory_plan import Fitted, MemoryPlan

__all__ = [
    "Fitted",
    "Measured",
    "Plan",
    "Problem",
    "amount",
    "fit",
    "info_of",
    "measure",
    "plan",
    "problems",
    "require_ready",
    "reward_source",
]

_MOST_TEXTS = 2000


@dataclass(frozen=True, slots=True)
class Measured:
    """What the model's tokenizer makes of the data of a run.

    Attributes:
        model_digest: Of which model.
        lengths: Tokens of prompts, or of prompts with answers where those are given; the longest
            2,000 by characters, in falling order.
        problem: Why tokenizer and model do not fit together; empty when they do.
        free_on_card: Free bytes of the emptiest card; None without one.
    """

    model_digest: str
    lengths: tuple[int, ...]
    problem: str
    free_on_card: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The memory of a run beside the memory there is.

    Attributes:
        memory: What the run would take.
        room: What it may take, and what the program holds already.
        skipped: Tokens do not fit the context for so many texts, which are left out.
    """

    memory: MemoryPlan
    room: MemoryUse
    skipped: int

    @property
    def is_enough(self) -> bool:
        """Whether the run fits."""
        return self.memory.peak_bytes <= self.room.total_bytes


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that hinders a run.

    Attributes:
        where: model, data, reward or start, or the name of a setting.
        message: What is wrong, and what to do.
    """

    where: str
    message: str


def measure(ws: Workspace, how: Algorithm, settings: TrainingSettings, base: str = "") -> Measured:
    """Count the tokens of a run's data: for a thread beside the worker, it takes a moment.

    Args:
        ws: The experiment.
        how: The algorithm.
        settings: Its hyperparameters.
        base: Name of the model that is trained; empty for the chosen one.

    Raises:
        UserError: No model is chosen, or its tokenizer cannot be read.
    """
    from workbench.models import tokens

    info = info_of(ws, base)
    try:
        data, _ = collect(ws, how, settings)
    except UserError:
        data = TrainingData()
    texts = sorted(_texts(data), key=lambda t: -_size(t))[:_MOST_TEXTS]
    lengths = tuple(sorted(tokens.lengths(info, texts), reverse=True))
    return Measured(info.digest, lengths, tokens.problem(info), free_on_card())


def plan(
    ws: Workspace,
    how: Algorithm,
    settings: TrainingSettings,
    measured: Measured,
    *,
    base: str = "",
    reward_run: int | None = None,
) -> Plan | None:
    """The memory that a run would take; None where the model's config does not say how large it is.

    Args:
        ws: The experiment.
        how: The algorithm.
        settings: Its hyperparameters.
        measured: What `measure` found.
        base: Name of the model that is trained; empty for the chosen one.
        reward_run: Whose reward scores; it may lie on another base. None takes the newest.

    Raises:
        UserError: No model is chosen.
    """
    info, there = info_of(ws, base), room(ws, measured.free_on_card)
    longest, n_long = _longest(settings, info, measured)
    try:
        facts = memory_plan.facts(info.path)
    except UserError:
        return None
    device, dtype = _where(there)
    found = memory_plan.plan(
        facts, how.name, settings, device=device, dtype=dtype, longest_prompt=longest
    )
    found = found.with_weights(_beside(ws, how, reward_run, dtype))
    if device == "cpu":
        found = found.with_program(ws.program_bytes)
    return Plan(found, there, n_long)


def fit(
    ws: Workspace,
    how: Algorithm,
    settings: TrainingSettings,
    measured: Measured,
    *,
    base: str = "",
    reward_run: int | None = None,
) -> Fitted:
    """Settings with which a run fits into memory and gives the same, or advice how it would.

    Takes what `plan` takes.

    Raises:
        UserError: No model is chosen, or its config does not say how large it is.
    """
    info, there = info_of(ws, base), room(ws, measured.free_on_card)
    longest, _ = _longest(settings, info, measured)
    device, dtype = _where(there)
    return memory_plan.auto_fit(
        memory_plan.facts(info.path),
        how.name,
        settings,
        there.total_bytes
        - _beside(ws, how, reward_run, dtype)
        - (_more(ws) if device == "cpu" else 0),
        device=device,
        dtype=dtype,
        longest_prompt=longest,
    )


def info_of(ws: Workspace, base: str) -> ModelInfo:
    """The model of this name, or the chosen one.

    Raises:
        UserError: There is none, or it cannot be loaded.
    """
    if not base:
        return ws.model_info()
    info = library.find(base)
    if info.problems:
        raise UserError(f"{info.name} cannot be used: {info.problems[0]}")
    return info


def _beside(ws: Workspace, how: Algorithm, reward_run: int | None, dtype: str) -> int:
    """Bytes of the weights that a reward needs beside the chosen model."""
    if "reward" not in how.needs:
        return 0
    try:
        run = reward_source(ws, reward_run)
        n_parameters = sum(info.n_parameters for info in bases.beside(ws, run))
    except UserError:
        return 0  # `problems` tells
    n_parameters += int(str(run.inputs.get("n_parameters", 0)))
    return n_parameters * memory_plan.bytes_of(dtype)


def _more(ws: Workspace) -> int:
    """What this program takes beyond what a plan counts with, such as its window."""
    return max(0, ws.program_bytes - memory_plan.PROGRAM_BYTES)


def problems(
    ws: Workspace,
    how: Algorithm,
    settings: TrainingSettings | None = None,
    measured: Measured | None = None,
    *,
    reward_run: int | None = None,
    start_run: int | None = None,
    base: str = "",
) -> list[Problem]:
    """Everything known that hinders a run, in the order in which the page shows it.

    Args:
        ws: The experiment.
        how: The algorithm.
        settings: Its hyperparameters; None while they are wrong themselves.
        measured: What `measure` found; None before.
        reward_run: Whose reward model scores; None takes the newest.
        start_run: The policy run that training starts from; None starts on the base.
        base: Name of the model that is trained; empty for the chosen one.
    """
    info: ModelInfo | None = None
    found = []
    try:
        info = info_of(ws, base)
    except UserError as error:
        found.append(Problem("model", str(error)))
    if measured is not None and measured.problem:
        found.append(Problem("model", measured.problem))
    try:
        if start_run is not None:
            _require(ws.run(start_run), info)
            ws.artifact_folder(start_run, "adapter")
    except UserError as error:
        found.append(Problem("start", str(error)))
    try:
        if "reward" in how.needs:
            scorer = reward_source(ws, reward_run)
            bases.require(scorer, info)
            found += _labels(settings, scorer)
    except UserError as error:
        found.append(Problem("reward", str(error)))
    if missing := hindrance(ws, how, settings):
        found.append(Problem("data", missing))
    if info is not None and settings is not None and measured is not None:
        found += _too_long(settings, info, measured)
    return found


def _labels(settings: TrainingSettings | None, scorer: Run) -> Iterator[Problem]:
    """Labels in the middle of a run retrain its reward, which must be one that learns from them."""
    if getattr(settings, "labels_every", 0) and scorer.algorithm == DESIGN.name:
        yield Problem(
            "labels_every",
            f"{scorer.name} is a design, which does not learn from labels. Set it to 0, or train "
            "on a reward model.",
        )


def require_ready(
    ws: Workspace,
    how: Algorithm,
    settings: TrainingSettings | None = None,
    *,
    reward_run: int | None,
    start_run: int | None,
) -> None:
    """Refuse to start a run that cannot go well, with every reason.

    Raises:
        UserError: Something hinders it.
    """
    found = problems(ws, how, settings, reward_run=reward_run, start_run=start_run)
    if found:
        raise UserError(" ".join(problem.message for problem in found))


def reward_source(ws: Workspace, reward_run: int | None) -> Run:
    """The reward run to score with: the given one, or the newest that wrote a model.

    Raises:
        UserError: There is none.
    """
    if reward_run is not None:
        run = ws.run(reward_run)
        if run.kind != "reward":
            raise UserError(f"{run.name} is no reward model.", "Choose a reward-model run.")
        return run
    newest = ws.experiment.artifacts.latest("reward_model")
    if newest is None:
        raise UserError(
            "There is no reward model yet.", "Rank some answers and train one on the Reward page."
        )
    return ws.run(newest.run_id)


def _require(run: Run, info: ModelInfo | None) -> None:
    """A run of another model is told of only where there is a model to compare it with."""
    if info is not None:
        require_model(run, info)


def _too_long(settings: TrainingSettings, info: ModelInfo, measured: Measured) -> Iterator[Problem]:
    """No text fits: then there is nothing to learn from. Where some do not, the run tells."""
    shortest = min(measured.lengths, default=0)
    if len(measured.lengths) == _MOST_TEXTS:
        return  # There are shorter ones that were not counted.
    if isinstance(settings, OnPolicySettings):
        if shortest > info.context_length - settings.max_new_tokens:
            yield Problem(
                "max_new_tokens",
                f"No prompt fits: the shortest has {shortest} tokens, and {info.name} takes "
                f"{info.context_length} with the answer. At most "
                f"{info.context_length - shortest} would do."
                if shortest < info.context_length
                else f"No prompt fits: the shortest has {shortest} tokens, and {info.name} takes "
                f"{info.context_length}. Shorten the prompts.",
            )
    elif isinstance(settings, OfflineSettings) and shortest > settings.max_length:
        yield Problem(
            "max_length",
            f"All texts are longer: the shortest has {shortest} tokens.",
        )


def _longest(settings: TrainingSettings, info: ModelInfo, measured: Measured) -> tuple[int, int]:
    """Tokens of the longest text that a run would keep, and how many it would leave out."""
    limit = info.context_length
    if isinstance(settings, OnPolicySettings):
        limit -= settings.max_new_tokens
    elif isinstance(settings, OfflineSettings):
        limit = min(limit, settings.max_length)
    kept = [n for n in measured.lengths if n <= limit]
    return max(kept, default=min(measured.lengths, default=1)), len(measured.lengths) - len(kept)


def _where(there: MemoryUse) -> tuple[str, str]:
    """Device and precision that a model is loaded with, as `models.loading.load` chooses them."""
    return ("cpu", "float32") if there.device == "cpu" else ("cuda", "bfloat16")


_Text = tuple[Sequence[Message], str | None]


def _texts(data: TrainingData) -> Iterator[_Text]:
    for prompt in data.prompts:
        yield prompt.messages, None
    for pair in data.preferences:
        yield pair.prompt.messages, pair.chosen
        yield pair.prompt.messages, pair.rejected
    for said in data.feedback:
        yield said.prompt.messages, said.answer
    for answered in data.answers:
        yield answered.prompt.messages, answered.answer
    for rated in data.ratings:
        yield rated.prompt.messages, rated.answer
    for tie in data.ties:
        yield tie.prompt.messages, tie.first
        yield tie.prompt.messages, tie.second
    for ranking in data.rankings:
        for place in ranking.places:
            for text in place:
                yield ranking.prompt.messages, text


def _size(text: _Text) -> int:
    messages, answer = text
    return sum(len(m.content) for m in messages) + len(answer or "")
