"""What a run will take of memory, worked out from a model's files and the settings. No torch.

A run goes through phases (loading, answering, scoring, learning); its peak is that of the largest
phase, not their sum. Tensors are counted; what is measured instead is in `_Place`. The processor's
figures were checked on Linux (`tests/benchmarks/bench_memory_plan.py`). On a card the same tensors
are counted without the heap's waste, and that was not measured. Not counted: weights in 4 bits,
experts, a run that starts from another's adapter (one adapter more), the window (Qt).

H hidden size, I width of the inner network, Q width of all queries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from workbench.config import algorithms
from workbench.config.training import OfflineSettings, OnPolicySettings, TrainingSettings
from workbench.models.sizes import Matrix, ModelFacts, facts

__all__ = ["Fitted", "MemoryPlan", "ModelFacts", "auto_fit", "facts", "plan"]

_WIDE = 4  # bytes of float32, in which adapters, optimiser and logits are
_BYTES = {"float32": 4, "bfloat16": 2}
_FORWARD_FACTOR = 4  # as in training/rollouts.py: tokens at once without gradients
_CHUNK_ENTRIES = 2**22  # as in objectives/logprobs.py: logits at once
_CHUNK_COPIES = 3  # logits, log-probabilities, probabilities
_LOGIT_BYTES = 28  # of one while sampling: three in float32, a cumulative sum in float64 twice
_OF_PAIRS = {"dpo", "reward"}  # their batch size counts pairs of answers
_N_Q = {"ilql": 2, "sarsa": 1}  # Q heads, each of which reads the vocabulary in float32
_SMALLEST, _SHARE = 64, 0.9  # of `auto_fit`: tokens, and the share of free memory that it takes
_PARTS = ("base", "adapters", "optimiser", "activations", "cache", "runtime")


class _Place(NamedTuple):
    """What is measured and not counted, of one kind of device.

    Attributes:
        runtime: Bytes of the program with torch, transformers and peft.
        waste: Unused bytes between those that are kept for gradients, per byte of these; as many
            where the kept are computed again.
        maps_files: Whether a weight file that is converted lies in the same memory meanwhile.
    """

    runtime: int
    waste: float
    maps_files: bool


# The processor's were fitted to the cases of the benchmark, with torch 2.13 and glibc 2.36 as
# `prepare_torch` sets it: glibc keeps what was freed, but an aligned block rarely fits into the
# gap of one of its own size. Blocks of 32 MiB and more lie apart and waste nothing; they are not
# told apart here, so the plan is too high for models with such. The card's runtime is what NVIDIA
# says of a CUDA context.
PROGRAM_BYTES = 425 << 20
"""What the program takes by itself, without a window, on the processor."""
_CPU = _Place(PROGRAM_BYTES, 0.25, True)
_CARD = _Place(500 << 20, 0.0, False)


class MemoryPlan(NamedTuple):
    """The peak of each phase of a run in bytes, and what the largest of them is made of."""

    parts: Mapping[str, int]
    phases: Mapping[str, int]

    @property
    def peak_bytes(self) -> int:
        """The most that the run takes at any time; the parts add up to it."""
        return max(self.phases.values())

    def with_weights(self, n_bytes: int) -> MemoryPlan:
        """The same beside weights that are there all the time, such as another base's."""
        phases = {name: n + n_bytes for name, n in self.phases.items()}
        return MemoryPlan({**self.parts, "base": self.parts["base"] + n_bytes}, phases)

    def with_program(self, n_bytes: int) -> MemoryPlan:
        """The same in a program that takes more by itself, such as one with a window."""
        more = max(0, n_bytes - self.parts["runtime"])
        phases = {name: n + more for name, n in self.phases.items()}
        return MemoryPlan({**self.parts, "runtime": self.parts["runtime"] + more}, phases)


def bytes_of(dtype: str) -> int:
    """Of one weight."""
    return _BYTES[dtype]


