"""GGUF: heads read without the package, a small file converted for real."""

from __future__ import annotations

from pathlib import Path

import gguf as gguf_package
import numpy as np
import pytest

from workbench import places
from workbench.cancel import CancelToken
from workbench.errors import Cancelled, UserError
from workbench.models import catalog, gguf, starter
from workbench.models.catalog import ModelInfo
from workbench.models.headers import BrokenHeaderError, read_gguf

WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "ab", "Ġ"]
N_WIDE, N_INNER = 32, 64


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    """A one-layer Llama of random float32 weights, written by the gguf package."""
    path = tmp_path / "little-F32.gguf"
    writer = gguf_package.GGUFWriter(path, "llama")
    writer.add_string("general.license", "mit")
    writer.add_name("Little")
    writer.add_context_length(64)
    writer.add_embedding_length(N_WIDE)
    writer.add_block_count(1)
    writer.add_feed_forward_length(N_INNER)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(N_WIDE // 2)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_merges(["a b"])
    writer.add_token_types([3, 3, 3, 1, 1, 1, 1])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    rng = np.random.default_rng(0)
    for name, shape in _shapes().items():
        writer.add_tensor(name, rng.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes() -> dict[str, tuple[int, ...]]:
    square, wide = (N_WIDE, N_WIDE), (N_INNER, N_WIDE)
    layer = {
        "attn_norm": (N_WIDE,),
        "attn_q": square,
        "attn_k": square,
        "attn_v": square,
        "attn_output": square,
        "ffn_norm": (N_WIDE,),
        "ffn_gate": wide,
        "ffn_up": wide,
        "ffn_down": (N_WIDE, N_INNER),
    }
    outer = {"token_embd.weight": (len(WORDS), N_WIDE), "output_norm.weight": (N_WIDE,)}
    return {**outer, **{f"blk.0.{name}.weight": shape for name, shape in layer.items()}}


def _convert(path: Path, cancel: CancelToken | None = None) -> Path:
    steps = gguf.convert(path, cancel or CancelToken())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return Path(end.value)


def test_the_head_says_what_the_package_wrote(gguf_file: Path) -> None:
    header = read_gguf(gguf_file)
    assert header.n_parameters == sum(int(np.prod(shape)) for shape in _shapes().values())
    assert header.text("general.license") == "mit"
    assert header.values["llama.context_length"] == 64
    assert "tokenizer.ggml.tokens" not in header.values, "arrays are skipped"


def test_a_gguf_file_is_listed_as_one_to_convert(gguf_file: Path) -> None:
    info = catalog.describe(gguf_file)
    assert (info.source, info.is_conversion_needed) == ("gguf", True)
    assert (info.architecture, info.dtype, info.licence) == ("llama", "F32", "mit")
    assert info.problems == ()


@pytest.mark.parametrize("n_kept", [3, 30, 400])
def test_a_cut_file_is_told(gguf_file: Path, n_kept: int) -> None:
    gguf_file.write_bytes(gguf_file.read_bytes()[:n_kept])
    with pytest.raises(BrokenHeaderError):
        read_gguf(gguf_file)
    assert "is broken" in catalog.describe(gguf_file).problems[0]
    with pytest.raises(UserError, match="cannot be read"):
        _convert(gguf_file)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_conversion_is_dense_cached_and_pads_with_no_end_token(gguf_file: Path) -> None:
    folder = _convert(gguf_file)
    info = catalog.describe(folder)
    assert info.problems == ()
    assert (info.source, info.dtype, info.licence) == ("folder", "bfloat16", "mit")
    assert folder.parent == places.models_dir()
    assert info.special_tokens["eos"] == "<|im_end|>"
    assert info.special_tokens["pad"] == "<|endoftext|>"
    assert info.n_parameters == read_gguf(gguf_file).n_parameters
    assert "SHA-256" in (folder / "README.md").read_text(encoding="utf-8")
    written = (folder / "model.safetensors").stat().st_mtime_ns
    moved = gguf_file.rename(gguf_file.with_name("another-name.gguf"))
    assert moved.exists()
    again = _convert(moved.rename(gguf_file))
    assert again == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


def test_a_cancelled_conversion_leaves_nothing(gguf_file: Path) -> None:
    cancel = CancelToken()
    steps = gguf.convert(gguf_file, cancel)
    next(steps)
    next(steps)
    cancel.cancel()
    with pytest.raises(Cancelled):
        list(steps)
    assert not any(places.models_dir().iterdir())


@pytest.mark.starter
def test_the_starter_is_known_pads_rightly_and_speaks(starter_info: ModelInfo) -> None:
    from workbench.data.chat_template import decode_answer
    from workbench.data.records import Message
    from workbench.models.loading import load

    assert starter_info.source == "starter"
    assert starter_info.hub_id == starter.HUB_ID
    assert starter_info.special_tokens["pad"] == "<|endoftext|>"
    model = load(starter_info, cancel=CancelToken(), on_progress=lambda *_: None)
    assert model.pad_id not in model.stop_ids
    ids = model.encode_prompt([Message("user", "What is the capital of France?")])
    import torch

    prompt = torch.tensor([ids])
    answer = model.model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False
    )
    assert "Paris" in decode_answer(model.tokenizer, answer[0, len(ids) :].tolist())
