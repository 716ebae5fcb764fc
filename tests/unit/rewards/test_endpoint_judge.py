"""A judge behind an endpoint, against a real server that answers, refuses, stalls and lies."""

from __future__ import annotations

import email.utils
import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests import chat_server
from tests.chat_server import Handler, Server, p_longer
from tests.close import FLOAT64, assert_close
from workbench.cancel import CancelToken
from workbench.config.judge import JudgeSettings
from workbench.data.records import Message
from workbench.errors import Cancelled, EnvironmentProblem, UserError, WorkbenchError
from workbench.rewards.endpoint_judge import EndpointJudge
from workbench.rewards.judge_question import Answer, Note, Question

SECRET = "sk-very-secret-0123456789"
QUESTION = Question([Message("user", "why")], "because", "so")
QUESTIONS = [Question([Message("user", f"q{i}")], "a" * (1 + i), "a" * (6 - i)) for i in range(6)]


@pytest.fixture
def server() -> Iterator[Server]:
    with chat_server.serving() as state:
        yield state


def settings(server: Server, **changes: Any) -> JudgeSettings:
    values = {
        "where": "endpoint",
        "url": server.url,
        "model": chat_server.MODEL,
        "template": chat_server.TEMPLATE,
        "timeout": 5.0,
        "retries": 2,
    }
    return JudgeSettings(**{**values, **changes})


def ask(
    server: Server,
    questions: list[Question] | None = None,
    *,
    key: str = "",
    token: CancelToken | None = None,
    first_wait: float = 0.01,
    **changes: Any,
) -> dict[int, Answer]:
    judge = EndpointJudge(
        settings(server, **changes), key, token or CancelToken(), first_wait=first_wait
    )
    with closing(judge):
        said = list(judge.ask([QUESTION] if questions is None else questions))
    return dict(told for told in said if not isinstance(told, Note))


def test_log_probabilities_of_all_spellings_count(server: Server) -> None:
    answers = ask(server, QUESTIONS)
    expected = [p_longer(q.first, q.second) for q in QUESTIONS]
    assert_close([answers[i].p_shown_first for i in range(6)], expected, FLOAT64)
    assert [answers[i].n_tokens for i in range(6)] == [50] * 6
    assert all(0.0 < answers[i].seconds < 5.0 for i in range(6))
    assert len(server.asked) == 6
    request = server.asked[0]
    assert request.path == "/v1/chat/completions"
    assert request.key == ""
    assert request.body["temperature"] == 0.0
    assert request.body["max_tokens"] == 8


@pytest.mark.parametrize("refuses", [False, True])
def test_without_log_probabilities_it_is_asked_several_times(server: Server, refuses: bool) -> None:
    server.gives_logprobs, server.refuses_logprobs = False, refuses
    said = iter("AABBB")  # one answer finds out
    server.says = lambda *_: next(said)
    answers = ask(server, QUESTIONS[:1], samples=4)
    assert answers[0].p_shown_first == 0.25
    sampled = [a.body for a in server.asked if "logprobs" not in a.body]
    assert [body["temperature"] for body in sampled] == ([0.0] if refuses else []) + [0.7] * 4
    assert answers[0].n_tokens == 250


def test_one_sample_is_not_drawn_by_chance(server: Server) -> None:
    server.gives_logprobs = False
    answers = ask(server, QUESTIONS, samples=1)
    assert [answers[i].p_shown_first for i in range(6)] == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    assert [a.body["temperature"] for a in server.asked] == [0.0] * 6


def test_an_answer_that_names_neither_is_kept_as_unknown(server: Server) -> None:
    server.gives_logprobs = False
    server.says = lambda *_: "Both have their merits. \x07"
    (answer,) = ask(server, samples=2).values()
    assert answer.p_shown_first is None
    assert answer.text == " / ".join(["Both have their merits.  "] * 2)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_as_many_questions_are_under_way_as_wanted(server: Server, concurrency: int) -> None:
    together = threading.Barrier(3, timeout=2.0)
    met: list[bool] = []

    def meet(*_: str) -> str:
        try:
            together.wait()
            met.append(True)
        except threading.BrokenBarrierError:
            met.append(False)
        return "A"

    server.says = meet
    answers = ask(server, QUESTIONS[:3], concurrency=concurrency)
    assert len(answers) == 3
    assert all(met) == (concurrency == 3)


