"""What each token adds to a text."""

import pytest
from transformers import AutoTokenizer

from workbench.data.chat_template import pieces
from workbench.places import resource_dir

TEXT = "A 天空 is 蓝, naïve 🙂 end\n\n  x"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(resource_dir() / "tiny")


def test_pieces_are_the_text(tokenizer):
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    found = pieces(tokenizer, [*ids, tokenizer.eos_token_id])
    assert len(found) == len(ids) + 1
    assert "".join(found[:-1]) == tokenizer.decode(ids)
    assert found[-1] == tokenizer.eos_token
    # 🙂 is four bytes: it appears at its last token, and nothing is shown half.
    assert any("🙂" in piece for piece in found)
    assert not any("\ufffd" in piece for piece in found)
    assert "" in found


def test_a_character_that_was_cut_is_shown_as_such_at_the_end(tokenizer):
    ids = tokenizer.encode("x🙂", add_special_tokens=False)[:-1]
    found = pieces(tokenizer, ids)
    assert "".join(found) == tokenizer.decode(ids)
    assert found[-1].endswith("\ufffd")
    assert pieces(tokenizer, []) == []
