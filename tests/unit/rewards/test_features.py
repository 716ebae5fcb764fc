"""Features of answers against the model's own states, one answer at a time."""

from __future__ import annotations

import pytest
import torch

from tests import tinymodels
from tests.close import FORWARD, assert_close
from workbench.data.chat_template import encode_answer
from workbench.data.records import Message
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.rewards.features import answer_features

PROMPTS = [(Message("user", "w1 w2 w3"),), (Message("user", "w5"),), (Message("user", "w5"),)]
TEXTS = ["w4 w4 w7", "", "w1 w2 w3 w4 w5 w6"]


@pytest.mark.parametrize("kind", tinymodels.KINDS)
def test_features_are_the_last_state_and_the_mean(tmp_path, kind) -> None:
    model = tinymodels.load(tinymodels.write(tmp_path / kind, kind))
    found = answer_features(model, PROMPTS, TEXTS)
    for row, prompt, text in zip(found, PROMPTS, TEXTS, strict=True):
        ids = encode_answer(model.tokenizer, text, model.stop_id)
        prompt_ids, prompt_mask = pad_prompts(model, [model.encode_prompt(prompt)])
        answer_ids, is_answer = pad_answers(model, [ids])
        states = []
        with torch.no_grad():
            # The state at the end of each beginning of the answer, asked for one by one.
            for n in range(1, len(ids) + 1):
                states.append(
                    model.answer_states(
                        prompt_ids, prompt_mask, answer_ids[:, :n], is_answer[:, :n]
                    )[0]
                )
        expected = torch.cat([states[-1], torch.stack(states).mean(0)])
        assert_close(row, expected, FORWARD)


def test_what_does_not_fit_the_context_is_cut(tmp_path) -> None:
    model = tinymodels.load(tinymodels.write(tmp_path / "gpt2", "gpt2"))
    long = " ".join(["w3"] * 2 * model.context_length)
    (row,) = answer_features(model, [(Message("user", long),)], [long])
    assert torch.isfinite(torch.from_numpy(row)).all()
