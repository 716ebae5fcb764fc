"""Settings of a LoRA adapter (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from workbench.config.spec import LORA, Settings, hyper

_GROUP = LORA


class LoraSettings(Settings):
    """Size and place of the trained low-rank matrices."""

    r: int = hyper(
        16, "Rank", "Rank of the update. 8 to 32 is usual.", symbol="r", group=_GROUP, ge=1, le=512
    )
    alpha: int = hyper(
        32,
        "Scale",
        "The update is multiplied by scale / rank. Twice the rank is usual.",
        symbol="α",
        group=_GROUP,
        ge=1,
        le=1024,
    )
    target_modules: str = hyper(
        "all-linear",
        "Modules",
        "Which layers are adapted: all-linear, or names separated by commas (q_proj,v_proj).",
        group=_GROUP,
    )
    last_layers: int = hyper(
        0,
        "Last layers",
        "Adapt only this many layers at the end; 0 means all. Fewer is faster, since gradients "
        "stop at the first adapted layer.",
        group=_GROUP,
        ge=0,
        le=1000,
    )
