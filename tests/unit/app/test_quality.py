"""Hidden repeats, and what a report finds in annotators whose habits are known."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence

import pytest

from workbench.app import feedback, labelling, quality
from workbench.app.workspace import Workspace
from workbench.config.quality import QualitySettings
from workbench.data.records import AnnotatorKind, Message, NewCompletion, NewPrompt, Verdict
from workbench.errors import UserError

Rule = Callable[[random.Random, bool], Verdict]
"""Verdict of a synthetic annotator; told whether the first answer is the longer one."""

SHORT, LONG = "good answer", "an answer that goes on and on about it"


def fill(ws: Workspace, n_pairs: int, pairs_per_prompt: int = 1) -> list[int]:
    """Pairs of a long and a short answer with shuffled sides; their ids."""
    rng = random.Random(0)
    experiment = ws.experiment
    with experiment.database.write():
        for i in range(n_pairs // pairs_per_prompt):
            [prompt] = experiment.prompts.add_many([NewPrompt((Message("user", f"p{i}"),))])
            for k in range(pairs_per_prompt):
                texts = rng.sample([f"{SHORT} {k}", f"{LONG} {k}"], 2)
                first, second = experiment.completions.add_many(
                    [NewCompletion(prompt, text, model_name="m") for text in texts]
                )
                experiment.comparisons.add_many([(prompt, first, second)])
    return experiment.comparisons.pending_ids("nobody")


def judge(
    ws: Workspace,
    ids: Sequence[int],
    rule: Rule,
    *,
    annotator: str = "",
    kind: AnnotatorKind = "person",
    seconds: float = 5.0,
    seed: int = 0,
) -> None:
    rng = random.Random(seed)
    with ws.experiment.database.write():
        for i in ids:
            pair = ws.experiment.comparisons.get(i)
            is_longer_first = LONG in ws.experiment.completions.get(pair.first_id).text
            verdict = rule(rng, is_longer_first)
            ws.experiment.judgements.add(i, verdict, annotator or ws.annotator, kind, seconds)


def fair(rng: random.Random, _is_longer_first: bool) -> Verdict:
    return rng.choice(["first", "second"])


def for_first(share: float) -> Rule:
    return lambda rng, _longer: "first" if rng.random() < share else "second"


def for_longer(share: float) -> Rule:
    return lambda rng, longer: "first" if (rng.random() < share) == longer else "second"


def repeat(ws: Workspace, ids: Sequence[int], same: float, swapped: Sequence[bool]) -> None:
    """Judge pairs once more; with probability `same` as before, else the other way round."""
    rng = random.Random(7)
    turned: dict[Verdict, Verdict] = {"first": "second", "second": "first"}
    with ws.experiment.database.write():
        for i, is_swapped in zip(ids, swapped, strict=True):
            before = ws.experiment.judgements.latest(i, ws.annotator)
            assert before is not None
            verdict = before.verdict if rng.random() < same else turned[before.verdict]
            on_screen = turned[verdict] if is_swapped else verdict
            quality.judge_repeat(ws, i, on_screen, 4.0, is_swapped)


# Hidden repeats


def label_all(
    ws: Workspace, ids: Sequence[int], n: int, seen: list[tuple[int, int, bool]], start: int = 0
) -> None:
    """Judge pairs as the panel does, asking for a repeat after each: (after, pair, swapped)."""
    for number in range(start, n):
        labelling.judge(ws, ids[number], "first", 2.0)
        found = quality.next_repeat(ws)
        assert found == quality.next_repeat(ws)
        if found:
            comparison, is_swapped = found
            quality.judge_repeat(
                ws, comparison.id, "second" if is_swapped else "first", 2.0, is_swapped
            )
            seen.append((number, comparison.id, is_swapped))
            assert quality.next_repeat(ws) is None


def test_repeats_come_at_the_chosen_rate_and_never_right_after(ws) -> None:
    quality.save_settings(ws, QualitySettings(repeat_rate=0.2, repeat_gap=15))
    ids, seen = fill(ws, 150), []
    label_all(ws, ids, 150, seen)
    # 0.2 · 150 turns, less those before there were 15 judgements to look back on.
    assert 26 <= len(seen) <= 30
    assert all(number - ids.index(pair) >= 15 for number, pair, _ in seen)
    assert len({pair for _, pair, _ in seen}) == len(seen)
    assert abs(sum(swapped for *_, swapped in seen) - len(seen) / 2) <= 1
    assert {r.verdict for r in ws.experiment.repeats.list()} == {"first"}


def test_a_killed_program_goes_on_with_the_same_repeats(open_workspace) -> None:
    runs = []
    for name, stops in (("one", ()), ("other", (31, 62))):
        ws = open_workspace(name)
        quality.save_settings(ws, QualitySettings(repeat_rate=0.2, repeat_gap=5))
        ids, seen, start = fill(ws, 90), [], 0
        for stop in (*stops, 90):
            label_all(ws, ids, stop, seen, start)
            waiting = quality.next_repeat(ws)
            assert ws.close(10)
            ws, start = open_workspace(name), stop
            assert quality.next_repeat(ws) == waiting
        runs.append(seen)
    assert runs[0] == runs[1]
    assert len(runs[0]) > 10


def test_a_repeat_waits_until_it_is_judged_and_undo_brings_it_back(ws) -> None:
    quality.save_settings(ws, QualitySettings(repeat_rate=0.5, repeat_gap=1))
    ids = fill(ws, 20)
    for i in ids[:10]:
        labelling.judge(ws, i, "first", 2.0)
    found = quality.next_repeat(ws)
    assert found is not None
    quality.judge_repeat(ws, found[0].id, "tie", 1.0, found[1])
    assert quality.next_repeat(ws) is None
    assert labelling.undo(ws) == "judged a pair once more"
    assert quality.next_repeat(ws) == found


def test_what_is_no_pair_of_its_own_does_not_come_again(ws) -> None:
    quality.save_settings(ws, QualitySettings(repeat_rate=0.5, repeat_gap=1))
    experiment = ws.experiment
    [prompt] = experiment.prompts.add_many([NewPrompt((Message("user", "p"),))])
    answers = experiment.completions.add_many([NewCompletion(prompt, f"a{i}") for i in range(4)])
    feedback.rank(ws, prompt, [[a] for a in answers], 9.0)
    feedback.edit(ws, experiment.completions.get(answers[0]), "better", 9.0)
    twins = experiment.completions.add_many(
        [NewCompletion(prompt, "same "), NewCompletion(prompt, "same")]
    )
    experiment.comparisons.add_many([(prompt, *twins)])
    skipped, said_anew = fill(ws, 2)[-2:]
    for comparison in (*experiment.comparisons.pending_ids(ws.annotator), said_anew):
        labelling.judge(ws, comparison, "skip" if comparison == skipped else "first", 1.0)
    for _ in range(3):
        labelling.judge(ws, said_anew, "second", 1.0)
    n = experiment.repeats.n_judged(ws.annotator)
    assert experiment.repeats.candidate(ws.annotator, 0, n - 1, n) is None
    found = experiment.repeats.candidate(ws.annotator, 3, n, n)
    assert found is not None
    assert found.id == said_anew


def test_no_repeats_at_rate_nought_or_read_only(open_workspace) -> None:
    ws = open_workspace()
    ids = fill(ws, 30)
    quality.save_settings(ws, QualitySettings(repeat_rate=0.5, repeat_gap=1))
    judge(ws, ids, fair)
    assert quality.next_repeat(ws) is not None
    assert ws.close(10)
    held = open_workspace(is_read_only=True)
    assert quality.next_repeat(held) is None
    with pytest.raises(UserError):
        quality.save_settings(held, QualitySettings())
    assert held.close(10)
    ws = open_workspace()
    quality.save_settings(ws, QualitySettings(repeat_rate=0.0))
    assert quality.next_repeat(ws) is None


def test_settings_are_kept_and_strange_ones_give_the_defaults(ws) -> None:
    assert quality.settings(ws) == QualitySettings()
    chosen = QualitySettings(repeat_rate=0.1, repeat_gap=3, seed=4)
    quality.save_settings(ws, chosen)
    assert quality.settings(ws) == chosen
    ws.experiment.settings.set("label_quality", {"repeat_rate": 7, "colour": "red"})
    assert quality.settings(ws) == QualitySettings()


def test_swapped_verdicts_are_stored_in_the_comparisons_own_order(ws) -> None:
    [pair] = fill(ws, 1)
    judge(ws, [pair], fair)
    for on_screen, stored in (("first", "second"), ("second", "first"), ("tie", "tie")):
        assert quality.judge_repeat(ws, pair, on_screen, 1.0, True, 2).verdict == stored
        assert quality.judge_repeat(ws, pair, on_screen, 1.0, False).verdict == on_screen
    with pytest.raises(UserError):
        quality.judge_repeat(ws, 999, "first", 1.0, False)


# The report


def states(report: quality.QualityReport) -> dict[str, str]:
    return {f.key: f.state for f in report.findings}


def test_an_unbiased_annotator_is_told_nothing_bad(ws) -> None:
    ids = fill(ws, 400)
    judge(ws, ids, fair)
    repeat(ws, ids[:60], same=0.95, swapped=[i % 2 == 0 for i in range(60)])
    report = quality.report(ws)
    assert states(report) == {
        "amount": "ok", "again": "ok", "again_plain": "ok", "again_swapped": "ok",
        "side": "ok", "length": "ok", "speed": "ok", "drift": "ok",
    }  # fmt: skip
    assert report.verdict() == ("ok", "Nothing here speaks against these labels.")
    assert (report.n_judged, report.n_decided, report.n_skipped) == (400, 400, 0)
    side = report.finding("side")
    assert side is not None
    assert side.sentence.startswith("You chose the first answer in ")
    assert side.sentence.endswith(": may be chance.")
    assert side.figure.n == 400
    assert side.figure.low < 0.5 < side.figure.high


def test_favouring_a_side_is_found(ws) -> None:
    judge(ws, fill(ws, 200), for_first(0.8))
    report = quality.report(ws)
    assert states(report)["side"] == "bad"
    assert states(report)["length"] == "ok"
    assert "the answer shown first is favoured" in report.finding("side").sentence
    assert report.verdict()[0] == "bad"


def test_favouring_length_is_found(ws) -> None:
    judge(ws, fill(ws, 200, pairs_per_prompt=4), for_longer(0.75))
    report = quality.report(ws)
    assert states(report)["length"] == "warn"
    assert states(report)["side"] == "ok"
    assert "longer answers are favoured" in report.finding("length").sentence


def test_length_alone_is_worse(ws) -> None:
    judge(ws, fill(ws, 100), for_longer(0.0))
    found = quality.report(ws).finding("length")
    assert found.state == "bad"
    assert "0 % of 100 pairs" in found.sentence


def test_one_choice_by_prompt_counts_once(ws) -> None:
    """All four pairs of a prompt decided alike by luck: no more than ten independent choices."""
    ids = fill(ws, 40, pairs_per_prompt=4)
    for prompt in range(10):
        longer = prompt < 7
        judge(ws, ids[4 * prompt : 4 * prompt + 4], for_longer(float(longer)))
    found = quality.report(ws).finding("length")
    assert found.figure.value == pytest.approx(0.7)
    assert found.state == "ok"
    assert found.figure.low < 0.45


def test_answering_by_luck_is_found_in_repeats(ws) -> None:
    ids = fill(ws, 200)
    judge(ws, ids, fair)
    repeat(ws, ids[:40], same=0.5, swapped=[False] * 40)
    report = quality.report(ws)
    assert states(report)["again"] == "bad"
    assert "no better than chance" in report.finding("again").sentence
    assert "again_swapped" not in states(report)


def test_a_place_that_decides_is_found_by_swapping(ws) -> None:
    """Always the answer that stands first: the same again with equal sides, never with swapped."""
    ids = fill(ws, 60)
    judge(ws, ids, for_first(1.0))
    with ws.experiment.database.write():
        for n, i in enumerate(ids[:40]):
            quality.judge_repeat(ws, i, "first", 3.0, n % 2 == 0)
    report = quality.report(ws)
    assert report.finding("again_plain").figure.value == 1.0
    assert report.finding("again_swapped").figure.value == 0.0
    assert report.finding("swap").state == "warn"
    assert "kappa is not defined" in report.finding("again_plain").sentence


def test_a_repeat_is_held_against_what_was_said_before_it(ws) -> None:
    [pair] = fill(ws, 1)
    # What came first is told by times, which are kept to a millisecond: people are slower.
    labelling.judge(ws, pair, "first", 2.0)
    time.sleep(0.01)
    quality.judge_repeat(ws, pair, "first", 2.0, False)
    time.sleep(0.01)
    labelling.judge(ws, pair, "second", 2.0)
    assert quality.report(ws).finding("again").figure.value == 1.0


def test_repeats_of_what_was_deleted_do_not_count(ws) -> None:
    ids = fill(ws, 4)
    judge(ws, ids, fair)
    repeat(ws, ids, same=1.0, swapped=[False] * 4)
    ws.experiment.prompts.delete([ws.experiment.comparisons.get(ids[0]).prompt_id])
    assert quality.report(ws).finding("again").figure.n == 3


def test_judgements_nobody_could_have_read_for_are_listed(ws) -> None:
    ids = fill(ws, 60)
    judge(ws, ids[:50], fair, seconds=6.0)
    judge(ws, ids[50:], fair, seconds=0.9)
    report = quality.report(ws)
    assert [f.comparison_id for f in report.too_fast] == ids[50:]
    assert report.finding("speed").state == "warn"
    assert "10 of 60 timed pairs" in report.finding("speed").sentence
    # 12 words and half a second to react: at 100 words a second nothing is too fast.
    quality.save_settings(ws, QualitySettings(reading_speed=100.0))
    assert quality.report(ws).too_fast == ()


def test_imported_and_ranked_labels_are_not_timed_and_have_no_sides(ws) -> None:
    ids = fill(ws, 30)
    judge(ws, ids, for_first(1.0), annotator="file", kind="imported", seconds=0.0)
    assert not {"side", "speed"} & set(states(quality.report(ws, "file")))
    [prompt] = ws.experiment.prompts.add_many([NewPrompt((Message("user", "p"),))])
    answers = ws.experiment.completions.add_many([NewCompletion(prompt, f"a{i}") for i in range(4)])
    feedback.rank(ws, prompt, [[a] for a in answers], 0.1)
    report = quality.report(ws, ws.annotator)
    assert report.n_decided == 6
    assert not {"side", "speed"} & set(states(report))


def test_a_change_of_mind_over_time_is_found(ws) -> None:
    ids = fill(ws, 300)
    judge(ws, ids[:150], for_first(0.45))
    judge(ws, ids[150:], for_first(0.85), seed=1)
    report = quality.report(ws)
    drift = report.finding("drift_side")
    assert drift.state == "warn"
    assert "second half" in drift.sentence
    assert set(states(report)) & {"drift_longer", "drift_neither", "drift"} == set()
    assert len(report.tenths) == 10
    assert [t.first for t in report.tenths] == list(range(1, 300, 30))
    early, late = (report.tenths[i].shares["side"].value for i in (0, 9))
    assert early < late


def test_few_labels_allow_no_conclusion(ws) -> None:
    judge(ws, fill(ws, 6), for_first(1.0))
    report = quality.report(ws)
    assert states(report)["amount"] == "bad"
    assert states(report)["side"] == states(report)["length"] == "info"
    assert report.tenths == ()


def test_nothing_judged_is_nothing_found(ws) -> None:
    report = quality.report(ws)
    assert report.findings == ()
    assert report.verdict() == ("info", "Nothing was judged yet.")
    assert report.n_judged == 0


def test_taken_back_and_deleted_labels_are_not_there(ws) -> None:
    ids = fill(ws, 12)
    judge(ws, ids, for_first(1.0))
    labelling.judge(ws, ids[0], "second", 2.0)
    ws.experiment.prompts.delete([ws.experiment.comparisons.get(ids[1]).prompt_id])
    report = quality.report(ws)
    assert (report.n_judged, report.finding("side").figure.value) == (11, 10 / 11)
    labelling.undo(ws)
    labelling.undo(ws)
    assert quality.report(ws).finding("side").figure.value == 1.0


def test_annotators_are_compared(ws) -> None:
    ids = fill(ws, 100)
    judge(ws, ids, fair, annotator="ada", seed=1)
    judge(ws, ids, fair, annotator="bob", seed=1)
    with ws.experiment.database.write():
        for n, i in enumerate(ids[:20]):
            said = ws.experiment.judgements.latest(i, "bob").verdict
            other = "tie" if n < 5 else {"first": "second", "second": "first"}[said]
            ws.experiment.judgements.add(i, other, "bob", "person", 3.0)
    judge(ws, ids[:50], fair, annotator="cat", seed=2)
    report = quality.report(ws)
    assert report.annotator in ("ada", "bob")
    assert set(report.annotators) == {"ada", "bob", "cat"}
    pairs = {(p.first, p.second): p for p in report.between}
    assert pairs["ada", "bob"].share.value == pytest.approx(0.8)
    assert (pairs["ada", "bob"].share.n, pairs["ada", "cat"].share.n) == (100, 50)
    assert pairs["ada", "bob"].kappa.low > 0.4
    assert pairs["ada", "cat"].kappa.low < 0 < pairs["ada", "cat"].kappa.high
    assert report.finding("alpha").figure.n == 100
    among_two = [d for d in report.disagreements if d.comparison_id in ids[50:]]
    assert among_two == []
    assert report.n_disagreements == len(report.disagreements) >= 20
    kinds = [d.is_opposite for d in report.disagreements]
    assert kinds == sorted(kinds, reverse=True)
    said = {d.comparison_id: dict(d.said) for d in report.disagreements}
    assert said[ids[0]]["bob"] == "tie"
    assert report.disagreements[0].prompt.startswith("p")


def test_ratings_of_several_annotators_have_an_ordinal_alpha(ws) -> None:
    fill(ws, 20)
    for answer in range(1, 31):
        for name, stars in (("ada", answer % 5 + 1), ("bob", min(5, answer % 5 + 2))):
            ws.experiment.remarks.add(
                "rating", (answer + 1) // 2, answer, str(stars), name, "person"
            )
    found = quality.report(ws).finding("alpha_ratings")
    assert found.figure.n == 30
    assert 0.5 < found.figure.value < 1.0


def test_as_a_job_and_as_json(ws) -> None:
    judge(ws, fill(ws, 20), fair)
    job = quality.measure(ws)
    assert job.wait(30)
    report = job.finished.result["report"]
    assert report == quality.report(ws)
    told = json.loads(json.dumps(report.to_dict()))
    [side] = [f for f in told["findings"] if f["key"] == "side"]
    assert side["figure"]["n"] == 20
    assert side["sentence"].startswith("You chose")
    stopped = quality.measure(ws)
    stopped.token.cancel()
    assert stopped.wait(30)
    assert stopped.outcome in ("cancelled", "done")


def test_others_are_spoken_of_by_their_names(ws) -> None:
    judge(ws, fill(ws, 20), fair, annotator="ada")
    report = quality.report(ws)
    assert report.annotator == "ada"
    assert report.finding("side").sentence.startswith("ada chose")
