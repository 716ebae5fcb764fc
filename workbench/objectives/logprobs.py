"""Log-probabilities and entropies of tokens. N tokens, H hidden size, V vocabulary.

All of it is computed in fp32 even when the network is in bf16: a log-softmax in bf16 is wrong by
about 1e-2. float64 stays float64. The temperature must be the one that sampled the tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK_ENTRIES = 2**22  # logits in memory at once: 16 MB in fp32, 85 tokens of SmolLM2


def token_logps(
    logits: Tensor,  # (..., V)
    ids: Tensor,  # (...)
    temperature: float = 1.0,
) -> Tensor:  # (...) fp32
    """Log-softmax of the sampled ids: z_id − logsumexp(z), with z = logits / T."""
    z = _wide(logits) / temperature
    return z.gather(-1, ids.unsqueeze(-1)).squeeze(-1) - z.logsumexp(dim=-1)


def entropy(
    logits: Tensor,  # (..., V)
    temperature: float = 1.0,
) -> Tensor:  # (...) fp32
    """H = logsumexp(z) − Σ softmax(z)·z in nats, with z = logits / T."""
    z = _wide(logits) / temperature
    return z.logsumexp(dim=-1) - (z.softmax(dim=-1) * z).sum(dim=-1)


def linear_logps(
    hidden: Tensor,  # (N, H)
    weight: Tensor,  # (V, H), frozen
    ids: Tensor,  # (N,)
    temperature: float = 1.0,
    bias: Tensor | None = None,  # (V,), frozen
    *,
    with_entropy_grad: bool = False,
) -> tuple[Tensor, Tensor]:  # (N,) fp32, (N,) fp32
    """Log-probabilities of `ids`, and entropies, from the hidden states under a frozen head.

    With z = (h·Wᵀ + b) / T the gradients are
        ∂logp/∂h = (W[y] − Σ_j p_j W_j) / T
        ∂H/∂h    = −Σ_j p_j (log p_j + H) W_j / T
    They are worked out chunk by chunk in the forward pass, so that (N, V) logits never exist:
    with V = 49 152 they are the largest tensor of a PPO step. Neither the weight nor the bias
    gets a gradient. Without `with_entropy_grad` the entropy carries none.
    """
    if not (torch.is_grad_enabled() and hidden.requires_grad):
        logps, entropies, _, _ = _chunked(hidden, weight, bias, ids, temperature, (False, False))
        return logps, entropies
    result: tuple[Tensor, Tensor] = _LinearLogps.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, ids, temperature, with_entropy_grad
    )
    return result


class _LinearLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids: Tensor,
        temperature: float,
        with_entropy_grad: bool,
    ) -> tuple[Tensor, Tensor]:
        logps, entropies, logp_grad, entropy_grad = _chunked(
            hidden, weight, bias, ids, temperature, (True, with_entropy_grad)
        )
        ctx.save_for_backward(logp_grad, entropy_grad)
        if not with_entropy_grad:
            ctx.mark_non_differentiable(entropies)
        return logps, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_logps: Tensor, d_entropies: Tensor) -> tuple[Tensor | None, ...]:
        logp_grad, entropy_grad = ctx.saved_tensors
        d_hidden = d_logps.unsqueeze(-1) * logp_grad
        if entropy_grad is not None:
            d_hidden = d_hidden + d_entropies.unsqueeze(-1) * entropy_grad
        return d_hidden.to(logp_grad.dtype), None, None, None, None, None


@torch.no_grad()
def _chunked(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    temperature: float,
    wants: tuple[bool, bool],  # gradient of logp, of entropy
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    wants_logp, wants_entropy = wants
    n = len(hidden)
    rows = max(1, _CHUNK_ENTRIES // len(weight))
    wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    logps, entropies = hidden.new_empty(n, dtype=wide), hidden.new_empty(n, dtype=wide)
    logp_grad = torch.empty_like(hidden) if wants_logp else None
    entropy_grad = torch.empty_like(hidden) if wants_entropy else None
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        z = _wide(hidden[part] @ weight.t())
        if bias is not None:
            z = z + bias
        # In place where it can be: each further copy of the chunk counts in the peak of a step.
        log_p = z.div_(temperature).log_softmax(dim=-1)
        del z
        p = log_p.exp()
        y = ids[part].unsqueeze(-1)
        logps[part] = log_p.gather(-1, y).squeeze(-1)
        entropies[part] = -torch.linalg.vecdot(p, log_p)
        if entropy_grad is not None:
            d_z = -p * (log_p + entropies[part].unsqueeze(-1))
            entropy_grad[part] = (d_z.to(weight.dtype) @ weight) / temperature
        del log_p
        if logp_grad is not None:
            # 1 − p_y is formed before the product: W[y] − E_p[W] would cancel in bf16.
            d_z = p.neg_().scatter_add_(-1, y, torch.ones_like(y, dtype=wide))
            logp_grad[part] = (d_z.to(weight.dtype) @ weight) / temperature
    return logps, entropies, logp_grad, entropy_grad


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
