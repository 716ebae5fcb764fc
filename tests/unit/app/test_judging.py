"""AI judges on a real experiment, against a real server and a tiny model."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring

from tests import chat_server
from tests.chat_server import Server
from tests.unit.app.conftest import WAIT, end, events_of
from workbench.app import judge_agreement, judge_keys, judge_records, judging, labelling
from workbench.app.training_data import collect, labels_digest, usable_pairs
from workbench.app.workspace import Workspace
from workbench.config.algorithms import ALGORITHMS
from workbench.config.judge import KEY_VARIABLE, JudgeSettings
from workbench.data.records import Message, NewCompletion, NewPrompt, Verdict
from workbench.errors import EnvironmentProblem, UserError
from workbench.events import Finished, Progress, Warned

SECRET = "sk-very-secret-0123456789"
N_LABELLED, N_PAIRS = 12, 20


class FakeKeyring(KeyringBackend):
    """A keyring in memory."""

    priority = 1.0  # type: ignore[assignment]

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        from keyring.errors import PasswordDeleteError

        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError(f"not found: {username}")


@pytest.fixture(autouse=True)
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKeyring]:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    before, fake = keyring.get_keyring(), FakeKeyring()
    keyring.set_keyring(fake)
    yield fake
    keyring.set_keyring(before)


@pytest.fixture
def server() -> Iterator[Server]:
    with chat_server.serving() as state:
        yield state


def settings(server: Server, **changes: Any) -> JudgeSettings:
    values: dict[str, Any] = {
        "where": "endpoint",
        "url": server.url,
        "model": chat_server.MODEL,
        "template": chat_server.TEMPLATE,
        "retries": 0,
    }
    return JudgeSettings(**{**values, **changes})


@pytest.fixture
def pairs(ws: Workspace) -> list[int]:
    """Twenty pairs, half of them with the longer answer first; the person likes long answers.

    The person has judged twelve of them: one the other way round, and one as both bad.
    """
    with ws.experiment.database.write():
        for i in range(N_PAIRS):
            group = "dialogue" if i % 2 else "code"
            [prompt] = ws.experiment.prompts.add_many(
                [NewPrompt((Message("user", f"p{i}"),), group=group)]
            )
            texts = ("long answer", "short") if i % 4 < 2 else ("brief", "lengthy answer")
            ids = ws.experiment.completions.add_many([NewCompletion(prompt, t) for t in texts])
            ws.experiment.comparisons.add_many([(prompt, *ids)])
    ids = ws.experiment.comparisons.pending_ids("nobody")
    for i, comparison_id in enumerate(ids[:N_LABELLED]):
        longer: Verdict = "first" if i % 4 < 2 else "second"
        verdict: Verdict = {0: "second", 1: "both_bad"}.get(i, longer)  # type: ignore[assignment]
        labelling.judge(ws, comparison_id, verdict, 1.0)
    return ids


def shown(ws: Workspace, how: JudgeSettings) -> judge_agreement.Agreement:
    """With the judge tried on all of the person's labels."""
    assert end(judging.judge(ws, how, "agree-check")).outcome == "done"
    return judge_agreement.show_agreement(ws, judge_records.name_of(ws, how))


def ai_verdicts(ws: Workspace) -> dict[int, str]:
    return {
        p.judgement.comparison_id: p.judgement.verdict
        for p in ws.experiment.judgements.list()
        if p.judgement.annotator_kind == "ai"
    }


def test_agreement_is_kappa_over_what_both_have_judged(
    ws: Workspace, pairs: list[int], server: Server
) -> None:
    found = shown(ws, settings(server))
    # The person: 4 first, 7 second, 1 tie; the judge: 6 first, 6 second.
    chance = (4 * 6 + 7 * 6 + 1 * 0) / 144
    assert found.overall.n == 12
    assert found.overall.value == pytest.approx((10 / 12 - chance) / (1 - chance))
    assert found.overall.low < found.overall.value < found.overall.high
    assert (found.n_same, found.n_sided, found.n_sided_same) == (10, 11, 10)
    assert (found.n_contradictions, found.n_unreadable) == (0, 0)
    assert {tag: kappa.n for tag, kappa in found.by_tag.items()} == {"code": 6, "dialogue": 6}
    text = " ".join(judge_agreement.sentences(found))
    assert "10 of 12 pairs" in text
    assert f"Kappa {found.overall.value:.2f}" in text
    differing = judge_agreement.disagreements(ws, found.judge)
    assert [o.comparison_id for o in differing] == [pairs[0], pairs[1]]
    assert [o.persons for o in differing] == ["second", "both_bad"]


