"""Features of answers against the model's own states, one answer at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import tinymodels
from tests.close import FORWARD, assert_close
from workbench.data.chat_template import encode_answer
from workbench.data.records import Message
from workbench.models import adapters
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.rewards.features import answer_features

PROMPTS = [(Message("user", "w1 w2 w3"),), (Message("user", "w5"),), (Message("user", "w5"),)]
TEXTS = ["w4 w4 w7", "", "w1 w2 w3 w4 w5 w6"]


@pytest.mark.parametrize("kind", tinymodels.KINDS)
def test_features_are_the_last_state_and_the_mean(tmp_path, kind) -> None:
    model = tinymodels.load(tinymodels.write(tmp_path / kind, kind))
    (found,) = answer_features(model, PROMPTS, TEXTS, [model.n_layers]).swapaxes(0, 1)
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
        assert_close(row[0], states[-1], FORWARD)
        assert_close(row[1], torch.stack(states).mean(0), FORWARD)


@pytest.mark.parametrize("kind", tinymodels.KINDS)
def test_inner_layers_are_those_of_transformers(tmp_path, kind) -> None:
    model = tinymodels.load(tinymodels.write(tmp_path / kind, kind))
    inner = range(1, model.n_layers)
    found = answer_features(model, PROMPTS, TEXTS, list(inner))
    for row, prompt, text in zip(found, PROMPTS, TEXTS, strict=True):
        ids = torch.tensor([encode_answer(model.tokenizer, text, model.stop_id)])
        prompt_ids, _ = pad_prompts(model, [model.encode_prompt(prompt)])
        with torch.no_grad(), adapters.active(model, None):
            if model.is_encoder_decoder:
                start = torch.tensor([[model.model.config.decoder_start_token_id]])
                decoder_ids = torch.cat([start, ids], dim=1)
                output = model.model(
                    input_ids=prompt_ids, decoder_input_ids=decoder_ids, output_hidden_states=True
                )
                states = output.decoder_hidden_states
            else:
                both = torch.cat([prompt_ids, ids], dim=1)
                states = model.model(input_ids=both, output_hidden_states=True).hidden_states
        for i, layer in enumerate(inner):
            own = states[layer][0, -ids.shape[1] :].double()
            own = own / own.square().mean(-1, keepdim=True).sqrt()
            assert_close(row[i, 0], own[-1], FORWARD)
            assert_close(row[i, 1], own.mean(0), FORWARD)
    # Reading the layers above as well changes nothing below.
    with_last = answer_features(model, PROMPTS, TEXTS, [*inner, model.n_layers])
    assert np.array_equal(with_last[:, :-1], found)


def test_what_does_not_fit_the_context_is_cut(tmp_path) -> None:
    model = tinymodels.load(tinymodels.write(tmp_path / "gpt2", "gpt2"))
    long = " ".join(["w3"] * 2 * model.context_length)
    (row,) = answer_features(model, [(Message("user", long),)], [long], [model.n_layers])
    assert np.isfinite(row).all()
