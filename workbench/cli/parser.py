"""Names and flags of the commands."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from workbench import __version__
from workbench.cli import (
    designs,
    doctor,
    evaluating,
    judging,
    preferences,
    probes,
    quality,
    reward_report,
    rewards,
    scoring,
)
from workbench.cli import runs as run_commands
from workbench.cli.options import SettingsFlags
from workbench.config.algorithms import ALGORITHMS, REWARD
from workbench.config.annotator import AnnotatorSettings
from workbench.config.best_of_n import BestOfNSettings
from workbench.config.evaluation import EvaluationSettings
from workbench.config.generation import SamplingSettings
from workbench.config.queueing import FillSettings, QueueSettings
from workbench.config.tour import TourSettings
from workbench.errors import UserError

ENVIRONMENT = "RLHF_WORKBENCH_EXPERIMENT"
TOKEN = "RLHF_WORKBENCH_TOKEN"
SAMPLING = SettingsFlags(SamplingSettings)
ANNOTATOR = SettingsFlags(AnnotatorSettings)
QUEUE = SettingsFlags(QueueSettings)
FILL = SettingsFlags(FillSettings, prefix="fill.")
TRAINING = {
    how.name: SettingsFlags(how.settings, how.presets) for how in (REWARD, *ALGORITHMS.values())
}
EVALUATION = SettingsFlags(EvaluationSettings)
EVALUATION_ANNOTATOR = SettingsFlags(AnnotatorSettings, prefix="annotator.")
BEST_OF_N = SettingsFlags(BestOfNSettings)
TOUR = SettingsFlags(TourSettings)


class _Parser(argparse.ArgumentParser):
    """Tells usage errors as `UserError`, so that all wrong input ends alike."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}.", f"See {self.prog} --help.")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line.

    Raises:
        UserError: It is wrong; near flags are told.
    """
    parser = _build()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = [o for p in _parsers(parser) for a in p._actions for o in a.option_strings]
        near = difflib.get_close_matches(unknown[0].split("=")[0], known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "See rlhf-workbench --help."
        raise UserError(f"There is no {unknown[0]} here.", hint)
    if getattr(options, "experiment", None) is None:
        options.experiment = os.environ.get(ENVIRONMENT)
    return options


def _build() -> _Parser:
    parser = _Parser(
        prog="rlhf-workbench",
        description="The whole RLHF loop on your own machine. Without a command: the window.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--experiment",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help=f"experiment folder (default: ${ENVIRONMENT}, else the current folder)",
    )
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    _add_data(commands)
    _add_training(commands)
    _add_measuring(commands)
    _add_outward(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction[_Parser], name: str, help: str, *, key: str = ""
) -> _Parser:
    parser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
    parser.add_argument(
        "--experiment", metavar="DIR", default=argparse.SUPPRESS, help="experiment folder"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="events as JSON lines on stdout",
    )
    parser.set_defaults(command=key or name)
    return parser


def _family(
    commands: argparse._SubParsersAction[_Parser], name: str, help: str
) -> argparse._SubParsersAction[_Parser]:
    parser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
    return parser.add_subparsers(title="what", metavar="WHAT", required=True, parser_class=_Parser)


def _add_data(commands: argparse._SubParsersAction[_Parser]) -> None:
    new = _command(commands, "new", "make an experiment in a new folder")
    new.add_argument("directory", metavar="DIR")

    models = _family(commands, "models", "models on this machine")
    _command(models, "list", "list them, with what cannot be loaded and why", key="models list")
    importing = _command(
        models, "import", "take in a model folder or a GGUF file", key="models import"
    )
    importing.add_argument("path", metavar="PATH")
    using = _command(models, "use", "choose the model of the experiment", key="models use")
    using.add_argument("name", metavar="NAME")
    _command(models, "starter", "get the starter model and choose it", key="models starter")

    prompts = _family(commands, "prompts", "prompts of the experiment")
    bringing = _command(prompts, "import", "JSONL, CSV or TXT", key="prompts import")
    bringing.add_argument("file", metavar="FILE")
    demo = _command(prompts, "demo", "add demo prompts", key="prompts demo")
    demo.add_argument("groups", metavar="GROUP", nargs="*", help="none: list the groups")

    answers = _family(commands, "answers", "answers of the experiment")
    showing = _command(
        answers, "import", "answers to learn from: JSONL or CSV", key="answers import"
    )
    showing.add_argument("file", metavar="FILE")

    judged = _family(commands, "preferences", "preferences of the experiment")
    taking = _command(
        judged,
        "import",
        "a JSONL, JSON, CSV or Parquet file, or the folder of an export",
        key="preferences import",
    )
    preferences.add_import_flags(taking)
    giving = _command(judged, "export", "write them for other programs", key="preferences export")
    preferences.add_export_flags(giving)


def _add_training(commands: argparse._SubParsersAction[_Parser]) -> None:
    generate = _command(commands, "generate", "answer the prompts and pair the answers")
    generate.add_argument(
        "--prompts", choices=["train", "heldout", "all"], default="train", help="which prompts"
    )
    generate.add_argument("--run", type=int, help="answer with this policy run's adapter")
    SAMPLING.add_to(generate)

    judge = _command(commands, "judge", "judge the pairs by a stated rule, or by a model")
    judge.add_argument("--simulate", action="store_true", help="use the simulated annotator")
    ANNOTATOR.add_to(judge)
    judging.add_flags(judge)

    looking = _command(commands, "quality", "how good the labels are, and which model is chosen")
    quality.add_flags(looking)

    queue = _command(commands, "queue", "choose which pair is ranked next")
    queue.add_argument(
        "--fill", action="store_true", help="first generate answers until enough pairs wait"
    )
    QUEUE.add_to(queue)
    FILL.add_to(queue)

    train = _family(commands, "train", "train a reward model or a policy")
    for how in (REWARD, *ALGORITHMS.values()):
        training = _command(train, how.name, how.when, key=f"train {how.name}")
        training.add_argument("--resume", type=int, metavar="RUN", help="go on with a run")
        training.add_argument(
            "--plan", action="store_true", help="print memory and problems, and train nothing"
        )
        if how is REWARD:
            training.add_argument(
                "--base", default="", help="model to train on (default: the chosen one)"
            )
        if "reward" in how.needs:
            training.add_argument(
                "--reward-run", type=int, help="reward model to use (default: the newest)"
            )
        if "reward" in how.needs and "prompts" in how.needs:
            training.add_argument(
                "--judge",
                default="",
                metavar="WHO",
                help="held-back judge, never learned from: annotator, run:N or ai:NAME",
            )
            training.add_argument(
                "--simulate-labels",
                action="store_true",
                help="let the simulated annotator answer when the run asks for labels",
            )
        if how is not REWARD:
            training.add_argument(
                "--start-run", type=int, help="policy run to start from (default: the base)"
            )
        TRAINING[how.name].add_to(training)


def _add_measuring(commands: argparse._SubParsersAction[_Parser]) -> None:
    doctoring = _command(commands, "doctor", "what is wrong with a run, and what to change")
    doctor.add_flags(doctoring)

    _add_rewards(commands)
    made = _family(commands, "runs", "runs that there are")
    run_commands.add_commands(partial(_command, made))

    evaluate = _command(commands, "evaluate", "compare base and trained policy")
    evaluate.add_argument("--run", type=int, help="policy run (default: the newest)")
    EVALUATION.add_to(evaluate)
    EVALUATION_ANNOTATOR.add_to(evaluate)

    best = _command(commands, "best-of-n", "what choosing the best of n answers earns")
    best.add_argument(
        "--prompts", choices=["train", "heldout", "all"], default="heldout", help="which prompts"
    )
    best.add_argument("--reward-run", type=int, help="reward model to use (default: the newest)")
    best.add_argument(
        "--keep",
        action="store_true",
        help="keep the best answers, for train sft --answers-from best",
    )
    BEST_OF_N.add_to(best)
    EVALUATION_ANNOTATOR.add_to(best)

    texts = _command(commands, "text-metrics", "BLEU, ROUGE, perplexity and more, before and after")
    evaluating.add_text_flags(texts)
    safe = _command(commands, "safety", "refusals, toxicity and bias, before and after")
    evaluating.add_safety_flags(safe)
    gate = _command(commands, "gate", "whether a policy has lost nothing that it must not lose")
    evaluating.add_gate_flags(gate)

    tour = _command(commands, "tour", "the whole loop on the starter model, in minutes")
    tour.add_argument("--window", action="store_true", help="play it in the window")
    TOUR.add_to(tour)


def _add_rewards(commands: argparse._SubParsersAction[_Parser]) -> None:
    family = _family(commands, "reward", "rewards, and whether they can be trusted")
    designs.add_commands(partial(_command, family))
    fetching = _command(
        family, "import", "take in a reward model that others trained", key="reward import"
    )
    rewards.add_import_flags(fetching)
    card = _command(
        family, "report", "accuracy, calibration, baselines, a verdict", key="reward report"
    )
    reward_report.add_flags(card)
    probing = _command(
        family, "probe", "small models on the base's states, in seconds", key="reward probe"
    )
    probes.add_flags(probing)
    scoring.add_flags(
        _command(family, "score", "score a text, and each of its tokens", key="reward score")
    )


def _add_outward(commands: argparse._SubParsersAction[_Parser]) -> None:
    export = _family(commands, "export", "carry data or a policy away")
    pairs = _command(export, "preferences", "as preferences export", key="export preferences")
    preferences.add_export_flags(pairs)
    adapter = _command(export, "adapter", "PEFT folder with a card", key="export adapter")
    adapter.add_argument("folder", metavar="FOLDER", nargs="?", help="new folder")
    adapter.add_argument("--run", type=int, help="policy run (default: the newest)")
    adapter.add_argument("--merged", action="store_true", help="base and adapter as one model")
    handing = _command(
        export,
        "bundle",
        "a training job for a larger machine, TRL or OpenRLHF",
        key="export bundle",
    )
    handing.add_argument("folder", metavar="FOLDER", nargs="?", help="new folder")
    handing.add_argument(
        "--algorithm",
        choices=list(TRAINING),
        metavar="NAME",
        help=f"{', '.join(TRAINING)} (default: the run's)",
    )
    handing.add_argument("--run", type=int, help="policy or reward run that goes along")
    handing.add_argument(
        "--reward-run", type=int, help="reward model to use (default: the run's, or the newest)"
    )
    handing.add_argument("--config", metavar="FILE.toml", help="settings (default: the run's)")

    carrying = _command(
        export, "reward", "a reward model as a sequence classifier", key="export reward"
    )
    rewards.add_export_flags(carrying)

    serve = _family(commands, "serve", "answer programs on this machine or others")
    reward = _command(serve, "reward", "scores of a reward model over HTTP", key="serve reward")
    reward.add_argument("--reward-run", type=int, help="reward run (default: the newest)")
    reward.add_argument("--port", type=int, help="port to listen at; 0 takes any (default: 8420)")
    reward.add_argument("--host", help="address to listen at (default: 127.0.0.1, this machine)")
    reward.epilog = f"Clients must send a token: that in ${TOKEN}, or a random one that is printed."
    _command(commands, "check", "whether the experiment folder is whole")


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found += _parsers(inner)
    return found
