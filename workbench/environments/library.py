"""Gymnasium, which the extra `env` brings, or a sentence that says so."""

from __future__ import annotations

from workbench.errors import EnvironmentProblem

try:
    import gymnasium
    from gymnasium import spaces
except ModuleNotFoundError as error:
    raise EnvironmentProblem(
        "The environments need the library gymnasium, which is not installed.",
        "Install it with: pip install gymnasium (or the extra env of this program).",
    ) from error

__all__ = ["gymnasium", "spaces"]
