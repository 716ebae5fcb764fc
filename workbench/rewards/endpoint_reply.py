"""What a server with OpenAI's chat protocol says, read with suspicion. No network here.

See https://platform.openai.com/docs/api-reference/chat; llama-server, Ollama, vLLM and LM Studio
speak the same, some of them without log-probabilities.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from workbench.config.judge import JudgeSettings
from workbench.rewards.judge_question import read_choice


class NonsenseError(ValueError):
    """The body is not what the protocol says; the message tells what it is instead."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of the server.

    Attributes:
        text: What the model said.
        p_first: Probability of the first label against the second; None when neither was said.
        has_logprobs: Whether the server gave log-probabilities with it.
        n_tokens: Of question and answer, as the server counts them; 0 when it does not.
    """

    text: str
    p_first: float | None
    has_logprobs: bool
    n_tokens: int


def read_reply(body: bytes, settings: JudgeSettings) -> Reply:
    """The reply in a body.

    Raises:
        NonsenseError: It is none.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise NonsenseError("something that is not JSON") from None
    choice = _first(_dig(value, "choices"))
    text = _dig(choice, "message", "content")
    if not isinstance(text, str):
        raise NonsenseError("JSON without an answer in it")
    labels = settings.first_label.strip(), settings.second_label.strip()
    tokens = [t for t in _items(_dig(choice, "logprobs", "content")) if _dig(t, "top_logprobs")]
    p_first = _from_logprobs(tokens, *labels)
    if p_first is None:
        p_first = read_choice(text, *labels)
    counted = _dig(value, "usage", "total_tokens")
    n_tokens = counted if isinstance(counted, int) and counted >= 0 else 0
    return Reply(text, p_first, bool(tokens), n_tokens)


def read_problem(body: bytes) -> str:
    """What a server says is wrong, in one line; empty when it says nothing that can be read."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    for path in (("error", "message"), ("error",), ("message",), ("detail",)):
        found = _dig(value, *path)
        if isinstance(found, str):
            return " ".join(found.split())
    return ""


def read_retry_after(header: str, now: float) -> float:
    """Seconds to wait as a Retry-After header says it (RFC 9110, section 10.2.3); else 0.

    Args:
        header: Its value: seconds, or a date.
        now: Seconds since the epoch.
    """
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now
        except (ValueError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _from_logprobs(tokens: list[object], first: str, second: str) -> float | None:
    """P(first) / (P(first) + P(second)) at the first token that is one of the two labels.

    What a model thought before does not count.
    """
    thought = [i for i, token in enumerate(tokens) if "</think>" in _text(token)]
    for token in tokens[thought[-1] + 1 if thought else 0 :]:
        if _text(token).strip() not in (first, second):
            continue
        # The token that was said may be missing among the likeliest, as when it was sampled.
        options = {_text(o): o for o in (token, *_items(_dig(token, "top_logprobs")))}
        share = {first: 0.0, second: 0.0}
        for spelling, option in options.items():
            logprob = _dig(option, "logprob")
            if spelling.strip() in share and isinstance(logprob, int | float) and logprob <= 0.1:
                share[spelling.strip()] += math.exp(logprob)
        total = share[first] + share[second]
        return share[first] / total if total else None
    return None


def _text(token: object) -> str:
    text = _dig(token, "token")
    return text if isinstance(text, str) else ""


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) and value else None


def _dig(value: object, *path: str) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