def test_labels_are_used_only_after_kappa_was_shown(
    ws: Workspace, pairs: list[int], server: Server
) -> None:
    how = settings(server)
    with pytest.raises(UserError, match="not known yet"):
        judging.judge(ws, how, "pending")
    with pytest.raises(UserError, match="not known yet"):
        judging.judge(ws, how, comparison_ids=[pairs[-1]])
    name = judge_records.name_of(ws, how)
    assert end(judging.judge(ws, how, "agree-check", limit=9)).outcome == "done"
    assert judge_agreement.show_agreement(ws, name).overall.n == 9
    with pytest.raises(UserError, match="at least 10"):
        judging.judge(ws, how, "pending")
    assert end(judging.judge(ws, how, "agree-check")).outcome == "done"
    judge_agreement.agreement(ws, name)  # worked out, but not shown
    with pytest.raises(UserError, match="not known yet"):
        judging.judge(ws, how, "pending")
    judge_agreement.show_agreement(ws, name)
    done = end(judging.judge(ws, how, "pending"))
    assert done.result["n_judged"] == N_PAIRS - N_LABELLED
    # Another rubric is another judge.
    with pytest.raises(UserError, match="not known yet"):
        judging.judge(ws, settings(server, rubric="brief"), "pending")


def test_judgements_are_an_ais_undone_as_a_whole_and_never_count_against_a_persons(
    ws: Workspace, pairs: list[int], server: Server
) -> None:
    how = settings(server)
    before = {p.comparison_id: (p.chosen, p.annotator) for p in usable_pairs(ws)[0]}
    shown(ws, how)
    assert end(judging.judge(ws, how)).outcome == "done"
    name = judge_records.name_of(ws, how)
    assert ws.experiment.judgements.annotators()[name] == "ai"
    after = {p.comparison_id: p for p in usable_pairs(ws)[0]}
    for comparison_id, (chosen, annotator) in before.items():
        assert (after[comparison_id].chosen, after[comparison_id].annotator) == (chosen, annotator)
    rest = pairs[N_LABELLED:]
    assert {i: after[i].annotator for i in rest} == dict.fromkeys(rest, name)
    assert all(after[i].chosen.startswith("l") for i in rest)
    n_asked = len(server.asked)
    assert labelling.undo(ws) == f"{name} judged 8 pairs"
    assert [p.comparison_id for p in usable_pairs(ws)[0]] == list(before)
    again = end(judging.judge(ws, how))
    assert (again.result["n_judged"], again.result["n_answers"]) == (8, 0)
    assert len(server.asked) == n_asked  # nothing is paid twice


def test_labels_have_the_judges_weight_in_training(
    ws: Workspace, pairs: list[int], server: Server
) -> None:
    shown(ws, settings(server))
    assert end(judging.judge(ws, settings(server, weight=0.25))).outcome == "done"
    usable, _ = usable_pairs(ws)
    assert {p.weight for p in usable if p.annotator_kind == "ai"} == {0.25}
    assert {p.weight for p in usable if p.annotator_kind == "person"} == {1.0}
    digest = labels_digest(usable)
    judge_records.remember(
        ws, judge_records.name_of(ws, settings(server)), settings=settings(server).model_dump()
    )
    assert {p.weight for p in usable_pairs(ws)[0]} == {0.5, 1.0}
    assert labels_digest(usable_pairs(ws)[0]) != digest
    feedback = collect(ws, ALGORITHMS["kto"], ALGORITHMS["kto"].settings())[0].feedback
    assert {f.weight for f in feedback} == {0.5, 1.0}
    assert len({(f.prompt.id, f.answer) for f in feedback}) == len(feedback)
    ws.experiment.judgements.add(pairs[-1], "first", "elsewhere", "ai", 0.0)
    assert {p.weight for p in usable_pairs(ws)[0] if p.annotator == "elsewhere"} == {0.5}


