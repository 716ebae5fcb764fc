"""Safety measures of base and trained policy, before and after."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench.app import measuring
from workbench.app.workspace import Workspace, require_whole
from workbench.cancel import CancelToken
from workbench.config.algorithms import SAFETY
from workbench.config.safety import SafetySettings
from workbench.data import safety_prompts
from workbench.data.formats.crows import SentencePair, read_sentence_pairs
from workbench.data.records import Message
from workbench.data.safety_prompts import PairedPrompt, Request
from workbench.errors import UserError
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.evaluation.safety import SafetyInputs
    from workbench.models.classifier import Classifier
    from workbench.models.loading import LoadedModel

_ASKED = "asked"
_TOXIC = re.compile("toxic|hate|offens|abus|insult", re.IGNORECASE)
_HARMLESS = re.compile("non|not|neutral|normal", re.IGNORECASE)
T = TypeVar("T", PairedPrompt, Request)


@dataclass(frozen=True, slots=True)
class SafetyFiles:
    """What the user adds to the shipped prompts and lists; None leaves it out.

    Attributes:
        words: A list of toxic words in place of the shipped one.
        classifier: The folder of a text classifier that measures toxicity.
        toxic_label: The label of it that means toxic; empty takes one that is called so.
        sentences: A CSV file like CrowS-Pairs.
    """

    words: Path | None = None
    classifier: Path | None = None
    toxic_label: str = ""
    sentences: Path | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """A prompt with both answers, as the evaluation stored them."""

    part: str
    language: str
    prompt: str
    before: str
    after: str
    refuses_before: bool
    refuses_after: bool


def measure(
    ws: Workspace, run_id: int, settings: SafetySettings, files: SafetyFiles | None = None
) -> Job:
    """Answer the shipped prompts with base and policy, and tell what training has changed.

    Args:
        ws: The experiment.
        run_id: The policy run.
        settings: Which prompts, and how answers are drawn.
        files: The user's lists, classifier and pairs of sentences.

    Raises:
        UserError: No adapter, no such file, or another model is chosen.
    """
    files = files or SafetyFiles()
    policy_run, folder, inputs = measuring.policy_to_measure(ws, run_id)
    for path in (files.words, files.sentences):
        measuring.require_file(path)
    if files.classifier is not None and not files.classifier.is_dir():
        raise UserError(
            f"There is no folder {files.classifier}.",
            "Choose a folder with config.json, a tokenizer and model.safetensors.",
        )
    for name in ("words", "classifier", "sentences"):
        if (path := getattr(files, name)) is not None:
            inputs[name] = str(path)
    eval_run = ws.new_run("evaluation", SAFETY, settings, inputs)

    def work(cancel: CancelToken) -> Working:
        require_whole(folder)
        words = safety_prompts.toxic_words(files.words)
        sentences, notes = _sentences(files.sentences)
        model = yield from ws.model(cancel)
        from workbench.evaluation import arena, safety
        from workbench.models import adapters, policy

        asking, n_long = _inputs(model, settings, words, sentences, files)
        if n_long:
            notes.append(
                f"{n_long} prompts are left out: with an answer they do not fit into the model's "
                f"context of {model.context_length} tokens."
            )
        try:
            trained = policy.load(model, arena.ADAPTER, folder)
            report = yield from safety.measure(model, trained, asking, settings, cancel)
        finally:
            adapters.remove(model, arena.ADAPTER)
        yield from measuring.told(report.figures)
        return {
            measuring.FIGURES: [figure.to_dict() for figure in report.figures],
            measuring.NOTES: [*notes, *report.notes],
            _ASKED: [asked.to_dict() for asked in report.asked],
            "n_pairs": len(asking.pairs),
        }

    name = ws.run(eval_run).name
    return ws.submit(f"{name} of {policy_run.name}", SAFETY.name, work, run_id=eval_run)


def result(ws: Workspace, run_id: int) -> measuring.Measured:
    """The figures of a finished evaluation.

    Raises:
        UserError: It is none, or it has not finished.
    """
    return measuring.result(ws, run_id, SAFETY)


def answers(ws: Workspace, run_id: int) -> list[Answers]:
    """Every prompt of a finished evaluation with both answers."""
    stored = ws.run(run_id).results.get(_ASKED)
    entries = stored if isinstance(stored, list) else []
    return [Answers(**{k: entry[k] for k in Answers.__slots__}) for entry in entries]


def _sentences(path: Path | None) -> tuple[list[SentencePair], list[str]]:
    if path is None:
        return [], []
    pairs, problems = read_sentence_pairs(path)
    notes = []
    if problems:
        notes.append(
            f"{len(problems)} rows of {path.name} are left out; line {problems[0].line}: "
            f"{problems[0].message}"
        )
    return pairs, notes


def _inputs(
    model: LoadedModel,
    settings: SafetySettings,
    words: Sequence[str],
    sentences: Sequence[SentencePair],
    files: SafetyFiles,
) -> tuple[SafetyInputs, int]:
    """What is asked and who judges; and how many prompts are too long for the model."""
    from workbench.evaluation.answer_rules import Sentiment, WordList
    from workbench.evaluation.safety import NEUTRAL, SafetyInputs

    room = model.context_length - max(
        settings.max_new_tokens,
        *(len(model.tokenizer.encode(text, add_special_tokens=False)) for text in NEUTRAL.values()),
    )

    def fits(*texts: str) -> bool:
        return all(len(model.encode_prompt((Message("user", t),))) <= room for t in texts)

    pairs = _of_each_attribute(_of_language(safety_prompts.pairs(), settings), settings)
    kept = [pair for pair in pairs if fits(pair.first, pair.second)]
    n_long = len(pairs) - len(kept)
    requests = {}
    for kind in ("harmful", "harmless"):
        wanted = _some(_of_language(safety_prompts.requests(kind), settings), settings.n_requests)
        requests[kind] = [request for request in wanted if fits(request.text)]
        n_long += len(wanted) - len(requests[kind])
    if not kept and not any(requests.values()):
        raise UserError(
            f"No prompt fits into the context of {model.info.name} "
            f"({model.context_length} tokens).",
            "Lower the answer length, or choose another model.",
        )
    found = SafetyInputs(
        pairs=kept,
        harmful=requests["harmful"],
        harmless=requests["harmless"],
        sentences=sentences,
        sentiment=Sentiment(safety_prompts.chinese_sentiment()),
        words=WordList(words),
        classifier=_classifier(files),
    )
    return found, n_long


def _of_language(entries: Sequence[T], settings: SafetySettings) -> list[T]:
    return [e for e in entries if settings.language in ("both", e.language)]


def _of_each_attribute(
    pairs: Sequence[PairedPrompt], settings: SafetySettings
) -> list[PairedPrompt]:
    by_attribute = itertools.groupby(pairs, lambda pair: pair.attribute)
    n = settings.pairs_per_attribute
    return [pair for _, group in by_attribute for pair in _some(list(group), n)]


def _some(entries: Sequence[T], n: int) -> list[T]:
    """The first `n`, the languages in turn; all for 0."""
    languages = [[e for e in entries if e.language == which] for which in ("en", "zh")]
    mixed = [e for two in itertools.zip_longest(*languages) for e in two if e is not None]
    return mixed[: n or None]


def _classifier(files: SafetyFiles) -> tuple[Classifier, int] | None:
    if files.classifier is None:
        return None
    from workbench.models.classifier import load_classifier

    classifier = load_classifier(files.classifier)
    return classifier, _toxic(classifier.labels, files.toxic_label)


def _toxic(labels: Sequence[str], wanted: str) -> int:
    """The index of the label that was asked for, or of the one that is called toxic."""
    if len(labels) == 1 and not wanted:
        return 0
    for i, label in enumerate(labels):
        if wanted and label.lower() == wanted.lower():
            return i
        if not wanted and _TOXIC.search(label) and not _HARMLESS.search(label):
            return i
    if list(labels) == ["LABEL_0", "LABEL_1"] and not wanted:
        return 1  # nobody named them; of two the second is the finding
    what = f"no label {wanted}" if wanted else "no label that is called toxic"
    raise UserError(
        f"The classifier has {what}; its labels are {', '.join(labels)}.",
        "Name the label that means toxic.",
    )
