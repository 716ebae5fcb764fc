"""A base model in memory: one set of weights that every adapter and head shares.

B batch, P prompt tokens, R response tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from workbench.cancel import CancelToken
from workbench.data.chat_template import encode_prompt, encode_source
from workbench.data.records import Message
from workbench.errors import EnvironmentProblem, UserError
from workbench.models import encoder_decoder, lora_layers
from workbench.models.catalog import ModelInfo
from workbench.models.growing import Growing, GrowingAnswers, GrowingTexts
from workbench.models.layers import Blocks
from workbench.models.output_head import OutputHead
from workbench.models.special_tokens import find_pad_id, find_stop_ids
from workbench.models.weights import OnProgress, Quantise, nf4, weights_progress
from workbench.objectives.masking import position_ids

log = logging.getLogger(__name__)

Check = Callable[[], None]


class Trunk(NamedTuple):
    """What the lowest layers made of some texts, computed once and read by many.

    Attributes:
        states: (B, T, H), the input of layer number `n_layers`, counted from 0.
        n_layers: How many layers it has been through.
    """

    states: Tensor
    n_layers: int

    def select(self, index: Tensor | slice) -> Trunk:
        """The rows at `index`, in its order."""
        return self._replace(states=self.states[index])

    def narrow(self, left: int, right: int) -> Trunk:
        """The same without its first `left` and its last `right` columns."""
        return self._replace(states=self.states[:, left : self.states.shape[1] - right])


class LoadedModel:
    """A language model, causal or encoder-decoder, with its tokenizer, ready for adapters.

    Attributes:
        model: The transformers model; its own weights never change.
        tokenizer: Its tokenizer.
        info: What the catalogue knows of it.
        device: Where it computes.
        pad_id: A token that is no stop token, used for padding only.
        stop_ids: The tokens that end an answer; generator, masks and rewards use this one set.
        stop_id: The stop token that is appended to texts.
        context_length: Longest prompt plus answer, in tokens.
        hidden_size: Width of the states that the output head reads.
        n_layers: Number of blocks; those of the decoder where there is an encoder too.
        blocks_name: What the architecture calls the list of them.
        encoder_name: Where the encoder lies in the model; empty without one.
        recomputes_activations: Whether gradients keep only each block's input and compute the
            rest again: less memory, a third more time, the same bits.
    """

    def __init__(self, model: Any, tokenizer: Any, info: ModelInfo) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.info = info
        self.device = next(model.parameters()).device
        self.dtype = next(model.parameters()).dtype
        self.stop_ids = find_stop_ids(model, tokenizer)
        self.stop_id = (
            tokenizer.eos_token_id
            if tokenizer.eos_token_id in self.stop_ids
            else min(self.stop_ids)
        )
        self.pad_id = find_pad_id(model, tokenizer, self.stop_ids)
        model.config.pad_token_id = self.pad_id
        self.context_length = info.context_length
        self.hidden_size: int = model.get_output_embeddings().weight.shape[1]
        parameters = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in parameters
        self._check: Check | None = None
        self.is_encoder_decoder = info.is_encoder_decoder
        self._blocks = Blocks(model.get_decoder())
        self.n_layers, self.blocks_name = len(self._blocks), self._blocks.name
        self.encoder_name = _name_of(model, model.get_encoder()) if self.is_encoder_decoder else ""
        self._reading = Blocks(model.get_encoder()) if self.is_encoder_decoder else None
        self.recomputes_activations = False
        reading = [] if self._reading is None else self._reading.modules
        for block in [*reading, *self._blocks.modules]:
            block.register_forward_pre_hook(self._check_cancelled)
        self._head = OutputHead(model)
        self._probe_head()

    @property
    def output_head(self) -> nn.Module:
        """The linear map from states to logits; its weight (V, H) embeds the tokens."""
        return self._head.module

    @contextmanager
    def checking(self, check: Check) -> Iterator[None]:
        """While open, every layer's forward calls `check`, which may raise `Cancelled`.

        A flag read once per step takes seconds to be noticed; read per layer, milliseconds.
        """
        before, self._check = self._check, check
        try:
            yield
        finally:
            self._check = before

    def __deepcopy__(self, memo: dict[int, object]) -> LoadedModel:
        """Itself: there is one base in memory, however often Gymnasium copies its arguments."""
        return self

    def _check_cancelled(self, *_: object) -> None:
        if self._check is not None:
            self._check()

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a prompt, up to where the answer starts."""
        if self.is_encoder_decoder:
            return encode_source(self.tokenizer, messages)
        return encode_prompt(self.tokenizer, messages)

    def forward_kwargs(self, attention_mask: Tensor) -> dict[str, Tensor]:
        """Attention mask and, where the architecture takes them, positions that ignore padding."""
        kwargs = {"attention_mask": attention_mask.long()}
        if self._takes_positions:
            kwargs["position_ids"] = position_ids(attention_mask)
        return kwargs

    def states(self, ids: Tensor, attention_mask: Tensor, trunk: Trunk | None = None) -> Tensor:
        """Last hidden states of a causal model, the input of its head: (B, T) ids -> (B, T, H).

        Args:
            ids: (B, T).
            attention_mask: (B, T), True on tokens.
            trunk: What `trunk` gave for them; its layers are not computed again.
        """
        if trunk is None:
            return self._forward(ids, attention_mask)
        with self._blocks.replaced(dict.fromkeys(range(trunk.n_layers), lambda _: trunk.states)):
            return self._forward(ids, attention_mask)

    def trunk(self, ids: Tensor, attention_mask: Tensor, n_layers: int) -> Trunk:
        """Send texts through the `n_layers` lowest layers of the base, without any adapter.

        With LoRA on the layers above, reference, policy, reward model and every epoch have these
        states in common.
        """
        kept: list[Tensor] = []

        def keep(states: Tensor) -> Tensor:
            kept.append(states)
            return states

        upper = {n: keep if n == n_layers else _same for n in range(n_layers, self.n_layers)}
        with torch.no_grad(), lora_layers.active(self.model, None), self._blocks.replaced(upper):
            self._forward(ids, attention_mask)
        return Trunk(kept[0], n_layers)

    def can_split(self, n_layers: int) -> bool:
        """Whether layers above a trunk of `n_layers` give what the whole model gives.

        Some architectures hand more from layer to layer than hidden states (keys and values, the
        embeddings once more); their layers cannot be computed apart.
        """
        ids = torch.tensor([[self.stop_id] * 3], device=self.device)
        mask = torch.ones_like(ids, dtype=torch.bool)
        with torch.no_grad(), lora_layers.active(self.model, None):
            whole = self._forward(ids, mask)
            try:
                split = self.states(ids, mask, self.trunk(ids, mask, n_layers))
            except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
                log.info("%s does not split: %s", self.info.name, error)
                return False
        return torch.equal(whole, split)

    def _forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        trunk = self.model.base_model
        with self._as_gradients_need():
            output = trunk(input_ids=ids, use_cache=False, **self.forward_kwargs(attention_mask))
        states: Tensor = output.last_hidden_state
        return states

    def response_states(
        self,
        prompt_ids: Tensor,
        prompt_mask: Tensor,
        response_ids: Tensor,
        is_response: Tensor,
        trunk: Trunk | None = None,
    ) -> Tensor:
        """Hidden states from which each response token was predicted.

        Args:
            prompt_ids: (B, P), left-padded.
            prompt_mask: (B, P), True on prompt tokens.
            response_ids: (B, R), right-padded.
            is_response: (B, R), True up to and including the stop token.
            trunk: Lower states of [prompt | response]; further columns at the right are cut.
                An encoder-decoder has none.

        Returns:
            (B, R, H): entry t is the state before response token t (the logit shift is done).
        """
        if self.is_encoder_decoder:
            ids = encoder_decoder.started(self.model, response_ids[:, :-1])
            return self._decoded(prompt_ids, prompt_mask, ids)
        states = self._joined(prompt_ids, prompt_mask, response_ids, is_response, trunk)
        start = prompt_ids.shape[1] - 1
        return states[:, start : start + response_ids.shape[1]]

    def answer_states(
        self,
        prompt_ids: Tensor,
        prompt_mask: Tensor,
        closed_ids: Tensor,
        is_closed: Tensor,
        trunk: Trunk | None = None,
    ) -> Tensor:
        """State at the last token of each answer, which is what a reward head reads.

        Args:
            prompt_ids: (B, P), left-padded.
            prompt_mask: (B, P), True on prompt tokens.
            closed_ids: (B, R), right-padded; each answer ends with its stop token.
            is_closed: (B, R), True up to and including the stop token.
            trunk: As in `response_states`.

        Returns:
            (B, H).
        """
        if self.is_encoder_decoder:
            ids = encoder_decoder.started(self.model, closed_ids)
            states, last = self._decoded(prompt_ids, prompt_mask, ids), is_closed.sum(1)
        else:
            states = self._joined(prompt_ids, prompt_mask, closed_ids, is_closed, trunk)
            last = prompt_ids.shape[1] - 1 + is_closed.sum(1)
        return states[torch.arange(len(states), device=states.device), last]

    @contextmanager
    def keeping(self, layers: Collection[int]) -> Iterator[dict[int, Tensor]]:
        """While open, forward passes leave here what comes out of layers, counted from 0.

        Those above the highest are not computed.
        """
        above = range(max(layers, default=self.n_layers - 1) + 1, self.n_layers)
        left_out = self._blocks.replaced(dict.fromkeys(above, _same))
        with self._blocks.kept(layers) as outputs, left_out:
            yield outputs

    def _joined(
        self,
        prompt_ids: Tensor,
        prompt_mask: Tensor,
        response_ids: Tensor,
        is_response: Tensor,
        trunk: Trunk | None,
    ) -> Tensor:
        """States (B, P + R, H) of prompt and response one after the other."""
        ids = torch.cat([prompt_ids, response_ids], dim=1)
        attention_mask = torch.cat([prompt_mask, is_response], dim=1)
        if trunk is not None:
            trunk = trunk.narrow(0, trunk.states.shape[1] - ids.shape[1])
        return self.states(ids, attention_mask, trunk)

    def _decoded(self, prompt_ids: Tensor, prompt_mask: Tensor, ids: Tensor) -> Tensor:
        """States (B, R, H) of a decoder that is given `ids` (B, R)."""
        with self._as_gradients_need():
            source = encoder_decoder.encode(self.model, prompt_ids, prompt_mask)
            output = encoder_decoder.decode(self.model, source, ids, use_cache=False)
        states: Tensor = output.last_hidden_state * self._head.state_scale
        return states

    @contextmanager
    def _as_gradients_need(self) -> Iterator[None]:
        """While open, blocks keep their activations, or recompute them where that is wanted.

        transformers' own switch works in training mode only, which turns dropout on.
        """
        with ExitStack() as stack:
            if self.recomputes_activations:
                for blocks in filter(None, (self._reading, self._blocks)):
                    stack.enter_context(blocks.recomputed())
            yield

    @contextmanager
    def parked(self) -> Iterator[None]:
        """While open, base and adapters lie in main memory and the card is free for others.

        Afterwards everything is where it was, bit for bit. On the processor nothing happens.
        """
        if self.device.type == "cpu":
            yield
            return
        self.model.to("cpu")
        getattr(torch, self.device.type).empty_cache()
        try:
            yield
        finally:
            self.model.to(self.device)

    def logps(
        self,
        states: Tensor,
        ids: Tensor,
        is_response: Tensor,
        temperature: float,
        *,
        with_entropy_grad: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Log-probability of each id and entropy of each distribution, 0 on padding.

        Only response tokens go through the output head, which is a third of a small model.

        Args:
            states: (B, R, H) as `response_states` gives them.
            ids: (B, R).
            is_response: (B, R) bool.
            temperature: The one that the ids were sampled with.
            with_entropy_grad: Whether the entropies are differentiated too.

        Returns:
            Two float32 tensors (B, R).
        """
        return self._head.logps(states, ids, is_response, temperature, with_entropy_grad)

    def read(self, prompt_ids: Tensor, prompt_mask: Tensor) -> Growing:
        """Begin answers to prompts (B, P), left-padded, that grow token by token in a cache."""
        if self.is_encoder_decoder:
            source = encoder_decoder.encode(self.model, prompt_ids, prompt_mask)
            return GrowingAnswers(self.model, source, self._head.state_scale)
        return GrowingTexts(self.model, prompt_ids, prompt_mask, self._takes_positions)

    def logits(self, states: Tensor) -> Tensor:  # (..., H) -> (..., V) float32
        """Logits, with what the architecture does after its head (soft caps, scales)."""
        return self._head.logits(states)

    @torch.no_grad()
    def _probe_head(self) -> None:
        """Learn how logits come from states; refuse what has no known map.

        Raises:
            UserError: They do not come by anything known here.
        """
        ids = torch.tensor([[self.stop_id, self.stop_id]], device=self.device)
        mask = torch.ones_like(ids, dtype=torch.bool)
        with self._blocks.being_watched():
            if self.is_encoder_decoder:
                wanted = self.model(input_ids=ids, decoder_input_ids=ids, use_cache=False).logits
                states = self._decoded(ids, mask, ids)
            else:
                kwargs = self.forward_kwargs(mask)
                wanted = self.model(input_ids=ids, use_cache=False, **kwargs).logits
                states = self.states(ids, mask)
        if not self._head.learn(states, wanted):
            raise UserError(
                f"{self.info.name} changes its logits in a way that cannot be scored here.",
                "Choose another model.",
            )


def load(
    info: ModelInfo,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantise: Quantise = "none",
    cancel: CancelToken,
    on_progress: OnProgress,
) -> LoadedModel:
    """Load a model described by the catalogue.

    Args:
        info: From `catalog.describe` or `catalog.find`.
        device: auto (a CUDA card when there is one), cpu, cuda, mps.
        dtype: auto (bfloat16 on a card, float32 on the processor), float32, bfloat16.
        quantise: nf4 keeps the base in 4 bits per weight, on a CUDA card only (QLoRA).
        cancel: Noticed between any two weights.
        on_progress: Called with (done, total, note).

    Raises:
        UserError: The folder is broken or holds something that is not loaded here, or 4-bit
            weights were asked for where they cannot be had.
        EnvironmentProblem: There is not enough memory.
        Cancelled: The token was cancelled.
    """
    if info.problems:
        raise UserError(f"{info.name} cannot be loaded: {info.problems[0]}")
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if dtype == "auto":
        precision = torch.bfloat16 if chosen == "cuda" else torch.float32
    else:
        precision = getattr(torch, dtype)
    options = nf4(chosen, precision) if quantise == "nf4" else {}
    on_progress(0, 0, f"Reading the tokenizer of {info.name}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(info.path)
        with weights_progress(cancel, on_progress):
            kind = AutoModelForSeq2SeqLM if info.is_encoder_decoder else AutoModelForCausalLM
            model: Any = kind.from_pretrained(
                info.path, dtype=precision, use_safetensors=True, **options
            )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{info.name} cannot be loaded: {error}", "Check that its folder is complete."
        ) from error
    except RuntimeError as error:
        if "memory" in str(error).lower():
            raise EnvironmentProblem(
                f"There is not enough memory for {info.name}.",
                "Close other programs, or choose a smaller model.",
            ) from error
        raise
    model.requires_grad_(False)
    # eval() for good: attention dropout is read from `training`, and any dropout makes the
    # ratio of the first PPO step differ from 1.
    model.eval()
    cancel.raise_if_cancelled()
    return LoadedModel(model.to(chosen), tokenizer, info)


def _name_of(model: Any, wanted: Any) -> str:
    return next(str(name) for name, module in model.named_modules() if module is wanted)


def _same(states: Tensor) -> Tensor:
    return states
