"""What each command does: calls of `workbench.app`, and nothing else."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli import (
    designs,
    doctor,
    evaluating,
    judging,
    parser,
    preferences,
    probes,
    quality,
    reward_report,
    rewards,
    scoring,
    training,
)
from workbench.cli import runs as run_commands
from workbench.cli.following import Outcome, follow, interruptible, outcome_of, stop_if_paused
from workbench.cli.show import Show
from workbench.cli.tables import curve_table
from workbench.config.tour import TourSettings, defaults_for
from workbench.errors import Cancelled, EnvironmentProblem, UserError

if TYPE_CHECKING:
    from workbench.app.workspace import Workspace
    from workbench.jobs.runner import JobRunner

_CLOSE_S = 5.0


def run(options: argparse.Namespace, show: Show) -> Outcome:
    """Do the command that `parse` read.

    Raises:
        UserError: The input is wrong.
        EnvironmentProblem: The machine is in the way.
    """
    if options.command in _WITHOUT_EXPERIMENT:
        return _WITHOUT_EXPERIMENT[options.command](options, show)
    with _workspace(_folder(options), create=options.command == "tour") as opened:
        outcome = _COMMANDS[options.command](opened.ws, options, show)
    return outcome if opened.is_closed else Outcome.STUCK


class _Opened:
    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.is_closed = False


@contextmanager
def _workspace(folder: Path, *, create: bool) -> Iterator[_Opened]:
    from workbench.app.workspace import Workspace

    is_new = create and not (folder / "experiment.db").exists()
    opened = _Opened(Workspace.open(folder, create=is_new))
    try:
        yield opened
    finally:
        opened.is_closed = opened.ws.close(_CLOSE_S)


def _folder(options: argparse.Namespace) -> Path:
    return Path(options.experiment or ".")


def _new(options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app.workspace import Workspace

    folder = Path(options.directory)
    ws = Workspace.open(folder, create=True)
    ws.close(_CLOSE_S)
    show.result({"experiment": str(ws.path)}, f"Made {ws.path}.")
    return Outcome.DONE


def _models_list(_options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import library

    for info in library.models():
        size = f"{info.n_parameters / 1e6:.1f} M parameters, {info.dtype or 'unknown'}"
        state = info.problems[0] if info.problems else size
        if info.is_conversion_needed:
            state += ", must be imported first"
        show.result(
            {
                "name": info.name,
                "path": str(info.path),
                "source": info.source,
                "n_parameters": info.n_parameters,
                "digest": info.digest,
                "problems": list(info.problems),
            },
            f"{info.name:40} {info.source:8} {state}",
        )
    return Outcome.DONE


def _models_import(options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import library

    path, folder = Path(options.path), _folder(options)
    if (folder / "experiment.db").exists():
        with _workspace(folder, create=False) as opened:
            return follow(library.import_model(opened.ws, path), show)
    runner = _runner()
    try:
        return follow(library.import_model(None, path, runner), show)
    finally:
        runner.close(_CLOSE_S)


def _runner() -> JobRunner:
    from workbench.jobs.runner import JobRunner

    return JobRunner()


def _models_use(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import library

    info = library.select_model(ws, options.name)
    show.result({"model": info.name, "path": str(info.path)}, f"This experiment uses {info.name}.")
    return Outcome.DONE


def _models_starter(ws: Workspace, _options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import library

    return follow(library.fetch_starter(ws), show)


def _prompts_import(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import exchange

    preview = exchange.preview_prompts(Path(options.file))
    for problem in preview.problems:
        show.note(f"  line {problem.line}: {problem.message}")
    if not preview.rows:
        raise UserError(f"{options.file} holds no usable prompt.", "Nothing was imported.")
    n = exchange.import_prompts(ws, preview)
    show.result(
        {"n": n, "n_problems": len(preview.problems)},
        f"{n} prompts imported, {len(preview.problems)} lines left out.",
    )
    return Outcome.DONE


def _prompts_demo(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import exchange

    groups = exchange.demo_groups()
    if not options.groups:
        for group in groups:
            text = f"{group.name:16} {group.n:4}  {group.title}"
            show.result({"name": group.name, "title": group.title, "n": group.n}, text)
        return Outcome.DONE
    n = exchange.add_demo_prompts(ws, options.groups)
    show.result({"n": n}, f"{n} prompts added.")
    return Outcome.DONE


def _answers_import(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import exchange

    done = exchange.import_answers(ws, Path(options.file))
    for problem in done.problems:
        show.note(f"  line {problem.line}: {problem.message}")
    known = f", {done.n_known} were there already" if done.n_known else ""
    show.result(
        {"n": done.n, "n_known": done.n_known, "n_problems": len(done.problems)},
        f"{done.n} answers imported{known}, {len(done.problems)} lines left out.",
    )
    return Outcome.DONE


def _generate(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import answers

    settings = parser.SAMPLING.read(options)
    return follow(answers.generate(ws, settings, _prompts(ws, options), options.run), show)


def _prompts(ws: Workspace, options: argparse.Namespace) -> list[int]:
    from workbench.app.answers import all_prompts

    splits = ("train", "heldout") if options.prompts == "all" else (options.prompts,)
    return [p.id for split in splits for p in all_prompts(ws, split)]


def _judge(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import labelling

    if options.ai:
        return judging.judge(ws, options, show)
    if not options.simulate:
        raise UserError(
            "Judging by hand needs the window.",
            "Add --ai for a model or --simulate for the simulated annotator, or run rlhf-workbench "
            "without a command.",
        )
    return follow(labelling.simulate(ws, parser.ANNOTATOR.read(options)), show)


def _queue(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import filling, queueing

    settings = parser.QUEUE.read(options, queueing.saved(ws))
    fill = parser.FILL.read(options, filling.saved(ws))
    while options.fill and (job := filling.keep_filled(ws, fill)) is not None:
        outcome = follow(job, show)
        if job.outcome != "done":
            return outcome
        if not filling.has_made_pairs(job):
            break
    return follow(queueing.order(ws, settings), show)


def _evaluate(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import evaluate

    settings = parser.EVALUATION.read(options)
    annotator = parser.EVALUATION_ANNOTATOR.read(options)
    job = evaluate.compare(ws, _policy_run(ws, options), settings, annotator)
    outcome = follow(job, show)
    if outcome is Outcome.DONE and job.run_id is not None and job.outcome == "done":
        summary = evaluate.result(ws, job.run_id).summary
        lines = [
            f"{name:16} {summary[name]:8.3f}   "
            f"95 % interval {summary[f'{name}_low']:.3f} to {summary[f'{name}_high']:.3f}"
            for name in summary
            if f"{name}_low" in summary
        ]
        show.result(summary, "\n".join(lines))
    return outcome


def _best_of_n(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import best_of_n

    job = best_of_n.best_of_n(
        ws,
        parser.BEST_OF_N.read(options),
        _prompts(ws, options),
        reward_run=options.reward_run,
        annotator=parser.EVALUATION_ANNOTATOR.read(options),
        is_kept=options.keep,
    )
    outcome = follow(job, show)
    if outcome is Outcome.DONE and job.run_id is not None:
        points = best_of_n.curve(ws, job.run_id)
        show.result({"curve": [dataclasses.asdict(point) for point in points]}, curve_table(points))
    return outcome


def _policy_run(ws: Workspace, options: argparse.Namespace) -> int:
    if options.run is not None:
        return int(options.run)
    newest = ws.experiment.artifacts.latest("adapter")
    if newest is None:
        raise UserError("There is no trained policy yet.", "Run rlhf-workbench train ppo first.")
    return newest.run_id


def _export_adapter(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import runs

    folder = Path(options.folder) if options.folder else None
    job = runs.export_adapter(ws, _policy_run(ws, options), folder, options.merged)
    return follow(job, show)


def _export_bundle(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import handover

    config = Path(options.config) if options.config else None
    algorithm, settings, run_id = handover.choose(ws, options.algorithm, options.run, config)
    job = handover.export_bundle(
        ws,
        algorithm,
        settings,
        Path(options.folder) if options.folder else None,
        run_id=run_id,
        reward_run=options.reward_run,
    )
    return follow(job, show)


def _serve_reward(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import serving

    # Not a flag: every user of the machine can read the arguments of a process.
    given = os.environ.get(parser.TOKEN, "")
    served = serving.serve_reward(
        ws,
        options.reward_run,
        host=options.host or serving.HOST,
        port=serving.PORT if options.port is None else options.port,
        token=given,
    )
    is_told = False
    with interruptible(lambda: served.job, show):
        for event in served.job.follow():
            show.event(event)
            if served.url and not is_told:
                is_told = True
                _tell_address(served.url, "" if given else served.token, show)
    return outcome_of(served.job.finished)


def _tell_address(url: str, token: str, show: Show) -> None:
    """Where the reward model is served; the token only when nobody knows it yet."""
    values = {"url": url, **({"token": token} if token else {})}
    remote = url.replace("://", f"://token:{token or f'${parser.TOKEN}'}@")
    show.result(
        values,
        f"Serving at {url}{f' with the token {token}' if token else ''}\n"
        f"OpenRLHF: --reward.remote_url {remote}/get_reward\n"
        "Ctrl+C ends it.",
    )


def _check(options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import integrity

    report = integrity.check(_folder(options))
    facts = ", ".join(f"{n} {name}" for name, n in report.facts.items())
    lines = [*report.problems, facts, "" if report.problems else "The experiment is whole."]
    show.result(
        {"problems": list(report.problems), "facts": report.facts},
        "\n".join(line for line in lines if line),
    )
    return Outcome.FAILED if report.problems else Outcome.DONE


def tour_settings(options: argparse.Namespace) -> TourSettings:
    """What the tour's flags say, over what is tuned for its model."""
    return parser.TOUR.read(options, defaults_for(getattr(options, "setting:model", "starter")))


