import pytest

from tests.unit.app.conftest import WAIT
from workbench.app import tour
from workbench.config.tour import TINY
from workbench.errors import Cancelled, UserError
from workbench.events import Finished


def settings(model_folder, **changes):
    small = TINY.model_copy(
        update={
            "model": str(model_folder),
            "generation": TINY.generation.model_copy(update={"max_new_tokens": 6}),
            "ppo": TINY.ppo.model_copy(update={"updates": 1, "max_new_tokens": 6}),
            "evaluation": TINY.evaluation.model_copy(
                update={"max_new_tokens": 6, "answers_per_prompt": 1}
            ),
        }
    )
    return small.model_copy(update=changes)


def test_the_jobs_come_one_after_the_other(ws, model_folder):
    kinds = []
    steps = tour.steps(ws, settings(model_folder))
    while True:
        try:
            job = next(steps)
        except StopIteration as end:
            result = end.value
            break
        kinds.append(job.kind)
        assert ws.runner.queued == [] or ws.runner.queued == [job]
        assert job.wait(WAIT)
    assert kinds[:5] == ["generate", "simulate", "reward", "policy", "evaluation"]
    assert kinds[5:] == ["export", "export"]  # the preferences and the adapter
    assert result["seconds"].keys() == {
        "generate",
        "judge",
        "reward",
        "policy",
        "evaluate",
        "export",
    }
    assert ws.overview().next_step == "done"
    assert result["n_prompts"] == ws.experiment.prompts.count(split="heldout")


def test_a_second_tour_in_the_same_experiment_works(ws, model_folder):
    first = list(tour.tour(ws, settings(model_folder)))
    second = list(tour.tour(ws, settings(model_folder)))
    assert sum(isinstance(e, Finished) for e in first) == 7
    assert sum(isinstance(e, Finished) for e in second) == 6  # nothing is left to judge
    assert [r.name for r in ws.experiment.runs.list("policy")] == ["PPO 1", "PPO 2"]


def test_a_failed_phase_ends_the_tour_with_its_sentence(ws, model_folder):
    steps = tour.steps(ws, settings(model_folder))
    for job in steps:
        assert job.wait(WAIT)
        if job.kind == "reward":
            folder = ws.artifact_folder(job.run_id, "reward_model")
            (folder / "adapter_config.json").write_text("{}")
            break
    ppo = next(steps)
    assert ppo.wait(WAIT)
    with pytest.raises(tour.TourFailed, match="is damaged"):
        next(steps)


def test_a_stopped_phase_ends_the_tour(ws, model_folder):
    steps = tour.steps(ws, settings(model_folder))
    job = next(steps)
    job.token.request_stop()
    assert job.wait(WAIT)
    with pytest.raises(Cancelled):
        next(steps)
    assert ws.runner.queued == []


def test_an_unknown_group_of_prompts_is_a_sentence(ws, model_folder):
    with pytest.raises(UserError):
        next(tour.steps(ws, settings(model_folder, prompt_group="no-such-group")))
