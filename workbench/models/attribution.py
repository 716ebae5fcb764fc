"""What a number that a network gives owes to each token of its input, to first order.

Gradient × input (Shrikumar et al. 2016, arXiv:1605.01713; the gradient alone is Simonyan et al.
2013): with e_t the embedding of token t and s the number,

    a_t = Σ_h ∂s/∂e_th · e_th  =  ds/dα at α = 1, when e_t is scaled by α.

It says how s would begin to move if that one embedding grew, everything else fixed. It is no cause:
a network is not linear, so the a_t do not add up to s, a saturated unit gives 0 however much it
matters, and an embedding that is scaled is no token. T tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.models.loading import LoadedModel


class Attribution(NamedTuple):
    """A number, and what it owes to each token of prompt and answer.

    Attributes:
        value: The number itself.
        prompt: One per token of the prompt.
        answer: One per token of the answer, its stop token included.
    """

    value: float
    prompt: list[float]
    answer: list[float]


def gradient_times_input(
    model: LoadedModel, forward: Callable[[], Tensor], n_answer: int
) -> Attribution:
    """Gradient × input of the one number that `forward` computes with the model.

    Whatever adapters `forward` switches on and whatever head it ends with take part. No weight
    gets a gradient.

    Args:
        model: A causal model or an encoder-decoder.
        forward: Sends one prompt and one answer, both without padding, through the model once.
        n_answer: Tokens of the answer; the prompt's are before them, or in the encoder.
    """
    read: list[Tensor] = []

    def keep(_module: Any, _arguments: Any, embedded: Tensor) -> Tensor:
        leaf = embedded.detach().requires_grad_(True)
        read.append(leaf)
        return leaf

    with ExitStack() as stack:
        for embedding in _embeddings(model):
            stack.callback(embedding.register_forward_hook(keep).remove)
        with torch.enable_grad():
            value = forward().sum()
            gradients = torch.autograd.grad(value, read)
    owed = [
        (gradient.double() * leaf.detach().double()).sum(-1)[0].tolist()
        for gradient, leaf in zip(gradients, read, strict=True)
    ]
    prompt = owed[0] if model.is_encoder_decoder else owed[0][:-n_answer]
    return Attribution(float(value.detach()), prompt, owed[-1][-n_answer:])


def _embeddings(model: LoadedModel) -> list[Any]:
    """The modules that look tokens up; an encoder and its decoder may share one."""
    readers = [model.model.get_decoder()]
    if model.is_encoder_decoder:
        readers.insert(0, model.model.get_encoder())
    return list({id(m): m for m in (reader.get_input_embeddings() for reader in readers)}.values())
