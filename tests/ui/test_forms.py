"""Forms derived from settings models: real models, real typing."""

from __future__ import annotations

import random
from typing import Any, Literal, get_args, get_origin

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit
from pytestqt.qtbot import QtBot

from workbench.config import ppo, reward_model, toml
from workbench.config.annotator import AnnotatorSettings
from workbench.config.evaluation import EvaluationSettings
from workbench.config.generation import SamplingSettings
from workbench.config.ppo import PPOSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.config.spec import Settings
from workbench.config.toml import SettingsError
from workbench.config.tour import TourSettings
from workbench.ui.forms.fields import as_text
from workbench.ui.forms.settings_form import SettingsForm

MODELS: list[type[Settings]] = [
    PPOSettings,
    RewardModelSettings,
    SamplingSettings,
    AnnotatorSettings,
    EvaluationSettings,
    TourSettings,
]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)


@pytest.fixture
def open_form(qtbot: QtBot):
    def open_(model: type[Settings], presets: Any = None) -> SettingsForm[Any]:
        form = SettingsForm(model, presets)
        qtbot.addWidget(form)
        with qtbot.waitActive(form):
            form.show()
            form.activateWindow()
        return form

    return open_


def write(qtbot: QtBot, form: SettingsForm[Any], name: str, text: str) -> None:
    control = form.fields[name].control
    assert isinstance(control, QLineEdit)
    control.setFocus()
    control.selectAll()
    qtbot.keyClicks(control, text)


@every_model
def test_defaults_come_back(open_form, model: type[Settings]) -> None:
    form = open_form(model)
    assert form.settings() == model()
    assert form.n_problems() == 0


@every_model
def test_any_valid_values_come_back_unrounded(open_form, model: type[Settings]) -> None:
    form = open_form(model)
    dice = random.Random(7)
    n_changed = 0
    for name, info in toml.fields(model):
        low, high = toml.bounds(info)
        if get_origin(info.annotation) is Literal:
            values: list[Any] = list(get_args(info.annotation))
        elif info.annotation is bool:
            values = [True, False]
        elif info.annotation is float:
            values = [dice.uniform(low or 0.0, high if high is not None else 1.0)]
        else:
            continue
        for value in values:
            nested: Any = value
            for part in reversed(name.split(".")):
                nested = {part: nested}
            form.set_values(model().model_dump())
            form.set_values(nested)
            if form.problems():
                continue  # forbidden together with another setting's default
            found: Any = form.settings()
            for part in name.split("."):
                found = getattr(found, part)
            assert found == value, name
            n_changed += 1
    assert n_changed


@every_model
def test_every_field_is_named_and_explained(open_form, model: type[Settings]) -> None:
    form = open_form(model)
    names = [field.control.accessibleName() for field in form.fields.values()]
    assert all(names)
    for field in form.fields.values():
        assert field.control.accessibleDescription()
        assert field.label.buddy() is field.control


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-5"), (1.0, "1.0"), (0.2, "0.2"), (3, "3"), (1e12, "1e+12"), (1 / 3, repr(1 / 3))],
)
def test_numbers_are_spelled_short_but_whole(value: float, text: str) -> None:
    assert as_text(value) == text
    assert float(as_text(value)) == value


def test_a_wrong_value_gets_a_sentence_under_its_field(open_form, qtbot: QtBot) -> None:
    form = open_form(PPOSettings)
    with qtbot.waitSignal(form.problems_changed, check_params_cb=lambda n: n == 1):
        write(qtbot, form, "learning_rate", "77")
    field = form.fields["learning_rate"]
    assert field.problem()
    assert field.problem()[-1] == "."
    assert field.control.property("problem") is True
    assert field.control.accessibleDescription() == field.problem()
    assert form.problems() == {"learning_rate": field.problem()}
    with pytest.raises(SettingsError):
        form.settings()
    write(qtbot, form, "learning_rate", "2e-5")
    assert not field.problem()
    assert form.settings().learning_rate == 2e-5


@pytest.mark.parametrize("text", ["", "abc", "1,5", "nan", "inf", "--", "1e999"])
def test_what_is_no_number_is_told_and_never_taken(open_form, text: str) -> None:
    form = open_form(PPOSettings)
    form.fields["learning_rate"].control.setText(text)
    assert list(form.problems()) == ["learning_rate"]


