"""How large the parts of a model are, read from its config and the heads of its weight files.

H hidden size, I width of the inner network, Q width of all queries.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from workbench.errors import UserError
from workbench.models import folder as model_folder
from workbench.models.headers import BrokenHeaderError, read_shapes

# GPT-2's class of linear layers keeps them transposed.
_TRANSPOSED = {"gpt2", "openai-gpt"}
# Activation functions that transformers writes out in several steps, each of which is kept.
_IN_STEPS = {"gelu_new", "gelu_fast", "gelu_accurate", "quick_gelu"}
_WIDE_NORM, _NARROW_NORM = 4, 2  # bytes


class Matrix(NamedTuple):
    """A linear layer of one block."""

    name: str
    n_in: int
    n_out: int
    reads: Literal["text", "source"]  # source: what an encoder made of the prompt
    is_encoder: bool

    @property
    def sides(self) -> int:
        """Numbers per rank of its LoRA matrices."""
        return self.n_in + self.n_out


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Sizes of a model.

    Attributes:
        n_parameters: Of the weight files.
        file_bytes: Of the weight files.
        file_dtype: In which most of the weights lie in them.
        hidden: H.
        inner: I.
        n_layers: Blocks; of the decoder where there is an encoder too.
        n_encoder_layers: Blocks of the encoder, or 0.
        heads: Of attention.
        queries: Q.
        keys: Width of all keys, which is less where heads share them.
        vocabulary: Tokens.
        context_length: Longest prompt plus answer, in tokens.
        matrices: Linear layers of the first block (and of the encoder's first).
        is_gated: Whether the inner network is the product of two.
        n_activations: Tensors of width I that the activation function keeps for its gradient,
            beside its result.
        norm_bytes: What a norm keeps of one hidden number in bfloat16.
        has_position_bias: Whether attention adds a bias per head, as T5's does.
    """

    n_parameters: int
    file_bytes: int
    file_dtype: str
    hidden: int
    inner: int
    n_layers: int
    n_encoder_layers: int
    heads: int
    queries: int
    keys: int
    vocabulary: int
    context_length: int
    matrices: tuple[Matrix, ...]
    is_gated: bool
    n_activations: int
    norm_bytes: int
    has_position_bias: bool


def facts(path: Path) -> ModelFacts:
    """Sizes of the model in a folder; read again only when its config changes.

    Raises:
        UserError: The config does not say them.
    """
    config = path / "config.json"
    return _facts(path, config.stat().st_mtime_ns if config.is_file() else 0)


@functools.lru_cache(maxsize=64)
def _facts(path: Path, _stamp: int) -> ModelFacts:
    found = model_folder.read(path)
    config = found.text_config
    try:
        hidden = _number(config, "hidden_size", "n_embd", "d_model")
        names = ("num_attention_heads", "n_head", "num_heads", "n_heads", "decoder_attention_heads")
        heads = _number(config, *names)
        width = _number(config, "head_dim", "d_kv", default=hidden // heads)
        inner = _number(
            config, "intermediate_size", "n_inner", "d_ff", "decoder_ffn_dim", default=4 * hidden
        )
        layers = ("num_decoder_layers", "decoder_layers", "num_hidden_layers", "n_layer")
        n_layers = _number(config, *layers, "num_layers", "n_layers")
        n_encoder = _number(config, "encoder_layers", "num_layers", default=n_layers)
        vocabulary = _number(config, "vocab_size")
        matrices = _matrices(path, str(config.get("model_type", "")))
    except (KeyError, ZeroDivisionError, BrokenHeaderError) as error:
        raise UserError(
            f"The files of {path.name} do not say how large its layers are.",
            "Choose another model.",
        ) from error
    return ModelFacts(
        n_parameters=found.n_parameters,
        file_bytes=found.size_bytes,
        file_dtype=found.dtype,
        hidden=hidden,
        inner=inner,
        n_layers=n_layers,
        n_encoder_layers=n_encoder if found.is_encoder_decoder else 0,
        heads=heads,
        queries=heads * width,
        keys=_number(config, "num_key_value_heads", default=heads) * width,
        vocabulary=vocabulary,
        context_length=found.context_length,
        matrices=matrices,
        is_gated=_is_gated(matrices, hidden, inner),
        n_activations=_n_activations(config),
        norm_bytes=_norm_bytes(config),
        has_position_bias="relative_attention_num_buckets" in config,
    )


def _number(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        if isinstance(value := config.get(name), int):
            return value
    if default is None:
        raise KeyError(names[0])
    return default


def _matrices(path: Path, kind: str) -> tuple[Matrix, ...]:
    """Linear layers of the first block of each stack; others are taken to be like it."""
    found = []
    for file in sorted(path.glob("*.safetensors")):
        for key, shape in read_shapes(file).items():
            parts = key.split(".")
            numbers = [part for part in parts if part.isdigit()]
            is_linear = len(shape) == 2 and parts[-1] == "weight" and "bias" not in parts[-2]
            if not (is_linear and numbers and numbers[0] == "0"):
                continue
            n_out, n_in = reversed(shape) if kind in _TRANSPOSED else shape
            name, where = parts[-2], key.lower()
            is_cross = "encdec" in where or "encoder_attn" in where
            reads_source = is_cross and name in {"k", "v", "k_proj", "v_proj"}
            is_encoder = "encoder" in parts[: parts.index("0")]
            reads: Literal["text", "source"] = "source" if reads_source else "text"
            found.append(Matrix(name, n_in, n_out, reads, is_encoder))
    return tuple(found)


def _is_gated(matrices: tuple[Matrix, ...], hidden: int, inner: int) -> bool:
    n_up = [(m.n_in, m.n_out) for m in matrices if not m.is_encoder]
    return n_up.count((hidden, inner)) > 1 or (hidden, 2 * inner) in n_up


def _n_activations(config: Mapping[str, Any]) -> int:
    """Counted with `torch.autograd.graph.saved_tensors_hooks` on T5, GPT-2 and Llama."""
    names = ("hidden_act", "activation_function", "dense_act_fn", "hidden_activation")
    name = next((str(config[n]) for n in names if config.get(n)), "relu")
    # T5's gelu is meant to be this one, whatever its config calls it.
    if config.get("feed_forward_proj") == "gated-gelu":
        name = "gelu_new"
    if name == "relu":
        return 0
    return 4 if name in _IN_STEPS else 1


def _norm_bytes(config: Mapping[str, Any]) -> int:
    if "relative_attention_num_buckets" in config:
        return _WIDE_NORM + _NARROW_NORM
    return _WIDE_NORM if "rms_norm_eps" in config else _NARROW_NORM
