"""What a run will take of memory, worked out from a model's config and the settings. No torch.

A run goes through phases (loading, answering, scoring, learning); its peak is that of the largest
phase, not their sum. Activations are counted as the tensors that a pre-norm decoder layer with a
gated network keeps for its gradients (Llama kind); other architectures are counted as if they were
one, so for them the plan is an estimate.

H hidden size, I width of the inner network, Q and K width of all queries and of all keys.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from workbench.config.training import OnPolicySettings, TrainingSettings
from workbench.errors import UserError
from workbench.models import folder as model_folder

_WIDE = 4  # bytes of float32, in which adapters, optimiser and logits are
_BYTES = {"float32": 4, "bfloat16": 2}
# The program itself with torch, transformers and peft, measured on Linux with torch 2.13 for the
# processor; and a CUDA context, which is NVIDIA's figure and was not measured here.
_RUNTIME = {"cpu": 520 << 20, "cuda": 500 << 20}
_FORWARD_FACTOR = 4  # as in training/rollouts.py: tokens at once without gradients
_CHUNK_ENTRIES = 2**23  # as in objectives/logprobs.py: logits at once
_CHUNK_COPIES = 4  # logits, scaled logits, log-probabilities, probabilities
_LOGIT_BYTES = (
    28  # of one logit while sampling: three in float32, a cumulative sum in float64 twice
)
_MODULES = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Sizes of a model, as its config and the heads of its weight files say them."""

    n_parameters: int
    hidden: int
    inner: int
    n_layers: int
    queries: int
    keys: int
    vocabulary: int
    context_length: int
    is_encoder_decoder: bool = False


class MemoryPlan(NamedTuple):
    """The parts of a run's memory in bytes, and the peak of each phase.

    What stands in `parts` is held at the peak or in the phase that needs it most; the largest
    phase is the peak.
    """

    parts: Mapping[str, int]
    phases: Mapping[str, int]

    @property
    def peak_bytes(self) -> int:
        """The most that the run takes at any time."""
        return max(self.phases.values())