def busy(handler: Handler, **headers: str) -> None:
    handler.error(429, "Slow down", **headers)


def test_a_busy_server_is_given_the_time_it_asks_for(server: Server) -> None:
    server.script.append(lambda h: busy(h, Retry_After="1"))
    start = time.monotonic()
    assert ask(server)[0].p_shown_first == p_longer("because", "so")
    assert server.asked[1].at - server.asked[0].at >= 1.0
    assert time.monotonic() - start < 4.0


def test_a_date_to_wait_for_is_understood(server: Server) -> None:
    when = email.utils.formatdate(time.time() + 2.0, usegmt=True)
    server.script.append(lambda h: busy(h, Retry_After=when))
    assert len(ask(server)) == 1
    assert server.asked[1].at - server.asked[0].at >= 0.9


def test_waits_grow_and_are_told(server: Server) -> None:
    server.script.extend([busy] * 3)
    judge = EndpointJudge(settings(server, retries=3), "", CancelToken(), first_wait=0.1)
    with closing(judge):
        said = list(judge.ask([QUESTION]))
    notes = [told.text for told in said if isinstance(told, Note)]
    assert len(notes) == 3
    assert all("is busy: Slow down. Asking again in" in note for note in notes)
    gaps = [b.at - a.at for a, b in zip(server.asked, server.asked[1:], strict=False)]
    assert gaps[0] >= 0.05
    assert gaps[1] >= 0.1
    assert gaps[2] >= 0.2


