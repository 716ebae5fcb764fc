"""Who speaks with the model: users for dialogues of several turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.data.chat_template import decode_answer
from workbench.data.records import Message
from workbench.models import adapters
from workbench.models.decoding import collect, sample
from workbench.models.loading import LoadedModel

User = Callable[[Sequence[Message], int, int], str | None]
"""What the user says to a dialogue that ends with the `turn`th answer (from 1), under a seed.

None when there is nothing more to say.
"""


class ScriptedUser:
    """Says the same things in the same order, whatever was answered."""

    def __init__(self, script: Sequence[str]) -> None:
        self._script = tuple(script)

    def __call__(self, messages: Sequence[Message], turn: int, seed: int) -> str | None:  # noqa: ARG002
        """The line of this turn, None after the last."""
        return self._script[turn - 1] if turn <= len(self._script) else None


class ModelUser:
    """A language model that plays the user; it ends the dialogue by saying nothing.

    It is shown the dialogue as a transcript inside one prompt: with the roles exchanged a
    dialogue would begin with the assistant, which many chat templates refuse.

    Args:
        model: The loaded model.
        adapter: The adapter that it speaks with, None for the base.
        max_new_tokens: What it says is cut after this many tokens.
        temperature: 0 says the likeliest.
    """

    def __init__(
        self,
        model: LoadedModel,
        adapter: str | None = None,
        max_new_tokens: int = 64,
        temperature: float = 1.0,
    ) -> None:
        self._model = model
        self._adapter = adapter
        self._max_new_tokens = max_new_tokens
        self._temperature = temperature

    def __call__(self, messages: Sequence[Message], turn: int, seed: int) -> str | None:  # noqa: ARG002
        """What the model would say as the user."""
        names = {"user": "Person", "assistant": "Assistant", "system": "Instruction"}
        transcript = "\n".join(f"{names[m.role]}: {m.content}" for m in messages)
        request = f"{transcript}\n\nWrite only what the person says next, in one or two sentences."
        model = self._model
        ids = model.encode_prompt([Message("user", request)])
        with adapters.active(model, self._adapter):
            samples = collect(
                sample(
                    model,
                    [ids],
                    [seed],
                    max_new_tokens=self._max_new_tokens,
                    temperature=self._temperature,
                    check=lambda: None,
                )
            )
        text = decode_answer(model.tokenizer, samples.response_ids[0].tolist())
        return text.removeprefix("Person:").strip() or None