def test_a_judge_that_goes_with_the_side_finds_only_ties(
    ws: Workspace, pairs: list[int], server: Server
) -> None:
    server.gives_logprobs = False
    server.says = lambda *_: "A"
    found = shown(ws, settings(server, samples=1))
    assert set(ai_verdicts(ws).values()) == {"tie"}
    assert found.n_contradictions == 12
    assert found.overall.value == pytest.approx(0.0)
    text = " ".join(judge_agreement.sentences(found))
    assert "went with the side" in text
    assert "A larger model" in text
    cost = judge_agreement.cost_sentence(ws, found.judge)
    assert "24 questions, 1,200 tokens" in cost
    assert judge_agreement.cost_sentence(ws, "nobody") == ""


def test_identical_answers_are_a_tie_without_asking(
    ws: Workspace, pairs: list[int], server: Server
) -> None:
    [prompt] = ws.experiment.prompts.add_many([NewPrompt((Message("user", "same"),))])
    ids = ws.experiment.completions.add_many([NewCompletion(prompt, t) for t in ("so", " so\n")])
    [(comparison, _)] = ws.experiment.comparisons.ensure([(prompt, *ids)])
    labelling.judge(ws, comparison.id, "tie", 1.0)
    done = end(judging.judge(ws, settings(server), comparison_ids=[comparison.id]))
    assert (done.result["n_ties"], done.result["n_answers"]) == (1, 0)
    assert server.asked == []
    assert ai_verdicts(ws) == {comparison.id: "tie"}


def test_answers_that_name_neither_are_told_and_not_asked_for_again(
    ws: Workspace, pairs: list[int], server: Server
) -> None:
    server.gives_logprobs = False
    server.says = lambda *_: "Both are fine"
    how = settings(server, samples=1)
    events = events_of(judging.judge(ws, how, "agree-check"))
    assert any(isinstance(e, Warned) and "12 of 12" in e.message for e in events)
    assert ai_verdicts(ws) == {}
    found = judge_agreement.show_agreement(ws, judge_records.name_of(ws, how))
    assert (found.overall.n, found.n_unreadable) == (0, 12)
    with pytest.raises(UserError, match="no label of yours"):
        judging.judge(ws, how, "agree-check")


def test_suggestions_are_there_when_asked_for_and_judge_nothing(
    ws: Workspace, pairs: list[int], server: Server
) -> None:
    how = settings(server)
    assert judge_agreement.suggestion(ws, pairs[-1]) is None
    shown(ws, how)
    n = len(ai_verdicts(ws))
    done = end(judging.judge(ws, how, is_suggestion=True))
    assert (done.result["n_pairs"], done.result["n_judged"]) == (8, 0)
    assert len(ai_verdicts(ws)) == n
    found = judge_agreement.suggestion(ws, pairs[-1])
    assert found is not None
    assert (found.verdict, found.persons) == ("second", None)
    assert found.p_first < 0.01
    assert labelling.next_item(ws) is not None  # the person's queue is as before
    n_asked = len(server.asked)
    assert end(judging.judge(ws, how)).result["n_judged"] == 8
    assert len(server.asked) == n_asked


@pytest.mark.parametrize("how_it_ends", ["cancel", "stop", "error"])
def test_it_goes_on_where_it_stopped(
    ws: Workspace, pairs: list[int], server: Server, how_it_ends: str
) -> None:
    """After a cancel, a stop and an error every question is asked exactly once in all."""
    n_before = 7
    job: list[Any] = []
    begun = threading.Event()

    def end_now(handler: chat_server.Handler) -> None:
        if how_it_ends == "error":
            handler.error(500, "gone")
            return
        begun.wait(WAIT)
        if how_it_ends == "cancel":
            job[0].token.cancel()
            handler.hang(30.0)
        else:
            job[0].token.request_stop()
            handler.reply(handler.answer())

    server.script.extend([lambda h: h.reply(h.answer())] * n_before)
    server.script.append(end_now)
    job.append(judging.judge(ws, settings(server), "agree-check"))
    begun.set()
    outcome = end(job[0])
    wanted = {"cancel": "cancelled", "stop": "stopped", "error": "failed"}
    assert outcome.outcome == wanted[how_it_ends]
    if how_it_ends == "error":
        assert outcome.error is not None
        assert "gone" in outcome.error.message
        assert "go on" in outcome.error.hint
    n_kept = n_before + (how_it_ends == "stop")
    name = judge_records.name_of(ws, settings(server))
    assert ws.experiment.ai_answers.cost(name).n_answers == n_kept
    assert len(ai_verdicts(ws)) == n_kept // 2
    assert end(judging.judge(ws, settings(server), "agree-check")).outcome == "done"
    assert len(ai_verdicts(ws)) == N_LABELLED
    assert ws.experiment.ai_answers.cost(name).n_answers == 2 * N_LABELLED
    answered = [a.body["messages"][0]["content"] for a in server.asked]
    n_twice = len(answered) - len(set(answered))
    assert n_twice == (0 if how_it_ends == "stop" else 1)  # the one that got no answer


