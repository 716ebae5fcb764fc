from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Environment

from workbench.app.reward_export import end_at_the_answer

TURNS = [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Fine. "}]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        (
            CHATML,
            "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\nFine. <|im_end|>",
        ),
        ("{{ bos_token }}{% for m in messages %}{{ m.content }}</s>{% endfor %}\n", None),
    ],
    ids=["a line break after each turn", "none in the template, one in the file"],
)
def test_nothing_stands_after_the_answers_stop_token(
    template: str, wanted: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "chat_template.jinja"
    path.write_text(template, encoding="utf-8")
    end_at_the_answer(path)
    # As transformers renders templates.
    made = Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False).from_string(
        path.read_text(encoding="utf-8")
    )
    said = made.render(messages=TURNS, bos_token="<s>")
    assert said == (wanted or "<s>How are you?</s>Fine. </s>")
    end_at_the_answer(tmp_path / "none.jinja")
    assert not (tmp_path / "none.jinja").exists()
