import logging
import sqlite3

import pytest

from tests.unit.app.conftest import add_prompts, end
from workbench.app import answers, library
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config import algorithms
from workbench.config.generation import SamplingSettings
from workbench.errors import EnvironmentProblem, UserError
from workbench.events import Progress


def test_a_new_experiment_asks_for_a_model_first(ws):
    overview = ws.overview()
    assert overview.next_step == "model"
    assert (overview.n_prompts, overview.n_judged) == (0, 0)


def test_the_next_step_follows_what_is_there(ws, model_folder):
    library.select_model(ws, str(model_folder))
    assert ws.overview().next_step == "prompts"
    add_prompts(ws, ["w1", "w2"])
    assert ws.overview().next_step == "answers"
    end(answers.generate(ws, SamplingSettings(max_new_tokens=4)))
    assert ws.overview().next_step == "rank"


def test_runs_that_a_crash_left_behind_are_interrupted_at_open(open_workspace):
    ws = open_workspace()
    run_id = ws.new_run("policy", algorithms.find("ppo"), {}, {})
    ws.experiment.runs.set_status(run_id, "running")
    ws.close()
    assert open_workspace().run(run_id).status == "interrupted"


def test_a_second_opener_is_told_and_may_read(open_workspace, tmp_path):
    ws = open_workspace()
    run_id = ws.new_run("policy", algorithms.find("ppo"), {}, {})
    ws.experiment.runs.set_status(run_id, "running")
    with pytest.raises(EnvironmentProblem, match=r"(?i)read-only"):
        Workspace.open(ws.path)
    reading = open_workspace(is_read_only=True)
    assert reading.run(run_id).status == "running"
    assert reading.overview().next_step == "model"
    with pytest.raises(UserError, match="read-only"):
        reading.submit("x", "load", lambda _cancel: iter(()))
    with pytest.raises(UserError, match="read-only"):
        reading.selected_model = "tiny"


def test_no_model_is_a_sentence(ws):
    add_prompts(ws, ["w1"])
    with pytest.raises(UserError, match="No model is chosen"):
        answers.generate(ws, SamplingSettings())


def test_the_choice_of_the_model_is_kept(open_workspace, model_folder):
    ws = open_workspace()
    library.select_model(ws, str(model_folder))
    ws.close()
    ws = open_workspace()
    assert ws.model_info().path == model_folder
    with pytest.raises(UserError):
        library.select_model(ws, "no-such-model")
    assert ws.model_info().path == model_folder


def test_a_model_is_loaded_once(ws, model_folder):
    library.select_model(ws, str(model_folder))
    assert not ws.is_model_loaded
    assert end(library.load_model(ws)).outcome == "done"
    assert ws.is_model_loaded
    assert ws.model_name == ws.model_info().name
    again = ws.model(CancelToken())
    with pytest.raises(StopIteration) as found:
        next(again)
    assert found.value.value is ws._loaded


def test_loading_tells_progress_and_can_be_cancelled(ws, model_folder):
    library.select_model(ws, str(model_folder))
    job = library.load_model(ws)
    assert [event for event in job.follow(60) if isinstance(event, Progress)]
    ws._loaded = None
    cancel = CancelToken()
    cancel.cancel()
    job = ws.submit("load", "load", lambda _: ws.model(cancel))
    assert end(job).outcome == "cancelled"
    assert not ws.is_model_loaded


def test_a_file_that_is_no_database_is_a_sentence(tmp_path):
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "experiment.db").write_text("hello, I am a text file, longer than a header" * 50)
    with pytest.raises(EnvironmentProblem):
        Workspace.open(folder)
    assert (folder / "experiment.db").read_text().startswith("hello")


def test_a_newer_experiment_is_refused(open_workspace):
    ws = open_workspace()
    ws.close()
    with sqlite3.connect(ws.path / "experiment.db") as database:
        database.execute("PRAGMA user_version = 999")
    database.close()
    with pytest.raises(EnvironmentProblem, match="newer"):
        Workspace.open(ws.path)


def test_the_log_goes_to_the_open_experiment(open_workspace):
    ws = open_workspace()
    logging.getLogger("workbench.test").warning("what happened")
    assert "what happened" in (ws.path / "logs" / "workbench.log").read_text()
    other = open_workspace("other")
    logging.getLogger("workbench.test").warning("later")
    assert "later" not in (ws.path / "logs" / "workbench.log").read_text()
    assert "later" in (other.path / "logs" / "workbench.log").read_text()