class Fitted(NamedTuple):
    """Settings that fit into memory, or come as near as they can, and what else would help."""

    settings: TrainingSettings
    fits: bool
    advice: str


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
        heads = _number(config, "num_attention_heads", "n_head", "num_heads", "n_heads")
        width = _number(config, "head_dim", "d_kv", default=hidden // heads)
        return ModelFacts(
            n_parameters=found.n_parameters,
            hidden=hidden,
            inner=_number(config, "intermediate_size", "n_inner", "d_ff", default=4 * hidden),
            n_layers=_number(config, "num_hidden_layers", "n_layer", "num_layers", "n_layers"),
            queries=heads * width,
            keys=_number(config, "num_key_value_heads", default=heads) * width,
            vocabulary=_number(config, "vocab_size"),
            context_length=found.context_length,
            is_encoder_decoder=found.is_encoder_decoder,
        )
    except (KeyError, ZeroDivisionError, json.JSONDecodeError) as error:
        raise UserError(
            f"The config of {path.name} does not say how large its layers are."
        ) from error


def _number(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        if isinstance(value := config.get(name), int):
            return value
    if default is None:
        raise KeyError(names[0])
    return default


def plan(
    model: ModelFacts,
    algorithm: str,
    settings: TrainingSettings,
    *,
    device: str,
    dtype: str,
    longest_prompt: int,
) -> MemoryPlan:
    """Predict the memory of a run.

    Args:
        model: From `facts`.
        algorithm: Its name.
        settings: Its hyperparameters.
        device: cpu or cuda.
        dtype: Of the base: float32 or bfloat16.
        longest_prompt: Tokens of the longest prompt.
    """
    size = _BYTES[dtype]
    runtime, base = _RUNTIME["cpu" if device == "cpu" else "cuda"], model.n_parameters * size
    one = lora_parameters(model, settings) * _WIDE
    n_adapters = _n_adapters(algorithm, settings)
    is_critic_own = getattr(settings, "value_network", "shared") == "own"
    n_trained = 2 if is_critic_own else 1
    adapters, optimiser, gradients = one * n_adapters, 2 * one * n_trained, one * n_trained
    held = runtime + base + adapters + optimiser
    learning = activations(model, settings, dtype, _tokens_learned(settings, longest_prompt))
    learning += _logits(model, settings, longest_prompt)
    phases = {"loading": runtime + base, "learning": held + gradients + learning}
    cache = trunk = 0
    if isinstance(settings, OnPolicySettings):
        width = min(longest_prompt + settings.max_new_tokens, model.context_length)
        trunk = _trunk(model, settings, width) * size
        cache = kv_cache(model, settings.batch_size, width) * size
        sampling = settings.batch_size * model.vocabulary * _LOGIT_BYTES
        reading = _one_layer(model) * settings.batch_size * longest_prompt * size
        phases["answering"] = held + cache + max(sampling, reading)
        n_scored = min(settings.micro_batch_tokens * _FORWARD_FACTOR, settings.batch_size * width)
        scoring = _one_layer(model) * n_scored * size + _logits(model, settings, longest_prompt)
        phases["scoring"] = held + trunk + scoring
        phases["learning"] += trunk
    parts = {
        "base": base,
        "adapters": adapters,
        "optimiser": optimiser + gradients,
        "activations": learning + trunk,
        "cache": cache,
        "runtime": runtime,
    }
    return MemoryPlan(parts, phases)


def lora_parameters(model: ModelFacts, settings: TrainingSettings) -> int:
    """Numbers in one adapter: r · (inputs + outputs) of every adapted matrix."""
    h, i, q, k = model.hidden, model.inner, model.queries, model.keys
    sides = {"q_proj": h + q, "k_proj": h + k, "v_proj": h + k, "o_proj": q + h}
    sides |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), h + i)
    chosen = _chosen(settings)
    per_layer = sum(n for name, n in sides.items() if name in chosen)
    # A decoder layer that also looks at an encoder has four matrices more; the encoder as many.
    if model.is_encoder_decoder:
        per_layer += sides["q_proj"] + 2 * sides["k_proj"] + sides["o_proj"] + per_layer
    return settings.lora.r * per_layer * _n_adapted(model, settings)


def kv_cache(model: ModelFacts, n_answers: int, n_tokens: int) -> int:
    """Numbers in a cache: keys and values of every layer, one layer twice while it grows."""
    return 2 * (model.n_layers + 1) * model.keys * n_answers * n_tokens


def activations(model: ModelFacts, settings: TrainingSettings, dtype: str, n_tokens: int) -> int:
    """Bytes that adapted layers keep for the gradients of so many tokens.

    Per token 4H + 2Q + 2K + 4I + r·(number of matrices) numbers in float32, counted with
    `torch.autograd.graph.saved_tensors_hooks`: inputs and outputs of both norms, queries, keys,
    values and what attention makes of them, four tensors of the inner network, LoRA's inner ones.
    In bfloat16 norms and the inputs of LoRA matrices are float32 copies, one per matrix.
    """
    n = _n_adapted(model, settings)
    per_layer = n_tokens * _kept(model, settings, dtype)
    if settings.checkpoint_activations:
        inputs = n_tokens * model.hidden * _BYTES[dtype]
        return n * inputs + per_layer
    return n * per_layer


def _kept(model: ModelFacts, settings: TrainingSettings, dtype: str) -> int:
    h, q, k, i = model.hidden, model.queries, model.keys, model.inner
    inner = settings.lora.r * len(_chosen(settings)) * _WIDE
    if dtype == "float32":
        return (4 * h + 2 * q + 2 * k + 4 * i) * _WIDE + inner
    return _WIDE * (7 * h + q + i) + 2 * (2 * q + 2 * k + 3 * i) + inner


