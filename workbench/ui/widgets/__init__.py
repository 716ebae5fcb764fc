"""The few widgets that every page is made of."""

from workbench.ui.widgets.basics import (
    Badge,
    ElidedLabel,
    Keycap,
    Meter,
    button,
    label,
    line,
)
from workbench.ui.widgets.blocks import Banner, Card, EmptyState, PageHeader

__all__ = [
    "Badge",
    "Banner",
    "Card",
    "ElidedLabel",
    "EmptyState",
    "Keycap",
    "Meter",
    "PageHeader",
    "button",
    "label",
    "line",
]
