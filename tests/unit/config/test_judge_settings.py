"""What an AI judge is asked, and by what it is known."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.config import toml
from workbench.config.judge import RUBRICS, JudgeSettings

ENDPOINT = {"where": "endpoint", "url": "http://127.0.0.1:8080/v1", "model": "judge"}


def _problems(**values: Any) -> dict[str, str]:
    with pytest.raises(toml.SettingsError) as caught:
        toml.validate(JudgeSettings, values)
    return {p.field: p.message for p in caught.value.problems}


def test_the_question_is_filled_in_once() -> None:
    """An answer that looks like a place of the template stays what it is."""
    settings = JudgeSettings(
        template="{rubric}|{prompt}|{first}|{second}|{other}", rubric="{first}"
    )
    asked = settings.question("{second} and {rubric}", "1 {second}", "2 {prompt} \\1")
    assert asked == "{first}|{second} and {rubric}|1 {second}|2 {prompt} \\1|{other}"


@pytest.mark.parametrize("name", RUBRICS)
def test_a_rubric_has_a_name_or_own_words(name: str) -> None:
    assert RUBRICS[name] in JudgeSettings(rubric=name).question("p", "a", "b")
    assert "Prefer rhymes." in JudgeSettings(rubric="Prefer rhymes.").question("p", "a", "b")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://server/v1",
        "http://",
        "http://server:port/v1",
        "https://me:secret@server/v1",
        "https://server/v1?api_key=secret",
        "https://server/v1#secret",
    ],
)
def test_an_address_is_whole_and_holds_no_key(url: str) -> None:
    problems = _problems(**{**ENDPOINT, "url": url})
    assert list(problems) == ["url"]
    assert "secret" not in problems["url"]


def test_what_is_missing_is_told_at_its_field() -> None:
    assert "endpoint" in _problems(where="endpoint", model="x")["url"]
    assert "model" in _problems(where="folder")["model"].lower()
    assert "{second}" in _problems(template="{first}")["template"]
    assert _problems(first_label="A", second_label=" A ").keys() == {"second_label"}


def test_a_judge_is_known_by_what_changes_its_answers() -> None:
    base = JudgeSettings(**ENDPOINT)
    name = base.name("org/judge", "1")
    assert name.startswith("judge ")
    for same in ({"tie_margin": 0.2}, {"weight": 0.1}, {"retries": 0}, {"timeout": 5.0}):
        assert JudgeSettings(**{**ENDPOINT, **same}).name("org/judge", "1") == name
    others = [
        {"rubric": "brief"},
        {"template": "{first} {second}"},
        {"first_label": "1"},
        {"samples": 5},
        {"temperature": 0.0},
        {"max_tokens": 9},
        {"url": "http://127.0.0.1:9090/v1"},
    ]
    names = {JudgeSettings(**{**ENDPOINT, **other}).name("org/judge", "1") for other in others}
    assert len({name, base.name("org/judge", "2"), *names}) == len(others) + 2


def test_a_judge_survives_toml() -> None:
    settings = JudgeSettings(**ENDPOINT, rubric='Say "so"\n\nand 好 {x}', retries=2)
    assert toml.validate(JudgeSettings, settings.model_dump()) == settings
    import tomllib

    assert toml.validate(JudgeSettings, tomllib.loads(toml.dump(settings))) == settings
