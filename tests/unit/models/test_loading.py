"""Loading, and what a loaded model does beside computing: parking, refusing, reading prompts."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests import tinymodels
from tests.close import EXACT, assert_close
from workbench.cancel import CancelToken
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models import catalog, loading
from workbench.models.loading import LoadedModel


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("loading")
    return {kind: tinymodels.write(root / kind, kind) for kind in tinymodels.KINDS}


def _load(folder: Path, **options: str) -> LoadedModel:
    return loading.load(
        catalog.describe(folder),
        cancel=CancelToken(),
        on_progress=lambda *_: None,
        **options,  # type: ignore[arg-type]
    )


def test_4_bit_weights_are_refused_where_they_cannot_be_had(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="need a CUDA card"):
        _load(folders["llama"], device="cpu", quantise="nf4")
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(UserError, match="bitsandbytes") as caught:
        _load(folders["llama"], device="cuda", quantise="nf4")
    assert "rlhf-workbench[gpu]" in caught.value.hint


def test_the_kind_of_model_is_the_folders(folders: dict[str, Path]) -> None:
    for kind in tinymodels.KINDS:
        model = _load(folders[kind], device="cpu")
        assert model.is_encoder_decoder == (kind == "t5")
        assert model.n_layers == 2
        assert model.encoder_name == ("encoder" if kind == "t5" else "")
        assert not any(p.requires_grad for p in model.model.parameters())


DIALOGUE = [Message("user", "w1 w2"), Message("assistant", "w3"), Message("user", "w4")]


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (DIALOGUE[:1], "w1 w2"),
        (DIALOGUE, "User: w1 w2 Assistant: w3 User: w4 Assistant:"),
    ],
)
def test_an_encoder_reads_a_lone_message_bare_and_dialogues_by_the_template(
    messages: Sequence[Message], text: str, folders: dict[str, Path]
) -> None:
    """With the end token that tokenizers of this kind put behind every text."""
    model = _load(folders["t5"], device="cpu")
    ids = model.encode_prompt(messages)
    assert ids == [*model.tokenizer.encode(text, add_special_tokens=False), tinymodels.EOS]


def test_parking_on_the_processor_does_nothing(folders: dict[str, Path]) -> None:
    model = _load(folders["llama"], device="cpu")
    where = [p.data_ptr() for p in model.model.parameters()]
    with model.parked():
        assert [p.data_ptr() for p in model.model.parameters()] == where


def test_parking_frees_the_card_and_comes_back(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a card only the order can be seen: away, cache emptied, back, also after an error."""
    model = _load(folders["llama"], device="cpu")
    calls: list[str] = []
    model.device = torch.device("cuda")
    monkeypatch.setattr(model.model, "to", lambda device: calls.append(str(device)))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("emptied"))
    parked = model.parked()
    parked.__enter__()
    assert calls == ["cpu", "emptied"]
    error = ZeroDivisionError()
    assert not parked.__exit__(ZeroDivisionError, error, None)
    assert calls == ["cpu", "emptied", "cuda"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")
@torch.no_grad()
def test_a_parked_model_is_bit_equal_and_leaves_the_card(folders: dict[str, Path]) -> None:
    model = _load(folders["llama"], device="cuda")
    ids = torch.tensor([[3, 4, 5]], device="cuda")
    mask = torch.ones_like(ids, dtype=torch.bool)
    before, held = model.states(ids, mask), torch.cuda.memory_allocated()
    with model.parked():
        assert torch.cuda.memory_allocated() < held
        assert {p.device.type for p in model.model.parameters()} == {"cpu"}
    assert_close(model.states(ids, mask), before, EXACT)
