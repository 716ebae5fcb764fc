"""The verdict's rules on rewards that are known: a good one, length, luck, a boaster, few pairs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tests.close import FLOAT64, assert_close
from workbench.app.report_card import text
from workbench.app.report_card.measuring import ceiling
from workbench.config.report_card import ReportCardSettings
from workbench.data.records import Message, Preference, Prompt
from workbench.evaluation import report_figures as figures
from workbench.evaluation.report_records import (
    Baseline,
    Edit,
    Figure,
    Judged,
    Measured,
    ReportCard,
    Unfamiliar,
)
from workbench.evaluation.report_verdict import points, verdict, weakest

SETTINGS = ReportCardSettings()
Array = np.ndarray


def judged(n: int = 200, seed: int = 0, longer_wins: float = 0.55) -> list[Judged]:
    """Pairs, two to a prompt, in two groups; the chosen answer is longer as often as said."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(n):
        long, short = "word " * int(rng.integers(8, 20)), "word " * int(rng.integers(2, 7))
        is_longer = rng.random() < longer_wins
        chosen, rejected = (long, short) if is_longer else (short, long)
        group = "even" if i % 4 < 2 else "odd"
        prompt = Prompt(i // 2 + 1, (Message("user", "q"),), group, "en", "train", "")
        said = Preference(i + 1, prompt, f"{chosen}{i}", f"{rejected}{i}", "me", "person")
        pairs.append(Judged(said, bool(rng.random() < 0.5)))
    return pairs


def measured(pairs: list[Judged], chosen: Array, rejected: Array, **others: object) -> Measured:
    margins = chosen - rejected
    worst, n_wrong = figures.worst(margins, pairs)
    found = Measured(
        n_pairs=len(pairs),
        n_prompts=len({p.preference.prompt.id for p in pairs}),
        has_seen=False,
        accuracy=figures.accuracy(margins, pairs),
        slices=figures.slices(margins, pairs, 0.1),
        baselines=figures.baselines(margins, pairs, [], {}, 0),
        calibration=figures.calibration(margins, pairs, 0),
        length=figures.length_effect(chosen, rejected, pairs, 0),
        worst=worst,
        n_wrong=n_wrong,
    )
    return dataclasses.replace(found, **others)  # type: ignore[arg-type]


def noisy_annotator(n: int, boast: float = 1.0, seed: int = 1) -> tuple[Array, Array]:
    """The annotator's own scores, seen through noise: right in about 8 of 10, and knows it."""
    rng = np.random.default_rng(seed)
    size = np.abs(rng.normal(0.0, 2.5, n))
    margin = np.where(rng.random(n) < 1 / (1 + np.exp(-size)), size, -size) * boast
    middle = rng.normal(size=n)
    return middle + margin / 2, middle - margin / 2


def states(found: Measured) -> dict[str, str]:
    return {reason.key: reason.state for reason in verdict(found, SETTINGS).reasons}


def test_a_good_reward_is_called_good() -> None:
    pairs = judged()
    found = measured(pairs, *noisy_annotator(len(pairs)))
    said = verdict(found, SETTINGS)
    assert said.level == "good", said.reasons
    assert said.sentence.startswith("Good: ")
    assert "95 % interval" in said.sentence
    assert states(found)["baseline"] == "ok"
    assert states(found)["calibration"] == "ok"


def test_a_reward_that_is_pure_length_is_not_used() -> None:
    pairs = judged(longer_wins=0.8)
    lengths = [
        np.array([float(len(getattr(p.preference, side))) for p in pairs])
        for side in ("chosen", "rejected")
    ]
    found = measured(pairs, lengths[0] / 50, lengths[1] / 50)
    assert found.accuracy is not None
    assert found.accuracy.low > 0.6  # accuracy alone would call it good
    said = verdict(found, SETTINGS)
    assert said.level == "not yet"
    assert states(found)["length"] == "bad"
    assert states(found)["baseline"] == "bad"
    assert "“Longer answer wins”" in " ".join(r.sentence for r in said.reasons)
    assert found.length is not None
    assert found.length.correlation is not None
    assert found.length.correlation.value == pytest.approx(1.0)
    assert_close(found.length.same_as_length, 1.0, FLOAT64)


def test_a_random_reward_may_be_chance() -> None:
    pairs = judged()
    rng = np.random.default_rng(5)
    found = measured(pairs, rng.normal(size=len(pairs)), rng.normal(size=len(pairs)))
    assert verdict(found, SETTINGS).level == "not yet"
    assert states(found)["accuracy"] == "bad"


def test_an_over_confident_reward_is_used_with_care() -> None:
    pairs = judged()
    found = measured(pairs, *noisy_annotator(len(pairs), boast=5.0))
    said = verdict(found, SETTINGS)
    assert said.level == "usable with care"
    assert [r.key for r in said.reasons if r.state == "warn"] == ["calibration"]
    assert "over-confident" in said.reasons[0].sentence
    # A limit that allows for it lets it pass: the rule is stated, not hidden.
    lenient = ReportCardSettings(max_temperature=20.0)
    assert verdict(found, lenient).level == "good"


def test_too_few_pairs_give_no_verdict() -> None:
    pairs = judged(12)
    found = measured(pairs, np.ones(12), np.zeros(12))
    said = verdict(found, SETTINGS)
    assert said.level == "not yet"
    assert said.reasons[0].key == "pairs"
    assert "12 pairs are too few" in said.reasons[0].sentence
    nothing = verdict(Measured(0, 0, False, None), SETTINGS)
    assert (nothing.level, nothing.reasons[-1].key) == ("not yet", "pairs")


def test_every_other_rule_asks_for_what_it_says() -> None:
    pairs = judged()
    good = measured(pairs, *noisy_annotator(len(pairs)))
    assert verdict(good, SETTINGS).level == "good"
    share = Figure(0.4, 0.3, 0.5, 100)
    spoiled = {
        "numbers": dataclasses.replace(good, n_unscored=2),
        "seen": dataclasses.replace(good, has_seen=True),
        "probe": dataclasses.replace(
            good, baselines=(Baseline("probe", "Probe", share, Figure(-0.1, -0.2, -0.01, 200)),)
        ),
        "edits": dataclasses.replace(good, edits=(Edit("trailing space", 0.4, share),)),
        "unfamiliar": dataclasses.replace(good, unfamiliar=Unfamiliar("them", share, 5, 1.0)),
    }
    for key, found in spoiled.items():
        said = verdict(found, SETTINGS)
        is_bad = key in ("numbers", "seen")
        assert said.level == ("not yet" if is_bad else "usable with care")
        assert ("held-out" in said.sentence) == (key != "seen")
        assert said.reasons[0].key == key
        assert said.reasons[0].advice


def test_a_slice_that_is_weak_is_named() -> None:
    pairs = judged(400)
    chosen, rejected = noisy_annotator(400)
    is_odd = np.array([p.preference.prompt.group == "odd" for p in pairs])
    luck = np.random.default_rng(2).normal(size=400)
    found = measured(pairs, np.where(is_odd, luck, chosen), np.where(is_odd, 0.0, rejected))
    weak = weakest(found)
    assert weak is not None
    assert (weak.kind, weak.name) == ("group", "odd")
    assert states(found)["slice"] == "warn"


def test_baselines_by_hand_and_their_direction() -> None:
    """Shorter wins among what was learned from, so that is the rule, however it does here."""
    pairs, learned = judged(100, longer_wins=0.7), judged(100, seed=3, longer_wins=0.1)
    margins = np.ones(100)
    table = {b.key: b for b in figures.baselines(margins, pairs, learned, {}, 0)}
    shorter = np.mean([figures.longer(p) < 0 for p in pairs])
    assert table["length"].name == "Shorter answer wins"
    assert_close(table["length"].accuracy.value, shorter, FLOAT64)
    assert_close(table["length"].gain.value, 1 - shorter, FLOAT64)
    assert table["random"].accuracy.value == 0.5
    assert figures.repetition("a b c a b c") == pytest.approx(1 - 3 / 4)
    assert figures.repetition("好好好好好") == pytest.approx(1 - 1 / 3)


def test_the_learning_curve_learns_and_shares_are_nested() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=12)
    apart = rng.normal(size=(260, 12))
    apart *= np.sign(apart @ weights + rng.logistic(size=260))[:, None]
    pairs = judged(100)
    curve, margins = figures.curve(apart[:160], apart[160:], list(range(160)), pairs, 4, 50, 0)
    assert [p.n for p in curve.points] == [20, 40, 80, 120, 160]
    assert curve.points[-1].accuracy.value > curve.points[0].accuracy.value + 0.05
    assert_close(curve.points[-1].accuracy.value, np.mean(margins > 0), FLOAT64)
    assert curve.gain.low < curve.gain.value < curve.gain.high


