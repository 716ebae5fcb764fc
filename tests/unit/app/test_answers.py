import pytest

from tests import tinymodels
from tests.unit.app.conftest import add_prompts, end, events_of
from workbench.app import answers, library
from workbench.config.generation import SamplingSettings
from workbench.errors import UserError
from workbench.events import Answer, Warned

SETTINGS = SamplingSettings(n_answers=2, max_new_tokens=8, batch_size=4, seed=3)


def texts(ws) -> dict[tuple[int, int], str]:
    found = {}
    for prompt in answers.all_prompts(ws, "train"):
        for k, answer in enumerate(ws.experiment.completions.for_prompt(prompt.id)):
            found[prompt.id, k] = answer.text
    return found


def test_every_training_prompt_is_answered_with_provenance(ready):
    events = events_of(answers.generate(ready, SETTINGS))
    told = [e.completion_id for e in events if isinstance(e, Answer)]
    assert len(told) == ready.experiment.completions.count() == 16
    for prompt in answers.all_prompts(ready, "train"):
        one, two = ready.experiment.completions.for_prompt(prompt.id)
        assert one.seed != two.seed
        assert one.model_digest == ready.model_info().digest
        assert one.sampling["max_new_tokens"] == 8
        assert 0 < len(one.token_ids) <= 8
        assert one.finish == ("stop" if one.token_ids[-1] == tinymodels.EOS else "length")
    for prompt in answers.all_prompts(ready, "heldout"):
        assert ready.experiment.completions.for_prompt(prompt.id) == []
    assert events[-1].result == {"n_answers": 16, "n_comparisons": 8}


def test_a_stopped_generation_goes_on_to_the_very_same_answers(ready, open_workspace):
    job = answers.generate(ready, SETTINGS)
    for event in job.follow(60):
        if isinstance(event, Answer):
            job.token.request_stop()
    assert job.outcome == "stopped"
    n_before = ready.experiment.completions.count()
    assert 0 < n_before < 16
    assert end(answers.generate(ready, SETTINGS)).result["n_answers"] == 16 - n_before

    other = open_workspace("other")
    library.select_model(other, str(ready.model_info().path))
    add_prompts(other, [f"w{i} w{i + 1}" for i in range(12)])
    assert end(answers.generate(other, SETTINGS)).outcome == "done"
    assert {k: sorted(v) for k, v in _by_seed(ready).items()} == {
        k: sorted(v) for k, v in _by_seed(other).items()
    }


def _by_seed(ws) -> dict[int, list[tuple[int, str]]]:
    return {
        prompt.id: [(a.seed, a.text) for a in ws.experiment.completions.for_prompt(prompt.id)]
        for prompt in answers.all_prompts(ws, "train")
    }


def test_other_settings_make_other_answers_beside_them(ready):
    end(answers.generate(ready, SETTINGS))
    end(answers.generate(ready, SETTINGS.model_copy(update={"seed": 4})))
    assert ready.experiment.completions.count() == 32
    end(answers.generate(ready, SETTINGS.model_copy(update={"n_answers": 3})))
    assert ready.experiment.completions.count() == 40


def test_a_prompt_longer_than_the_context_is_skipped_and_told(ready, model_folder):
    room = ready.model_info().context_length
    (long,) = add_prompts(ready, [" ".join(["w1"] * room)])
    (short,) = add_prompts(ready, ["w3 w3"])
    events = events_of(answers.generate(ready, SETTINGS, [long, short]))
    assert next(e.message for e in events if isinstance(e, Warned)).startswith("1 of 2 prompts")
    assert len(ready.experiment.completions.for_prompt(short)) == 2
    assert ready.experiment.completions.for_prompt(long) == []


def test_only_long_prompts_fail_with_a_sentence(ready):
    (long,) = add_prompts(ready, [" ".join(["w1"] * ready.model_info().context_length)])
    finished = end(answers.generate(ready, SETTINGS, [long]))
    assert finished.outcome == "failed"
    assert "No prompt fits" in finished.error.message
    assert not finished.error.traceback


def test_no_prompts_is_a_sentence(ws, model_folder):
    library.select_model(ws, str(model_folder))
    with pytest.raises(UserError, match="no prompts"):
        answers.generate(ws, SETTINGS)


def test_temperature_zero_is_warned_of(ready):
    settings = SETTINGS.model_copy(update={"temperature": 0.0})
    events = events_of(answers.generate(ready, settings))
    assert any("temperature 0" in e.message for e in events if isinstance(e, Warned))


def test_seeds_of_answers_differ():
    seeds = {answers.answer_seed(s, p, k) for s in range(5) for p in range(20) for k in range(5)}
    assert len(seeds) == 500
    assert all(0 <= seed < 2**63 for seed in seeds)