def test_an_experiment_that_was_closed_goes_on(
    open_workspace: Callable[..., Workspace], server: Server
) -> None:
    ws = open_workspace()
    [prompt] = ws.experiment.prompts.add_many([NewPrompt((Message("user", "p"),))])
    texts = [NewCompletion(prompt, "a" * (i + 1)) for i in range(4)]
    ws.experiment.completions.add_many(texts)
    labelling.make_comparisons(ws)
    for i in ws.experiment.comparisons.pending_ids(ws.annotator):
        labelling.judge(ws, i, "first", 1.0)
    server.script.extend([lambda h: h.reply(h.answer())] * 5)
    server.script.append(lambda h: h.error(500, "gone"))
    assert end(judging.judge(ws, settings(server), "agree-check")).outcome == "failed"
    assert ws.close(WAIT)
    again = open_workspace()
    done = end(judging.judge(again, settings(server), "agree-check"))
    assert (done.outcome, done.result["n_answers"]) == ("done", 7)
    assert len(ai_verdicts(again)) == 6


def test_progress_tells_pairs_and_why_it_waits(
    ws: Workspace, pairs: list[int], server: Server
) -> None:
    server.script.append(lambda h: h.error(429, "Slow down", Retry_After="1"))
    events = events_of(judging.judge(ws, settings(server, retries=1), "agree-check", limit=3))
    told = [e for e in events if isinstance(e, Progress)]
    assert (told[-1].done, told[-1].total) == (3, 3)
    assert any("Slow down. Asking again" in e.note for e in told)
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.result["n_tokens"] == 6 * 50
    assert 0.0 < float(str(finished.result["seconds"])) < 10.0


def test_the_outlook_grows_out_of_what_was_asked(
    ws: Workspace, pairs: list[int], server: Server
) -> None:
    how = settings(server)
    assert judging.outlook(ws, how, "pending") == judging.Outlook(8, None)
    shown(ws, how)
    cost = ws.experiment.ai_answers.cost(judge_records.name_of(ws, how))
    found = judging.outlook(ws, how, "pending")
    assert found.n_pairs == 8
    assert found.seconds == pytest.approx(16 * cost.seconds / 24)
    assert judging.outlook(ws, how, "agree-check").n_pairs == 0
    assert judging.outlook(ws, settings(server, rubric="brief"), "all").n_pairs == 20


def test_nothing_to_compare_with_is_told(ws: Workspace, server: Server) -> None:
    with pytest.raises(UserError, match="Rank some pairs yourself"):
        judging.judge(ws, settings(server), "agree-check")
    with pytest.raises(UserError, match="no pair left"):
        judging.judge(ws, settings(server), "pending")


def test_a_read_only_experiment_is_left_alone(
    ws: Workspace, pairs: list[int], server: Server, open_workspace: Callable[..., Workspace]
) -> None:
    reader = open_workspace(is_read_only=True)
    with pytest.raises(UserError, match="read-only"):
        judging.judge(reader, settings(server), "agree-check")
    assert server.asked == []


