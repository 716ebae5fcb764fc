"""The doctor for users: of a stored run, by thresholds that the experiment keeps, as a command."""

import json
from types import SimpleNamespace

import pytest

from tests.ill_runs import add_run
from workbench.app import doctor
from workbench.cancel import CancelToken
from workbench.cli import doctor as command
from workbench.cli.following import Outcome, stop_if_paused
from workbench.cli.parser import parse
from workbench.cli.show import Show
from workbench.config.doctor import DoctorSettings
from workbench.data.records import Message, NewPrompt
from workbench.errors import UserError
from workbench.events import Paused, Warned


@pytest.fixture
def ill(ws):
    ws.experiment.prompts.add_many(
        [NewPrompt((Message("user", "hello"),), "test", "en", "heldout")]
    )
    return ws, add_run(ws, "wild")


def test_a_stored_run_is_examined_by_the_thresholds_of_its_experiment(ill):
    ws, run_id = ill
    found = doctor.examine(ws, run_id)
    assert [f.detector for f in found][:2] == ["kl_blow_up", "reward_hacking"]
    run = ws.run(run_id)
    assert doctor.change_words(run, found[0].change) == "KL coefficient 0.05, Learning rate 0.005"
    curves = {
        name: tuple(zip(*points, strict=True))
        for name, points in ws.experiment.runs.metrics(run_id).items()
    }
    assert doctor.examine_curves(run, curves, DoctorSettings()) == found
    doctor.save(ws, DoctorSettings(kl_limit=500.0))
    assert doctor.saved(ws).kl_limit == 500.0
    assert "kl_blow_up" not in [f.detector for f in doctor.examine(ws, run_id)]
    # Settings of a later version, or damaged ones, do not keep anybody from looking.
    ws.experiment.settings.set("doctor", {"no_such": 1})
    assert doctor.saved(ws) == DoctorSettings()
    evaluation = ws.experiment.runs.create("evaluation", "evaluation", "Evaluation 1", {}, {})
    with pytest.raises(UserError, match="trains nothing"):
        doctor.examine(ws, evaluation)


def test_the_command_prints_sentences_or_json(ill, capsys):
    ws, run_id = ill
    options = parse(["doctor", str(run_id), "--kl-limit", "20", "--keep"])
    assert command.report(ws, options, Show(is_json=False)) is Outcome.DONE
    told = capsys.readouterr().out
    assert "!! KL above 20 nats (objective/kl)" in told
    assert "Next run: KL coefficient 0.05, Learning rate 0.005" in told
    assert doctor.saved(ws).kl_limit == 20.0
    options = parse(["doctor", str(run_id)])
    command.report(ws, options, Show(is_json=True))
    values = json.loads(capsys.readouterr().out)
    assert values["findings"][0]["detector"] == "kl_blow_up"
    assert values["findings"][0]["change"] == {"kl_coef": 0.05, "learning_rate": 0.005}
    healthy = add_run(ws, "healthy")
    command.report(ws, parse(["doctor", str(healthy)]), Show(is_json=False))
    assert "nothing is wrong" in capsys.readouterr().out


def test_a_run_that_pauses_itself_is_stopped_where_nobody_can_answer():
    token, told = CancelToken(), []
    show = SimpleNamespace(note=told.append)
    stop_if_paused(Warned("careful"), token, show)
    assert not token.should_stop
    token.pause()
    stop_if_paused(Paused("KL is 12.", "Go on."), token, show)
    assert token.should_stop
    assert not token.is_paused
    assert "--resume" in told[0]
