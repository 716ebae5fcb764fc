"""What a folder with a sequence classifier says of itself, and why it cannot be used. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import UserError
from workbench.models import folder as model_folder

_KIND = "ForSequenceClassification"


@dataclass(frozen=True, slots=True)
class ClassifierFolder:
    """A model that gives whole texts one number per label.

    Attributes:
        path: The folder.
        architecture: Such as BertForSequenceClassification.
        labels: Names of the labels, in the order of the numbers.
        n_parameters: Counted in the heads of the weight files.
        size_bytes: Of the weight files.
        context_length: Longest text in tokens.
        digest: SHA-256 of config, tokenizer and sampled weights.
    """

    path: Path
    architecture: str
    labels: tuple[str, ...]
    n_parameters: int
    size_bytes: int
    context_length: int
    digest: str


def read(path: Path) -> ClassifierFolder:
    """What the folder holds; its weights are not read.

    Raises:
        UserError: It is no sequence classifier, its weights are pickle files or not all there, or
            it needs program code of its own.
    """
    if not path.is_dir():
        raise UserError(f"There is no folder {path}.", "Check the path.")
    found = model_folder.read(path)
    if not found.architecture.endswith(_KIND):
        named = found.architecture or "no model"
        raise UserError(
            f"{path.name} is no sequence classifier: its config.json says {named}.",
            f"Choose a folder whose architecture ends with {_KIND}.",
        )
    problems = [text for text in found.problems if not text.startswith(found.architecture)]
    if problems:
        raise UserError(f"{path.name} cannot be used: {problems[0]}")
    return ClassifierFolder(
        path=path,
        architecture=found.architecture,
        labels=_labels(found.config),
        n_parameters=found.n_parameters,
        size_bytes=found.size_bytes,
        context_length=found.context_length,
        digest=found.digest(),
    )


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """As transformers reads them: two labels where the config does not say."""
    names = config.get("id2label")
    if isinstance(names, dict) and names:
        return tuple(str(names[key]) for key in sorted(names, key=int))
    n = config.get("num_labels")
    return tuple(f"LABEL_{i}" for i in range(n if isinstance(n, int) else 2))
