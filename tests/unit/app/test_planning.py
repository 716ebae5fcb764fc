"""What is known of a run before it starts: tokens, memory, and everything that hinders it."""

import json

import pytest

from tests import tinymodels
from tests.tinymodels import KINDS
from tests.unit.app.conftest import add_prompts
from workbench.app import library, planning, runs
from workbench.config.algorithms import ALGORITHMS, find
from workbench.config.dpo import DPOSettings
from workbench.config.ppo import PPOSettings
from workbench.errors import UserError
from workbench.models import memory_plan

PPO = ALGORITHMS["ppo"]
SETTINGS = PPOSettings(batch_size=8, max_new_tokens=8)


def measured(ws, how=PPO, settings=SETTINGS):
    return planning.measure(ws, how, settings)


def where(problems):
    return [problem.where for problem in problems]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_counted_as_the_loaded_model_counts_them(ws, kind, tmp_path):
    library.select_model(ws, str(tinymodels.write(tmp_path / kind, kind)))
    texts = ["w1", "w2 w3 w4", "w5 w6 w7 w8 w9 w10"]
    add_prompts(ws, texts)
    model = tinymodels.load(tmp_path / kind)
    prompts = [p for p in ws.experiment.prompts.list(limit=9) if p.split == "train"]
    wanted = sorted((len(model.encode_prompt(p.messages)) for p in prompts), reverse=True)
    assert list(measured(ws).lengths) == wanted
    assert len(set(wanted)) > 1


def test_pairs_are_counted_with_their_answers(judged):
    dpo = find("dpo")
    longest = measured(judged, dpo, DPOSettings()).lengths[0]
    alone = measured(judged).lengths[0]
    pairs = judged.experiment.judgements.preferences()
    words = max(len(text.split()) for p in pairs for text in (p.chosen, p.rejected))
    assert alone < longest <= alone + words + 1


def test_the_plan_is_that_of_the_model_for_the_longest_prompt_that_stays(ready):
    found = measured(ready)
    plan = planning.plan(ready, PPO, SETTINGS, found)
    info = ready.model_info()
    wanted = memory_plan.plan(
        memory_plan.facts(info.path),
        "ppo",
        SETTINGS,
        device="cpu",
        dtype="float32",
        longest_prompt=found.lengths[0],
    )
    assert plan.memory == wanted
    assert plan.skipped == 0
    assert plan.is_enough
    # Two tokens of room: longer prompts are left out by the run, so they are not planned for.
    cut = SETTINGS.model_copy(update={"max_new_tokens": info.context_length - 2})
    assert planning.plan(ready, PPO, cut, found).skipped == len(found.lengths)


def test_a_program_with_a_window_is_planned_with_what_it_takes(ready):
    found = measured(ready)
    plain = planning.plan(ready, PPO, SETTINGS, found).memory
    ready.program_bytes = plain.parts["runtime"] + 1000
    larger = planning.plan(ready, PPO, SETTINGS, found).memory
    assert larger.peak_bytes == plain.peak_bytes + 1000
    assert sum(larger.parts.values()) == larger.peak_bytes
    ready.program_bytes = 1
    assert planning.plan(ready, PPO, SETTINGS, found).memory == plain


def test_where_memory_is_short_the_fit_changes_nothing_of_the_result(ready, monkeypatch):
    found = measured(ready)
    large = PPOSettings(batch_size=4096, micro_batch_tokens=1_000_000, max_new_tokens=8)
    needed = planning.plan(ready, PPO, large, found).memory.peak_bytes
    before = planning.plan(ready, PPO, large, found).room
    monkeypatch.setattr(
        "workbench.app.memory.free_ram_bytes", lambda: int(needed * 0.98) - before.used_bytes
    )
    assert not planning.plan(ready, PPO, large, found).is_enough
    fitted = planning.fit(ready, PPO, large, found)
    assert fitted.fits
    assert planning.plan(ready, PPO, fitted.settings, found).is_enough
    free = {"micro_batch_tokens", "checkpoint_activations"}
    assert fitted.settings.model_dump(exclude=free) == large.model_dump(exclude=free)


def test_all_that_hinders_a_run_is_found_at_once(ws):
    assert where(planning.problems(ws, PPO, SETTINGS)) == ["model", "reward", "data"]


def test_a_ready_experiment_has_no_problem(judged):
    assert planning.problems(judged, find("dpo"), DPOSettings(), measured(judged)) == []


def test_an_answer_that_leaves_no_room_for_any_prompt_is_told_at_its_setting(ready):
    found = measured(ready)
    context = ready.model_info().context_length
    fits = SETTINGS.model_copy(update={"max_new_tokens": context - found.lengths[-1]})
    too_long = SETTINGS.model_copy(update={"max_new_tokens": context - found.lengths[-1] + 1})
    assert "max_new_tokens" not in where(planning.problems(ready, PPO, fits, found))
    (problem,) = [
        p for p in planning.problems(ready, PPO, too_long, found) if p.where == "max_new_tokens"
    ]
    assert f"At most {context - found.lengths[-1]} would do" in problem.message


def test_texts_that_are_all_too_long_are_told_at_their_setting(judged):
    settings = DPOSettings(max_length=8)
    found = planning.Measured("", (30, 20, 9), "", None)
    assert where(planning.problems(judged, find("dpo"), settings, found)) == ["max_length"]
    found = planning.Measured("", (30, 20, 8), "", None)
    assert planning.problems(judged, find("dpo"), settings, found) == []


def change(path, **values):
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | values))


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_a_stop_token_that_the_model_cannot_write_is_told_before_and_at_loading(ws, tmp_path, name):
    folder = tinymodels.write(tmp_path / "model", "llama")
    # Everything that says which token ends an answer names one that is out of reach.
    for file in ("config.json", "generation_config.json"):
        change(folder / file, eos_token_id=500 if file == name else None)
    change(folder / "tokenizer_config.json", eos_token=None)
    library.select_model(ws, str(folder))
    add_prompts(ws, ["w1"])
    problem = measured(ws).problem
    assert "the number 500" in problem
    assert "no answer would ever end" in problem
    assert "model" in where(planning.problems(ws, PPO, SETTINGS, measured(ws)))
    with pytest.raises(UserError, match="no answer would ever end"):
        tinymodels.load(folder)


def test_a_tokenizer_of_another_model_is_told_before_and_at_loading(ws, tmp_path, tiny_model_path):
    folder = tinymodels.write(tmp_path / "model", "llama")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((tiny_model_path / file).read_bytes())
    library.select_model(ws, str(folder))
    add_prompts(ws, ["w1"])
    assert "do not belong together" in measured(ws).problem
    with pytest.raises(UserError, match="do not belong together"):
        tinymodels.load(folder)


def test_a_run_that_is_hindered_leaves_no_record(ws, model_folder):
    library.select_model(ws, str(model_folder))
    with pytest.raises(UserError, match=r"no reward model.*no training prompts"):
        runs.train(ws, "ppo", SETTINGS)
    assert runs.runs(ws) == []
