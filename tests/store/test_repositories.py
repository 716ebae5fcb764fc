from __future__ import annotations

import math
import sqlite3
import threading

import pytest

from tests.store.conftest import AddPrompt
from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.errors import UserError
from workbench.events import Evaluated, Progress, Sample, Step, Warned
from workbench.store.experiment import Experiment


def prompt(text: str, **fields: str) -> NewPrompt:
    return NewPrompt((Message("user", text),), **fields)  # type: ignore[arg-type]


def test_equal_prompts_are_stored_once_but_each_gets_its_id(experiment: Experiment) -> None:
    ids = experiment.prompts.add_many([prompt("a"), prompt("b"), prompt("a")])
    assert ids[0] == ids[2] != ids[1]
    assert experiment.prompts.count() == 2
    dialogue = NewPrompt((Message("user", "x"), Message("assistant", "y"), Message("user", "a")))
    [other] = experiment.prompts.add_many([dialogue])
    assert other not in ids
    assert experiment.prompts.get(other).messages == dialogue.messages


def test_prompt_pages_follow_each_other_without_gap(experiment: Experiment) -> None:
    ids = experiment.prompts.add_many([prompt(f"p{i}") for i in range(25)])
    seen: list[int] = []
    while page := experiment.prompts.list(after_id=seen[-1] if seen else 0, limit=10):
        seen += [p.id for p in page]
    assert seen == ids


def test_filters_combine(experiment: Experiment) -> None:
    experiment.prompts.add_many(
        [
            prompt("red fox", group="animals", split="heldout"),
            prompt("red rose", group="plants", split="heldout"),
            prompt("red wolf", group="animals"),
        ]
    )
    found = experiment.prompts.list(split="heldout", group="animals", search="red")
    assert [p.text for p in found] == ["red fox"]
    assert experiment.prompts.count(split="heldout", search="red") == 2
    assert experiment.prompts.groups() == {"animals": 2, "plants": 1}


@pytest.mark.parametrize(
    ("search", "is_found"),
    [
        ("模型", True),
        ("奖励模型", True),
        ("训练不", True),
        ("型模", False),
        ("奖 励", True),
        ("Reward", True),
        ("rew", True),  # the beginning of the last word
        ("rew stable", False),
        ("modèle", True),
        ("modele", True),
        ('"quoted" OR', True),
        ("NEAR(", False),
        ("*", False),
        ("  ", True),  # nothing typed
    ],
)
def test_search_finds_chinese_words_and_takes_any_input(
    experiment: Experiment, search: str, is_found: bool
) -> None:
    experiment.prompts.add_many([prompt('奖励模型的训练不稳定 reward modèle "quoted" or not')])
    assert bool(experiment.prompts.list(search=search)) is is_found
    assert experiment.prompts.count(search=search) == is_found


def test_search_reaches_answers_and_judgements(
    experiment: Experiment, add_prompt: AddPrompt
) -> None:
    prompt_id, (first, second) = add_prompt("天气", "今天下雨", "sunny")
    add_prompt("other", "snow")
    experiment.comparisons.add_many([(prompt_id, first, second)])
    experiment.judgements.add(1, "first", "ada", "person", 1.0)
    assert [c.id for c in experiment.completions.search("下雨")] == [first]
    for word, n in (("天气", 1), ("下雨", 1), ("sunny", 1), ("snow", 0)):
        assert len(experiment.judgements.list(search=word)) == n
        assert experiment.judgements.count(search=word) == n


def test_a_pair_is_one_pair_in_either_order(experiment: Experiment, add_prompt: AddPrompt) -> None:
    prompt_id, (a, b, c) = add_prompt("p", "a", "b", "c")
    assert experiment.comparisons.add_many([(prompt_id, a, b), (prompt_id, b, a)]) == 1
    assert experiment.comparisons.add_many([(prompt_id, a, b), (prompt_id, c, b)]) == 1
    assert experiment.comparisons.get(1).first_id == a