def _one_layer(model: ModelFacts) -> int:
    """Numbers per token that are held at once inside of a layer without gradients."""
    return 3 * model.hidden + max(3 * model.inner, 2 * (model.queries + 2 * model.keys))


def _logits(model: ModelFacts, settings: TrainingSettings, longest_prompt: int) -> int:
    """The chunk of logits from which log-probabilities are made, in bytes."""
    rows = min(_tokens_learned(settings, longest_prompt), _CHUNK_ENTRIES // model.vocabulary or 1)
    return rows * model.vocabulary * _WIDE * _CHUNK_COPIES


def _tokens_learned(settings: TrainingSettings, longest_prompt: int) -> int:
    """Tokens of the largest piece of a minibatch; a text that is longer is a piece of its own."""
    longest = longest_prompt + getattr(settings, "max_new_tokens", longest_prompt)
    if not isinstance(settings, OnPolicySettings):
        longest = min(longest, getattr(settings, "max_length", longest))
    whole = settings.batch_size * longest // max(1, getattr(settings, "minibatches", 1))
    return max(longest, min(settings.micro_batch_tokens, whole))


def _trunk(model: ModelFacts, settings: OnPolicySettings, width: int) -> int:
    """Numbers in the shared states below the first adapted layer: of a batch, and of a piece."""
    if _n_adapted(model, settings) == model.n_layers or model.is_encoder_decoder:
        return 0
    piece = min(settings.micro_batch_tokens, settings.batch_size * width)
    return model.hidden * (settings.batch_size * (width + 1) + piece)


def _n_adapted(model: ModelFacts, settings: TrainingSettings) -> int:
    last = settings.lora.last_layers
    return last if 0 < last < model.n_layers else model.n_layers


def _n_adapters(algorithm: str, settings: TrainingSettings) -> int:
    """The policy, the reward model where one scores, and a critic of its own."""
    n = 2 if isinstance(settings, OnPolicySettings) and algorithm != "reward" else 1
    return n + (getattr(settings, "value_network", "shared") == "own")


def _chosen(settings: TrainingSettings) -> set[str]:
    wanted = settings.lora.target_modules
    if wanted == "all-linear":
        return _MODULES
    return {name.strip() for name in wanted.split(",") if name.strip()}


_SMALLEST, _SHARE = 64, 0.9


def auto_fit(
    model: ModelFacts,
    algorithm: str,
    settings: TrainingSettings,
    free_bytes: int,
    *,
    device: str,
    dtype: str,
    longest_prompt: int,
) -> Fitted:
    """The largest micro-batch, a power of two, with which a run takes at most 90 % of what is free.

    It changes nothing of the result, so it comes first. Where the smallest is too large still,
    activations are recomputed; where that is not enough, a sentence says what would be.
    """
    limit = int(free_bytes * _SHARE)
    most = max(_SMALLEST, 1 << math.ceil(math.log2(_whole_batch(settings, longest_prompt))))
    for recomputes in sorted({settings.checkpoint_activations, True}):
        n_tokens = most
        while n_tokens >= _SMALLEST:
            changes = {"micro_batch_tokens": n_tokens, "checkpoint_activations": recomputes}
            tried = settings.model_copy(update=changes)
            wanted = plan(
                model, algorithm, tried, device=device, dtype=dtype, longest_prompt=longest_prompt
            )
            if wanted.peak_bytes <= limit:
                return Fitted(tried, True, "")
            n_tokens //= 2
    advice = "Choose a smaller model."
    if wanted.parts["base"] + wanted.parts["runtime"] < limit:
        advice = "Lower Batch size or Answer length, or adapt fewer layers with Last layers."
    return Fitted(tried, False, advice)


def _whole_batch(settings: TrainingSettings, longest_prompt: int) -> int:
    """Tokens beyond which a larger micro-batch changes nothing."""
    return _tokens_learned(
        settings.model_copy(update={"micro_batch_tokens": 2**62}), longest_prompt
    )
