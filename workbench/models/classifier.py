"""A text classifier from a folder on this machine, such as one for toxicity.

B texts, T tokens, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from workbench.errors import UserError

_LONGEST = 512  # tokens, where the model's configuration names no smaller number


class Classifier:
    """Probabilities of labels for texts; texts that are too long are cut.

    Attributes:
        labels: The names of the labels, in the order of the scores.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        config = model.config
        if config.pad_token_id is None:
            # Causal classifiers read the last token that is no padding.
            config.pad_token_id = self._pad_id()
        self.labels: tuple[str, ...] = tuple(
            str(config.id2label[i]) for i in range(int(config.num_labels))
        )
        # One label, or several that do not exclude one another: each by itself.
        self._is_independent = (
            len(self.labels) == 1 or config.problem_type == "multi_label_classification"
        )
        room = getattr(config, "max_position_embeddings", _LONGEST)
        # RoBERTa counts positions from behind its padding index.
        offset = 2 if "roberta" in str(config.model_type) else 0
        self._room = min(_LONGEST, int(room) - offset)

    @torch.no_grad()
    def scores(
        self, texts: Sequence[str], batch_size: int = 16, check: Callable[[], None] | None = None
    ) -> Tensor:  # (B, L) float32, probabilities
        """Score texts; what else is in the batch changes nothing.

        Args:
            texts: B texts.
            batch_size: Texts that are computed side by side.
            check: Called before each batch; it may raise `Cancelled`.
        """
        rows = [self._encode(text) for text in texts]
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        found = torch.zeros(len(rows), len(self.labels))
        for start in range(0, len(order), batch_size):
            if check is not None:
                check()
            part = order[start : start + batch_size]
            logits = self._logits([rows[i] for i in part])
            found[part] = logits.sigmoid() if self._is_independent else logits.softmax(-1)
        return found

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(
            text, truncation=True, max_length=self._room, return_attention_mask=False
        )["input_ids"]
        # A tokenizer without special tokens gives nothing for an empty text.
        return ids or [self._pad_id()]

    def _pad_id(self) -> int:
        pad = self._tokenizer.pad_token_id
        return int(pad if pad is not None else self._tokenizer.eos_token_id or 0)

    def _logits(self, rows: Sequence[Sequence[int]]) -> Tensor:  # (B, L)
        width, pad = max(map(len, rows)), self._pad_id()
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        device = next(self._model.parameters()).device
        output = self._model(input_ids=ids.to(device), attention_mask=mask.to(device))
        logits: Tensor = output.logits.float().cpu()
        return logits


def load_classifier(folder: Path) -> Classifier:
    """Load a folder with config, tokenizer and safetensors weights; nothing is downloaded.

    Raises:
        UserError: There is none, or it is no text classifier.
    """
    hint = "Choose a folder with config.json, a tokenizer and model.safetensors."
    if not (folder / "config.json").is_file():
        raise UserError(f"There is no classifier in {folder}.", hint)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model, told = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder.name} cannot be loaded: {error}", hint) from error
    if missing := told["missing_keys"]:
        raise UserError(
            f"{folder.name} is no trained classifier: it has no weights for {sorted(missing)[0]}.",
            "Choose a model that was trained for text classification.",
        )
    model.requires_grad_(False)
    return Classifier(model.eval(), tokenizer)
