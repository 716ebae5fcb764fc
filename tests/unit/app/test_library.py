import json

import pytest

from tests import tinymodels
from tests.unit.app.conftest import WAIT, add_prompts, end, events_of
from workbench.app import answers, library
from workbench.app.settings import UserSettings
from workbench.config.generation import SamplingSettings
from workbench.errors import UserError
from workbench.events import Answer, Warned
from workbench.jobs.runner import JobRunner


def test_an_imported_folder_is_listed_from_then_on(ws, model_folder):
    assert end(library.import_model(ws, model_folder)).outcome == "done"
    assert ws.model_info().path == model_folder
    assert UserSettings.load().model_folders == (model_folder.resolve(),)
    assert model_folder in [info.path for info in library.models()]


def test_a_model_is_imported_without_an_experiment(model_folder):
    runner = JobRunner()
    job = library.import_model(None, model_folder, runner)
    assert end(job).result == {"path": str(model_folder.resolve())}
    assert runner.close(WAIT)
    assert library.find("random-llama").path == model_folder


@pytest.mark.parametrize("damage", ["weights", "config", "pickle"])
def test_a_broken_folder_is_refused_with_a_sentence(ws, tmp_path, damage):
    folder = tinymodels.write(tmp_path / "broken", "llama")
    if damage == "config":
        (folder / "config.json").write_text("{")
    elif damage == "weights":
        (folder / "model.safetensors").unlink()
    else:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError):
        library.select_model(ws, str(folder))
    assert ws.selected_model == ""


def test_two_models_of_one_name_are_told_apart(ws, model_folder, tmp_path):
    other = tinymodels.write(tmp_path / model_folder.name, "gpt2")
    assert end(library.import_model(ws, model_folder)).outcome == "done"
    library.select_model(ws, str(other))
    assert ws.model_info().path == other
    library.select_model(ws, model_folder.name)
    assert ws.model_info().path == model_folder


def test_a_model_without_a_chat_template_is_answered_with_a_warning(ws, tmp_path):
    folder = tinymodels.write(tmp_path / "bare", "llama")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = folder / "tokenizer_config.json"
    values = json.loads(config.read_text())
    values.pop("chat_template", None)
    config.write_text(json.dumps(values))
    library.select_model(ws, str(folder))
    add_prompts(ws, ["w1 w2"])
    events = events_of(answers.generate(ws, SamplingSettings(max_new_tokens=4)))
    assert any("no chat template" in e.message for e in events if isinstance(e, Warned))
    assert sum(isinstance(e, Answer) for e in events) == 2


def test_a_name_that_is_no_hub_name_is_refused(ws):
    with pytest.raises(UserError):
        library.fetch_hub(ws, "not a name")
