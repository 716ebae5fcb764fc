"""Illnesses of a policy: what it says and what it earns. One function finds one."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median

from workbench.evaluation.case import Case, Curve, Finding, correlation, number, span

_FEWEST_JUDGED, _MOST_JUDGED = 4, 10
_SMALL_KL = 0.5  # nats: below, the policy has hardly moved


def kl_blow_up(case: Case) -> Finding | None:
    """The policy has left the reference."""
    curve, limit = case.curve("objective/kl"), case.limits.kl_limit
    found = curve.above(limit, case.limits.window)
    found = found or curve.above(4 * limit, 1)
    if found is None:
        return None
    return Finding(
        "kl_blow_up",
        "bad",
        f"KL above {number(limit)} nats",
        "objective/kl",
        found.since,
        found.until,
        f"KL to the reference is above {number(limit)} nats per answer "
        f"{span(found.since, found.until)}; the highest is {number(found.worst)}.",
        (
            "Steps that are too large.",
            "A KL coefficient that weighs less than the reward that can be had.",
            "A reward that pays most for answers that the reference never gives.",
        ),
        "Hold the policy nearer: a larger KL coefficient and a smaller learning rate.",
        case.change(case.nearer()),
    )


def kl_negative(case: Case) -> Finding | None:
    """A divergence below 0 is none."""
    limit, n = case.limits.kl_negative, case.limits.window
    found = case.curve("objective/kl").rolling(n).below(-limit, 1)
    if found is None:
        return None
    return Finding(
        "kl_negative",
        "bad",
        "KL below 0",
        "objective/kl",
        found.since,
        found.until,
        f"KL, as a mean over {n} updates, is below −{number(limit)} nats "
        f"{span(found.since, found.until)}; the last mean is {number(found.last)}. It cannot be "
        "negative but by chance.",
        (
            "The answers were not drawn from the policy whose log-probabilities are compared.",
            "Too few answers per update: the estimate of one batch is noise.",
        ),
        "No setting of the algorithm mends wrong numbers. A larger batch tells whether it was "
        "chance; otherwise report it.",
        case.change(case.scaled("batch_size", 2.0)),
    )


def entropy_collapse(case: Case) -> Finding | None:
    """The policy has no choice left."""
    curve, limits = case.curve("objective/entropy"), case.limits
    if len(curve) < limits.window:
        return None
    start = curve.start(limits.window)
    floor = max(limits.entropy_floor, limits.entropy_share * start)
    if start <= floor:
        return None
    found = curve.below(floor, limits.window)
    if found is None:
        return None
    bonus = case.scaled("entropy_coef", 2.0, at_least=0.01)
    return Finding(
        "entropy_collapse",
        "bad",
        "Entropy has collapsed",
        "objective/entropy",
        found.since,
        found.until,
        f"Entropy is below {number(floor)} nats per token {span(found.since, found.until)}; it "
        f"began at {number(start)} and the lowest is {number(found.worst)}.",
        (
            "One kind of answer earns so much more that all others die out.",
            "A KL coefficient that weighs too little, or steps that are too large.",
        ),
        "Hold the policy nearer to the reference, and reward entropy where the algorithm can.",
        case.change({**case.nearer(), **bonus}),
    )


def length_drift(case: Case) -> Finding | None:
    """Answers grow or shrink."""
    curve, n = case.curve("completions/mean_length"), case.limits.window
    if len(curve) < 2 * n:
        return None
    start, factor = curve.start(n), case.limits.length_factor
    rolled = curve.rolling(n)
    longer = rolled.above(factor * start, 1)
    shorter = rolled.below(start / factor, 1)
    found = max(filter(None, (longer, shorter)), key=lambda s: s.since, default=None)
    if found is None:
        return None
    grows = found.last > start
    verb = "grow" if grows else "shrink"
    change = case.heavier_kl()
    if grows and getattr(case.settings, "aggregation", "") == "answer":
        change["aggregation"] = "fixed_length"
    return Finding(
        "length_drift",
        "warn",
        f"Answers {verb}: {start:.0f} to {found.last:.0f} tokens",
        "completions/mean_length",
        found.since,
        found.until,
        f"Answers have {number(found.last)} tokens on average, {number(start)} at the beginning: "
        f"more than {number(factor)} times {'longer' if grows else 'shorter'} "
        f"{span(found.since, found.until)}.{_with_reward(case)}",
        (
            f"The reward pays for {'length' if grows else 'brevity'} rather than for what is said.",
            "A penalty for answers that are cut makes them shorter."
            if not grows
            else "The mean over an answer's tokens dilutes what a long wrong answer costs.",
        ),
        "Look at the longest and the shortest samples, and hold the policy nearer to the "
        "reference.",
        case.change(change),
    )


def _with_reward(case: Case) -> str:
    """How length goes together with reward, over the updates."""
    lengths, scores = case.curve("completions/mean_length"), case.curve("objective/scores")
    if lengths.steps != scores.steps or len(lengths) < _FEWEST_JUDGED:
        return ""
    r = correlation(lengths.values, scores.values)
    return f" Over the updates length and reward correlate with r = {number(r)}."


def repetition(case: Case) -> Finding | None:
    """Answers say the same again and again."""
    curve, limit = case.curve("completions/repetition"), case.limits.repetition_limit
    found = curve.above(limit, case.limits.window)
    if found is None:
        return None
    return Finding(
        "repetition",
        "warn",
        "Answers repeat themselves",
        "completions/repetition",
        found.since,
        found.until,
        f"More than {number(limit)} of the 4-token sequences stand in their answer already "
        f"{span(found.since, found.until)}; the highest share is {number(found.worst)}, and the "
        f"run began with {number(curve.start(case.limits.window))}.",
        (
            "The reward counts what can be said twice.",
            "A low temperature, or a collapse of the entropy.",
            "Answers go on after they have said everything: they do not end by themselves.",
        ),
        "Hold the policy nearer to the reference; sample at temperature 1.",
        case.change({**case.nearer(), **_warmer(case)}),
    )


def _warmer(case: Case) -> dict[str, object]:
    temperature = case.setting("temperature")
    return {"temperature": 1.0} if temperature is not None and temperature < 1.0 else {}


def eos_loss(case: Case) -> Finding | None:
    """Answers do not end any more, or never did."""
    curve, limits = case.curve("completions/eos_rate"), case.limits
    found = curve.below(limits.eos_floor, limits.window)
    if found is None:
        return None
    start = curve.start(limits.window)
    is_lost = start >= limits.eos_floor
    penalty = {**case.scaled("missing_eos_penalty", 2.0, at_least=1.0), **case.heavier_kl()}
    return Finding(
        "eos_loss",
        "bad" if is_lost else "warn",
        "Answers do not end any more" if is_lost else "Answers are cut",
        "completions/eos_rate",
        found.since,
        found.until,
        f"Less than {limits.eos_floor:.0%} of the answers end by themselves "
        f"{span(found.since, found.until)}; {start:.0%} did at the beginning, "
        f"{found.last:.0%} do now.",
        (
            "The reward pays for going on.",
            "A penalty for no end that weighs less than what going on earns.",
        )
        if is_lost
        else ("The answer length is too short for this model and these prompts.",),
        "Raise the penalty for answers that are cut."
        if is_lost
        else "Let answers be longer: what is cut can hardly be judged.",
        case.change(penalty if is_lost else case.scaled("max_new_tokens", 2.0)),
    )


def reward_hacking(case: Case) -> Finding | None:
    """The reward rises while a judge that nothing learns from falls.

    Both are compared between the two measurements where the judge was best and the last two. The
    unit is the judge's median change between neighbours, so that its scale does not matter.
    """
    judge, scores = case.curve("judge/score").blocks(_MOST_JUDGED), case.curve("objective/scores")
    if len(judge) < _FEWEST_JUDGED or len(scores) < 2:
        return None
    pairs = [judge.mean(i, i + 2) for i in range(len(judge) - 1)]
    best = max(range(len(pairs)), key=pairs.__getitem__)
    usual = median(abs(b - a) for a, b in pairwise(judge.values))
    fall = pairs[best] - pairs[-1]
    then, now = (_over(scores, judge.steps[i], judge.steps[i + 1]) for i in (best, -2))
    if not usual or fall < case.limits.judge_fall * usual or now <= then:
        return None
    return Finding(
        "reward_hacking",
        "bad",
        "Reward rises, judge falls",
        "objective/scores",
        judge.steps[best + 1],
        None,
        f"Since update {judge.steps[best + 1]} the reward rose from {number(then)} to "
        f"{number(now)} while the held-back judge fell from {number(pairs[best])} to "
        f"{number(pairs[-1])}: {number(fall / usual)} of its usual changes, at least "
        f"{number(case.limits.judge_fall)} are told.",
        (
            "The policy has found what the reward model likes and people do not.",
            "Answers are far from those that the reward model was trained on.",
        ),
        f"Take the checkpoint of about update {judge.steps[best + 1]}; rank fresh answers of this "
        "policy and train the reward again; hold the next run nearer to the reference.",
        case.change(case.nearer()),
    )


def _over(curve: Curve, first: int, last: int) -> float:
    """The mean of a curve over some steps, at least one point of it."""
    begin = min(curve.at(first), len(curve) - 1)
    return curve.mean(begin, max(begin + 1, curve.at(last + 1)))


def no_learning(case: Case) -> Finding | None:
    """The reward does not rise."""
    curve, limits = case.curve("objective/scores"), case.limits
    if len(curve) < limits.patience:
        return None
    third = len(curve) // 3
    first, last = curve.mean(0, third), curve.mean(len(curve) - third, len(curve))
    error = math.sqrt(
        (_variance(curve.values[:third], first) + _variance(curve.values[-third:], last)) / third
    )
    gain = last - first
    if gain > limits.learning_gain * error and gain > 0:
        return None
    kl = case.curve("objective/kl")
    moved = kl.mean(len(kl) - third, len(kl)) if len(kl) >= third else 0.0
    is_still = moved < _SMALL_KL
    equal = case.curve("groups/equal_share")
    causes = [
        "Steps that are too small: the policy has hardly moved."
        if is_still
        else "The policy moves, but not to where the reward is: the advantages are noise.",
        "Scores that hardly differ between answers.",
        "A KL coefficient that weighs more than the reward.",
    ]
    if len(equal) and equal.start(len(equal)) > 0.5:
        causes.insert(0, "Most groups of answers score all the same and teach nothing.")
    change = (
        case.scaled("learning_rate", 3.0, at_least=1e-5)
        if is_still
        else case.scaled("batch_size", 2.0)
    )
    return Finding(
        "no_learning",
        "warn",
        "Reward does not rise",
        "objective/scores",
        curve.steps[0],
        None,
        f"Reward is {number(last)} in the last third of {len(curve)} updates and was "
        f"{number(first)} in the first: {number(gain)} more, which is not above "
        f"{number(limits.learning_gain)} standard errors of {number(error)}. KL is "
        f"{number(moved)} nats.",
        tuple(causes),
        "Larger steps." if is_still else "More answers per update, so that less of it is luck.",
        case.change(change),
    )


def _variance(values: list[float], mean: float) -> float:
    return sum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1)
