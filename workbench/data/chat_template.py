"""From messages to token ids, with a plain template for models that bring none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from workbench.data.records import Message

# Used when a tokenizer has no chat template: roles in plain words, as base models know dialogues.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].capitalize() }}: "
    "{{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that this program needs."""

    chat_template: str | None

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any: ...  # noqa: D102

    def encode(self, text: str, **kwargs: Any) -> list[int]: ...  # noqa: D102

    def decode(self, token_ids: Sequence[int], **kwargs: Any) -> str: ...  # noqa: D102


def render_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> str:
    """The exact text that the model sees before its answer."""
    conversation = [{"role": m.role, "content": m.content} for m in messages]
    return str(
        tokenizer.apply_chat_template(
            conversation,
            chat_template=tokenizer.chat_template or PLAIN_TEMPLATE,
            tokenize=False,
            add_generation_prompt=True,
        )
    )


def encode_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Token ids of a prompt up to where the answer starts, specials as the template has them."""
    text = render_prompt(tokenizer, messages)
    return tokenizer.encode(text, add_special_tokens=tokenizer.chat_template is None)


def encode_source(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Token ids that an encoder reads: a lone message as it stands, dialogues by the template.

    Models of the T5 kind were trained on bare instructions. Their tokenizers close a text with an
    end token by themselves, and that is kept.
    """
    if len(messages) == 1 and tokenizer.chat_template is None:
        return tokenizer.encode(messages[0].content, add_special_tokens=True)
    return encode_prompt(tokenizer, messages)


def encode_answer(tokenizer: Tokenizer, text: str, stop_id: int) -> list[int]:
    """Token ids of an answer with the stop token at its end."""
    return [*tokenizer.encode(text, add_special_tokens=False), stop_id]


def pieces(tokenizer: Tokenizer, token_ids: Sequence[int]) -> list[str]:
    """What each generated token adds to the text, special tokens as they are written.

    A character may take several tokens: all but the last of them add nothing yet.
    """
    ids, found = list(token_ids), list[str]()

    def text(start: int, end: int) -> str:
        return tokenizer.decode(ids[start:end], skip_special_tokens=False)

    # A token's text depends on what stands before it (SentencePiece drops a leading space), and
    # decoding from the start each time would be quadratic: the tokens of the last text are enough.
    start, read = 0, 0
    for end in range(1, len(ids) + 1):
        before, after = text(start, read), text(start, end)
        if end < len(ids) and (after.endswith("\ufffd") or len(after) <= len(before)):
            found.append("")
            continue
        found.append(after[len(before) :])
        start, read = read, end
    return found


def decode_answer(tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
    """Text of generated ids without special tokens."""
    return tokenizer.decode(list(token_ids), skip_special_tokens=True).strip()