def test_answers_of_two_prompts_cannot_be_paired(
    experiment: Experiment, add_prompt: AddPrompt
) -> None:
    prompt_id, [a] = add_prompt("p", "a")
    _, [b] = add_prompt("q", "b")
    with pytest.raises(sqlite3.IntegrityError):
        experiment.comparisons.add_many([(prompt_id, a, b)])


def test_each_annotator_has_a_queue(experiment: Experiment, pairs: list[int]) -> None:
    queue = experiment.comparisons
    experiment.judgements.add(pairs[0], "first", "ada", "person", 1.0)
    experiment.judgements.add(pairs[1], "skip", "ada", "person", 1.0)
    assert queue.next_pending("ada").id == pairs[2]  # type: ignore[union-attr]
    assert queue.next_pending("ada", after_id=pairs[4]).id == pairs[5]  # type: ignore[union-attr]
    assert queue.next_pending("ada", after_id=pairs[-1]) is None
    assert queue.next_pending("bob").id == pairs[0]  # type: ignore[union-attr]
    counts = queue.counts("ada")
    assert (counts.total, counts.pending, counts.judged, counts.skipped) == (10, 8, 1, 1)
    everybody = queue.counts(None)
    assert (everybody.total, everybody.pending, everybody.skipped) == (10, 8, 1)


def test_a_skipped_pair_that_is_judged_later_counts_as_judged(
    experiment: Experiment, pairs: list[int]
) -> None:
    experiment.judgements.add(pairs[0], "skip", "ada", "person", 1.0)
    experiment.judgements.add(pairs[0], "tie", "ada", "person", 1.0)
    assert experiment.comparisons.counts("ada").skipped == 0
    assert experiment.comparisons.counts("ada").judged == 1
    assert experiment.judgements.latest(pairs[0], "ada").verdict == "tie"  # type: ignore[union-attr]


def test_the_next_pair_costs_the_same_however_many_are_judged(
    experiment: Experiment, add_prompt: AddPrompt
) -> None:
    """Counts the instructions of SQLite's virtual machine: time would depend on the machine."""
    prompt_id, answers = add_prompt("p", *(f"answer {i}" for i in range(64)))
    experiment.comparisons.add_many([(prompt_id, a, b) for a in answers for b in answers if a < b])
    ids = experiment.comparisons.pending_ids("ada")
    assert len(ids) == 2016

    def instructions() -> int:
        n = 0

        def count() -> int:
            nonlocal n
            n += 1
            return 0

        reader = experiment.database.read()
        reader.set_progress_handler(count, 1)
        experiment.comparisons.next_pending("ada")
        reader.set_progress_handler(None, 1)
        return n

    before = instructions()
    with experiment.database.write():
        for comparison_id in ids[:-1]:
            experiment.judgements.add(comparison_id, "first", "ada", "person", 1.0)
    assert experiment.comparisons.next_pending("ada").id == ids[-1]  # type: ignore[union-attr]
    assert 0 < instructions() <= before + 20


def test_preferences_take_the_last_word_of_the_highest_authority(
    experiment: Experiment, pairs: list[int]
) -> None:
    add = experiment.judgements.add
    add(pairs[0], "first", "ada", "person", 1.0)
    add(pairs[0], "second", "simulated", "simulated", 0.0)  # later, but no person
    add(pairs[1], "first", "ada", "person", 1.0)
    add(pairs[1], "second", "ada", "person", 1.0)  # changed her mind
    add(pairs[2], "tie", "ada", "person", 1.0)
    add(pairs[3], "second", "simulated", "simulated", 0.0)
    found = {p.comparison_id: p for p in experiment.judgements.preferences()}
    assert {i: (p.chosen, p.rejected, p.annotator_kind) for i, p in found.items()} == {
        pairs[0]: ("good 0", "bad 0", "person"),
        pairs[1]: ("bad 1", "good 1", "person"),
        pairs[3]: ("bad 3", "good 3", "simulated"),
    }
    assert [t.judgement.comparison_id for t in experiment.judgements.ties()] == [pairs[2]]
    only = experiment.judgements.preferences(["simulated"])
    assert [(p.comparison_id, p.chosen) for p in only] == [
        (pairs[0], "bad 0"),
        (pairs[3], "bad 3"),
    ]
    assert experiment.judgements.annotators() == {"ada": "person", "simulated": "simulated"}