def _tour(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    from workbench.app import tour

    settings = tour_settings(options)
    with interruptible(lambda: ws.runner.current, show):
        events = tour.tour(ws, settings)
        try:
            while True:
                show.event(event := next(events))
                if (job := ws.runner.current) is not None:
                    stop_if_paused(event, job.token, show)
        except StopIteration as end:
            show.json(end.value)
            return Outcome.DONE
        except (Cancelled, tour.TourFailed) as error:
            show.note(f"The tour ended early: {error} What was made so far is in {ws.path}.")
            return Outcome.FAILED
        except EnvironmentProblem as error:
            show.problem(error)
            return Outcome.FAILED


_WITHOUT_EXPERIMENT: dict[str, Callable[[argparse.Namespace, Show], Outcome]] = {
    "new": _new,
    "models list": _models_list,
    "models import": _models_import,
    "check": _check,
    "reward parts": designs.parts,
    "reward allow": designs.allow,
}
_COMMANDS: dict[str, Callable[[Workspace, argparse.Namespace, Show], Outcome]] = {
    "models use": _models_use,
    "models starter": _models_starter,
    "prompts import": _prompts_import,
    "prompts demo": _prompts_demo,
    "answers import": _answers_import,
    "preferences import": preferences.take_in,
    "preferences export": preferences.export,
    "generate": _generate,
    "judge": _judge,
    "quality": quality.report,
    "queue": _queue,
    "reward probe": probes.probe,
    **{f"train {name}": training.train for name in parser.TRAINING},
    "doctor": doctor.report,
    **run_commands.COMMANDS,
    "reward design": designs.design,
    "reward measure": designs.measure,
    "reward report": reward_report.report,
    "reward score": scoring.score,
    "evaluate": _evaluate,
    "best-of-n": _best_of_n,
    "text-metrics": lambda ws, o, show: evaluating.text_metrics(ws, o, show, _policy_run),
    "safety": lambda ws, o, show: evaluating.safety(ws, o, show, _policy_run),
    "gate": lambda ws, o, show: evaluating.gate(ws, o, show, _policy_run),
    "export preferences": preferences.export,
    "export adapter": _export_adapter,
    "export bundle": _export_bundle,
    "export reward": rewards.export,
    "reward import": rewards.take_in,
    "serve reward": _serve_reward,
    "tour": _tour,
}
