"""Illnesses of the steps and of the value head. One function finds one."""

from __future__ import annotations

import math
from statistics import median

from workbench.evaluation.case import Case, Finding, number, span

_MEMORY = 20  # updates whose median a gradient is compared with
_FEWEST = 5


def not_numbers(case: Case) -> Finding | None:
    """Some figure is NaN or infinite."""
    ill: dict[str, list[int]] = {}
    for name, points in case.series.items():
        steps = [step for step, value in points if not math.isfinite(value)]
        if steps:
            ill[name] = steps
    if not ill:
        return None
    # The first of them is what the others come from.
    name = min(ill, key=lambda n: ill[n][0])
    since, last = ill[name][0], ill[name][-1]
    newest = case.series[name][-1][0]
    others = f" and {len(ill) - 1} other figures" if len(ill) > 1 else ""
    until = None if last == newest else last
    return Finding(
        "not_numbers",
        "bad",
        "Figures that are not numbers",
        name,
        since,
        until,
        f"{name}{others} {'is' if not others else 'are'} not a number {span(since, until)}, in "
        f"{len(ill[name])} of {len(case.series[name])} updates.",
        (
            "A gradient that overflowed: steps that are too large.",
            "A reward that gives infinite scores.",
            "Half precision, in which large numbers are infinite.",
        ),
        "Go on from the last checkpoint with smaller steps and a lower gradient clip.",
        case.change({**case.gentler(), **case.scaled("max_grad_norm", 0.5)}),
    )


def clip_fraction(case: Case) -> Finding | None:
    """Most of what a step would do is clipped."""
    limit = case.limits.clip_limit
    found = case.curve("policy/clip_fraction").above(limit, case.limits.window)
    if found is None:
        return None
    return Finding(
        "clip_fraction",
        "warn",
        f"Clip fraction above {number(limit)}",
        "policy/clip_fraction",
        found.since,
        found.until,
        f"More than {number(limit)} of the tokens are clipped {span(found.since, found.until)}; "
        f"the highest share is {number(found.worst)}.",
        (
            "Steps that are too large for this batch.",
            "Too many passes over the same batch.",
        ),
        "Lower the learning rate.",
        case.change(case.gentler()),
    )


def step_kl(case: Case) -> Finding | None:
    """One update moves the policy too far."""
    limit = case.limits.step_kl_limit
    found = case.curve("policy/approx_kl").above(limit, case.limits.window)
    if found is None:
        return None
    target = case.setting("target_step_kl")
    change = case.gentler()
    if target == 0.0:
        change["target_step_kl"] = float(f"{limit / 2:.2g}")
    return Finding(
        "step_kl",
        "warn",
        f"Step KL above {number(limit)}",
        "policy/approx_kl",
        found.since,
        found.until,
        f"One update moves the policy by more than {number(limit)} nats per token "
        f"{span(found.since, found.until)}; the most is {number(found.worst)}.",
        (
            "Steps that are too large.",
            "Too many passes over the same batch.",
        ),
        "Lower the learning rate, and let an update end when it has moved far enough.",
        case.change(change),
    )


def first_ratio(case: Case) -> Finding | None:
    """Before the first step the policy is not the one that sampled."""
    curve, limit = case.curve("policy/first_ratio_error"), case.limits.ratio_limit
    ill = [i for i, value in enumerate(curve.values) if value > limit]
    if not ill:
        return None
    since, last = curve.steps[ill[0]], curve.steps[ill[-1]]
    until = None if ill[-1] == len(curve) - 1 else last
    return Finding(
        "first_ratio",
        "bad",
        "Ratio off 1 at the first step",
        "policy/first_ratio_error",
        since,
        until,
        f"Before the first step of an update the log ratio is off 0 by more than {number(limit)} "
        f"{span(since, until)}, in {len(ill)} of {len(curve)} updates; the most is "
        f"{number(max(curve.values))}.",
        (
            "The answers were sampled by other numbers than those that learn: another precision, "
            "temperature or mask.",
            "Dropout while learning.",
        ),
        "No setting of the algorithm mends this: compare with a run in float32 on the processor, "
        "and report it.",
    )


def explained_variance(case: Case) -> Finding | None:
    """The value head is worse than none."""
    curve, floor = case.curve("value/explained_variance"), case.limits.explained_floor
    found = curve.below(floor, case.limits.window, begin=case.limits.warmup)
    if found is None:
        return None
    return Finding(
        "explained_variance",
        "warn",
        "Value head is worse than a constant",
        "value/explained_variance",
        found.since,
        found.until,
        f"Explained variance is below {number(floor)} {span(found.since, found.until)}; the lowest "
        f"is {number(found.worst)}. 0 is what a constant explains.",
        (
            "The value head lags behind returns that change quickly.",
            "A value coefficient that is too small to fit, or so large that it overshoots.",
        ),
        "Smaller steps, and more weight on the value loss.",
        case.change({**case.gentler(), **case.scaled("value_coef", 2.0, at_least=0.1)}),
    )


def dead_value_head(case: Case) -> Finding | None:
    """The value head says the same of everything."""
    curve, floor = case.curve("value/spread"), case.limits.value_spread_floor
    found = curve.below(floor, case.limits.window, begin=case.limits.warmup)
    if found is None:
        return None
    return Finding(
        "dead_value_head",
        "warn",
        "Value head is dead",
        "value/spread",
        found.since,
        found.until,
        f"The values of a batch spread by less than {number(floor)} "
        f"{span(found.since, found.until)}, the last by {number(found.last)}: the value head says "
        "the same of every token.",
        (
            "A value coefficient of 0, or one that is far too small.",
            "A learning rate that is too small.",
            "Returns that do not differ.",
        ),
        "Raise the value coefficient.",
        case.change(case.scaled("value_coef", 4.0, at_least=0.1)),
    )


def gradient_spikes(case: Case) -> Finding | None:
    """Single gradients that are far larger than those before."""
    curve, factor = case.curve("policy/grad_norm"), case.limits.grad_spike
    spikes, usual = [], 0.0
    for i in range(_FEWEST, len(curve)):
        before = median(curve.values[max(0, i - _MEMORY) : i])
        if before > 0 and curve.values[i] > factor * before:
            spikes.append(i)
            usual = before
    if not spikes:
        return None
    top = max(spikes, key=curve.values.__getitem__)
    until = curve.steps[spikes[-1]]
    is_clipped = (case.setting("max_grad_norm") or math.inf) <= usual
    change = case.gentler() if is_clipped else {"max_grad_norm": float(f"{usual:.2g}")}
    return Finding(
        "gradient_spikes",
        "info" if len(spikes) == 1 else "warn",
        "Gradient spikes",
        "policy/grad_norm",
        curve.steps[spikes[0]],
        None if spikes[-1] == len(curve) - 1 else until,
        f"The gradient norm was more than {number(factor)} times the median of the {_MEMORY} "
        f"updates before in {len(spikes)} of {len(curve)} updates; the largest is "
        f"{number(curve.values[top])} at update {curve.steps[top]}, usual is {number(usual)}.",
        (
            "Single answers that are very unlikely now and scored far from the others.",
            "Steps that are too large.",
        ),
        "Lower the learning rate: the gradient is clipped to its usual size already."
        if is_clipped
        else "Clip the gradient to its usual size.",
        case.change(change),
    )
