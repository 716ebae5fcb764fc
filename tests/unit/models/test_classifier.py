"""Sequence classifiers of others: what transformers itself would say, however texts are batched."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from tests import tinymodels
from tests.close import FORWARD, assert_close
from workbench.errors import UserError
from workbench.models.classifier import load_classifier

TEXTS = ["w1 w2 w3 w4 w5", "w3", "w9 w1 w1", "w4 w4 w4 w4", "w12 w0"]


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_each_text_has_the_numbers_that_it_has_alone(kind: Any, tmp_path: Path) -> None:
    classifier = load_classifier(tinymodels.write_classifier(tmp_path, kind, 3))
    assert classifier.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    tokens = [classifier.encode(text) for text in TEXTS]
    together = classifier.logits(tokens)
    for row, one in enumerate(tokens):
        with torch.no_grad():
            wanted = plain(input_ids=torch.tensor([one.ids])).logits[0]
        assert_close(together[row], wanted, FORWARD)
    assert len({round(float(x), 4) for x in together.flatten()}) == together.numel()
    assert torch.equal(load_classifier(tmp_path).logits(tokens), together)


def test_texts_padded_at_the_left_are_read_alike_where_positions_say_so(tmp_path: Path) -> None:
    classifier = load_classifier(tinymodels.write_classifier(tmp_path, "gpt2"))
    tokens = [classifier.encode(text) for text in TEXTS]
    width = max(map(len, tokens))
    ids = [[tinymodels.PAD] * (width - len(t)) + list(t.ids) for t in tokens]
    mask = torch.tensor([[0] * (width - len(t)) + [1] * len(t) for t in tokens])
    with torch.no_grad():
        left = classifier.model(
            input_ids=torch.tensor(ids),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        ).logits
    assert_close(classifier.logits(tokens), left, FORWARD)


def test_a_decoder_that_knows_no_padding_is_read_one_length_at_a_time(tmp_path: Path) -> None:
    tinymodels.write_classifier(tmp_path, "gpt2")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    classifier = load_classifier(tmp_path)
    tokens = [classifier.encode(text) for text in [*TEXTS, "w8", "w7 w6"]]
    together = classifier.logits(tokens)
    for row, one in enumerate(tokens):
        assert_close(together[row], classifier.logits([one])[0], FORWARD)


def test_a_pair_is_told_apart_and_its_longer_part_is_cut(tmp_path: Path) -> None:
    classifier = load_classifier(tinymodels.write_classifier(tmp_path, "bert"))
    tokens = classifier.encode("w1 w2", "w3")
    assert (len(tokens), set(tokens.types)) == (5, {0, 1})
    long = classifier.encode(" ".join(["w1"] * 200), "w3 w4")
    assert len(long) == classifier.context_length == 64
    assert long.ids[-3:-1] == (*tokens.ids[3:4], tokens.ids[3] + 1)


def _without(folder: Path, part: str) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: t for name, t in weights.items() if part not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def _grow(folder: Path) -> None:
    """A word more in the tokenizer than in the model."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["w17"] = len(tinymodels.VOCABULARY)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: _without(f, "score"), "The head of .* is not in its weights: score.weight"),
        (lambda f: _without(f, "layers.1.mlp"), "3 weights of .* are not in its files"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickle files only"),
        (_grow, "tokens up to number 20, the classifier knows 20"),
        (lambda f: (f / "config.json").unlink(), "no sequence classifier"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    spoil: Any, words: str, tmp_path: Path
) -> None:
    tinymodels.write_classifier(tmp_path, "llama")
    spoil(tmp_path)
    with pytest.raises(UserError, match=words):
        load_classifier(tmp_path)
