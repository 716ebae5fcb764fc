import argparse

import pytest

from workbench.cli.parser import EVALUATION, EVALUATION_ANNOTATOR, TOUR, TRAINING, parse
from workbench.config import toml
from workbench.config.ppo import PPOSettings
from workbench.config.spec import Settings
from workbench.config.tour import TINY, TourSettings, defaults_for


def test_every_hyperparameter_is_a_flag_that_gives_its_own_default_back():
    for command, flags, model in (
        *((["train", name], flags, flags.model) for name, flags in TRAINING.items()),
        (["tour"], TOUR, TourSettings),
    ):
        defaults = dict(_values(model()))
        arguments = []
        for name, value in defaults.items():
            flag = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                arguments.append(flag if value else f"--no-{flag[2:]}")
            else:
                arguments += [flag, str(value)]
        assert len(arguments) > 20
        assert flags.read(parse([*command, *arguments])) == model()


def _values(settings, prefix=""):
    for name, value in settings:
        if isinstance(value, Settings):
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_flags_win_over_the_file_and_the_file_over_the_preset(tmp_path):
    (tmp_path / "s.toml").write_text("updates = 7\nbatch_size = 32\n[lora]\nr = 4\n")
    arguments = ["train", "ppo", "--preset", "quick look", "--config", str(tmp_path / "s.toml")]
    settings = TRAINING["ppo"].read(parse([*arguments, "--batch-size", "8", "--lora.alpha", "9"]))
    assert (settings.updates, settings.batch_size, settings.max_new_tokens) == (7, 8, 32)
    assert (settings.lora.r, settings.lora.alpha) == (4, 9)
    assert settings.learning_rate == 1e-4


def test_what_toml_dumps_the_config_flag_reads(tmp_path):
    settings = PPOSettings(updates=3, learning_rate=3e-4, is_kl_adaptive=True)
    (tmp_path / "s.toml").write_text(toml.dump(settings), encoding="utf-8")
    assert (
        TRAINING["ppo"].read(parse(["train", "ppo", "--config", str(tmp_path / "s.toml")]))
        == settings
    )


def test_two_settings_models_in_one_command_do_not_mix():
    options = parse(["evaluate", "--seed", "5", "--annotator.seed", "6", "--annotator.noise", "0"])
    assert EVALUATION.read(options).seed == 5
    annotator = EVALUATION_ANNOTATOR.read(options)
    assert (annotator.seed, annotator.noise) == (6, 0.0)


def test_the_tour_starts_from_the_settings_tuned_for_its_model():
    options = parse(["tour", "--model", "tiny", "--ppo.updates", "3", "--seed", "4"])
    settings = TOUR.read(options, defaults_for("tiny"))
    assert settings.reward == TINY.reward
    assert settings.ppo.updates == 3
    seeded = settings.seeded()
    assert seeded.ppo.seed == seeded.reward.seed == seeded.generation.seed == 4
    assert seeded.evaluation.seed != 4


@pytest.mark.parametrize(
    "arguments", [["--experiment", "x", "check"], ["check", "--experiment", "x"]]
)
def test_the_experiment_may_stand_before_or_after_the_command(arguments):
    assert parse(arguments).experiment == "x"


def test_without_a_command_the_window_is_meant():
    options = parse([])
    assert isinstance(options, argparse.Namespace)
    assert options.command is None