def everything_written(ws: Workspace) -> str:
    ws.experiment.database.read().execute("PRAGMA wal_checkpoint")
    return "".join(
        path.read_bytes().decode("latin-1") for path in Path(ws.path).rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("source", ["given", "keyring", "environment"])
def test_the_key_is_used_and_written_nowhere(
    ws: Workspace,
    pairs: list[int],
    server: Server,
    ring: FakeKeyring,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    home: Path,
) -> None:
    server.key = SECRET
    server.says = lambda *_: f"A {SECRET}"
    server.gives_logprobs = False
    how = settings(server, samples=1)
    key = None
    if source == "given":
        key = SECRET
    elif source == "keyring":
        judge_keys.keep(how.url, SECRET)
        assert list(ring.kept.values()) == [SECRET]
        assert SECRET not in str(list(ring.kept))
    else:
        monkeypatch.setenv(KEY_VARIABLE, SECRET)
    done = end(judging.judge(ws, how, "agree-check", limit=2, key=key))
    assert done.outcome == "done"
    assert {a.key for a in server.asked} == {SECRET}
    assert bool(ring.kept) == (source == "keyring")
    server.script.extend([lambda h: h.error(500, f"key {SECRET} failed")] * 4)
    failed = end(judging.judge(ws, how, "agree-check", key=key))
    assert failed.error is not None
    assert "(key)" in failed.error.message
    assert SECRET not in repr(failed)
    assert ws.close(WAIT)
    written = everything_written(ws)
    assert len(written) > 1000
    assert re.search("judge-1", written)
    assert SECRET not in written
    assert not home.exists() or SECRET not in "".join(
        p.read_text() for p in home.rglob("*") if p.is_file()
    )


def test_a_key_is_kept_when_wanted(
    ws: Workspace, pairs: list[int], server: Server, ring: FakeKeyring
) -> None:
    job = judging.judge(ws, settings(server), "agree-check", limit=1, key=SECRET, is_key_kept=True)
    assert end(job).outcome == "done"
    assert judge_keys.find(server.url) == SECRET
    assert judge_keys.find("http://127.0.0.1:1/v1") == ""  # another server's is another
    judge_keys.keep(server.url, "")
    judge_keys.keep(server.url, "")
    assert judge_keys.find(server.url) == ""


def test_without_a_keyring_the_key_is_used_once_and_that_is_told(
    ws: Workspace, pairs: list[int], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.set_keyring(NoKeyring())
    server.key = SECRET
    assert judge_keys.find(server.url) == ""
    with pytest.raises(EnvironmentProblem) as caught:
        judge_keys.keep(server.url, SECRET)
    assert SECRET not in repr(caught.value)
    events = events_of(
        judging.judge(ws, settings(server), "agree-check", limit=1, key=SECRET, is_key_kept=True)
    )
    assert any(isinstance(e, Warned) and "no keyring" in e.message for e in events)
    assert isinstance(events[-1], Finished)
    assert events[-1].outcome == "done"
    monkeypatch.setenv(KEY_VARIABLE, f" {SECRET}\n")
    assert judge_keys.find(server.url) == SECRET


@pytest.mark.parametrize("where", ["loaded", "folder", "same folder"])
def test_a_local_model_judges(ready: Workspace, tiny_model_path: Path, where: str) -> None:
    """The shipped tiny model has letters; the loaded one knows seventeen words."""
    ws = ready
    for i in range(3):
        [prompt] = ws.experiment.prompts.add_many([NewPrompt((Message("user", f"w{i} w{i}"),))])
        ids = ws.experiment.completions.add_many([NewCompletion(prompt, t) for t in ("w1", "w2")])
        [(comparison, _)] = ws.experiment.comparisons.ensure([(prompt, *ids)])
        labelling.judge(ws, comparison.id, "first", 1.0)
    folder = ws.model_info().path if where == "same folder" else tiny_model_path
    how = JudgeSettings(
        where="loaded" if where == "loaded" else "folder",
        model="" if where == "loaded" else str(folder),
        first_label="A" if where == "folder" else "w1",
        second_label="B" if where == "folder" else "w2",
        template="{prompt} {first} {second}",
    )
    done = end(judging.judge(ws, how, "agree-check"))
    assert done.outcome == "done", done.error
    assert (done.result["n_pairs"], done.result["n_answers"]) == (3, 6)
    assert int(str(done.result["n_tokens"])) > 6
    assert ws.is_model_loaded == (where != "folder")
    assert set(ws.experiment.judgements.annotators().values()) == {"person", "ai"}


def test_a_model_that_is_gone_is_told(ws: Workspace, pairs: list[int], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        judging.judge(ws, JudgeSettings(), "agree-check")  # no model is chosen
    gone = JudgeSettings(where="folder", model=str(tmp_path / "gone"))
    with pytest.raises(UserError):
        judging.judge(ws, gone, "agree-check")


def test_settings_of_another_version_are_read_as_defaults(ws: Workspace) -> None:
    ws.experiment.settings.set("judges", {"old": {"settings": {"mood": 1}, "n_shown": 12}})
    assert judge_records.judges(ws) == {"old": JudgeSettings()}
    assert judge_records.is_shown(ws, "old")