@pytest.mark.parametrize("is_newest_first", [False, True])
def test_judgement_pages_follow_each_other(
    experiment: Experiment, pairs: list[int], is_newest_first: bool
) -> None:
    for comparison_id in pairs:
        experiment.judgements.add(comparison_id, "first", "ada", "person", 1.0)
    seen: list[int] = []
    while page := experiment.judgements.list(
        after_id=seen[-1] if seen else 0, limit=4, is_newest_first=is_newest_first
    ):
        seen += [row.judgement.id for row in page]
    assert seen == sorted(seen, reverse=is_newest_first)
    assert len(seen) == 10


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM judgements",
        "UPDATE judgements SET verdict = 'second'",
        "UPDATE judgements SET annotator = 'eve'",
        "UPDATE judgements SET comparison_id = 2",
    ],
)
def test_judgements_are_append_only(
    experiment: Experiment, pairs: list[int], statement: str
) -> None:
    experiment.judgements.add(pairs[0], "first", "ada", "person", 1.0)
    with (
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
        experiment.database.write() as c,
    ):
        c.execute(statement)
    assert experiment.judgements.list()[0].judgement.verdict == "first"


def test_completions_keep_their_provenance(experiment: Experiment, add_prompt: AddPrompt) -> None:
    prompt_id, _ = add_prompt("p")
    new = NewCompletion(
        prompt_id,
        "答案\nwith \x00 odd ☃ text",
        token_ids=(5, 70_000, 2),
        finish="stop",
        model_digest="abc",
        model_name="tiny",
        adapter="PPO 1",
        sampling={"temperature": 0.7, "top_k": 50},
        seed=7,
    )
    stored = experiment.completions.get(experiment.completions.add(new))
    assert {name: getattr(stored, name) for name in NewCompletion.__slots__} == {
        name: getattr(new, name) for name in NewCompletion.__slots__
    }
    existing = experiment.completions.existing
    same_in_other_order = {"top_k": 50, "temperature": 0.7}
    assert existing(prompt_id, "abc", "PPO 1", same_in_other_order, 7)
    assert not existing(prompt_id, "abc", None, same_in_other_order, 7)
    assert not existing(prompt_id, "abc", "PPO 1", same_in_other_order, 8)
    assert not existing(prompt_id, "abc", "PPO 1", {"temperature": 0.8}, 7)
    assert experiment.completions.counts([prompt_id, 99]) == {prompt_id: 1, 99: 0}
    assert experiment.completions.models() == {"tiny with PPO 1": 1}


def test_runs_keep_figures_samples_and_warnings(experiment: Experiment) -> None:
    run_id = experiment.runs.create("policy", "ppo", "PPO 1", {"lr": 1e-4}, {"model": "tiny"})
    sample = Sample(2, 1, "文本", 0.5, 1.5, 3, True)
    experiment.runs.append_events(
        run_id,
        [
            Progress(1, 2),
            Step(1, 3, {"objective/kl": 0.1, "loss/policy": math.nan}, 1.0),
            Step(2, 3, {"objective/kl": 0.2}, 1.0),
            sample,
            Evaluated(3, {"objective/kl": math.inf}),
            Warned("Careful.", "Slow down."),
        ],
    )
    metrics = experiment.runs.metrics(run_id)
    assert metrics["objective/kl"] == [(1, 0.1), (2, 0.2), (3, math.inf)]
    assert math.isnan(metrics["loss/policy"][0][1])
    assert experiment.runs.samples(run_id) == experiment.runs.samples(run_id, step=2) == [sample]
    assert experiment.runs.warnings(run_id) == [Warned("Careful.", "Slow down.")]
    experiment.runs.rewind(run_id, 1)
    assert experiment.runs.metrics(run_id)["objective/kl"] == [(1, 0.1)]
    assert experiment.runs.samples(run_id) == []


