"""Votes of several annotators, ratings and rankings become preferences and strengths."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tests.close import FLOAT64, assert_close
from workbench.app import aggregate, feedback, labelling, training_data
from workbench.app.workspace import Workspace
from workbench.config.aggregation import AggregationSettings
from workbench.config.algorithms import ALGORITHMS, REWARD
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import Message, NewCompletion, NewPrompt, Verdict
from workbench.errors import UserError
from workbench.objectives.agreement import bradley_terry

AUTHORITY = AggregationSettings(stars_apart=2)
MAJORITY = AggregationSettings(several="majority")


def add(ws: Workspace, *texts: str, models: tuple[str, ...] = ()) -> tuple[int, list[int]]:
    """A prompt with answers; its id and theirs."""
    n = ws.experiment.prompts.count()
    [prompt] = ws.experiment.prompts.add_many([NewPrompt((Message("user", f"p{n}"),))])
    names = models or ("base",) * len(texts)
    return prompt, ws.experiment.completions.add_many(
        [NewCompletion(prompt, t, model_name=m) for t, m in zip(texts, names, strict=True)]
    )


def pair(ws: Workspace, first: int, second: int, prompt: int) -> int:
    [(comparison, _)] = ws.experiment.comparisons.ensure([(prompt, first, second)])
    return comparison.id


def say(
    ws: Workspace, comparison: int, verdict: Verdict, who: str, kind="person", strength=0
) -> None:
    ws.experiment.judgements.add(comparison, verdict, who, kind, 1.0, strength=strength)


def chosen(ws: Workspace, rule: AggregationSettings) -> list[tuple[str, str]]:
    return [(p.chosen, p.rejected) for p in aggregate.preferences(ws, rule)]


def test_by_authority_it_is_what_the_store_says(ws) -> None:
    """Random verdicts of four kinds of annotators, some taken back, some skipped, some ranked."""
    rng = random.Random(0)
    with ws.experiment.database.write():
        for _ in range(12):
            prompt, answers = add(ws, "a", "b", "c", "d")
            for first, second in itertools.combinations(rng.sample(answers, 4), 2):
                pair(ws, first, second, prompt)
            if rng.random() < 0.3:
                feedback.rank(ws, prompt, [[answers[1]], answers[:1], answers[2:]], 4.0)
        for _ in range(250):
            who, kind = rng.choice(
                [
                    ("ada", "person"),
                    ("bob", "person"),
                    ("gpt", "ai"),
                    ("file", "imported"),
                    ("s", "simulated"),
                ]
            )
            verdict = rng.choice(["first", "second", "tie", "both_bad", "skip"])
            say(ws, rng.randrange(1, 73), verdict, who, kind, rng.randrange(3))
    for _ in range(5):
        labelling.undo(ws)
    expected = ws.experiment.judgements.preferences()
    assert len(expected) > 20
    assert aggregate.preferences(ws, AUTHORITY) == expected


def test_ratings_far_enough_apart_are_preferences(ws) -> None:
    prompt, answers = add(ws, "five", "three", "two", "unrated", "taken back")
    for answer, stars in zip(answers, (5, 3, 2), strict=False):
        feedback.rate(ws, ws.experiment.completions.get(answer), stars)
    ws.experiment.completions.add_many([NewCompletion(prompt, "gone")], is_undoable=True)
    feedback.rate(ws, ws.experiment.completions.get(answers[-1] + 1), 1)
    ws.experiment.undo.undo()
    ws.experiment.undo.undo()
    found = aggregate.preferences(ws, AUTHORITY)
    assert {(p.chosen, p.rejected, p.strength) for p in found} == {
        ("five", "three", 1),
        ("five", "two", 2),
    }
    assert {p.comparison_id for p in found} == {0}
    assert {(p.annotator, p.annotator_kind) for p in found} == {(ws.annotator, "person")}
    nearer = AggregationSettings(stars_apart=1)
    assert set(chosen(ws, nearer)) == {("five", "three"), ("five", "two"), ("three", "two")}
    assert chosen(ws, AggregationSettings()) == []


def test_ratings_of_two_people_do_not_mix_and_a_pair_judged_goes_before_them(ws) -> None:
    prompt, (one, other) = add(ws, "one", "other")
    ws.experiment.remarks.add("rating", prompt, one, "5", "ada", "person")
    ws.experiment.remarks.add("rating", prompt, other, "1", "bob", "person")
    assert chosen(ws, AUTHORITY) == []
    ws.experiment.remarks.add("rating", prompt, other, "1", "ada", "person")
    assert chosen(ws, AUTHORITY) == [("one", "other")]
    comparison = pair(ws, other, one, prompt)
    say(ws, comparison, "first", "ada")
    [found] = aggregate.preferences(ws, AUTHORITY)
    assert (found.chosen, found.comparison_id) == ("other", comparison)


@pytest.mark.parametrize(
    ("votes", "least", "winner"),
    [
        ("AAB", 0.5, "one"),
        ("AAB", 0.7, None),
        ("AB", 0.5, None),
        ("AB=", 0.5, None),
        ("AA==", 0.5, None),
        ("AAA==", 0.5, "one"),
        ("BBB", 1.0, "other"),
        ("AASS", 1.0, "one"),
        ("S", 0.5, None),
    ],
)
def test_the_majority_decides(ws, votes: str, least: float, winner: str | None) -> None:
    prompt, (one, other) = add(ws, "one", "other")
    comparison = pair(ws, other, one, prompt)  # the answer of the greater id stands first
    verdicts: dict[str, Verdict] = {"A": "second", "B": "first", "=": "both_bad", "S": "skip"}
    for i, vote in enumerate(votes):
        say(ws, comparison, verdicts[vote], f"annotator {i}")
    rule = AggregationSettings(several="majority", least_share=least)
    assert [p.chosen for p in aggregate.preferences(ws, rule)] == ([winner] if winner else [])


def test_the_majority_is_among_the_highest_kind(ws) -> None:
    prompt, (one, other) = add(ws, "one", "other")
    comparison = pair(ws, one, other, prompt)
    for name in ("gpt", "claude", "llama"):
        say(ws, comparison, "second", name, "ai")
    assert chosen(ws, MAJORITY) == [("other", "one")]
    say(ws, comparison, "first", "ada", strength=2)
    say(ws, comparison, "first", "bob", strength=1)
    [found] = aggregate.preferences(ws, MAJORITY)
    assert (found.chosen, found.annotator, found.annotator_kind) == ("one", "ada, bob", "person")
    assert found.strength == 1
    # A person who skipped has no vote.
    say(ws, comparison, "skip", "ada")
    say(ws, comparison, "skip", "bob")
    assert chosen(ws, MAJORITY) == [("other", "one")]


def test_weak_preferences_can_be_left_out(ws) -> None:
    for strength in (0, 1, 2):
        prompt, (one, other) = add(ws, f"good {strength}", "bad")
        say(ws, pair(ws, one, other, prompt), "first", "ada", strength=strength)
    for least, n in ((0, 3), (1, 2), (2, 1)):
        found = aggregate.preferences(ws, AggregationSettings(least_strength=least))
        assert [p.strength for p in found] == list(range(3 - n, 3))


def test_strengths_of_answers_are_those_of_each_prompt_alone(ws) -> None:
    """Prompts of two and three answers together, each against a problem of its own."""
    rng = random.Random(1)
    wins = {}
    for n in (2, 3, 3, 2, 3):
        prompt, answers = add(ws, *(f"a{i}" for i in range(n)))
        wins[prompt] = (answers, np.zeros((n, n)))
        for one, other in itertools.combinations(range(n), 2):
            comparison = pair(ws, answers[other], answers[one], prompt)
            for who in ("ada", "bob", "cat"):
                verdict = rng.choice(["first", "second", "tie", "skip"])
                say(ws, comparison, verdict, who)
                share = {"first": 0.0, "second": 1.0, "tie": 0.5}.get(verdict)
                if share is not None:
                    wins[prompt][1][one, other] += share
                    wins[prompt][1][other, one] += 1 - share
    found = aggregate.answer_strengths(ws, MAJORITY)
    assert set(found) <= set(wins)
    assert len(found) >= 4
    for prompt, strengths in found.items():
        answers, table = wins[prompt]
        alone = bradley_terry(table)
        values = {s.answer_id: s.strength for s in strengths}
        for i, answer in enumerate(answers):
            assert_close(values[answer][:3], [x[i] for x in alone], FLOAT64)
            assert values[answer].n == table[i].sum() + table[:, i].sum()
        assert [s.strength.value for s in strengths] == sorted(
            (s.strength.value for s in strengths), reverse=True
        )


def test_strengths_of_models_find_the_better_one(ws) -> None:
    """The trained model is chosen in 70 % of its pairs with the base; among its own no vote."""
    rng = random.Random(2)
    with ws.experiment.database.write():
        for _ in range(150):
            prompt, answers = add(ws, "x", "y", "z", models=("base", "trained", "trained"))
            for one, other in itertools.combinations(answers, 2):
                comparison = pair(ws, one, other, prompt)
                is_own = one != answers[0]
                verdict = "first" if is_own or rng.random() < 0.3 else "second"
                say(ws, comparison, verdict, ws.annotator)
    trained, base = aggregate.model_strengths(ws, AUTHORITY)
    assert (trained.name, base.name) == ("trained", "base")
    assert trained.strength.n == base.strength.n == 300
    assert trained.strength.low > 0 > base.strength.high
    assert trained.strength.value == pytest.approx(np.log(0.7 / 0.3) / 2, abs=0.15)
    assert trained.win_rate.low > 0.5 > base.win_rate.value
    assert trained.win_rate.value + base.win_rate.value == pytest.approx(1.0)


def test_one_model_alone_has_no_strength(ws) -> None:
    prompt, (one, other) = add(ws, "one", "other")
    say(ws, pair(ws, one, other, prompt), "first", "ada")
    assert aggregate.model_strengths(ws, AUTHORITY) == ()
    assert aggregate.answer_strengths(ws, AUTHORITY)[prompt][0].answer_id == one


def test_models_learn_by_the_rule_that_the_experiment_keeps(ws) -> None:
    """Of three people two prefer the other answer; the last of them decides by authority."""
    for i in range(3):
        prompt, (one, other) = add(ws, f"one {i}", f"other {i}")
        comparison = pair(ws, one, other, prompt)
        for who, verdict in (("bob", "second"), ("cat", "second"), ("ada", "first")):
            say(ws, comparison, verdict, who)
    assert aggregate.rule_of(ws) == AggregationSettings()
    pairs, _ = training_data.usable_pairs(ws)
    assert [p.chosen for p in pairs] == ["one 0", "one 1", "one 2"]
    aggregate.save_rule(ws, MAJORITY)
    assert aggregate.rule_of(ws) == MAJORITY
    pairs, _ = training_data.usable_pairs(ws)
    assert [(p.chosen, p.annotator) for p in pairs] == [
        (f"other {i}", "bob, cat") for i in range(3)
    ]
    ws.experiment.settings.set("aggregation", {"several": "dice", "stars_apart": 2})
    assert aggregate.rule_of(ws) == AggregationSettings()


def test_a_run_keeps_the_rule_that_it_learned_by(ws) -> None:
    for i in range(9):
        prompt, (one, other) = add(ws, f"one {i}", f"other {i}")
        say(ws, pair(ws, one, other, prompt), "first", "ada", strength=2)
    _, facts = training_data.collect(ws, REWARD, RewardModelSettings())
    assert "rule" not in facts
    rule = AggregationSettings(least_strength=2)
    aggregate.save_rule(ws, rule)
    _, facts = training_data.collect(ws, REWARD, RewardModelSettings())
    assert facts["rule"] == rule.model_dump()


def test_what_a_majority_prefers_is_not_both_bad(ws) -> None:
    """For learning from single answers: by authority the pair is bad, by majority one is good."""
    for i in range(9):
        prompt, (one, other) = add(ws, f"one {i}", f"other {i}")
        comparison = pair(ws, one, other, prompt)
        for who, verdict in (("bob", "first"), ("cat", "first"), ("ada", "both_bad")):
            say(ws, comparison, verdict, who)
    with pytest.raises(UserError, match="0 answers called good and 18 called bad"):
        training_data.collect(ws, ALGORITHMS["kto"], ALGORITHMS["kto"].settings())
    aggregate.save_rule(ws, MAJORITY)
    data, _ = training_data.collect(ws, ALGORITHMS["kto"], ALGORITHMS["kto"].settings())
    assert {f.answer[:3] for f in data.feedback if f.is_desirable} == {"one"}
    assert len(data.feedback) == 18


def test_nothing_said_is_nothing_aggregated(ws) -> None:
    assert aggregate.preferences(ws, MAJORITY) == []
    assert aggregate.answer_strengths(ws, MAJORITY) == {}
    assert aggregate.model_strengths(ws, MAJORITY) == ()