def half(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    handler.close_connection = True
    handler.connection.close()


def endless(handler: Handler) -> None:
    handler.send(b" " * (5 << 20))


TROUBLE = {
    "fails": (lambda h: h.error(500, "oh"), "failed (500): oh"),
    "is overloaded": (lambda h: h.send(b"<html>503</html>", 503), "failed (503)"),
    "no JSON": (lambda h: h.send(b"<html>\xff"), "something that is not JSON"),
    "deep JSON": (lambda h: h.send(b"[" * 100_000), "something that is not JSON"),
    "other JSON": (lambda h: h.reply({"choices": [{"text": "A"}]}), "without an answer"),
    "a list": (lambda h: h.reply([1, 2]), "without an answer"),
    "no choices": (lambda h: h.reply({"choices": []}), "without an answer"),
    "null": (lambda h: h.reply({"choices": [{"message": {"content": None}}]}), "without an answer"),
    "hangs up": (hang_up, "broke the connection"),
    "hangs up half way": (half, "broke the connection"),
    "is slow": (lambda h: h.hang(10.0), "says nothing for 0.3 s"),
    "has no end": (endless, "answers without end"),
    "is no gzip": (
        lambda h: h.send(b"no gzip", Content_Encoding="gzip"),
        "cannot be unpacked",
    ),
}


@pytest.mark.parametrize("name", TROUBLE)
def test_trouble_is_asked_again_and_told_in_the_end(server: Server, name: str) -> None:
    act, words = TROUBLE[name]
    server.script.append(act)
    assert ask(server, timeout=0.3)[0].p_shown_first == p_longer("because", "so")
    assert len(server.asked) == 2
    server.script.extend([act] * 3)
    with pytest.raises(EnvironmentProblem) as caught:
        ask(server, timeout=0.3)
    assert words in caught.value.message
    assert "it was asked 3 times" in caught.value.message
    assert "go on" in caught.value.hint


def test_a_server_that_drips_is_slow_too(server: Server) -> None:
    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            if server.ended.wait(0.05):
                return
            handler.wfile.write(b" ")

    server.script.append(drip)
    start = time.monotonic()
    assert len(ask(server, timeout=0.4)) == 1
    assert time.monotonic() - start < 3.0


def test_nobody_there(server: Server) -> None:
    with pytest.raises(EnvironmentProblem, match="cannot be reached"):
        ask(server, url="http://127.0.0.1:9", retries=1)


def test_too_long_a_wait_ends_at_once(server: Server) -> None:
    server.script.append(lambda h: busy(h, Retry_After="86400"))
    with pytest.raises(EnvironmentProblem, match="asks to wait 1440 minutes"):
        ask(server)


def test_a_wrong_model_is_told_with_the_servers_words(server: Server) -> None:
    with pytest.raises(UserError) as caught:
        ask(server, model="judge-2")
    assert "(404): The model `judge-2` does not exist" in caught.value.message
    assert "judge-2" in caught.value.hint
    assert len(server.asked) == 1


@pytest.mark.parametrize("path", ["", "/v1", "/v1/chat/completions"])
def test_the_address_may_be_given_shorter_or_longer(server: Server, path: str) -> None:
    assert len(ask(server, url=server.url.removesuffix("/v1") + path)) == 1


def test_a_question_that_is_too_long_costs_no_other(server: Server) -> None:
    server.script.append(lambda h: h.reply(h.answer()))
    server.script.append(lambda h: h.error(400, "context length exceeded"))
    answers = ask(server, QUESTIONS[:3])
    assert answers[1] == Answer(None, "(refused: context length exceeded)", answers[1].seconds, 0)
    assert answers[0].p_shown_first is not None
    assert answers[2].p_shown_first is not None


def test_a_request_that_is_always_refused_ends_it(server: Server) -> None:
    server.script.extend([lambda h: h.error(400, "no such field max_tokens")] * 2)
    with pytest.raises(UserError, match="no such field max_tokens"):
        ask(server)
    assert ["logprobs" in a.body for a in server.asked] == [True, False]


@pytest.mark.parametrize(("key", "does"), [("", "wants a key"), (SECRET, "does not take")])
def test_a_missing_or_wrong_key_is_told_without_it(server: Server, key: str, does: str) -> None:
    server.key = "the right one"
    with pytest.raises(UserError, match=does) as caught:
        ask(server, key=key)
    assert SECRET not in str(caught.value)
    assert len(server.asked) == 1


def test_the_key_is_sent_and_nowhere_else(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Also when the server throws it back: in an answer, in an error, in a header."""
    caplog.set_level(logging.DEBUG)
    server.key = SECRET
    server.says = lambda *_: f"A, says {SECRET}"
    server.gives_logprobs = False
    (answer,) = ask(server, key=SECRET, samples=1).values()
    assert answer.p_shown_first == 1.0
    assert answer.text == "A, says (key)"
    told: list[str] = []
    for status in (400, 401, 404, 500):
        server.script.extend([lambda h, s=status: h.error(s, f"bad key {SECRET}")] * 3)
        with pytest.raises(WorkbenchError) as caught:
            ask(server, key=SECRET)
        server.script.clear()
        error: BaseException | None = caught.value
        while error is not None:
            told.append(repr(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert any("(key)" in text for text in told)
    assert SECRET not in "".join(told)
    assert {a.key for a in server.asked} == {SECRET}
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpcore2", "hpack"))]
    assert SECRET not in "\n".join(ours)


@pytest.mark.parametrize("key", [f"{SECRET}\n", f"{SECRET}é", f"two {SECRET}", f"{SECRET}\x00"])
def test_a_key_that_cannot_be_sent_is_not_told_either(server: Server, key: str) -> None:
    with pytest.raises(UserError, match="characters that no key has") as caught:
        ask(server, key=key)
    assert SECRET not in repr(caught.value)


def _cancelled_after(token: CancelToken, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, token.cancel)
    timer.start()
    return timer


@pytest.mark.parametrize("trouble", ["wait", "request"])
def test_cancel_is_noticed_at_once(server: Server, trouble: str) -> None:
    act = (lambda h: busy(h, Retry_After="30")) if trouble == "wait" else (lambda h: h.hang(30.0))
    server.script.append(act)
    token = CancelToken()
    start = time.monotonic()
    timer = _cancelled_after(token, 0.3)
    with pytest.raises(Cancelled):
        ask(server, timeout=60.0, token=token)
    timer.join()
    assert time.monotonic() - start < 2.0


def test_a_stop_ends_a_wait_and_lets_a_request_end(server: Server) -> None:
    token = CancelToken()

    def slow(handler: Handler) -> None:
        token.request_stop()
        time.sleep(0.2)
        handler.reply(handler.answer())

    server.script.append(slow)
    assert list(ask(server, QUESTIONS, token=token)) == [0]
    assert len(server.asked) == 1
    token = CancelToken()
    server.script.append(lambda h: busy(h, Retry_After="30"))
    timer = threading.Timer(0.2, token.request_stop)
    timer.start()
    start = time.monotonic()
    assert ask(server, QUESTIONS, token=token) == {}
    assert time.monotonic() - start < 2.0


def test_nothing_is_asked_during_a_pause(server: Server) -> None:
    token = CancelToken()
    judge = EndpointJudge(settings(server), "", token, first_wait=0.01)
    with closing(judge):
        answering = judge.ask(QUESTIONS[:2])
        assert not isinstance(next(answering), Note)
        token.pause()
        assert next(answering) == Note("Paused")
        assert len(server.asked) == 1
        token.resume()
        assert len([told for told in answering if not isinstance(told, Note)]) == 1


def test_an_error_does_not_wait_for_those_that_wait(server: Server) -> None:
    together = threading.Barrier(2, timeout=5.0)

    def gone(handler: Handler) -> None:
        together.wait()
        time.sleep(0.2)
        handler.error(404, "gone")

    def waits(handler: Handler) -> None:
        together.wait()
        busy(handler, Retry_After="30")

    server.script.extend([gone, waits])
    start = time.monotonic()
    with pytest.raises(UserError, match="gone"):
        ask(server, QUESTIONS, concurrency=2)
    assert time.monotonic() - start < 5.0
    assert len(server.asked) == 2


def test_what_is_answered_meanwhile_comes_before_the_error(server: Server) -> None:
    together = threading.Barrier(2, timeout=5.0)

    def gone(handler: Handler) -> None:
        together.wait()
        handler.error(404, "gone")

    def answered(handler: Handler) -> None:
        together.wait()
        time.sleep(0.3)
        handler.reply(handler.answer())

    server.script.extend([gone, answered])
    judge = EndpointJudge(settings(server, concurrency=2), "", CancelToken())
    with closing(judge):
        answering = judge.ask(QUESTIONS)
        told = next(answering)
        assert not isinstance(told, Note)
        assert told[1].p_shown_first is not None
        with pytest.raises(UserError, match="gone"):
            next(answering)


def test_odd_probabilities_do_not_break_it(server: Server) -> None:
    def strange(handler: Handler) -> None:
        value = handler.answer()
        top = [
            {"token": "A", "logprob": float("nan")},
            {"token": "B", "logprob": -9999.0},
            {"token": " B", "logprob": math.log(0.25)},
            {"token": "A ", "logprob": math.log(0.5)},
            {"token": 7, "logprob": 0.0},
            {"token": "A\n", "logprob": 900.0},
            "text",
        ]
        said = [
            {"token": "A", "top_logprobs": top},
            {"token": "</think>", "top_logprobs": top},
            {"token": "A", "logprob": -1.0, "top_logprobs": top},
        ]
        value["choices"][0]["logprobs"] = {"content": said}
        handler.reply(value)

    server.script.append(strange)
    (answer,) = ask(server).values()
    assert answer.p_shown_first is not None
    assert_close(answer.p_shown_first, 2 / 3, FLOAT64)
