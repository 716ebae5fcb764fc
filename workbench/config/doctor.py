"""From where on the policy doctor calls a run ill: each threshold once."""

from __future__ import annotations

from workbench.config.spec import Settings, hyper

POLICY, STEPS, CRITIC = "The policy", "The steps", "The value head"


class DoctorSettings(Settings):
    """Thresholds of all detectors. An illness is told when it lasts, not at its first sign."""

    window: int = hyper(
        5,
        "Lasts for",
        "So many updates in a row must be past a threshold; means are taken over as many.",
        unit="updates",
        group="General",
        ge=1,
        le=1000,
    )
    warmup: int = hyper(
        10,
        "Value head learns for",
        "The value head is not judged before; it starts at 0 for every token.",
        unit="updates",
        group="General",
        ge=0,
        le=10_000,
    )
    kl_limit: float = hyper(
        15.0,
        "KL above",
        "A blow-up: text usually degrades from here on. Four times this is told at once.",
        unit="nats",
        group=POLICY,
        gt=0.0,
        le=10_000.0,
    )
    kl_negative: float = hyper(
        0.5,
        "KL below minus",
        "KL is never negative but by chance: a lasting one means wrong numbers.",
        unit="nats",
        group=POLICY,
        gt=0.0,
        le=100.0,
    )
    entropy_floor: float = hyper(
        0.3,
        "Entropy below",
        "A collapse: the policy hardly has a choice left.",
        unit="nats",
        group=POLICY,
        ge=0.0,
        le=10.0,
    )
    entropy_share: float = hyper(
        0.25,
        "Entropy share below",
        "A collapse too: less than this part of what the run began with.",
        group=POLICY,
        ge=0.0,
        le=1.0,
    )
    length_factor: float = hyper(
        1.5,
        "Length changes by",
        "Answers that have become this many times longer, or shorter, than at the beginning.",
        group=POLICY,
        gt=1.0,
        le=100.0,
    )
    repetition_limit: float = hyper(
        0.2,
        "Repetition above",
        "Share of repeated 4-token sequences. Human text is below 0.05.",
        group=POLICY,
        gt=0.0,
        le=1.0,
    )
    eos_floor: float = hyper(
        0.3,
        "Ended by itself below",
        "Share of answers that end with a stop token; the others are cut.",
        group=POLICY,
        ge=0.0,
        le=1.0,
    )
    judge_fall: float = hyper(
        3.0,
        "Judge falls by",
        "Reward hacking: the held-back judge has lost this many of its usual changes from one "
        "measurement to the next since its best, while the reward rose. At least four "
        "measurements; many are put together into ten.",
        group=POLICY,
        gt=0.0,
        le=100.0,
    )
    patience: int = hyper(
        20,
        "No learning after",
        "The reward is not judged before.",
        unit="updates",
        group=POLICY,
        ge=6,
        le=100_000,
    )
    learning_gain: float = hyper(
        2.0,
        "No learning below",
        "By how many standard errors the mean reward of the last third must lie above that of the "
        "first.",
        group=POLICY,
        ge=0.0,
        le=100.0,
    )
    clip_limit: float = hyper(
        0.3,
        "Clip fraction above",
        "Share of tokens whose step was clipped.",
        group=STEPS,
        gt=0.0,
        le=1.0,
    )
    step_kl_limit: float = hyper(
        0.1,
        "Step KL above",
        "How far one update may move the policy.",
        unit="nats",
        group=STEPS,
        gt=0.0,
        le=100.0,
    )
    ratio_limit: float = hyper(
        0.05,
        "First ratio off by",
        "|log ratio| before the first step of an update, which is 0 up to rounding. One update is "
        "enough.",
        group=STEPS,
        gt=0.0,
        le=10.0,
    )
    grad_spike: float = hyper(
        10.0,
        "Gradient spikes above",
        "Times the median norm of the 20 updates before.",
        group=STEPS,
        gt=1.0,
        le=10_000.0,
    )
    explained_floor: float = hyper(
        -0.2,
        "Explained variance below",
        "The value head is worse than a constant: it adds noise to the advantages.",
        group=CRITIC,
        ge=-100.0,
        le=1.0,
    )
    value_spread_floor: float = hyper(
        1e-3,
        "Spread of values below",
        "A dead value head: it says the same of every token.",
        group=CRITIC,
        ge=0.0,
        le=100.0,
    )