class Fitted(NamedTuple):
    """Settings that fit into memory, or come as near as they can, and what else would help."""

    settings: TrainingSettings
    fits: bool
    advice: str


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
        longest_prompt: Tokens of the longest prompt; of the longest text, answer included, where
            an algorithm learns from answers that are there.
    """
    run = Run(model, algorithm, settings, dtype, longest_prompt)
    place = _CPU if device == "cpu" else _CARD
    runtime, base = place.runtime, model.n_parameters * _BYTES[dtype]
    adapters, optimiser = run.adapters(), run.optimiser()
    held = {"base": base, "adapters": adapters, "optimiser": optimiser, "runtime": runtime}
    # Weights that are converted lie in memory twice: what was read of the file as well.
    is_converted = place.maps_files and model.file_dtype != dtype
    file = model.file_bytes if is_converted else 0
    n_learned = run.tokens_learned()
    waste = int(place.waste * run.computed(n_learned))
    phases = {
        "loading": {"base": base, "runtime": runtime, "activations": file},
        "scoring": {**held, "activations": run.trunk() + run.reading(run.tokens_read())},
        "learning": {**held, "activations": run.trunk() + run.learning() + waste},
    }
    if isinstance(settings, OnPolicySettings):
        activations = max(run.reading(run.n_texts * longest_prompt), run.sampling())
        phases["answering"] = {**held, "activations": activations, "cache": run.cache()}
    peaks = {name: sum(parts.values()) for name, parts in phases.items()}
    largest = phases[max(peaks, key=lambda name: peaks[name])]
    return MemoryPlan({name: largest.get(name, 0) for name in _PARTS}, peaks)


@dataclass(frozen=True, slots=True)
class Run:
    """The tensors of one run, in bytes."""

    model: ModelFacts
    algorithm: str
    settings: TrainingSettings
    dtype: str
    longest_prompt: int

    @property
    def size(self) -> int:
        """Of one number of the base."""
        return _BYTES[self.dtype]

    @property
    def width(self) -> int:
        """Tokens of the longest text, answer included."""
        settings, context = self.settings, self.model.context_length
        if isinstance(settings, OfflineSettings):
            return max(1, min(self.longest_prompt, settings.max_length, context))
        return min(self.longest_prompt + getattr(settings, "max_new_tokens", 1), context)

    @property
    def n_texts(self) -> int:
        """Texts of an update."""
        return self.settings.batch_size * (2 if self.algorithm in _OF_PAIRS else 1)

    @property
    def n_trained(self) -> int:
        """Adapters that learn: the policy's, and a critic's of its own."""
        return 2 if getattr(self.settings, "value_network", "shared") == "own" else 1

    @property
    def n_layers(self) -> int:
        """Adapted ones; of the decoder where there is an encoder too."""
        last, n = self.settings.lora.last_layers, self.model.n_layers
        return last if 0 < last < n else n

    @property
    def n_encoder_layers(self) -> int:
        """Adapted ones of the encoder: all, or none when only the last of the decoder are."""
        return self.model.n_encoder_layers if self.n_layers == self.model.n_layers else 0

    def chosen(self, *, is_encoder: bool) -> list[Matrix]:
        """The adapted matrices of one block."""
        wanted = self.settings.lora.target_modules
        names = {name.strip() for name in wanted.split(",")}
        return [
            m
            for m in self.model.matrices
            if m.is_encoder == is_encoder and (wanted == "all-linear" or m.name in names)
        ]

    def adapter(self) -> int:
        """One adapter: r · (inputs + outputs) numbers of every adapted matrix."""
        blocks = ((True, self.n_encoder_layers), (False, self.n_layers))
        sides = sum(
            n * sum(m.n_in + m.n_out for m in self.chosen(is_encoder=is_encoder))
            for is_encoder, n in blocks
        )
        return _WIDE * self.settings.lora.r * sides

    def adapters(self) -> int:
        """Those that learn, the reward model's, a copy, and Q heads with their target copies."""
        has_reward = "reward" in algorithms.find(self.algorithm).needs
        n_copies = 2 if hasattr(self.settings, "target_rate") else 1
        n_kept = bool(getattr(self.settings, "patience", 0))  # the best so far
        n_adapters = self.n_trained + has_reward + n_kept
        return n_adapters * self.adapter() + n_copies * self.q_heads()

    def optimiser(self) -> int:
        """Two moments of everything that learns, and a gradient where several pieces add to it.

        With one piece the gradient grows while what was kept for it goes.
        """
        n = 3 if self.settings.micro_batch_tokens < self.minibatch() else 2
        return n * (self.n_trained * self.adapter() + self.q_heads())

    def q_heads(self) -> int:
        """Two matrices each."""
        rank = getattr(self.settings, "q_rank", 0)
        return _N_Q.get(self.algorithm, 0) * 2 * rank * self.model.hidden * _WIDE

    def tokens_learned(self) -> int:
        """Of the largest piece of a minibatch; a text that is longer is a piece of its own."""
        return max(self.width, min(self.settings.micro_batch_tokens, self.minibatch()))

    def minibatch(self) -> int:
        """Tokens of the texts of one step."""
        parts = getattr(self.settings, "minibatches", 1)
        return -(-self.n_texts // parts) * self.width

    def tokens_read(self) -> int:
        """Of the most that goes through at once without gradients."""
        most = self.settings.micro_batch_tokens * _FORWARD_FACTOR
        return max(self.width, min(most, self.n_texts * self.width))

    def trunk(self) -> int:
        """States below the first adapted layer, of a batch of answers and of a piece of it."""
        is_whole = self.n_layers == self.model.n_layers or self.model.n_encoder_layers
        if is_whole or not isinstance(self.settings, OnPolicySettings):
            return 0
        n_tokens = self.n_texts * (self.width + 1) + self.tokens_learned()
        return n_tokens * self.model.hidden * self.size

    def cache(self) -> int:
        """Keys and values of every layer, one layer twice while it grows."""
        n_tokens = self.n_texts * self.width
        return 2 * (self.model.n_layers + 1) * self.model.keys * n_tokens * self.size

    def sampling(self) -> int:
        """Logits of one token of each answer."""
        return self.n_texts * self.model.vocabulary * _LOGIT_BYTES

    def reading(self, n_tokens: int) -> int:
        """What is held at once inside of a block, or behind the last one, without gradients."""
        model = self.model
        block = (4 * model.inner + 3 * model.hidden) * self.size
        if self.dtype != "float32":
            block += model.inner * _WIDE  # LoRA reads a wide copy
        return max(n_tokens * block, self.logits(n_tokens))

    def logits(self, n_tokens: int) -> int:
        """The chunk from which log-probabilities are made; a reward model makes none."""
        if self.algorithm == "reward":
            return 0
        rows = min(self.answer_tokens(n_tokens), _CHUNK_ENTRIES // self.model.vocabulary or 1)
        return rows * self.model.vocabulary * _WIDE * _CHUNK_COPIES

    def answer_tokens(self, n_tokens: int) -> int:
        """Of so many, those of answers; where the share is not known, half of them."""
        if isinstance(self.settings, OnPolicySettings):
            return n_tokens * (self.width - min(self.longest_prompt, self.width - 1)) // self.width
        return n_tokens // 2

    def learning(self) -> int:
        """What a piece of a minibatch keeps for its gradients, and computes beside it."""
        n_tokens = self.tokens_learned()
        n_answer = self.answer_tokens(n_tokens)
        # Gradients of the log-probabilities; a Q head keeps four tensors more.
        n_q = _N_Q.get(self.algorithm, 0)
        behind = n_answer * self.model.hidden * _WIDE * (2 + 4 * n_q)
        if self.dtype != "float32":
            behind += n_q * self.model.vocabulary * self.model.hidden * _WIDE
        return self.activations(n_tokens) + behind + self.reading(n_tokens)

    def activations(self, n_tokens: int) -> int:
        """What the blocks keep for the gradients of so many tokens."""
        if not self.settings.checkpoint_activations:
            return self.computed(n_tokens)
        stacks = self.stacks(n_tokens)
        inputs = sum(n * tokens for n, tokens, _ in stacks) * self.model.hidden * self.size
        return self.n_trained * inputs + max(kept for _, _, kept in stacks)

    def computed(self, n_tokens: int) -> int:
        """What the blocks keep when none of it is computed again."""
        return self.n_trained * sum(n * kept for n, _, kept in self.stacks(n_tokens))

    def stacks(self, n_tokens: int) -> tuple[tuple[int, int, int], ...]:
        """Of encoder and decoder: adapted blocks, tokens, and what one block keeps."""
        n_source = n_tokens - self.answer_tokens(n_tokens) if self.model.n_encoder_layers else 0
        n_text = n_tokens - n_source
        return (
            (self.n_encoder_layers, n_source, self.kept(n_source, 0, is_encoder=True)),
            (self.n_layers, n_text, self.kept(n_text, n_source)),
        )

    def kept(self, n_text: int, n_source: int, *, is_encoder: bool = False) -> int:
        """What one block keeps of its own tokens, and of those that an encoder read.

        Counted with `torch.autograd.graph.saved_tensors_hooks` on Llama, GPT-2 and T5: the inputs
        of norms and of LoRA matrices, queries, keys,
        values and what attention makes of them, its mask, and tensors of the inner network.
        """
        model, size, r = self.model, self.size, self.settings.lora.r
        is_wide, n_attentions = self.dtype == "float32", 2 if n_source else 1
        chosen = self.chosen(is_encoder=is_encoder)
        inputs = [m.n_in for m in chosen if m.reads == "text"]
        of_source = [m.n_in for m in chosen if m.reads == "source"]
        norms = (n_attentions + 1) * model.hidden * (_WIDE if is_wide else model.norm_bytes)
        attention = (2 + 2 * n_attentions) * model.queries * size
        n_inner = 2 * model.is_gated + (
            model.n_activations if is_wide else max(1, model.n_activations)
        )
        n_states = min(n_attentions + 1, inputs.count(model.hidden))
        lora = (n_states * model.hidden + (model.inner in inputs) * model.inner) * size
        per_token = norms + attention + n_inner * model.inner * size + lora
        per_token += r * len(inputs) * _WIDE + self.mask(n_attentions, is_encoder=is_encoder)
        per_source = 2 * model.queries * size + r * len(of_source) * _WIDE
        return n_text * per_token + n_source * per_source

    def mask(self, n_attentions: int, *, is_encoder: bool) -> int:
        """Of one token: what it sees, for each head where a bias is added, and a sum per head."""
        seen = self.longest_prompt if is_encoder or n_attentions > 1 else self.width
        n_rows = self.model.heads if self.model.has_position_bias else 1
        return n_rows * seen * self.size + n_attentions * self.model.heads * _WIDE


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
    whole = settings.model_copy(update={"micro_batch_tokens": 2**62})
    n_tokens = Run(model, algorithm, whole, dtype, longest_prompt).tokens_learned()
    most = max(_SMALLEST, 1 << math.ceil(math.log2(n_tokens)))
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
