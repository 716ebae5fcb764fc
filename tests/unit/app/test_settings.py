import pytest

from workbench.app.settings import UserSettings


def test_what_is_saved_comes_back(tmp_path):
    settings = UserSettings(
        theme="dark",
        recent=(tmp_path / "实验", tmp_path / 'a "quoted" name'),
        model_folders=(tmp_path / "model",),
        geometry=bytes(range(256)),
        layout=b"\x00\xff",
        keys={"view.log": "Ctrl+J", "rank.tie": "\\", "rank.first": '"', "job.stop": ""},
    )
    settings.save()
    assert UserSettings.load() == settings


def test_without_a_file_the_defaults_hold():
    assert UserSettings.load() == UserSettings()


@pytest.mark.parametrize(
    "text",
    [
        "not = [toml",
        "keys = [1]",
        "[keys]\n'rank.tie' = 3",
        "theme = 'pink'\nrecent = 3\ngeometry = '!'\nlayout = 7",
        "\x00",
    ],
)
def test_a_damaged_file_costs_the_settings_only(home, text):
    home.mkdir()
    (home / "settings.toml").write_text(text)
    assert UserSettings.load() == UserSettings()


def test_the_last_opened_comes_first_and_once(tmp_path):
    settings = UserSettings()
    for name in "abcabcdefghijklm":
        settings = settings.with_recent(tmp_path / name)
    assert [p.name for p in settings.recent] == list("mlkjihgfed")
