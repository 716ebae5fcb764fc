"""Does the suite notice a wrong sign? Each mutant of the maths must fail a test.

The tests of this folder that need no fixtures run against the mutated source in this process.
Hypothesis tests stay out (they would shrink for seconds), so the oracles alone must notice.
A line that no longer occurs in the source fails too: the list cannot go stale.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.numerics import (
    test_advantages,
    test_agreement,
    test_best_of_n,
    test_intervals,
    test_kl,
    test_logprobs,
    test_masking,
    test_policy_gradient,
    test_preference,
    test_q_learning,
)
from workbench.objectives import (
    advantages,
    agreement,
    best_of_n,
    intervals,
    kl,
    logprobs,
    masking,
    policy_gradient,
    preference,
    q_learning,
)

SUITES = {
    masking: test_masking,
    logprobs: test_logprobs,
    kl: test_kl,
    advantages: test_advantages,
    policy_gradient: test_policy_gradient,
    preference: test_preference,
    q_learning: test_q_learning,
    best_of_n: test_best_of_n,
    agreement: test_agreement,
    intervals: test_intervals,
}


NOTICED = (  # the last one is what `pytest.raises` says when nothing was raised
    AssertionError, RuntimeError, ArithmeticError, LookupError, TypeError, np.linalg.LinAlgError,
    pytest.fail.Exception,
)  # fmt: skip


class Mutant(NamedTuple):
    """`module` with `old`, which occurs once, written as `new`."""

    module: types.ModuleType
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.module.__name__.rsplit('.', 1)[-1]}: {self.old} -> {self.new}"


MUTANTS = [
    Mutant(masking, "is_response.sum().clamp(min=1)", "is_response.numel()"),
    Mutant(masking, "torch.where(is_response, x, 0.0).sum() /", "(x * is_response).sum() /"),
    Mutant(masking, "int(unbiased)", "int(not unbiased)"),
    Mutant(masking, "unbiased: bool = True", "unbiased: bool = False"),
    Mutant(masking, "- int(unbiased)).clamp(min=1)", "- int(unbiased))"),
    Mutant(masking, "torch.rsqrt", "torch.sqrt"),
    Mutant(masking, "return whitened if shift_mean", "return whitened if not shift_mean"),
    Mutant(masking, "torch.where(is_response, whitened + mean, 0.0)", "whitened + mean"),
    Mutant(masking, "is_stop.long().cumsum(dim=-1) - is_stop.long()", "is_stop.long().cumsum(-1)"),
    Mutant(masking, "n_stops_before == 0", "n_stops_before <= 1"),
    Mutant(masking, "cumsum(dim=-1) - 1)", "cumsum(dim=-1))"),
    Mutant(masking, ".clamp(min=0)", ""),
    Mutant(logprobs, "z.logsumexp(dim=-1) - (z", "-z.logsumexp(dim=-1) + (z"),
    Mutant(logprobs, ".squeeze(-1) - z.logsumexp(dim=-1)", ".squeeze(-1)"),
    Mutant(logprobs, "z.div_(temperature).log_softmax", "z.mul_(temperature).log_softmax"),
    Mutant(logprobs, "z = z + bias", "z = z - bias"),
    Mutant(logprobs, "-torch.linalg.vecdot(p, log_p)", "torch.linalg.vecdot(p, log_p)"),
    Mutant(logprobs, "d_z = -p * (log_p +", "d_z = -p * (log_p -"),
    Mutant(logprobs, "p.neg_()", "p"),
    Mutant(logprobs, "entropy_grad[part] = (d_z.to(weight.dtype) @ weight) / temperature",
           "entropy_grad[part] = d_z.to(weight.dtype) @ weight"),
    Mutant(logprobs, "            logp_grad[part] = (d_z.to(weight.dtype) @ weight) / temperature",
           "            logp_grad[part] = d_z.to(weight.dtype) @ weight"),
    Mutant(logprobs, "part = slice(start, start + rows)", "part = slice(0, rows)"),
    Mutant(logprobs, "d_hidden + d_entropies", "d_hidden - d_entropies"),
    Mutant(logprobs, "else x.float()", "else x"),
    Mutant(kl, "d = logps - ref_logps", "d = ref_logps - logps"),
    Mutant(kl, "0.5 * d.square()", "d.square()"),
    Mutant(kl, "e = (-d)", "e = d"),
    Mutant(kl, "e.expm1() - e)", "e.expm1() + e)"),
    Mutant(kl, ".clamp(0.0, 10.0)", ""),
    Mutant(kl, "self.target - 1.0", "self.target + 1.0"),
    Mutant(kl, "1.0 + error", "1.0 - error"),
    Mutant(kl, "-0.2), 0.2)", "-0.1), 0.2)"),
    Mutant(kl, "* n_sequences / self.horizon", "/ self.horizon"),
    Mutant(advantages, "-kl_coef * kl", "kl_coef * kl"),
    Mutant(advantages, "torch.where(is_response, -kl_coef * kl, 0.0)", "-kl_coef * kl"),
    Mutant(advantages, "(is_response) == 1", "(is_response) <= 2"),
    Mutant(advantages, "return is_response & ", "return "),
    Mutant(advantages, "before = after - rises", "before = after"),
    Mutant(advantages, "torch.where(_is_last(is_response), 0.0, after)", "after"),
    Mutant(advantages, "gamma * next_potential - before", "next_potential - before"),
    Mutant(advantages, "gamma * next_potential - before", "gamma * next_potential + before"),
    Mutant(advantages, ".flip(-1).cumsum(dim=-1).flip(-1)", ".cumsum(dim=-1)"),
    Mutant(advantages, "rewards = torch.where(is_response, rewards, 0.0)\n    values", "values"),
    Mutant(advantages, "values = torch.where(is_response, values, 0.0)", "pass"),
    Mutant(advantages, "gamma * next_value - values[:, t]", "gamma * next_value + values[:, t]"),
    Mutant(advantages, "rewards[:, t] + gamma * next_value", "rewards[:, t] + next_value"),
    Mutant(advantages, "gamma * gae_lambda", "gae_lambda"),
    Mutant(advantages, "reversed(range(values.shape[1]))", "range(values.shape[1])"),
    Mutant(advantages, "next_value = values[:, t]", "pass"),
    Mutant(advantages, "return advantages, advantages + values", "return advantages, advantages"),
    Mutant(advantages, "rewards = rewards + torch.where", "rewards = rewards - torch.where"),
    Mutant(advantages, "torch.where(is_response, token_rewards, 0.0)", "token_rewards"),
    Mutant(advantages, "rewards = torch.where(is_response, rewards, 0.0)\n    following",
           "following"),
    Mutant(advantages, "rewards[:, t] + gamma * following", "rewards[:, t] + following"),
    Mutant(advantages, "rewards[:, t] + gamma * following", "rewards[:, t] - gamma * following"),
    Mutant(advantages, "reversed(range(rewards.shape[1]))", "range(rewards.shape[1])"),
    Mutant(advantages, "to_go[::-1]", "to_go"),
    Mutant(advantages, "torch.where(is_response, torch.stack(to_go[::-1], dim=1), 0.0)",
           "torch.stack(to_go[::-1], dim=1)"),
    Mutant(advantages, "/ (group_size - 1)", "/ group_size"),
    Mutant(advantages, "keepdim=True) - groups) /", "keepdim=True)) /"),
    Mutant(advantages, "(groups - others)", "(others - groups)"),
    Mutant(advantages, "groups - groups.mean(dim=1, keepdim=True)",
           "groups.mean(dim=1, keepdim=True) - groups"),
    Mutant(advantages, "groups - groups.mean(dim=1, keepdim=True)", "groups - groups.mean()"),
    Mutant(advantages, "groups.std(dim=1, keepdim=True)",
           "groups.std(dim=1, keepdim=True, unbiased=False)"),
    Mutant(advantages, "groups.std(dim=1, keepdim=True)", "groups.std()"),
    Mutant(advantages, "+ 1e-4)\n", "+ 1e-6)\n"),
    Mutant(advantages, "if scale_by_std:", "if not scale_by_std:"),
    Mutant(advantages, "scores.view(-1, group_size)", "scores.view(group_size, -1).t()"),
    Mutant(advantages, "return groups - groups[:, :1]", "return groups"),
    Mutant(advantages, "group_size < 2", "group_size < 1"),
    Mutant(advantages, "max(1.0 - self.decay, 1.0 / (self.n + 1))", "1.0 - self.decay"),
    Mutant(advantages, "max(1.0 - self.decay, 1.0 / (self.n + 1))", "1.0 / (self.n + 1)"),
    Mutant(advantages, "float(values.mean()) - self.mean", "float(values.mean())"),
    Mutant(advantages, "mean=self.mean + step", "mean=self.mean - step"),
    Mutant(policy_gradient, "logps - old_logps, 0.0)\n    adv", "old_logps - logps, 0.0)\n    adv"),
    Mutant(policy_gradient, "torch.where(is_response, logps - old_logps, 0.0)\n    adv",
           "(logps - old_logps)\n    adv"),
    Mutant(policy_gradient, "torch.where(is_response, advantages, 0.0)\n", "advantages\n"),
    Mutant(policy_gradient, "logps - old_logps, 0.0).sum", "old_logps - logps, 0.0).sum"),
    Mutant(policy_gradient, "old_logps, 0.0).sum(dim=-1)", "old_logps, 0.0).mean(dim=-1)"),
    Mutant(policy_gradient, "torch.where(is_response, logps - old_logps, 0.0).sum(dim=-1)",
           "(logps - old_logps).sum(dim=-1)"),
    Mutant(policy_gradient, "torch.where(is_response.any(dim=-1), advantages, 0.0)", "advantages"),
    Mutant(policy_gradient, "log_ratio.clamp(-20.0, 20.0).exp()\n    plain",
           "log_ratio.exp()\n    plain"),
    Mutant(policy_gradient, "plain = -advantages * ratio", "plain = advantages * ratio"),
    Mutant(policy_gradient, "clipped = -advantages *", "clipped = advantages *"),
    Mutant(policy_gradient, "1.0 - clip_low, 1.0 + clip_high", "0.0, 1.0 + clip_high"),
    Mutant(policy_gradient, "1.0 - clip_low, 1.0 + clip_high", "1.0 - clip_high, 1.0 + clip_low"),
    Mutant(policy_gradient, "ratio.clamp(1.0 - clip_low, 1.0 + clip_high)",
           "ratio.clamp(min=1.0 - clip_low)"),
    Mutant(policy_gradient, "losses = torch.maximum", "losses = torch.minimum"),
    Mutant(policy_gradient, "if dual_clip:", "if not dual_clip:"),
    Mutant(policy_gradient, "torch.where(advantages < 0, -", "torch.where(advantages > 0, -"),
    Mutant(policy_gradient, "-advantages * dual_clip", "dual_clip"),
    Mutant(policy_gradient, "torch.minimum(losses, most)", "torch.maximum(losses, most)"),
    Mutant(policy_gradient, "is_clipped | (losses > most)", "is_clipped"),
    Mutant(policy_gradient, "approx_kl_sum=0.5 *", "approx_kl_sum=1.0 *"),
    Mutant(policy_gradient, "is_clipped = clipped > plain", "is_clipped = clipped < plain"),
    Mutant(policy_gradient, "log_ratio.abs().amax()", "log_ratio.amax()"),
    Mutant(policy_gradient, "return -advantages * torch", "return advantages * torch"),
    Mutant(policy_gradient, "advantages.detach()", "advantages"),
    Mutant(policy_gradient, "torch.where(is_response, advantages.detach(), 0.0)",
           "advantages.detach()"),
    Mutant(policy_gradient, "torch.where(is_response, logps, 0.0)", "logps"),
    Mutant(policy_gradient, "(values - old_values)", "(old_values - values)"),
    Mutant(policy_gradient, ".clamp(-clip_range, clip_range)", ".clamp(-clip_range, 0.0)"),
    Mutant(policy_gradient, "0.5 * torch.maximum", "0.5 * torch.minimum"),
    Mutant(policy_gradient, "0.5 * torch.maximum", "torch.maximum"),
    Mutant(policy_gradient, "return 0.5 * plain", "return plain"),
    Mutant(policy_gradient, "torch.where(is_response, values - returns, 0.0).square()",
           "(values - returns).square()"),
    Mutant(policy_gradient, "torch.where(is_response, near - returns, 0.0)", "(near - returns)"),
    Mutant(policy_gradient, "(clipped > plain).sum()\n", "(clipped >= plain).sum()\n"),
    Mutant(policy_gradient, "logps - ref_logps, 0.0", "ref_logps - logps, 0.0"),
    Mutant(policy_gradient, "torch.where(is_response, logps - ref_logps, 0.0)",
           "logps - ref_logps"),
    Mutant(policy_gradient, "logps - old_logps, 0.0)\n    ratio",
           "old_logps - logps, 0.0)\n    ratio"),
    Mutant(policy_gradient, "log_ratio.detach().clamp", "log_ratio.clamp"),
    Mutant(policy_gradient, "detach().clamp(-20.0, 20.0).exp()", "detach().exp()"),
    Mutant(policy_gradient, "ratio * 0.5 * d.square()", "0.5 * d.square()"),
    Mutant(policy_gradient, "ratio * 0.5 * d.square()", "ratio * d.square()"),
    Mutant(policy_gradient, "ratio * 0.5 * d.square()", "ratio * d"),
    Mutant(policy_gradient, "value = ratio * kl_estimate", "value = kl_estimate"),
    Mutant(policy_gradient, "return pull + (value - pull).detach()", "return value"),
    Mutant(policy_gradient, "return pull + (value - pull).detach()", "return pull"),
    Mutant(policy_gradient, "pull + (value - pull).detach()", "pull + value.detach()"),
    Mutant(policy_gradient, "torch.where(is_response, token_losses, 0.0)", "token_losses"),
    Mutant(policy_gradient, "return sums.sum() / max(n_tokens, 1)", "return sums.mean()"),
    Mutant(policy_gradient, "sums / is_response.sum(dim=-1).clamp(min=1)",
           "sums / is_response.shape[-1]"),
    Mutant(policy_gradient, "is_response.sum(dim=-1).clamp(min=1)", "is_response.sum(dim=-1)"),
    Mutant(policy_gradient, ").sum() / max(n_answers, 1)", ").mean()"),
    Mutant(policy_gradient, "max(n_answers * max_tokens, 1)", "max(n_tokens, 1)"),
    Mutant(policy_gradient, "max(n_answers * max_tokens, 1)", "n_answers * max_tokens"),
    Mutant(policy_gradient, "1.0 - residual / spread", "residual / spread"),
    Mutant(policy_gradient, "torch.where(spread > 0, 1.0", "torch.where(spread >= 0, 1.0"),
    Mutant(preference, "chosen - rejected\n", "rejected - chosen\n"),
    Mutant(preference, "difference - margin", "difference + margin"),
    Mutant(preference, "return -logsigmoid", "return logsigmoid"),
    Mutant(preference, "(chosen + rejected).square()", "(chosen - rejected).square()"),
    Mutant(preference, "(chosen + rejected).square()", "(chosen + rejected).abs()"),
    Mutant(preference, "first - second - eta", "first - second + eta"),
    Mutant(preference, "second - first - eta", "second - first + eta"),
    Mutant(preference, "- (2.0 * eta).expm1().log()", "+ (2.0 * eta).expm1().log()"),
    Mutant(preference, "(2.0 * eta).expm1()", "eta.expm1()"),
    Mutant(preference, "(2.0 * eta).expm1()", "(2.0 * eta).exp()"),
    Mutant(preference, "verdict == 0, tie_nll", "verdict != 0, tie_nll"),
    Mutant(preference, "verdict * (first - second)", "verdict * (second - first)"),
    Mutant(preference, "- eta - margin", "+ eta - margin"),
    Mutant(preference, "- eta - margin", "- eta + margin"),
    Mutant(preference, ">= places.unsqueeze(2)", "<= places.unsqueeze(2)"),
    Mutant(preference, "comes_after & is_ranked.unsqueeze(1)", "comes_after"),
    Mutant(preference, "field - scores", "scores - field"),
    Mutant(preference, "torch.where(is_ranked, field - scores, 0.0)", "(field - scores)"),
    Mutant(preference, "torch.where(is_response, logps, 0.0)", "logps"),
    Mutant(preference, "if average else sums", "if not average else sums"),
    Mutant(preference, ".clamp(min=1) if", " if"),
    Mutant(preference, "return beta * (policy - ref)", "return beta * (ref - policy)"),
    Mutant(preference, "(policy_chosen - ref_chosen) -", "(policy_chosen - ref_chosen) +"),
    Mutant(preference, "delta = (policy_chosen - ref_chosen)", "delta = policy_chosen"),
    Mutant(preference, "(policy_rejected - ref_rejected)", "(ref_rejected - policy_rejected)"),
    Mutant(preference, "logsigmoid(beta * delta)", "logsigmoid(delta)"),
    Mutant(preference, "logsigmoid(-beta * delta)", "logsigmoid(beta * delta)"),
    Mutant(preference, "-(1.0 - label_smoothing) * right", "-right"),
    Mutant(preference, "- label_smoothing * wrong", "+ label_smoothing * wrong"),
    Mutant(preference, "delta - 1.0 / (2.0 * beta)", "delta + 1.0 / (2.0 * beta)"),
    Mutant(preference, "1.0 / (2.0 * beta)", "1.0 / beta"),
    Mutant(preference, "(1.0 - beta * delta).relu()", "(1.0 + beta * delta).relu()"),
    Mutant(preference, ".relu()", ".abs()"),
    Mutant(preference, "(policy_mismatched - ref_mismatched)",
           "(ref_mismatched - policy_mismatched)"),
    Mutant(preference, ".mean().clamp(min=0.0)", ".mean()"),
    Mutant(preference, ".clamp(min=0.0).detach()", ".clamp(min=0.0)"),
    Mutant(preference, "policy - ref - kl.detach()", "policy - ref + kl.detach()"),
    Mutant(preference, "- kl.detach()", "- kl"),
    Mutant(preference, "= desirable_weight * (-gain)", "= desirable_weight * gain"),
    Mutant(preference, "undesirable_weight * gain.sigmoid()",
           "undesirable_weight * (-gain).sigmoid()"),
    Mutant(preference, "bad = undesirable_weight *", "bad = desirable_weight *"),
    Mutant(preference, "torch.where(is_desirable, good, bad)",
           "torch.where(is_desirable, bad, good)"),
    Mutant(q_learning, "torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)",
           "values"),
    Mutant(q_learning, "torch.where(_has_next(is_response), following, 0.0)", "following"),
    Mutant(q_learning, "torch.where(_has_next(is_response), next_values, 0.0)", "next_values"),
    Mutant(q_learning, "torch.where(_has_next(is_response), next_values, 0.0)",
           "torch.where(is_response, next_values, 0.0)"),
    Mutant(q_learning, "rewards + gamma * bootstrap", "rewards + bootstrap"),
    Mutant(q_learning, "rewards + gamma * bootstrap", "rewards - gamma * bootstrap"),
    Mutant(q_learning, "torch.where(is_response, rewards + gamma * bootstrap, 0.0)",
           "(rewards + gamma * bootstrap)"),
    Mutant(q_learning, "bootstrap, 0.0).detach()", "bootstrap, 0.0)"),
    Mutant(q_learning, "targets.detach() - q", "targets.detach() + q"),
    Mutant(q_learning, "targets.detach() - q", "targets - q"),
    Mutant(q_learning, "torch.where(is_response, targets.detach() - q, 0.0)",
           "(targets.detach() - q)"),
    Mutant(q_learning, "q.detach() - v", "q - v"),
    Mutant(q_learning, "(difference < 0)", "(difference > 0)"),
    Mutant(q_learning, "(tau - is_below).abs() *", "(tau - is_below) *"),
    Mutant(q_learning, "* difference.square()", "* difference.abs()"),
    Mutant(q_learning, "q_logsumexp - q_taken / temperature",
           "q_taken / temperature - q_logsumexp"),
    Mutant(q_learning, "- q_taken / temperature", "- q_taken"),
    Mutant(q_learning, "torch.where(is_response, q_logsumexp - q_taken / temperature, 0.0)",
           "q_logsumexp - q_taken / temperature"),
    Mutant(q_learning, "(beta * (q - v))", "(beta * (v - q))"),
    Mutant(q_learning, "(beta * (q - v))", "((q - v) / beta)"),
    Mutant(q_learning, ".detach().exp()", ".exp()"),
    Mutant(q_learning, ".clamp(max=max_weight)", ""),
    Mutant(q_learning, "-weights.detach() *", "weights.detach() *"),
    Mutant(q_learning, "-weights.detach() *", "-weights *"),
    Mutant(q_learning, "surprise = rewards - beta", "surprise = rewards + beta"),
    Mutant(q_learning, "values - gamma * following_values", "values + gamma * following_values"),
    Mutant(q_learning, "values - gamma * following_values", "values - following_values"),
    Mutant(q_learning, "- surprise", "+ surprise"),
    Mutant(q_learning, "torch.where(is_response, residual, 0.0)", "residual"),
    Mutant(q_learning, "rewards_to_go(rewards - beta", "rewards_to_go(rewards + beta"),
    Mutant(q_learning, "is_response, gamma)\n    return torch.where(is_response, values",
           "is_response, 1.0)\n    return torch.where(is_response, values"),
    Mutant(q_learning, "values - to_go", "values + to_go"),
    Mutant(q_learning, "torch.where(is_response, values - to_go, 0.0)", "(values - to_go)"),
    Mutant(q_learning, "lerp_(param, rate)", "lerp_(param, 1.0 - rate)"),
    Mutant(q_learning, "target.lerp_(", "target.lerp("),
    Mutant(q_learning, "strict=True", "strict=False"),
    Mutant(q_learning, "torch.cat([is_response[:, 1:]", "torch.cat([is_response[:, :-1]"),
    Mutant(q_learning, "is_response & following", "following"),
    Mutant(best_of_n, "math.log(n) - (n", "math.log(n) + (n"),
    Mutant(best_of_n, "return math.log(n) - (n - 1) / n", "return math.log(n)"),
    Mutant(best_of_n, "math.comb(i, n - 1)", "math.comb(i, n)"),
    Mutant(best_of_n, "for i in range(n_scores)", "for i in reversed(range(n_scores))"),
    Mutant(best_of_n, "math.comb(n_scores, n)", "n_scores"),
    Mutant(best_of_n, "scores if scores.is_floating_point() else scores.float()", "scores"),
    Mutant(best_of_n, "1 <= n <=", "0 <= n <="),
    Mutant(best_of_n, "if i != opponent", ""),
    Mutant(best_of_n, "argsort(dim=1, stable=True)", "argsort(dim=1, descending=True)"),
    Mutant(best_of_n, "utilities[:, others].gather(1, order)", "utilities[:, others]"),
    Mutant(best_of_n, "(chosen - utilities[:,", "(-chosen + utilities[:,"),
    Mutant(best_of_n, ".sign() / 2 + 0.5", ".sign().clamp(min=0)"),
    Mutant(agreement, "(observed - expected) / (1 - expected)", "observed / (1 - expected)"),
    Mutant(agreement, "columns[:, None] + rows[None, :]", "rows[:, None] + columns[None, :]"),
    Mutant(agreement, "np.diag(sides) * (1 - kappa)", "np.diag(sides)"),
    Mutant(agreement, "(1 - kappa) ** 2 * apart", "(1 - kappa) * apart"),
    Mutant(agreement, "spread -= ", "spread += "),
    Mutant(agreement, "kappa - expected * (1 - kappa)", "kappa"),
    Mutant(agreement, "math.sqrt(spread / n) / (1 - expected)", "math.sqrt(spread / n)"),
    Mutant(agreement, "if spread < _DEGENERATE", "if False"),
    Mutant(agreement, "if 1 - expected < _DEGENERATE", "if False"),
    Mutant(agreement, "max(-1.0, ends[0])", "ends[0] - 1"),
    Mutant(agreement, "pairable.sum(axis=1) >= 2", "pairable.sum(axis=1) >= 3"),
    Mutant(agreement, "pairs -= np.eye", "pairs += np.eye"),
    Mutant(agreement, "(counts.sum(axis=1) - 1)", "counts.sum(axis=1)"),
    Mutant(agreement, "1 - (n - 1) * seen", "1 - n * seen"),
    Mutant(agreement, "totals[:, :, None] * totals[:, None, :] * apart",
           "totals[:, :, None] * apart"),
    Mutant(agreement, "cumsum(axis=1) - totals / 2", "cumsum(axis=1)"),
    Mutant(agreement, "np.square(middles", "np.abs(middles"),
    Mutant(agreement, "(1 - level) / 2, (1 + level) / 2", "0.25, 0.75"),
    Mutant(agreement, "draws = rng.multinomial(n_units,", "draws = rng.multinomial(9 * n_units,"),
    Mutant(agreement, "slope = wins.sum(axis=-1)", "slope = wins.sum(axis=-2)"),
    Mutant(agreement, "prior * (0.5 - p_prior)", "prior * (0.3 - p_prior)"),
    Mutant(agreement, "prior * (0.5 - p_prior)", "0"),
    Mutant(agreement, "weights = played * p * (1 - p)", "weights = played * p"),
    Mutant(agreement, "np.eye(wins.shape[-1]) - weights", "np.eye(wins.shape[-1])"),
    Mutant(agreement, "weights.sum(axis=-1) + prior * p_prior * (1 - p_prior)",
           "weights.sum(axis=-1) + prior"),
    Mutant(agreement, "centring @ np.linalg.inv(information) @ centring",
           "np.linalg.inv(information)"),
    Mutant(agreement, "theta - theta.mean(axis=-1, keepdims=True)", "theta"),
    Mutant(agreement, "return Strengths(theta, theta - half,", "return Strengths(theta, theta,"),
    Mutant(intervals, "(p + z * z / (2 * n))", "(p + z * z / n)"),
    Mutant(intervals, "z * z / (4 * n * n)", "z * z / (4 * n)"),
    Mutant(intervals, "np.bincount(index, data - share)", "np.bincount(index, data)"),
    Mutant(intervals, "(variance * n_groups / (n_groups - 1))", "variance"),
    Mutant(intervals, "min(float(n), share", "max(float(n), share"),
    Mutant(intervals, "n_effective = float(n_groups)", "n_effective = float(n)"),
    Mutant(intervals, "math.hypot(shares[0] - low_1, high_2 - shares[1])",
           "math.hypot(shares[0] - low_1, shares[1] - low_2)"),
    Mutant(intervals, "math.hypot(high_1 - shares[0], shares[1] - low_2)",
           "math.hypot(high_1 - shares[0], 0.0)"),
]  # fmt: skip


def _cases(suite: types.ModuleType) -> Iterator[Callable[[], Any]]:
    """The tests of a suite that need no fixture, one call for each set of parameters."""
    for name, test in vars(suite).items():
        if not name.startswith("test_") or hasattr(test, "hypothesis"):
            continue
        axes = []
        for mark in getattr(test, "pytestmark", ()):
            names = mark.args[0] if isinstance(mark.args[0], tuple) else (mark.args[0],)
            rows = mark.args[1] if len(names) > 1 else [(value,) for value in mark.args[1]]
            axes.append([dict(zip(names, row, strict=True)) for row in rows])
        for choice in itertools.product(*axes):
            arguments = {name: value for part in choice for name, value in part.items()}
            if inspect.signature(test).parameters.keys() == arguments.keys():
                yield functools.partial(test, **arguments)


@functools.cache
def _cases_with_seconds(suite: types.ModuleType) -> list[list[Any]]:
    """Each case with how long it took the last time."""
    return [[0.0, case] for case in _cases(suite)]


def _is_noticed(suite: types.ModuleType) -> bool:
    cases = _cases_with_seconds(suite)
    cases.sort(key=lambda pair: pair[0])  # most changes need not wait for the long ones
    for pair in cases:
        began = time.process_time()
        try:
            pair[1]()
        except NOTICED:
            return True
        finally:
            pair[0] = time.process_time() - began
    return False


def test_the_unchanged_source_passes() -> None:
    """The control: cases are found, and it is the mutation that makes them fail."""
    for suite in SUITES.values():
        assert sum(1 for _ in _cases(suite)) >= 5
        assert not _is_noticed(suite)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutant_is_noticed(mutant: Mutant) -> None:
    path = Path(inspect.getfile(mutant.module))
    source = path.read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1, f"{mutant.old!r} must occur once in {path.name}"
    code = compile(source.replace(mutant.old, mutant.new), str(path), "exec")
    original = dict(vars(mutant.module))
    try:
        exec(code, vars(mutant.module))
        assert _is_noticed(SUITES[mutant.module]), "no test noticed this change"
    finally:
        vars(mutant.module).clear()
        vars(mutant.module).update(original)
