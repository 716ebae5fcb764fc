"""A reward out of a sequence classifier with one label that others trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from workbench.data.chat_template import decode_answer
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models.classifier import Classifier, Tokens, load_classifier
from workbench.models.classifier_folder import read
from workbench.models.loading import LoadedModel
from workbench.rewards.base import require_numbers

MARKER = "classifier.json"


class ClassifierReward:
    """The raw number of a one-label classifier, which reads prompt and answer as text.

    With a chat template of its own the dialogue is written by that. Without one, a tokenizer that
    knows pairs gets prompt and answer as such, any other both in plain words.
    """

    def __init__(self, classifier: Classifier, policy: LoadedModel, name: str) -> None:
        self.classifier = classifier
        self.name = name
        self._policy = policy

    @classmethod
    def load(cls, policy: LoadedModel, folder: Path) -> ClassifierReward:
        """From a folder with `classifier.json`, which may say where the classifier itself lies.

        Raises:
            UserError: It is not there any more or has changed, or cannot be used.
        """
        source = source_of(folder)
        return cls(load_classifier(source, device=policy.device.type), policy, folder.name)

    def close(self) -> None:
        """Nothing of it is on the policy's base."""

    def score(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[float]:
        """One score per answer given as token ids of the policy."""
        tokenizer = self._policy.tokenizer
        return self.score_texts(prompts, [decode_answer(tokenizer, a) for a in answers])

    def score_texts(
        self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
    ) -> list[float]:
        """One score per answer given as text."""
        tokens = [self.encode(p, t) for p, t in zip(prompts, texts, strict=True)]
        scores: list[float] = self.classifier.logits(tokens)[:, 0].tolist()
        return require_numbers(scores, self.name)

    def encode(self, prompt: Sequence[Message], text: str) -> Tokens:
        """Prompt and answer as this classifier reads them."""
        tokenizer = self.classifier.tokenizer
        if tokenizer.chat_template is None and tokenizer.sep_token is not None:
            return self.classifier.encode(_plain(prompt), text)
        turns = [{"role": m.role, "content": m.content} for m in prompt]
        if tokenizer.chat_template is None:
            stop = tokenizer.eos_token or ""
            return self.classifier.encode_rendered(f"{_plain(prompt)}\n\nAssistant: {text}{stop}")
        turns.append({"role": "assistant", "content": text})
        rendered = tokenizer.apply_chat_template(turns, tokenize=False)
        return self.classifier.encode_rendered(rendered)


def source_of(folder: Path) -> Path:
    """Where the classifier of a reward folder lies: in it, or where it refers to.

    Raises:
        UserError: What it refers to is gone or has changed.
    """
    described = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    if "path" not in described:
        return folder
    source = Path(described["path"])
    if not source.is_dir():
        raise UserError(
            f"The imported reward model refers to {source}, which is not there any more.",
            "Put the folder back, or import it again.",
        )
    if read(source).digest != described["digest"]:
        raise UserError(
            f"{source} has changed since it was imported.", "Import it again as a new reward."
        )
    return source


def _plain(prompt: Sequence[Message]) -> str:
    """A lone question as it stands, a dialogue in plain words."""
    if len(prompt) == 1:
        return prompt[0].content
    return "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in prompt)
