"""Settings are declared once, checked at once, and survive a round trip through TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from workbench.config import (
    annotator,
    doctor,
    environment,
    evaluation,
    generation,
    judge,
    ppo,
    queueing,
    toml,
)
from workbench.config.algorithms import ALGORITHMS, REWARD
from workbench.config.lora import LoraSettings
from workbench.config.spec import Settings
from workbench.errors import UserError

MODELS: list[type[Settings]] = [
    REWARD.settings,
    *(how.settings for how in ALGORITHMS.values()),
    generation.SamplingSettings,
    evaluation.EvaluationSettings,
    annotator.AnnotatorSettings,
    judge.JudgeSettings,
    queueing.QueueSettings,
    queueing.FillSettings,
    doctor.DoctorSettings,
    environment.TokenEnvSettings,
    environment.ChatEnvSettings,
]
LEAVES = [(model, name, info) for model in MODELS for name, info in toml.fields(model)]
IDS = [f"{model.__name__}.{name}" for model, name, _ in LEAVES]
PRESETS = [(how.settings, how.presets) for how in (REWARD, *ALGORITHMS.values())]
# What makes any other values agree: they divide the batch, and go with every KL estimator.
AGREEABLE = {
    "batch_size": 64,
    "minibatches": 1,
    "group_size": 2,
    "kl_in": "reward",
    "kind": "sigmoid",
    "loss": "rao-kupper",
    "where": "loaded",
    "url": "",
    "template": "{first} or {second}",
    "first_label": "A",
    "second_label": "B",
}


def _nested(name: str, value: object) -> dict[str, Any]:
    *groups, leaf = name.split(".")
    values: dict[str, Any] = {leaf: value}
    for group in reversed(groups):
        values = {group: values}
    return values


def _problems(model: type[Settings], values: dict[str, Any]) -> list[toml.Problem]:
    with pytest.raises(toml.SettingsError) as caught:
        toml.validate(model, values)
    return caught.value.problems


@pytest.mark.parametrize("model", MODELS)
def test_defaults_are_valid_and_frozen(model: type[Settings]) -> None:
    settings = model()
    assert toml.validate(model, {}) == settings
    with pytest.raises(ValidationError, match="frozen"):
        settings.seed = 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(("model", "name", "info"), LEAVES, ids=IDS)
def test_every_setting_says_what_it_is(model: type[Settings], name: str, info: FieldInfo) -> None:
    assert info.title
    assert info.description
    assert info.description.endswith(".")
    if info.annotation in (int, float):
        low, high = toml.bounds(info)
        assert low is not None
        assert high is not None
        assert low <= info.get_default() <= high


@pytest.mark.parametrize(("model", "name", "info"), LEAVES, ids=IDS)
def test_wrong_values_are_told_at_their_field(
    model: type[Settings], name: str, info: FieldInfo
) -> None:
    wrong: list[object] = [[1, 2]]
    if info.annotation in (int, float):
        low, high = toml.bounds(info)
        assert low is not None
        assert high is not None
        wrong += [low - 1, high + 1, float("nan"), float("inf"), "many"]
    elif info.annotation is bool:
        wrong += ["maybe", 7]
    elif get_args(info.annotation):
        wrong += ["no such choice"]
    for value in wrong:
        (problem,) = _problems(model, _nested(name, value))
        assert problem.field == name
        assert problem.message[0].isupper()
        assert problem.message.endswith(".")


def test_all_problems_come_at_once() -> None:
    problems = _problems(
        ppo.PPOSettings,
        {"updates": 0, "gamma": 2.0, "kl_estimator": "k9", "lora": {"r": 0}, "bogus": 1},
    )
    assert {p.field for p in problems} == {"updates", "gamma", "kl_estimator", "lora.r", "bogus"}


def test_bounds_are_told_in_words_with_a_value_that_works() -> None:
    (problem,) = _problems(ppo.PPOSettings, {"updates": 0})
    assert problem.message == "Must lie between 1 and 100000. A value that works: 50."


def test_a_misspelt_name_is_told_with_the_nearest() -> None:
    for wrong, right in [("learning_rat", "learning_rate"), ("lora.alpa", "lora.alpha")]:
        (problem,) = _problems(ppo.PPOSettings, _nested(wrong, 4))
        assert f"Did you mean {right}?" in problem.message
    (problem,) = _problems(ppo.PPOSettings, {"zzz": 1})
    assert problem.message == "There is no such setting."


def test_choices_are_listed() -> None:
    (problem,) = _problems(ppo.PPOSettings, {"lr_schedule": "cosine"})
    assert "'linear'" in problem.message
    assert "'constant'" in problem.message


@given(batch_size=st.integers(1, 200), minibatches=st.integers(1, 64))
def test_batches_divide_or_the_nearest_that_do_are_told(batch_size: int, minibatches: int) -> None:
    values = {"batch_size": batch_size, "minibatches": minibatches}
    if batch_size % minibatches == 0:
        assert toml.validate(ppo.PPOSettings, values).batch_size == batch_size
        return
    (problem,) = _problems(ppo.PPOSettings, values)
    assert problem.field == "batch_size"
    offered = problem.message.split("Nearest: ")[1].rstrip(".").split(" or ")
    for text in offered:
        toml.validate(ppo.PPOSettings, {"batch_size": int(text), "minibatches": minibatches})


@pytest.mark.parametrize(("model", "presets"), PRESETS)
def test_presets_are_valid_and_change_something(
    model: type[Settings], presets: dict[str, dict[str, Any]]
) -> None:
    for values in presets.values():
        assert toml.validate(model, values) != model()


def _values(info: FieldInfo) -> st.SearchStrategy[Any]:
    if info.annotation is bool:
        return st.booleans()
    if choices := get_args(info.annotation):
        return st.sampled_from(choices)
    if info.annotation is str:
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    low, high = toml.bounds(info)
    assert low is not None
    assert high is not None
    if info.annotation is int:
        return st.integers(int(low), int(high))
    is_open, has_open_end = (
        any(getattr(m, bound, None) is not None for m in info.metadata) for bound in ("gt", "lt")
    )
    return st.floats(low, high, exclude_min=is_open, exclude_max=has_open_end)


@given(data=st.data(), model=st.sampled_from(MODELS))
def test_toml_round_trip_gives_equal_settings(data: st.DataObject, model: type[Settings]) -> None:
    values: dict[str, Any] = {}
    for name, info in toml.fields(model):
        value = data.draw(_values(info), label=name)
        group, _, leaf = name.rpartition(".")
        (values.setdefault(group, {}) if group else values)[leaf] = value
    values |= {name: value for name, value in AGREEABLE.items() if name in values}
    settings = toml.validate(model, values)
    text = toml.dump(settings)
    assert toml.validate(model, tomllib.loads(text)) == settings


def test_a_written_file_explains_each_setting_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "ppo.toml"
    settings = ppo.PPOSettings(updates=7, lora=LoraSettings(r=4))
    path.write_text(toml.dump(settings), encoding="utf-8")
    assert toml.load(ppo.PPOSettings, path) == settings
    text = path.read_text(encoding="utf-8")
    for _, info in toml.fields(ppo.PPOSettings):
        assert f"# {info.description}" in text


@pytest.mark.parametrize("content", [b"updates = ", b"\xff\xfe", b"updates 5"])
def test_a_file_that_is_not_toml_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.toml is not valid TOML"):
        toml.load(ppo.PPOSettings, path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        toml.load(ppo.PPOSettings, tmp_path / "nothing.toml")


def test_the_sentence_counts_problems_and_lists_them() -> None:
    one = toml.SettingsError([toml.Problem("updates", "Must be more.")])
    assert one.message == "1 setting must be corrected: updates: Must be more."
    two = toml.SettingsError([toml.Problem("a", "X."), toml.Problem("", "Y.")])
    assert two.message.startswith("2 settings must be corrected")


def test_fields_are_checked_against_each_other_even_while_others_are_wrong() -> None:
    values = {"learning_rate": 0.1, "batch_size": 60, "minibatches": 8}
    problems = {p.field: p.message for p in _problems(ppo.PPOSettings, values)}
    assert set(problems) == {"learning_rate", "batch_size"}
    assert problems["batch_size"] == "Must be a multiple of Minibatches (8). Nearest: 56 or 64."


def test_a_wrong_field_is_reported_once() -> None:
    values = {"minibatches": 0, "batch_size": 60}
    assert [p.field for p in _problems(ppo.PPOSettings, values)] == ["minibatches"]
