"""Labels and answers as they are counted: only what stands, and words of any language."""

from __future__ import annotations

import pytest

from workbench.data.records import NewCompletion
from workbench.store import labels
from workbench.store.experiment import Experiment
from workbench.store.labels import count_words


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        ("  two   words\n", 2),
        ("模型学会了", 5 / 1.5),
        ("PPO 训练 for é", 3 + 2 / 1.5),
        ("моё слово", 2),
    ],
)
def test_words_are_counted_as_they_are_read(text: str, n: float) -> None:
    assert count_words(text) == pytest.approx(n)


def test_the_last_standing_judgement_of_each_annotator_is_their_label(
    experiment: Experiment, pairs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "_PAGE", 2)
    for pair, verdict, who in [
        (pairs[0], "first", "ada"),
        (pairs[1], "tie", "ada"),
        (pairs[0], "second", "ada"),
        (pairs[0], "first", "bob"),
        (pairs[2], "skip", "ada"),
        (pairs[3], "first", "ada"),
    ]:
        experiment.judgements.add(pair, verdict, who, "person", 1.5, strength=1)
    experiment.undo.undo()
    experiment.prompts.delete([experiment.comparisons.get(pairs[2]).prompt_id])
    checked: list[None] = []
    found = experiment.labels.list(lambda: checked.append(None))
    assert [(x.annotator, x.comparison_id, x.verdict) for x in found] == [
        ("ada", pairs[1], "tie"),
        ("ada", pairs[0], "second"),
        ("bob", pairs[0], "first"),
    ]
    assert len(checked) == 3
    pair = experiment.comparisons.get(pairs[0])
    last = found[-1]
    assert (last.prompt_id, last.first_id, last.second_id) == (1, pair.first_id, pair.second_id)
    assert (last.strength, last.seconds, last.is_ranked) == (1, 1.5, False)


def test_answers_have_lengths_and_an_origin(
    experiment: Experiment, add_prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "_PAGE", 2)
    prompt, _ = add_prompt("why")
    made = [
        NewCompletion(prompt, "a b", model_name="base"),
        NewCompletion(prompt, "a b c", model_name="base", adapter="PPO 1"),
        NewCompletion(prompt, "because", source="imported"),
        NewCompletion(prompt, "my own", source="edited", author="ada", parent_id=1),
    ]
    ids = experiment.completions.add_many(made)
    facts = experiment.labels.answers()
    assert [facts[i].origin for i in ids] == ["base", "base with PPO 1", "imported", "edited"]
    assert [facts[i].is_written for i in ids] == [False, False, False, True]
    assert [(facts[i].n_chars, facts[i].n_words) for i in ids] == [(3, 2), (5, 3), (7, 1), (6, 2)]


def test_rankings_are_told_from_pairs(experiment: Experiment, add_prompt) -> None:
    prompt, answers = add_prompt("why", "a", "b", "c")
    experiment.rankings.add(prompt, [[a] for a in answers], "ada", "person", 3.0)
    assert [label.is_ranked for label in experiment.labels.list()] == [True] * 3
