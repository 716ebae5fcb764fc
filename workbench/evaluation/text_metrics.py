"""Text metrics before and after training, told from pairs of answers under the same luck."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from workbench.cancel import CancelToken
from workbench.data.figures import Figure
from workbench.data.records import Prompt
from workbench.errors import EnvironmentProblem
from workbench.evaluation import likelihood, reference_scores
from workbench.evaluation.arena import Answered, Pair
from workbench.evaluation.likelihood import Given
from workbench.evaluation.paired import distinct_figure, mean_figure, ratio_figure
from workbench.events import Event, Progress
from workbench.models.loading import LoadedModel
from workbench.objectives.text_metrics import (
    Units,
    perplexity,
    repetition,
    rouge_l,
    rouge_n,
    self_bleu,
    units,
)

NO_REFERENCES = (
    "No held-out prompt has a reference answer, so BLEU, chrF, ROUGE and the perplexity of "
    "references are not measured. Write or edit answers to held-out prompts, rank some, or give "
    "a file of answers."
)
NO_TEXT = "No held-out text was given, so its perplexity is not measured."
NO_START = (
    "An encoder-decoder reads a text only as a source, so the perplexity of texts that stand "
    "alone is not measured."
)


@dataclass(frozen=True, slots=True)
class TextInputs:
    """What is measured besides the answers.

    Attributes:
        prompts: Those of the pairs, by id.
        references: Texts to compare with, by prompt; prompts without any are left out.
        texts: Held-out texts that stand alone.
    """

    prompts: Mapping[int, Prompt]
    references: Mapping[int, Sequence[str]] = field(default_factory=dict)
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TextReport:
    """Figures, sacreBLEU's signatures by figure, and sentences on what was not measured."""

    figures: Sequence[Figure]
    signatures: Mapping[str, str]
    notes: Sequence[str]


def measure(
    model: LoadedModel,
    adapter: str,
    pairs: Sequence[Pair],
    inputs: TextInputs,
    batch_size: int,
    cancel: CancelToken,
) -> Generator[Event, None, TextReport]:
    """Tell all figures of both sides.

    Args:
        model: The base, with the policy's adapter on it.
        adapter: Its name.
        pairs: Answers of both sides, by prompt and seed.
        inputs: References and texts.
        batch_size: Texts scored side by side.
        cancel: Notice a cancel.

    Raises:
        Cancelled: The token was cancelled.
    """
    signatures: dict[str, str] = {}
    notes: list[str] = []
    cases = {
        "perplexity_text": _windows(model, inputs.texts),
        "perplexity_references": _answers(model, pairs, inputs),
    }
    if not cases["perplexity_text"]:
        notes.append(NO_START if inputs.texts and model.is_encoder_decoder else NO_TEXT)
    if not any(inputs.references.get(pair.prompt_id) for pair in pairs):
        notes.append(NO_REFERENCES)
    figures: list[Figure] = []
    for name, of_name in cases.items():
        if of_name:
            figure = yield from _perplexity(name, model, adapter, of_name, batch_size, cancel)
            figures.append(figure)
    prompts = [pair.prompt_id for pair in pairs]
    figures.append(mean_figure("kl", prompts, None, [pair.trained.kl for pair in pairs]))
    yield Progress(0, 0, "Comparing with references")
    cancel.raise_if_cancelled()
    figures += _overlaps(pairs, inputs.references)
    try:
        for figure, signature in _sacrebleu(pairs, inputs):
            figures.append(figure)
            signatures[figure.name] = signature
            cancel.raise_if_cancelled()
    except EnvironmentProblem as problem:
        notes.append(f"{problem.message} {problem.hint}")
    yield Progress(0, 0, "Counting words")
    figures += _counted(pairs)
    return TextReport(figures, signatures, notes)


_Case = tuple[int, Given]  # which prompt or text, and what is scored


def _windows(model: LoadedModel, texts: Sequence[str]) -> list[_Case]:
    if model.is_encoder_decoder:
        return []
    return [
        (i, window) for i, text in enumerate(texts) for window in likelihood.windows(model, text)
    ]


def _answers(model: LoadedModel, pairs: Sequence[Pair], inputs: TextInputs) -> list[_Case]:
    found = [
        (prompt_id, likelihood.answer(model, inputs.prompts[prompt_id].messages, text))
        for prompt_id in dict.fromkeys(pair.prompt_id for pair in pairs)
        for text in inputs.references.get(prompt_id, ())
    ]
    return [(prompt_id, given) for prompt_id, given in found if likelihood.fits(model, given)]


