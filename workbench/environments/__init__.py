"""A language model and a reward as Gymnasium environments, for any reinforcement learning library.

`tokens` has one token per step, `chat` one answer per step. Nothing is registered by importing:
call `register` once, then `gymnasium.make(TOKEN_ENV, model=…, prompts=…, reward=…)`.
"""

from __future__ import annotations

TOKEN_ENV = "RLHFWorkbench/Token-v0"
CHAT_ENV = "RLHFWorkbench/Chat-v0"

_ENTRY_POINTS = {
    TOKEN_ENV: "workbench.environments.tokens:TokenEnv",
    CHAT_ENV: "workbench.environments.chat:ChatEnv",
}


def register() -> None:
    """Tell Gymnasium the ids of the environments; doing it again changes nothing.

    Raises:
        EnvironmentProblem: Gymnasium is not installed.
    """
    from workbench.environments.library import gymnasium

    for name, entry_point in _ENTRY_POINTS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point)