def test_a_true_minus_sign_may_be_typed(open_form) -> None:
    form = open_form(PPOSettings)
    control = form.fields["learning_rate"].control
    control.clear()
    control.insert("1e−5")
    assert form.settings().learning_rate == 1e-5


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (PPOSettings, {"batch_size": 60, "minibatches": 7}),
        (PPOSettings, {"batch_size": 2, "minibatches": 4}),
    ],
)
def test_problems_between_settings_stand_at_a_field(open_form, model, values) -> None:
    form = open_form(model)
    form.set_values(values)
    assert form.n_problems() >= 1
    for name in form.problems():
        assert form.fields[name].problem()


def test_first_problem_and_from_there_to_the_next(open_form, qtbot: QtBot) -> None:
    form = open_form(PPOSettings)
    names = [name for name, field in form.fields.items() if isinstance(field.control, QLineEdit)]
    first, last = names[1], names[-1]
    for name in (first, last):
        form.fields[name].control.setText("?")
    assert form.n_problems() == 2
    form.fields[names[0]].control.setFocus()
    reached = []
    for _ in range(3):
        form.go_to_first_problem()
        reached.append(next(n for n in (first, last) if form.fields[n].control.hasFocus()))
    assert reached == [first, last, first]
    assert form.fields[last].control.isVisible()


def test_presets_start_from_the_defaults(open_form) -> None:
    form = open_form(PPOSettings, ppo.PRESETS)
    form.fields["seed"].control.setText("99")
    form.preset.setCurrentIndex(1)
    form.preset.activated.emit(1)
    assert form.settings() == PPOSettings(**ppo.PRESETS["quick look"])
    form.preset.setCurrentIndex(0)
    form.preset.activated.emit(0)
    assert form.settings() == PPOSettings()


@pytest.mark.parametrize(
    ("model", "presets"),
    [(PPOSettings, ppo.PRESETS), (RewardModelSettings, reward_model.PRESETS)],
    ids=["ppo", "reward"],
)
def test_every_preset_is_valid(open_form, model: type[Settings], presets: Any) -> None:
    form = open_form(model, presets)
    for i in range(form.preset.count()):
        form.preset.setCurrentIndex(i)
        form.preset.activated.emit(i)
        assert form.n_problems() == 0


def test_only_live_settings_stay_open_while_a_run_goes_on(open_form, qtbot: QtBot) -> None:
    form = open_form(PPOSettings, ppo.PRESETS)
    form.set_locked(True)
    live = {name for name, field in form.fields.items() if field.control.isEnabled()}
    assert live == {name for name, field in form.fields.items() if field.is_live}
    assert "learning_rate" in live
    assert not form.preset.isEnabled()
    with qtbot.waitSignal(
        form.value_changed, check_params_cb=lambda *p: p == ("learning_rate", 3e-5)
    ):
        write(qtbot, form, "learning_rate", "3e-5")
    form.set_locked(False)
    assert all(field.control.isEnabled() for field in form.fields.values())


def test_a_folded_group_says_its_values_and_its_problems(open_form, qtbot: QtBot) -> None:
    form = open_form(PPOSettings)
    field = form.fields["learning_rate"]
    group = next(g for g in form._groups if field in g.fields)
    group.toggle.setFocus()
    qtbot.keyClick(group.toggle, Qt.Key.Key_Space)
    assert not field.control.isVisible()
    assert "1e-5" in group._summary.text()
    field.control.setText("?")
    assert group._summary.text() == "1 problem"
    qtbot.keyClick(group.toggle, Qt.Key.Key_Space)
    assert field.control.isVisible()


def test_tab_goes_through_the_fields_in_reading_order(open_form, qtbot: QtBot) -> None:
    form = open_form(PPOSettings)
    visible = [f.control for f in form.fields.values() if f.control.isVisible()]
    visible[0].setFocus()
    reached = [visible[0]]
    while len(reached) < len(visible):
        before = form.focusWidget()
        qtbot.keyClick(before, Qt.Key.Key_Tab)
        now = form.focusWidget()
        assert now is not before
        if isinstance(now, QLineEdit | QComboBox | QCheckBox):
            reached.append(now)
    assert reached == visible
