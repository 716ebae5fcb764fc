"""How clients ask for scores, and how they are told them: forms of JSON, each at its path."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from workbench.data.formats.lines import LineError, check_text, prompt_messages
from workbench.data.records import Message

MAX_ANSWERS = 1024


@dataclass(frozen=True, slots=True)
class Item:
    """One answer to score.

    Attributes:
        prompt: Messages, or text that is rendered by the model's chat template already.
        answer: The answer's text.
    """

    prompt: tuple[Message, ...] | str
    answer: str


class RefusedError(Exception):
    """A question that is not answered: an HTTP status and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Form:
    """What a request of one kind holds, and what its answer holds."""

    read: Callable[[dict[str, Any]], list[Item]]
    write: Callable[[list[float]], dict[str, Any]]


def bad(sentence: str) -> RefusedError:
    """The refusal of a request that is wrong in itself."""
    return RefusedError(HTTPStatus.BAD_REQUEST, sentence)


def _read_remote_reward(content: dict[str, Any]) -> list[Item]:
    queries = _texts(content, "query")
    prompts = _texts(content, "prompts") if content.get("prompts") else [""] * len(queries)
    if len(prompts) != len(queries):
        raise bad(f"There are {len(queries)} queries and {len(prompts)} prompts.")
    if not all(queries):
        raise bad("A query is empty.")
    if not all(q.startswith(p) for p, q in zip(prompts, queries, strict=True)):
        raise bad("Each query must begin with its prompt.")
    return [Item(p, q[len(p) :]) for p, q in zip(prompts, queries, strict=True)]


def _write_remote_reward(scores: list[float]) -> dict[str, Any]:
    return {"rewards": _finite(scores), "scores": scores, "extra_logs": {}}


def _read_score(content: dict[str, Any]) -> list[Item]:
    if missing := [name for name in ("prompt", "answer") if name not in content]:
        raise bad(f"The request has no {' and no '.join(missing)}.")
    if not isinstance(content["answer"], str):
        raise bad("The answer must be text.")
    try:
        return [Item(prompt_messages(content["prompt"]), check_text(content["answer"]))]
    except LineError as error:
        raise bad(str(error)) from None


def _write_score(scores: list[float]) -> dict[str, Any]:
    return {"score": _finite(scores)[0]}


FORMS: Mapping[str, Form] = {
    "/get_reward": Form(_read_remote_reward, _write_remote_reward),
    "/score": Form(_read_score, _write_score),
}


def _texts(content: dict[str, Any], name: str) -> list[str]:
    texts = content.get(name)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise bad(f"{name} must be a list of texts.")
    if len(texts) > MAX_ANSWERS:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{name} has {len(texts)} texts; at most {MAX_ANSWERS} are taken at once.",
        )
    try:
        return [check_text(text) for text in texts]
    except LineError as error:
        raise bad(f"{name}: {error}") from None


def _finite(scores: list[float]) -> list[float]:
    if not all(map(math.isfinite, scores)):
        raise RefusedError(
            HTTPStatus.INTERNAL_SERVER_ERROR, "The reward model gave a score that is no number."
        )
    return scores
