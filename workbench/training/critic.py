"""The critic: values of states, off the policy's trunk or by a network of its own."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from workbench.config.lora import LoraSettings
from workbench.models import adapters
from workbench.models.heads import ScalarHead
from workbench.models.loading import LoadedModel, Trunk
from workbench.objectives.rollout import Rollout

ADAPTER = "value"


class Critic:
    """V(s_t) before each response token; 0 everywhere before it has learned.

    Attributes:
        head: The scalar head.
        is_own: Whether the head reads the states of a LoRA adapter of its own, so that its
            gradients do not reach the policy.
    """

    def __init__(
        self,
        model: LoadedModel,
        kind: Literal["shared", "own"],
        lora: LoraSettings,
        seed: int,
    ) -> None:
        self._model = model
        self._first_layer = adapters.first_layer(model, lora)
        self.is_own = kind == "own"
        self.head = ScalarHead(model.hidden_size, bias=True).to(model.device)
        self.modules: dict[str, nn.Module] = {"value_head": self.head}
        if self.is_own:
            parameters = adapters.add(model, ADAPTER, lora, seed)
            self.modules["value_adapter"] = nn.ParameterList(parameters)

    def values(self, part: Rollout, policy_states: Tensor | None) -> Tensor:  # (B, T)
        """Values of the states before each token.

        Args:
            part: The answers.
            policy_states: (B, T, H) as the policy's forward pass gave them; a critic of its own
                does not look at them.
        """
        if not self.is_own:
            assert policy_states is not None
            return self._values(policy_states)
        trunk = None if part.trunk is None else Trunk(part.trunk, self._first_layer)
        with adapters.active(self._model, ADAPTER):
            states = self._model.response_states(
                part.prompt_ids, part.prompt_mask, part.response_ids, part.is_response, trunk=trunk
            )
        return self._values(states)

    def _values(self, states: Tensor) -> Tensor:
        values: Tensor = self.head(states)
        return values
