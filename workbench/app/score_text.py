"""Score any text: an answer that was typed, pasted or chosen, by a reward of the experiment.

Beside the score stands what it owes to each token, in two ways that say different things:

- prefixes: the score of every beginning of the answer, and how much each token changed it. Reward
  models are trained on whole answers, so scores of beginnings are a reading, not a rule.
- gradient × input: how the score would begin to move if one embedding grew (`models.attribution`).

Neither is a cause: only another answer, scored, says what another answer would have got.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workbench.app import scorers
from workbench.app.planning import reward_source
from workbench.app.workspace import Workspace, require_model
from workbench.cancel import CancelToken
from workbench.data.chat_template import encode_answer, pieces
from workbench.data.records import Message, Run
from workbench.errors import UserError
from workbench.events import Progress
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel
    from workbench.rewards.base import Scorer

KIND = "score"


@dataclass(frozen=True, slots=True)
class Text:
    """What is to be scored."""

    prompt: tuple[Message, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class PartScore:
    """What a part of a designed reward makes of an answer.

    Attributes:
        title: How tables show it.
        value: Its own value.
        contribution: What that adds to the total, normalised and weighted.
    """

    title: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True)
class TokenScores:
    """A number for each token of an answer, its stop token included.

    Attributes:
        way: prefixes or gradient.
        tokens: What each token adds to the text.
        values: What the score owes to each.
        so_far: prefixes only: the score after each token.
        start: prefixes only: the score of no answer at all.
    """

    way: Literal["prefixes", "gradient"]
    tokens: tuple[str, ...]
    values: tuple[float, ...]
    so_far: tuple[float, ...] = ()
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class TextScore:
    """A scored text; `parts` is empty for a reward that is no sum."""

    run_id: int
    run_name: str
    text: Text
    score: float
    parts: tuple[PartScore, ...]
    by_token: tuple[TokenScores, ...]


def typed(prompt: str, answer: str) -> Text:
    """A text whose prompt is one message of the user."""
    return Text((Message("user", prompt),), answer)


def score(
    ws: Workspace, texts: Sequence[Text], reward_run: int | None = None, *, by_token: bool = True
) -> Job:
    """Score texts; the job's result holds a `TextScore` of each under `scores`.

    Args:
        ws: The experiment.
        texts: Prompts and answers; an answer may be empty.
        reward_run: Whose reward scores; None takes the newest.
        by_token: Whether what the score owes to each token is worked out too.

    Raises:
        UserError: There is nothing to score, a prompt is empty, or there is no such reward.
    """
    if not texts:
        raise UserError("There is no text to score.", "Give a prompt and an answer.")
    for text in texts:
        if not any(m.content.strip() for m in text.prompt):
            raise UserError(
                "There is no prompt.", "A reward scores an answer to a prompt: give that too."
            )
    run = reward_source(ws, reward_run)
    require_model(run, ws.model_info())
    folder = ws.artifact_folder(run.id, "reward_model")

    def work(cancel: CancelToken) -> Working:
        model = yield from ws.model(cancel)
        found, check = [], cancel.raise_if_cancelled
        with scorers.loaded(model, folder, cancel) as reward, model.checking(check):
            for i, text in enumerate(texts):
                yield Progress(i, len(texts), "Scoring")
                _require_room(model, reward, text)
                found.append(_score(model, reward, run, text, by_token))
        yield Progress(len(texts), len(texts), "Scoring")
        return {"scores": found}

    title = f"Score a text by {run.name}" if len(texts) == 1 else f"Score {len(texts)} texts"
    return ws.submit(title, KIND, work)


def rewards(ws: Workspace) -> list[Run]:
    """The runs that can score, the newest first."""
    runs = {run.id: run for run in ws.experiment.runs.list("reward")}
    written = {
        run_id
        for run_id in runs
        if any(a.kind == "reward_model" for a in ws.experiment.artifacts.for_run(run_id))
    }
    return [runs[run_id] for run_id in sorted(written, reverse=True)]


def _require_room(model: LoadedModel, reward: Scorer, text: Text) -> None:
    """A network reads as much as its positions reach, and says nothing sensible beyond."""
    reader = getattr(reward, "base", model)
    n_prompt = len(reader.encode_prompt(text.prompt))
    n_answer = len(encode_answer(reader.tokenizer, text.answer, reader.stop_id))
    if n_prompt + n_answer > reader.context_length:
        room = max(0, reader.context_length - n_prompt)
        raise UserError(
            f"Prompt and answer have {n_prompt + n_answer} tokens; {reader.info.name} reads "
            f"{reader.context_length} at most.",
            f"Shorten the answer to {room} tokens or fewer, or the prompt."
            if room
            else "Shorten the prompt.",
        )


def _score(model: LoadedModel, reward: Scorer, run: Run, text: Text, by_token: bool) -> TextScore:
    ids = encode_answer(model.tokenizer, text.answer, model.stop_id)
    parts = _parts(reward, text, ids)
    if parts:
        value = sum(part.contribution for part in parts)
    else:
        value = reward.score([text.prompt], [ids])[0]
    shown = tuple(_by_token(model, reward, text, ids)) if by_token else ()
    return TextScore(run.id, run.name, text, value, parts, shown)


def _parts(reward: Scorer, text: Text, ids: Sequence[int]) -> tuple[PartScore, ...]:
    """What each part of a designed reward adds; none for another reward.

    Raises:
        UserError: A part has no value for this text; it is named.
    """
    from workbench.rewards.design import DesignedReward

    if not isinstance(reward, DesignedReward):
        return ()
    found = []
    for part, values in zip(
        reward.design.parts, reward.table([text.prompt], [text.answer], [ids]), strict=True
    ):
        if values.raw is None:
            raise UserError(values.problem)
        found.append(PartScore(part.title, values.raw[0], part.contribution(values.raw[0])))
    return tuple(found)


def _by_token(
    model: LoadedModel, reward: Scorer, text: Text, ids: Sequence[int]
) -> Iterator[TokenScores]:
    from workbench.rewards.base import PrefixReward
    from workbench.rewards.explaining import GradientReward

    if isinstance(reward, PrefixReward):
        start, *so_far = reward.score_prefixes([text.prompt], [ids])[0]
        values = [after - before for before, after in zip([start, *so_far], so_far, strict=False)]
        tokens = pieces(model.tokenizer, ids)
        yield TokenScores("prefixes", tuple(tokens), tuple(values), tuple(so_far), start)
    if isinstance(reward, GradientReward):
        owed = reward.gradient_times_input(text.prompt, text.answer)
        yield TokenScores("gradient", tuple(owed.tokens), tuple(owed.values))