def _perplexity(
    name: str,
    model: LoadedModel,
    adapter: str,
    cases: Sequence[_Case],
    batch_size: int,
    cancel: CancelToken,
) -> Generator[Event, None, Figure]:
    clusters, items = zip(*cases, strict=True)
    check = cancel.raise_if_cancelled
    before = yield from likelihood.logps(
        model, None, items, batch_size, check, "Perplexity of the base"
    )
    after = yield from likelihood.logps(
        model, adapter, items, batch_size, check, "Perplexity of the policy"
    )
    lengths = [float(len(item.ids)) for item in items]
    return ratio_figure(name, clusters, before, after, lengths, perplexity)


def _overlaps(pairs: Sequence[Pair], references: Mapping[int, Sequence[str]]) -> Iterator[Figure]:
    """ROUGE against the best reference of each prompt."""
    there = [pair for pair in pairs if references.get(pair.prompt_id)]
    if not there:
        return
    known = {i: [units(text) for text in references[i]] for i in {p.prompt_id for p in there}}
    sides = [
        [(units(side(pair).text), known[pair.prompt_id]) for pair in there]
        for side in (_before, _after)
    ]
    scores: dict[str, Callable[[Units, Units], float]] = {
        "rouge_1": lambda text, reference: rouge_n(text, reference, 1),
        "rouge_2": lambda text, reference: rouge_n(text, reference, 2),
        "rouge_l": rouge_l,
    }
    for name, score in scores.items():
        values = [[max(score(text, r) for r in texts) for text, texts in side] for side in sides]
        yield mean_figure(name, [pair.prompt_id for pair in there], *values)


def _sacrebleu(pairs: Sequence[Pair], inputs: TextInputs) -> Iterator[tuple[Figure, str]]:
    """BLEU by language, as their tokenizers differ, and chrF, which needs none."""
    there = [pair for pair in pairs if inputs.references.get(pair.prompt_id)]
    is_chinese = [inputs.prompts[pair.prompt_id].language == "zh" for pair in there]
    for name, tokenizer, is_wanted in (("bleu", "13a", False), ("bleu_zh", "zh", True)):
        of_language = [p for p, is_zh in zip(there, is_chinese, strict=True) if is_zh == is_wanted]
        if of_language:
            yield reference_scores.bleu(name, *_corpus(of_language, inputs), tokenizer)
    if there:
        yield reference_scores.chrf("chrf", *_corpus(there, inputs))


def _corpus(
    pairs: Sequence[Pair], inputs: TextInputs
) -> tuple[list[int], list[str], list[str], list[Sequence[str]]]:
    return (
        [pair.prompt_id for pair in pairs],
        [pair.base.text for pair in pairs],
        [pair.trained.text for pair in pairs],
        [inputs.references[pair.prompt_id] for pair in pairs],
    )


def _counted(pairs: Sequence[Pair]) -> Iterator[Figure]:
    """What the answers alone tell."""
    prompts = [pair.prompt_id for pair in pairs]
    before, after = ([units(side(pair).text) for pair in pairs] for side in (_before, _after))
    for n in (1, 2, 3):
        yield distinct_figure(f"distinct_{n}", prompts, before, after, n)
    yield from _alike(prompts, (before, after))
    rates = [repetition(text) for text in before], [repetition(text) for text in after]
    yield mean_figure("repetition", prompts, *rates)
    lengths = [[float(side(pair).n_tokens) for pair in pairs] for side in (_before, _after)]
    yield mean_figure("length", prompts, lengths[0], lengths[1])
    ends = [[float(side(pair).is_finished) for pair in pairs] for side in (_before, _after)]
    yield mean_figure("eos_rate", prompts, ends[0], ends[1])


def _alike(prompts: Sequence[int], sides: Sequence[Sequence[Units]]) -> Iterator[Figure]:
    """Self-BLEU inside each prompt, and over the first answers to all prompts.

    Both, because training narrows them differently (Kirk et al. 2023, arXiv:2310.06452, per-input
    and across-input diversity). The interval of the second holds the other answers fixed.
    """
    rows: dict[int, list[int]] = {}
    for i, prompt in enumerate(prompts):
        rows.setdefault(prompt, []).append(i)
    several = [of_prompt for of_prompt in rows.values() if len(of_prompt) > 1]
    if several:
        clusters = [prompts[i] for of_prompt in several for i in of_prompt]
        within = [
            [score for of_prompt in several for score in self_bleu([side[i] for i in of_prompt])]
            for side in sides
        ]
        yield mean_figure("self_bleu", clusters, *within)
    if len(rows) > 1:
        first = [of_prompt[0] for of_prompt in rows.values()]
        across = [self_bleu([side[i] for i in first]) for side in sides]
        yield mean_figure("self_bleu_across", list(rows), *across)


def _before(pair: Pair) -> Answered:
    return pair.base


def _after(pair: Pair) -> Answered:
    return pair.trained
