"""What the figures of an evaluation mean: the glossary of text and safety measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure's meaning.

    Attributes:
        title: As tables show it.
        unit: "%" for shares in [0, 1]; else as in the glossary of metrics, or empty.
        meaning: What it says and where it comes from.
        better: Which way is better; empty where that depends.
        digits: Digits after the point in tables.
    """

    title: str
    unit: str
    meaning: str
    better: Literal["higher", "lower", ""] = ""
    digits: int = 2


MEASURES: Mapping[str, Measure] = {
    "perplexity_text": Measure(
        "Perplexity of the text file",
        "",
        "exp of the mean surprise per token of the held-out text, each window read from a start "
        "token. What a model forgets of language shows here.",
        "lower",
    ),
    "perplexity_references": Measure(
        "Perplexity of the references",
        "",
        "exp of the mean surprise per token of the reference answers, given their prompts, end "
        "token included.",
        "lower",
    ),
    "kl": Measure(
        "KL to the base",
        "nats",
        "Mean of log π(y) − log π_base(y) over the policy's own answers, per answer.",
    ),
    "rouge_1": Measure(
        "ROUGE-1",
        "%",
        "F1 of the words that an answer shares with its best reference; characters in Chinese.",
        "higher",
        1,
    ),
    "rouge_2": Measure("ROUGE-2", "%", "The same of pairs of neighbouring words.", "higher", 1),
    "rouge_l": Measure(
        "ROUGE-L", "%", "F1 of the longest common subsequence with a reference.", "higher", 1
    ),
    "bleu": Measure("BLEU", "", "sacreBLEU over all answers that have references.", "higher", 1),
    "bleu_zh": Measure(
        "BLEU, Chinese", "", "The same over Chinese prompts, with the tokenizer zh.", "higher", 1
    ),
    "chrf": Measure(
        "chrF", "", "F-score of character n-grams, sacreBLEU over all answers.", "higher", 1
    ),
    "distinct_1": Measure(
        "Distinct-1",
        "%",
        "Different words over all words of the answers. Falls as answers get longer.",
        "higher",
        1,
    ),
    "distinct_2": Measure("Distinct-2", "%", "The same of pairs of words.", "higher", 1),
    "distinct_3": Measure("Distinct-3", "%", "The same of runs of three words.", "higher", 1),
    "self_bleu": Measure(
        "Self-BLEU within",
        "%",
        "How like the other answers to its prompt an answer is. Near 100 %: always the same.",
        "lower",
        1,
    ),
    "self_bleu_across": Measure(
        "Self-BLEU across",
        "%",
        "How like the answers to other prompts an answer is, first answers only. A rise means "
        "stock phrases.",
        "lower",
        1,
    ),
    "repetition": Measure(
        "Repetition",
        "%",
        "Share of runs of four words that stood in the same answer before.",
        "lower",
        1,
    ),
    "length": Measure("Length", "tokens", "Mean number of tokens, end token included.", "", 1),
    "eos_rate": Measure("Ended by itself", "%", "Answers with an end token.", "higher", 0),
    "refusal_harmful": Measure(
        "Harmful refused",
        "%",
        "Answers to harmful prompts that refuse, by stated rules.",
        "higher",
        0,
    ),
    "refusal_harmless": Measure(
        "Over-refusal",
        "%",
        "Answers to harmless prompts with alarming words that refuse, by the same rules.",
        "lower",
        0,
    ),
    "toxicity_words": Measure(
        "Toxic words",
        "%",
        "Pairs and requests of whose answers one holds a word of the list.",
        "lower",
        1,
    ),
    "toxicity_classifier": Measure(
        "Toxicity by the classifier",
        "%",
        "Mean probability that the classifier gives its toxic label, over all answers.",
        "lower",
        1,
    ),
    "gap_sentiment": Measure(
        "Gap in sentiment",
        "",
        "Mean distance of the sentiment of the answers to both prompts of a pair, on −1 to 1: "
        "VADER in English, a small word list in Chinese.",
        "lower",
        3,
    ),
    "gap_refusal": Measure(
        "Gap in refusal", "%", "Pairs of which one prompt is refused and one is not.", "lower", 1
    ),
    "gap_length": Measure("Gap in length", "tokens", "The same of the answers' length.", "lower"),
    "gap_likelihood": Measure(
        "Gap in likelihood",
        "nats",
        "The same of the log-likelihood of one neutral answer given each of the prompts.",
        "lower",
        3,
    ),
    "lean_sentiment": Measure(
        "Lean in sentiment",
        "",
        "Sentiment of the answers to the first prompt less that to the second. Below 0, the "
        "group that is more often at a disadvantage gets the gloomier answers.",
        "",
        3,
    ),
    "lean_refusal": Measure(
        "Lean in refusal", "%", "Refusals of the first prompts less those of the second.", "", 1
    ),
    "lean_length": Measure("Lean in length", "tokens", "The same of the answers' length."),
    "lean_likelihood": Measure(
        "Lean in likelihood", "nats", "The same of the likelihood of a neutral answer.", "", 3
    ),
    "stereotype": Measure(
        "Stereotype preferred",
        "%",
        "Pairs of sentences of which the more stereotyping one is likelier. 50 % is even.",
        "",
        1,
    ),
}
"""Of a figure such as `lean_sentiment.gender`, what stands before the point."""


def measure_of(name: str) -> Measure:
    """What a figure means, whatever part of the data it was measured on."""
    return MEASURES[name.partition(".")[0]]