def test_samples_keep_their_tokens_and_those_asked_again_are_asked_once(
    experiment: Experiment,
) -> None:
    runs = experiment.runs
    run_id = runs.create("policy", "ppo", "PPO 1", {}, {})
    figures = {"logp": (-0.123456, math.nan), "value": (1.0, -2.5)}
    watched = [
        Sample(step, 1, "文本", 0.5, 1.5, 2, True, True, ("文本", "<eos>"), figures)
        for step in (0, 2)
    ]
    plain = Sample(2, 1, "text", math.nan, 0.0, 1, False)
    runs.append_events(run_id, [*watched, plain])
    assert [s.text for s in runs.samples(run_id)] == ["text"]
    numbered = runs.numbered_samples(run_id)
    assert [(s.step, s.is_watched) for _, s in numbered] == [(0, True), (2, True), (2, False)]
    tokens, kept = runs.tokens_of(numbered[0][0])
    assert tokens == ("文本", "<eos>")
    assert kept["value"] == (1.0, -2.5)
    assert kept["logp"][0] == -0.1235
    assert math.isnan(kept["logp"][1])
    assert runs.tokens_of(numbered[2][0]) == runs.tokens_of(999) == ((), {})
    # Going on from step 2 the fixed prompts of that step are asked again; the others are not.
    runs.rewind(run_id, 2)
    assert [(s.step, s.is_watched) for _, s in runs.numbered_samples(run_id)] == [
        (0, True),
        (2, False),
    ]


def test_runs_under_way_at_a_crash_are_interrupted(experiment: Experiment) -> None:
    runs = experiment.runs
    ids = [runs.create("reward", "reward", f"r{i}", {}, {}) for i in range(3)]
    runs.set_status(ids[0], "running")
    runs.finish(ids[1], "done", {"accuracy": math.nan, "n": 3})
    assert runs.mark_interrupted() == 2
    assert [runs.get(i).status for i in ids] == ["interrupted", "done", "interrupted"]
    assert runs.get(ids[1]).results == {"accuracy": None, "n": 3}
    runs.set_status(ids[0], "running")
    assert runs.get(ids[0]).finished_at is None
    assert [r.id for r in runs.list("reward")] == ids
    assert runs.list("policy") == []


def test_artifacts_and_settings(experiment: Experiment) -> None:
    run_id = experiment.runs.create("policy", "ppo", "PPO 1", {}, {})
    experiment.artifacts.add(run_id, "checkpoint", "checkpoints/1/step-1", "d1")
    experiment.artifacts.add(run_id, "adapter", "adapters/run-1", "d2")
    assert [a.digest for a in experiment.artifacts.for_run(run_id)] == ["d1", "d2"]
    assert experiment.artifacts.latest("adapter").path == "adapters/run-1"  # type: ignore[union-attr]
    assert experiment.artifacts.latest("export") is None
    assert experiment.settings.get("model", "none") == "none"
    experiment.settings.set("model", {"name": "模型"})
    experiment.settings.set("model", ["b"])
    assert experiment.settings.get("model") == ["b"]


@pytest.mark.parametrize("noun", ["prompts", "completions", "comparisons", "runs"])
def test_an_id_that_never_was_is_told(experiment: Experiment, noun: str) -> None:
    with pytest.raises(UserError, match=r"There is no .* 77"):
        getattr(experiment, noun).get(77)


def test_threads_write_one_after_the_other_and_read_what_is_committed(
    experiment: Experiment, pairs: list[int]
) -> None:
    def rank(name: str) -> None:
        for comparison_id in pairs:
            experiment.judgements.add(comparison_id, "first", name, "person", 1.0)
            assert experiment.judgements.latest(comparison_id, name) is not None

    threads = [threading.Thread(target=rank, args=(f"a{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert experiment.judgements.count() == 40
