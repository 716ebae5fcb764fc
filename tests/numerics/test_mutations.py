"""Does the suite notice a wrong sign? Each mutant of the maths must fail a test.

The tests of this folder that need no fixtures run against the mutated source in this process.
Hypothesis tests stay out (they would shrink for seconds), so the oracles alone must notice.
A line that no longer occurs in the source fails too: the list cannot go stale.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.numerics import (
    test_advantages,
    test_kl,
    test_logprobs,
    test_masking,
    test_policy_gradient,
    test_preference,
)
from workbench.objectives import advantages, kl, logprobs, masking, policy_gradient, preference

SUITES = {
    masking: test_masking,
    logprobs: test_logprobs,
    kl: test_kl,
    advantages: test_advantages,
    policy_gradient: test_policy_gradient,
    preference: test_preference,
}


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
    Mutant(logprobs, "(z / temperature).log_softmax", "(z * temperature).log_softmax"),
    Mutant(logprobs, "z = z + bias", "z = z - bias"),
    Mutant(logprobs, "-(p * log_p).sum", "(p * log_p).sum"),
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
    Mutant(advantages, "is_last = is_response & ", "is_last = "),
    Mutant(advantages, ".flip(-1).cumsum(dim=-1).flip(-1)", ".cumsum(dim=-1)"),
    Mutant(advantages, "rewards = torch.where(is_response, rewards, 0.0)", "pass"),
    Mutant(advantages, "values = torch.where(is_response, values, 0.0)", "pass"),
    Mutant(advantages, "gamma * next_value - values[:, t]", "gamma * next_value + values[:, t]"),
    Mutant(advantages, "rewards[:, t] + gamma * next_value", "rewards[:, t] + next_value"),
    Mutant(advantages, "gamma * gae_lambda", "gae_lambda"),
    Mutant(advantages, "reversed(range(values.shape[1]))", "range(values.shape[1])"),
    Mutant(advantages, "next_value = values[:, t]", "pass"),
    Mutant(advantages, "return advantages, advantages + values", "return advantages, advantages"),
    Mutant(policy_gradient, "logps - old_logps, 0.0", "old_logps - logps, 0.0"),
    Mutant(policy_gradient, "plain = -advantages * ratio", "plain = advantages * ratio"),
    Mutant(policy_gradient, "clipped = -advantages *", "clipped = advantages *"),
    Mutant(policy_gradient, "torch.maximum(plain, clipped).sum() / n_tokens\n    with",
           "torch.minimum(plain, clipped).sum() / n_tokens\n    with"),
    Mutant(policy_gradient, "1.0 - clip_range, 1.0 + clip_range", "0.0, 1.0 + clip_range"),
    Mutant(policy_gradient, "1.0 + clip_range", "1.0 + 2 * clip_range"),
    Mutant(policy_gradient, ".clamp(-20.0, 20.0).exp()", ".exp()"),
    Mutant(policy_gradient, "torch.where(is_response, logps - old_logps, 0.0)",
           "logps - old_logps"),
    Mutant(policy_gradient, "torch.where(is_response, advantages, 0.0)", "advantages"),
    Mutant(policy_gradient, "approx_kl_sum=0.5 *", "approx_kl_sum=1.0 *"),
    Mutant(policy_gradient, "clipped_sum=(clipped > plain)", "clipped_sum=(clipped < plain)"),
    Mutant(policy_gradient, "log_ratio.abs().amax()", "log_ratio.amax()"),
    Mutant(policy_gradient, "(values - old_values)", "(old_values - values)"),
    Mutant(policy_gradient, ".clamp(-clip_range, clip_range)", ".clamp(-clip_range, 0.0)"),
    Mutant(policy_gradient, "0.5 * torch.maximum", "0.5 * torch.minimum"),
    Mutant(policy_gradient, "loss = 0.5 *", "loss ="),
    Mutant(policy_gradient, "torch.where(is_response, near - returns, 0.0)", "(near - returns)"),
    Mutant(policy_gradient, "return loss, (clipped > plain)", "return loss, (clipped >= plain)"),
    Mutant(policy_gradient, "1.0 - residual / spread", "residual / spread"),
    Mutant(policy_gradient, "torch.where(spread > 0, 1.0", "torch.where(spread >= 0, 1.0"),
    Mutant(preference, "chosen - rejected\n", "rejected - chosen\n"),
    Mutant(preference, "difference - margin", "difference + margin"),
    Mutant(preference, "-logsigmoid", "logsigmoid"),
    Mutant(preference, "(chosen + rejected).square()", "(chosen - rejected).square()"),
    Mutant(preference, "(chosen + rejected).square()", "(chosen + rejected).abs()"),
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


def _is_noticed(suite: types.ModuleType) -> bool:
    for case in _cases(suite):
        try:
            case()
        except (AssertionError, RuntimeError, ArithmeticError, LookupError, TypeError):
            return True
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
