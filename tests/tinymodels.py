"""Random models of a few thousand parameters, written as real model folders.

A vocabulary of twenty tokens, so that with random weights an answer of a dozen tokens ends by
itself about every second time: batches are ragged, as the masks need them to be tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from workbench.cancel import CancelToken
from workbench.data.records import Message, Prompt
from workbench.models import catalog, loading
from workbench.models.loading import LoadedModel

Kind = Literal["llama", "gpt2", "pad_is_eos", "gemma2", "t5"]
CAUSAL_KINDS: tuple[Kind, ...] = ("llama", "gpt2", "pad_is_eos")
# The kinds that every invariant holds for; the others are for what is their own.
KINDS: tuple[Kind, ...] = (*CAUSAL_KINDS, "t5")
UNK, EOS, PAD = 0, 1, 2
N_WORDS = 17
VOCABULARY = ["<unk>", "<eos>", "<pad>", *(f"w{i}" for i in range(N_WORDS))]


def write(folder: Path, kind: Kind, seed: int = 0) -> Path:
    """A model folder.

    Llama (RoPE), GPT-2 (absolute positions), a Llama whose pad is its eos, Gemma 2 (sliding and
    full attention in turn, capped logits), T5 (encoder-decoder, scaled states).
    """
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(seed)
        model = _MAKERS[kind]()
    backend = _backend(VOCABULARY)
    if kind == "t5":
        backend.post_processor = processors.TemplateProcessing(
            single="$A <eos>", special_tokens=[("<eos>", EOS)]
        )
    make: Any = PreTrainedTokenizerFast
    tokenizer = make(
        tokenizer_object=backend,
        unk_token="<unk>",
        eos_token="<eos>",
        pad_token="<eos>" if kind == "pad_is_eos" else "<pad>",
    )
    # The last word is the turn marker; no end token, so that templates do not decide masks.
    if kind != "t5":
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m['content'] }} {% endfor %}"
            "{% if add_generation_prompt %}w16{% endif %}"
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_classifier(
    folder: Path, kind: Literal["bert", "llama", "gpt2"], n_labels: int = 1, seed: int = 0
) -> Path:
    """A sequence classifier: an encoder that reads pairs, or a decoder without a template."""
    sizes: dict[str, Any] = {"num_labels": n_labels, "initializer_range": 0.5}
    vocabulary = [*VOCABULARY, "<sep>"] if kind == "bert" else VOCABULARY
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(seed)
        if kind == "bert":
            config: Any = BertConfig(
                vocab_size=len(vocabulary),
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=64,
                pad_token_id=PAD,
                **sizes,
            )
            model: Any = BertForSequenceClassification(config)
        elif kind == "llama":
            config = _llama().config
            config.update(sizes)
            model = LlamaForSequenceClassification(config)
        else:
            config = _gpt2().config
            config.update(sizes)
            model = GPT2ForSequenceClassification(config)
    backend = _backend(vocabulary)
    tokens = {"unk_token": "<unk>", "eos_token": "<eos>", "pad_token": "<pad>"}
    if kind == "bert":
        backend.post_processor = processors.TemplateProcessing(
            single="$A <sep>",
            pair="$A <sep> $B:1 <sep>:1",
            special_tokens=[("<sep>", len(VOCABULARY))],
        )
        tokens |= {"sep_token": "<sep>"}
    make: Any = PreTrainedTokenizerFast
    names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer = make(
        tokenizer_object=backend,
        model_input_names=names if kind == "bert" else names[::2],
        **tokens,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _backend(vocabulary: Sequence[str]) -> Tokenizer:
    words = {word: i for i, word in enumerate(vocabulary)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return backend


def load(folder: Path, dtype: str = "float32") -> LoadedModel:
    """The folder as the program loads it, on the processor."""
    return loading.load(
        catalog.describe(folder),
        device="cpu",
        dtype=dtype,
        cancel=CancelToken(),
        on_progress=lambda *_: None,
    )


def prompts(n: int = 6) -> list[Prompt]:
    """Prompts of one to five words."""
    texts = [" ".join(f"w{(3 * i + k) % 16}" for k in range(1 + i % 5)) for i in range(n)]
    return [
        Prompt(i + 1, (Message("user", text),), "test", "en", "train", "2026-01-01T00:00:00Z")
        for i, text in enumerate(texts)
    ]


class TokenShare:
    """Reward: the share of one token in an answer. A bandit with one arm to find."""

    def __init__(self, token: int, *, sign: float = 1.0) -> None:
        self.name = "token share"
        self.token = token
        self.sign = sign

    def score(
        self,
        prompts: Sequence[Sequence[Message]],  # noqa: ARG002
        answers: Sequence[Sequence[int]],
    ) -> list[float]:
        return [self.sign * list(a).count(self.token) / max(len(a), 1) for a in answers]


def base_weights(model: LoadedModel) -> dict[str, torch.Tensor]:
    """Copies of everything but adapters, under the names without adapters."""
    return {
        name.replace(".base_layer", ""): p.detach().clone()
        for name, p in model.model.named_parameters()
        if ".lora_" not in name
    }


def _llama(pad: int = PAD) -> Any:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            initializer_range=0.15,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=EOS,
            pad_token_id=pad,
        )
    )


def _gpt2() -> Any:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(VOCABULARY),
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=64,
            initializer_range=0.15,
            bos_token_id=None,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
    )


def _gemma2() -> Any:
    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=len(VOCABULARY),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=64,
            sliding_window=4,
            final_logit_softcapping=2.0,
            initializer_range=0.15,
            bos_token_id=None,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
    )


def _t5() -> Any:
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(VOCABULARY),
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=4,
            n_positions=64,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=16,
            eos_token_id=EOS,
            pad_token_id=PAD,
            decoder_start_token_id=PAD,
        )
    )
    # Its own first weights hardly change what the embeddings say: it would repeat one token.
    for name, weight in model.named_parameters():
        if name.endswith("o.weight"):
            weight.data *= 5.0
    return model


_MAKERS: dict[Kind, Callable[[], Any]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "pad_is_eos": lambda: _llama(pad=EOS),
    "gemma2": _gemma2,
    "t5": _t5,
}
