"""Hypothesis without deadlines: a machine that is busy elsewhere is no failure."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("workbench", deadline=None, max_examples=60, database=None)
settings.load_profile("workbench")
