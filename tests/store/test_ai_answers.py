"""What AI judges answered: kept question by question, never twice."""

from __future__ import annotations

from workbench.data.records import AiAnswer, Message, NewCompletion, NewPrompt
from workbench.store.experiment import Experiment

JUDGE = "judge 1a2b3c"


def test_an_answer_is_kept_once_and_outlives_a_restart(
    experiment: Experiment, pairs: list[int]
) -> None:
    answers = experiment.ai_answers
    answers.add(pairs[0], JUDGE, False, 0.75, "A", 0.5, 40)
    answers.add(pairs[0], JUDGE, False, 0.1, "B", 9.0, 99)
    answers.add(pairs[0], JUDGE, True, None, "neither \ud800", 0.25, 41)
    answers.add(pairs[0], "other", False, 0.2, "B", 1.0, 10)
    straight = AiAnswer(pairs[0], JUDGE, False, 0.75, "A", 0.5, 40)
    swapped = AiAnswer(pairs[0], JUDGE, True, None, "neither ?", 0.25, 41)
    path = experiment.path
    experiment.close()
    with Experiment.open(path) as again:
        assert again.ai_answers.of_judge(JUDGE) == {pairs[0]: {False: straight, True: swapped}}
        assert again.ai_answers.of_pair(pairs[0], JUDGE) == {False: straight, True: swapped}
        assert again.ai_answers.of_pair(pairs[1], JUDGE) == {}
        cost = again.ai_answers.cost(JUDGE)
    assert (cost.n_answers, cost.n_unreadable, cost.n_tokens) == (2, 1, 81)
    assert cost.seconds == 0.75


def test_labels_are_the_persons_last_words(experiment: Experiment, pairs: list[int]) -> None:
    judge = experiment.judgements
    judge.add(pairs[0], "first", "ada", "person", 1.0)
    judge.add(pairs[0], "second", "ada", "person", 1.0)
    judge.add(pairs[1], "tie", "ada", "person", 1.0)
    judge.add(pairs[2], "skip", "ada", "person", 1.0)
    judge.add(pairs[3], "first", "ada", "person", 1.0)
    judge.add(pairs[3], "skip", "ada", "person", 1.0)
    judge.add(pairs[4], "first", "bob", "person", 1.0)
    judge.add(pairs[5], "first", "file", "imported", 1.0)
    judge.add(pairs[6], "first", JUDGE, "ai", 1.0)
    judge.add(pairs[7], "first", "ada", "person", 1.0)
    experiment.undo.undo()
    assert experiment.ai_answers.labels_of("ada") == {pairs[0]: "second", pairs[1]: "tie"}
    decided = {pairs[i] for i in (0, 1, 2, 3, 4, 5)}
    assert experiment.ai_answers.judged_with_authority() == decided


def test_tags_of_a_pair_are_its_prompts_and_its_answers(experiment: Experiment) -> None:
    experiment.prompts.add_many([NewPrompt((Message("user", "why"),), group="dialogue")])
    experiment.completions.add_many([NewCompletion(1, f"answer {i}") for i in range(3)])
    experiment.comparisons.add_many([(1, 1, 2), (1, 2, 3)])
    add = experiment.remarks.add
    add("tag", 1, None, "science", "ada", "person")
    add("tag", 1, 1, "rude", "ada", "person")
    add("tag", 1, 3, "long", "bob", "person")
    add("comment", 1, 2, "no tag", "ada", "person")
    taken = add("tag", 1, 2, "gone", "ada", "person")
    experiment.remarks.take_back(taken)
    assert experiment.ai_answers.tags_of([1, 2]) == {
        1: {"dialogue", "science", "rude"},
        2: {"dialogue", "science", "long"},
    }
    assert experiment.ai_answers.tags_of([]) == {}