def test_what_is_far_from_the_labelled_answers_is_found() -> None:
    rng = np.random.default_rng(0)
    known, heldout, usual = (rng.normal(size=(n, 8)) for n in (200, 100, 400))
    strange = rng.normal(size=(50, 8)) + 4
    same = figures.unfamiliar(known, heldout, usual, list(range(400)), "them")
    assert abs(same.share.value - 0.05) < 0.06
    off = figures.unfamiliar(known, heldout, strange, list(range(50)), "them")
    assert off.share.value > 0.9


def test_an_edit_that_moves_scores_flips_near_pairs_only() -> None:
    pairs = judged(2)
    chosen, rejected = np.array([1.0, 0.1]), np.array([0.0, 0.0])
    edit = figures.edit_effect("x", (chosen, rejected), (chosen - 0.5, rejected), pairs, 0.5)
    assert_close((edit.change, edit.flips.value), (0.5, 0.25), FLOAT64)
    assert [f("Yes.") for f in figures.EDITS.values()] == [
        "Yes. ",
        "Yes",
        "Sure, I can help with that. Yes.",
    ]
    assert figures.repunctuated("好") == "好。"


def test_ceiling_of_labels_that_hold_in_so_many_repeats() -> None:
    """One label in ten wrong: two agree in 0.82."""
    found = ceiling(Figure(0.82, 0.5, 1.0, 40))
    assert_close((found.value, found.low, found.high), (0.9, 0.5, 1.0), FLOAT64)


def test_points_and_the_whole_text() -> None:
    assert points(Figure(0.03, -0.001, 0.06, 9)) == "+3 points [0, 6]"
    assert points(Figure(-0.05, -0.1, 0.0, 9)) == "−5 points [−10, 0]"
    pairs = judged(40)
    found = measured(pairs, *noisy_annotator(40))
    card = ReportCard(
        1, "RM 1", "1", "2026-01-01", "d", 40, "40 pairs.", ("a note",), found,
        verdict(found, SETTINGS), {},
    )  # fmt: skip
    said = "\n".join(text.lines(card, "2 labels were added."))
    for part in ("RM 1: ", "Out of date: 2 labels", "Against baselines", "Note: a note"):
        assert part in said
    assert "nan" not in said
    assert math.isfinite(found.n_wrong)
