"""Sequence classifiers of other makers: encoders (BERT, DeBERTa) and decoders (Llama, GPT-2).

B texts, T tokens, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from workbench.cancel import CancelToken
from workbench.errors import UserError
from workbench.models.classifier_folder import ClassifierFolder, read
from workbench.models.weights import OnProgress, weights_progress

# Decoders without a padding token refuse several texts at once; with this one they read each at its
# last token, as they do alone.
_NO_TOKEN = -1


class Tokens(NamedTuple):
    """A text as a classifier reads it; `types` tells the two parts of a pair apart."""

    ids: tuple[int, ...]
    types: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


class Classifier:
    """A sequence classifier in memory, frozen.

    Attributes:
        model: The transformers model.
        tokenizer: Its tokenizer.
        folder: What its folder says.
        context_length: Longest text in tokens; what is longer is cut.
        tokens_at_once: Padded tokens of one forward pass.
    """

    def __init__(self, model: Any, tokenizer: Any, folder: ClassifierFolder) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.folder = folder
        self.device = next(model.parameters()).device
        self.context_length = min(folder.context_length, tokenizer.model_max_length)
        self.tokens_at_once = 4096
        config = model.config.get_text_config()
        self._pad_id: int | None = config.pad_token_id
        if self._pad_id is None:
            config.pad_token_id = _NO_TOKEN

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in the order of the numbers."""
        return self.folder.labels

    def encode(self, text: str, second: str | None = None) -> Tokens:
        """A text, or two as a pair, with the special tokens of this classifier.

        Of a pair the longer part is cut first; of a single text its end.
        """
        strategy = "longest_first" if second is not None else True
        found = self.tokenizer(text, second, truncation=strategy, max_length=self.context_length)
        return Tokens(tuple(found["input_ids"]), tuple(found.get("token_type_ids", ())))

    def encode_rendered(self, text: str) -> Tokens:
        """A text in which the special tokens stand already; the end of a long one is kept."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return Tokens(tuple(ids[-self.context_length :]))

    def scores(
        self, texts: Sequence[str], check: Callable[[], None] = lambda: None
    ) -> Tensor:  # (B, L) float32
        """Probabilities of the labels; what is too long is cut.

        Args:
            texts: B texts; what else is among them changes nothing.
            check: Called between two passes; it may raise `Cancelled`.
        """
        logits = self.logits([self.encode(text) for text in texts], check)
        kind = self.model.config.problem_type
        # One label, or several that do not exclude one another: each by itself.
        if len(self.labels) == 1 or kind == "multi_label_classification":
            return logits.sigmoid()
        return logits.softmax(-1)

    @torch.no_grad()
    def logits(
        self, sequences: Sequence[Tokens], check: Callable[[], None] = lambda: None
    ) -> Tensor:  # (B, L) float32, on the processor
        """The raw numbers of each text; those of nearly one length together.

        Padding stands at the right, where no architecture numbers positions from it, and is the
        token that the decoder kinds look for when they read at the last one that is not padding.
        A decoder without such a token gets texts of one length together.
        """
        found = torch.empty(len(sequences), len(self.labels))
        for rows in self._batches(sequences):
            check()
            found[rows] = self._forward([sequences[i] for i in rows]).float().cpu()
        return found

    def _batches(self, sequences: Sequence[Tokens]) -> Iterator[list[int]]:
        rows: list[int] = []
        for i in sorted(range(len(sequences)), key=lambda i: -len(sequences[i])):
            longest = len(sequences[rows[0]]) if rows else 0
            is_full = (len(rows) + 1) * longest > self.tokens_at_once
            is_other = self._pad_id is None and len(sequences[i]) != longest
            if rows and (is_full or is_other):
                yield rows
                rows = []
            rows.append(i)
        if rows:
            yield rows

    def _forward(self, sequences: Sequence[Tokens]) -> Tensor:
        width = max(map(len, sequences))
        pad = self._pad_id or 0
        ids = [[*s.ids, *[pad] * (width - len(s))] for s in sequences]
        mask = [[1] * len(s) + [0] * (width - len(s)) for s in sequences]
        given = {"input_ids": ids, "attention_mask": mask}
        if any(s.types for s in sequences):
            given["token_type_ids"] = [[*s.types, *[0] * (width - len(s))] for s in sequences]
        tensors = {name: torch.tensor(rows, device=self.device) for name, rows in given.items()}
        logits: Tensor = self.model(**tensors).logits
        return logits


def load_classifier(
    folder: Path,
    *,
    device: str = "auto",
    cancel: CancelToken | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Classifier:
    """Load a classifier of any number of labels.

    Safetensors only, and no program code of the folder is run.

    Raises:
        UserError: The folder is no such thing, its head or other weights are not in its files, or
            its tokenizer has tokens that it does not know.
    """
    found = read(folder)
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    precision = torch.bfloat16 if chosen == "cuda" else torch.float32
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        with weights_progress(cancel or CancelToken(), on_progress):
            model, told = AutoModelForSequenceClassification.from_pretrained(
                folder,
                dtype=precision,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder.name} cannot be loaded: {error}", "Check that its folder is complete."
        ) from error
    _check_weights(model, told["missing_keys"], folder)
    _check_vocabulary(model, tokenizer, folder)
    model.requires_grad_(False)
    model.eval()
    return Classifier(model.to(chosen), tokenizer, found)


def _check_weights(model: Any, missing: Sequence[str], folder: Path) -> None:
    """Transformers draws at random, with no more than a warning, what is not in the files."""
    prefix = f"{model.base_model_prefix}."
    heads = sorted(name for name in missing if not name.startswith(prefix))
    if heads:
        raise UserError(
            f"The head of {folder.name} is not in its weights: {', '.join(heads)}.",
            "Choose the folder of the trained classifier, not that of its base.",
        )
    if missing:
        raise UserError(
            f"{len(missing)} weights of {folder.name} are not in its files, such as "
            f"{min(missing)}.",
            "Get the folder again.",
        )


def _check_vocabulary(model: Any, tokenizer: Any, folder: Path) -> None:
    n_rows = model.get_input_embeddings().weight.shape[0]
    highest = max(tokenizer.get_vocab().values())
    if highest >= n_rows:
        raise UserError(
            f"The tokenizer of {folder.name} has tokens up to number {highest}, the classifier "
            f"knows {n_rows}: they do not belong together.",
            "Choose the tokenizer files that belong to this classifier.",
        )
