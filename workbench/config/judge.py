"""Settings of an AI judge: which model, what it is asked, and how its answers become labels."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from workbench.config.spec import Settings, hyper

KEY_VARIABLE = "RLHF_WORKBENCH_JUDGE_KEY"

RUBRICS: Mapping[str, str] = {
    "helpful": (
        "You compare two answers to the same question. The better answer does what was asked, is "
        "correct, complete and clear, and does not pad. Where the answers come in which order "
        "says nothing about them."
    ),
    "harmless": (
        "You compare two answers to the same question. The better answer does no harm: it gives "
        "no help with hurting people, is honest about what it does not know, respects everybody "
        "and, where it declines, does so kindly and says what it can do instead. Of two harmless "
        "answers the more helpful one is better."
    ),
    "brief": (
        "You compare two answers to the same question. The better answer says what was asked for, "
        "correctly and in a friendly way, in as few words as that takes."
    ),
}
"""Rubrics to begin with; any other text is a rubric of its own."""

TEMPLATE = """{rubric}

Question:
{prompt}

Answer A:
{first}

Answer B:
{second}

Which answer is better? Reply with one letter only, A or B."""

_PLACE = re.compile(r"\{(rubric|prompt|first|second)\}")
_ASKING, _LABELS, _SERVER = "Asking", "Labels", "Endpoint"


class JudgeNumbers(Settings):
    """The settings of a judge that are numbers: how it is asked, and what its labels count."""

    tie_margin: float = hyper(
        0.05,
        "Tie margin",
        "A pair is a tie when the mean probability of both orders is nearer to one half than this.",
        group=_LABELS,
        ge=0.0,
        le=0.5,
    )
    weight: float = hyper(
        0.5,
        "Weight in training",
        "How much a label of this judge counts against one of a person.",
        group=_LABELS,
        gt=0.0,
        le=1.0,
    )
    samples: int = hyper(
        3,
        "Samples",
        "How often an endpoint that gives no log-probabilities is asked in each order.",
        group=_ASKING,
        ge=1,
        le=32,
    )
    temperature: float = hyper(
        0.7,
        "Temperature",
        "Of these samples. With log-probabilities, or one sample, it is 0.",
        group=_ASKING,
        ge=0.0,
        le=2.0,
    )
    max_tokens: int = hyper(
        8,
        "Longest answer",
        "An endpoint's answer is cut after this. Models that think first need some hundreds.",
        unit="tokens",
        group=_ASKING,
        ge=1,
        le=32768,
    )
    timeout: float = hyper(
        60.0,
        "Patience",
        "An answer that takes longer is asked for again.",
        unit="s",
        group=_SERVER,
        ge=0.1,
        le=3600.0,
    )
    retries: int = hyper(
        5,
        "Retries",
        "How often a question is asked again when the endpoint is busy, broken or silent.",
        group=_SERVER,
        ge=0,
        le=100,
    )
    concurrency: int = hyper(
        1,
        "Questions at once",
        "Requests that are under way together. Servers with one slot gain nothing from more.",
        group=_SERVER,
        ge=1,
        le=64,
    )


class JudgeSettings(JudgeNumbers):
    """A model that is asked which of two answers is better, in both orders."""

    where: Literal["loaded", "folder", "endpoint"] = hyper(
        "loaded",
        "Where",
        "The loaded model, another model of this machine, or a server with OpenAI's protocol.",
    )
    model: str = hyper(
        "", "Model", "Name or path of the other model; the name that the endpoint knows it by."
    )
    url: str = hyper(
        "",
        "Address",
        "Of the endpoint, such as http://127.0.0.1:8080/v1. No key belongs here.",
    )
    rubric: str = hyper(
        "helpful", "Rubric", f"What makes an answer better: {', '.join(RUBRICS)}, or own words."
    )
    template: str = hyper(
        TEMPLATE,
        "Template",
        "What is asked. {rubric}, {prompt}, {first} and {second} are filled in.",
    )
    first_label: str = hyper("A", "First label", "The word by which the first answer is chosen.")
    second_label: str = hyper("B", "Second label", "The word for the second answer.")

    @field_validator("url")
    @classmethod
    def _is_plain_address(cls, url: str) -> str:
        """An address is stored with the experiment and told in errors, so it must hold no key."""
        url = url.strip().rstrip("/")
        if not url:
            return ""
        try:
            parts = urlsplit(url)
            is_whole = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            is_whole = False
        if not is_whole:
            raise ValueError("url: Must begin with http:// or https:// and name a server.")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url: Must hold neither a key nor a query; the key has its own place.")
        return url

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.where == "endpoint" and not self.url:
            raise ValueError("url: Where is the endpoint? Such as http://127.0.0.1:8080/v1.")
        if self.where != "loaded" and not self.model.strip():
            raise ValueError("model: Which model judges?")
        missing = [p for p in ("first", "second") if f"{{{p}}}" not in self.template]
        if missing:
            raise ValueError(f"template: Must hold {{{missing[0]}}}, where that answer goes.")
        first, second = self.first_label.strip(), self.second_label.strip()
        if not first or not second or first == second:
            raise ValueError("second_label: The two labels must be two different words.")
        return self

    @property
    def rubric_text(self) -> str:
        """The rubric itself where only its name is given."""
        return RUBRICS.get(self.rubric, self.rubric)

    def question(self, prompt: str, first: str, second: str) -> str:
        """The template filled in, once: what looks like a place inside an answer stays text."""
        values = {"rubric": self.rubric_text, "prompt": prompt, "first": first, "second": second}
        return _PLACE.sub(lambda found: values[found[1]], self.template)

    def name(self, model: str, identity: str) -> str:
        """The judge's name as an annotator: equal for all that gives the same answers.

        Margin, weight, patience and the like do not change what is answered, so what was asked
        before stays good when they change.

        Args:
            model: The model's name.
            identity: What tells its weights from others of that name.
        """
        asked: dict[str, object] = {
            "identity": identity,
            "rubric": self.rubric_text,
            "template": self.template,
            "labels": [self.first_label.strip(), self.second_label.strip()],
        }
        if self.where == "endpoint":
            asked |= {
                "url": self.url,
                "samples": self.samples,
                "temperature": self.temperature,
                "max_tokens": self.max_tokens,
            }
        text = json.dumps(asked, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        return f"{model.rstrip('/').rpartition('/')[2]} {digest[:6]}"
