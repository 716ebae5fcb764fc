"""The report card of a tiny reward model: which pairs, what is kept, when it is out of date."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.close import EXACT, FLOAT64, assert_close
from tests.unit.app.conftest import end, events_of
from workbench.app import labelling, report_card, reward, scorers
from workbench.app.report_card import text
from workbench.app.report_card.pairs import _labelled, choose
from workbench.cli import reward_report
from workbench.cli.following import Outcome
from workbench.cli.parser import parse
from workbench.cli.show import Show
from workbench.config.report_card import ReportCardSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.data.folders import verify
from workbench.errors import UserError
from workbench.events import METRICS, Progress

QUICK = ReportCardSettings(n_draws=2, min_pairs=4)


class FakeScorer:
    """Scores by a rule; it counts what it is asked."""

    name = "fake"
    n_members = 3

    def __init__(self, rule, gone: str | None = None) -> None:
        self.rule, self.gone = rule, gone

    def score_texts(self, _prompts: Sequence[object], texts: Sequence[str]) -> list[float]:
        if self.gone in texts:
            raise UserError("A score of the fake is not a number any more.")
        return [float(self.rule(t)) for t in texts]

    def score_texts_with_spread(self, prompts, texts):
        return self.score_texts(prompts, texts), [0.25] * len(texts)

    score_with_spread = score_texts_with_spread


@pytest.fixture
def trained(judged):
    settings = RewardModelSettings(epochs=1, batch_size=8, heldout_share=0.4)
    assert end(reward.train_reward(judged, settings)).outcome == "done"
    return judged


@pytest.fixture
def scored_by(monkeypatch):
    def use(scorer: FakeScorer) -> None:
        @contextmanager
        def loaded(_model, _folder) -> Iterator[FakeScorer]:
            yield scorer

        monkeypatch.setattr(scorers, "loaded", loaded)

    return use


CHOSEN = []


def _chosen(ws, run, cancel):
    model = yield from ws.model(cancel)
    CHOSEN.append((yield from choose(ws, model, run, 4, cancel)))


def made(ws, settings=QUICK):
    job = report_card.report(ws, 1, settings)
    events = events_of(job)
    assert events[-1].outcome == "done", events[-1].error
    card = report_card.read(ws, 1)
    assert card is not None
    return card, events


def test_a_report_from_making_to_being_out_of_date(trained, tmp_path, capsys) -> None:
    run = trained.run(1)
    assert report_card.read(trained, 1) is None
    card, events = made(trained)
    m = card.measured
    # Exactly what the run itself held out: the same number, score by score.
    assert m.accuracy is not None
    assert m.n_pairs == run.results["reward/heldout_pairs"]
    assert_close(m.accuracy.value, run.results["reward/heldout_accuracy"], EXACT)
    assert m.accuracy.low <= run.results["reward/heldout_low"] + 0.05
    assert not m.has_seen
    assert m.curve is not None
    assert m.curve.points[-1].n + m.n_pairs == run.inputs["n_pairs"]
    assert {b.key for b in m.baselines} >= {"random", "length", "logp", "probe"}
    assert len(m.edits) == 3
    assert m.n_wrong == len(m.worst) <= m.n_pairs
    counts = [e.done for e in events if isinstance(e, Progress) and "answers" not in e.note]
    totals = {e.total for e in events if isinstance(e, Progress) and e.note.startswith("Scoring")}
    assert counts == sorted(counts)
    assert len(totals) == 1
    # The run has ended and stays so; its figures are joined by the report's.
    assert trained.run(1).status == "done"
    found = trained.experiment.runs.metrics(1)
    assert found["report/accuracy"][-1][1] == m.accuracy.value
    assert {n for n in found if n.startswith("report/")} <= {*METRICS} | {
        "report/accuracy_low",
        "report/accuracy_high",
    }
    assert verify(trained.artifact_folder(1, "reward_model")) == []
    assert json.loads(report_card.to_json(card))["verdict"]["level"] == card.verdict.level
    assert text.lines(card)[0] == f"Reward model 1: {card.verdict.sentence}"
    assert report_card.staleness(trained, card) == ""
    # The command line prints the one that is there.
    options = parse(["reward", "report", "1", "--out", str(tmp_path / "card.txt")])
    assert reward_report.report(trained, options, Show(is_json=False)) is Outcome.DONE
    said = capsys.readouterr().out
    assert said.splitlines()[0] == text.lines(card)[0]
    assert (tmp_path / "card.txt").read_text(encoding="utf-8") == said
    # A pair that is judged the other way counts as it is judged now, and the old report says so.
    pair = next(p for p in m.worst if p.comparison_id)
    stored = trained.experiment.comparisons.get(pair.comparison_id)
    is_first = labelling.item(trained, stored.id).first.text == pair.rejected
    labelling.judge(trained, stored.id, "first" if is_first else "second", 1.0)
    assert report_card.staleness(trained, card) != ""
    again, _ = made(trained)
    assert again.measured.n_wrong == m.n_wrong - 1
    assert any("judged the other way" in note for note in again.notes)
    # The person's own verdict goes back with the pair, and it comes first.
    report_card.judge_again(trained, stored.id)
    waiting = trained.experiment.comparisons.next_pending(trained.annotator)
    assert waiting is not None
    assert waiting.id == stored.id
    assert trained.experiment.judgements.latest(stored.id, trained.annotator) is None
    step = report_card.next_step(trained, again)
    assert step.kind == "queue"
    last = list(step.ids)[::-1][:3]
    assert report_card.queue_pairs(trained, last) == 3
    order = [trained.experiment.comparisons.next_pending(trained.annotator)]
    for _ in range(3):
        order.append(trained.experiment.comparisons.next_pending(trained.annotator, order[-1].id))
    assert [c.id for c in order] == [*last, stored.id]


def test_rewards_of_other_kinds_and_bad_numbers(trained, scored_by) -> None:
    ws = trained
    scored_by(FakeScorer(len))
    card, _ = made(ws)
    assert card.verdict.level == "not yet"
    assert next(r for r in card.verdict.reasons if r.key == "length").state == "bad"
    assert card.measured.length is not None
    assert_close(card.measured.length.correlation.value, 1.0, FLOAT64)
    assert card.measured.spread is not None
    assert card.measured.spread.labelled == 0.25
    # A score that is no number is named and left out.
    bad = card.measured.worst[0].chosen if card.measured.worst else ""
    scored_by(FakeScorer(len, gone=bad))
    spoiled, _ = made(ws)
    assert spoiled.measured.n_unscored >= 1
    assert spoiled.measured.unscored[0].margin is None
    assert "NaN" in spoiled.verdict.reasons[0].sentence
    assert "A score of the fake is not a number any more." in spoiled.notes
    assert spoiled.measured.n_pairs + spoiled.measured.n_unscored == card.measured.n_pairs
    # A cancel leaves the earlier report alone.
    scorer = FakeScorer(len)
    scored_by(scorer)
    job = report_card.report(ws, 1, QUICK)
    with pytest.raises(UserError, match="already"):
        report_card.report(ws, 1, QUICK)
    ws.runner.cancel(job)
    assert end(job).outcome == "cancelled"
    assert report_card.read(ws, 1) == spoiled
    # Which pairs, for what was not trained as a network here.
    now = ws.experiment.judgements.preferences()
    run = replace(ws.run(1), algorithm="probe", inputs={}, settings={})
    every = _labelled(ws, run, (), now, 4)
    assert (len(every.test), every.has_seen, every.sentence[:3]) == (len(now), False, "All")
    newer = _labelled(ws, run, now[:-5], now, 4)
    assert (len(newer.test), len(newer.learn), newer.has_seen) == (5, len(now) - 5, False)
    assert "newer than" in newer.sentence
    too_few = _labelled(ws, run, now[:-2], now, 4)
    assert (len(too_few.test), too_few.has_seen) == (len(now), True)
    # A design is held against what the networks in it held out.
    designed = replace(run, algorithm="design", settings={"parts": [{"run": 1}, {"weight": 1.0}]})
    job = ws.submit("Pairs", "read", lambda cancel: _chosen(ws, designed, cancel))
    assert end(job).outcome == "done", job.finished
    assert len(CHOSEN[-1].test) == spoiled.measured.n_pairs + spoiled.measured.n_unscored
    assert "of which it is made" in CHOSEN[-1].sentence
    (ws.run_folder(1) / report_card.FILE).write_text("{")
    assert report_card.read(ws, 1) is None
