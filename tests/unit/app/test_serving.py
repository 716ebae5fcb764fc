"""The served reward model, asked by real clients on the loopback."""

import base64
import concurrent.futures
import http.client
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import tinymodels
from tests.close import FORWARD, assert_close
from tests.unit.app.conftest import WAIT, end
from workbench.app import endpoint, library, reward, reward_protocol, serving
from workbench.app.serving import Serving
from workbench.cancel import CancelToken
from workbench.config.reward_model import RewardModelSettings
from workbench.data.chat_template import render_prompt
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.events import Progress, Warned
from workbench.models import adapters
from workbench.rewards.neural import RewardModel

TOKEN = "a-token-of-enough-letters"
PROMPTS = [(Message("user", "w1 w2"),), (Message("user", "w3"),), (Message("user", "w4 w5 w6"),)]
ANSWERS = ["w7 w8", "w1", "w9 w9 w9 w9 w2"]


@pytest.fixture
def scored(judged):
    assert end(reward.train_reward(judged, RewardModelSettings(epochs=1))).outcome == "done"
    return judged


@pytest.fixture
def serve(scored) -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def start(**kwargs: Any) -> Serving:
        served = serving.serve_reward(scored, port=0, **{"token": TOKEN, **kwargs})
        started.append(served)
        next(event for event in served.job.follow(WAIT) if served.url)
        return served

    yield start
    for served in started:
        served.job.token.request_stop()
        assert served.job.wait(WAIT)


@pytest.fixture
def echo() -> Iterator[str]:
    """An endpoint without a model: each answer scores its number of letters."""
    with endpoint.Endpoint("127.0.0.1", 0, TOKEN) as opened:
        is_over = threading.Event()

        def answer() -> None:
            while not is_over.is_set():
                for question in opened.take(0.02):
                    question.answer([float(len(item.answer)) for item in question.items])

        thread = threading.Thread(target=answer)
        thread.start()
        yield opened.url
        is_over.set()
        thread.join()


def post(url: str, body: Any, token: str = TOKEN, **headers: str) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    )
    for name, value in headers.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=WAIT) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def wanted_scores(ws) -> tuple[list[str], list[float]]:
    """The prompts as the chat template renders them, and what the reward model gives by itself."""
    steps = ws.model(CancelToken())
    while True:
        try:
            next(steps)
        except StopIteration as done:
            model = done.value
            break
    folder = ws.artifact_folder(reward.reward_runs(ws)[0].id, "reward_model")
    rendered = [render_prompt(model.tokenizer, prompt) for prompt in PROMPTS]
    scores = RewardModel.load(model, folder).score_texts(PROMPTS, ANSWERS)
    adapters.remove(model, "reward")
    return rendered, scores


def test_scores_are_those_of_the_reward_model(scored, serve):
    rendered, wanted = wanted_scores(scored)
    url = serve().url
    queries = [prompt + answer for prompt, answer in zip(rendered, ANSWERS, strict=True)]
    status, got = post(
        f"{url}/get_reward", {"query": queries, "prompts": rendered, "labels": [""] * 3}
    )
    assert (status, got.keys()) == (200, {"rewards", "scores", "extra_logs"})
    assert got["rewards"] == got["scores"]
    assert_close(got["rewards"], wanted, FORWARD)
    assert max(wanted) - min(wanted) > 100 * FORWARD.absolute

    # A query ends with the stop token when the answer ended by itself, and one is enough.
    ended = [query + "<eos>" for query in queries]
    _, again = post(f"{url}/get_reward", {"query": ended, "prompts": rendered})
    assert_close(again["rewards"], wanted, FORWARD)
    # Without its prompt a query is read as a whole (this vocabulary parts words at blanks).
    texts = [f"{prompt} {answer}" for prompt, answer in zip(rendered, ANSWERS, strict=True)]
    _, whole = post(f"{url}/get_reward", {"query": texts})
    assert_close(whole["rewards"], wanted, FORWARD)

    for prompt, answer, score in zip(PROMPTS, ANSWERS, wanted, strict=True):
        messages = [{"role": m.role, "content": m.content} for m in prompt]
        for form in (messages, prompt[0].content):
            status, one = post(f"{url}/score", {"prompt": form, "answer": answer})
            assert status == 200
            assert_close(one["score"], score, FORWARD)


def test_many_at_once_each_get_their_own_scores(scored, serve):
    rendered, wanted = wanted_scores(scored)
    served = serve()

    def ask(n: int) -> tuple[int, dict[str, Any]]:
        i = n % 3
        query = rendered[i] + ANSWERS[i]
        return post(f"{served.url}/get_reward", {"query": [query], "prompts": [rendered[i]]})

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(ask, range(60)))
    assert {status for status, _ in replies} == {200}
    got = [reply["rewards"][0] for _, reply in replies]
    assert_close(got, [wanted[n % 3] for n in range(60)], FORWARD)
    served.job.token.request_stop()
    assert end(served.job).result == {"requests": 60, "answers": 60}
    told = [e.done for e in served.job.drain() if isinstance(e, Progress)]
    assert told == sorted(told)
    assert told[-1] == 60


@pytest.mark.parametrize(
    ("authorisation", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        ("Basic " + base64.b64encode(f"token:{TOKEN}".encode()).decode(), 200),
        ("", 401),
        (TOKEN, 401),
        ("Bearer ", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Digest {TOKEN}", 401),
        ("Basic " + base64.b64encode(TOKEN.encode()).decode(), 401),
        ("Basic not-base64!", 401),
        ("Bearer t\xf6ken", 401),
    ],
)
def test_only_the_token_opens(echo, authorisation, status):
    body = {"prompt": "w1", "answer": "w2"}
    got, reply = post(f"{echo}/score", body, Authorization=authorisation)
    assert got == status
    if status == 200:
        assert reply == {"score": 2.0}
    else:
        assert "token is missing or wrong" in reply["error"]


def test_a_random_token_is_made_when_none_is_given(serve):
    served = serve(token="")
    assert len(served.token) >= 32
    body = {"prompt": "w1", "answer": "w2"}
    assert post(f"{served.url}/score", body, token=served.token)[0] == 200
    assert post(f"{served.url}/score", body, token=TOKEN)[0] == 401


def test_health_needs_no_token_and_tells_nothing(echo):
    with urllib.request.urlopen(f"{echo}/health", timeout=WAIT) as response:
        assert json.load(response) == {"status": "ok"}
        assert "Python" not in response.headers["Server"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("get_reward", b"{", 400, "is not JSON"),
        ("get_reward", b"\xff\xfe", 400, "is not JSON"),
        ("get_reward", b"[" * 100_000, 400, "is not JSON"),
        ("get_reward", [], 400, "must be a JSON object"),
        ("get_reward", {}, 400, "query must be a list of texts"),
        ("get_reward", {"query": "w1"}, 400, "query must be a list of texts"),
        ("get_reward", {"query": [1]}, 400, "query must be a list of texts"),
        ("get_reward", {"query": ["w1"], "prompts": ["w1", "w2"]}, 400, "1 queries and 2 prompts"),
        ("get_reward", {"query": ["w1"], "prompts": ["w2"]}, 400, "begin with its prompt"),
        ("get_reward", {"query": ["w1", ""]}, 400, "query is empty"),
        ("get_reward", {"query": ["w1 \ud800"]}, 400, "lone surrogate"),
        ("get_reward", {"query": ["w1"] * 1025}, 413, "at most 1024"),
        ("score", {"prompt": "w1"}, 400, "no answer"),
        ("score", {"prompt": "w1", "answer": None}, 400, "answer must be text"),
        ("score", {"prompt": [], "answer": "w1"}, 400, "must be a list of objects"),
        ("score", {"prompt": [{"role": "boss"}], "answer": ""}, 400, "role of a message"),
        ("score", {"prompt": "", "answer": "w1"}, 400, "prompt is empty"),
        ("somewhere", {}, 404, "only POST /get_reward"),
    ],
)
def test_a_wrong_request_gets_a_sentence(echo, path, body, status, words):
    got, reply = post(f"{echo}/{path}", body)
    assert got == status
    assert words in reply["error"]
    assert reply["error"].endswith(".")
    # The server goes on.
    assert post(f"{echo}/score", {"prompt": "w1", "answer": ""}) == (200, {"score": 0.0})


def test_a_long_text_is_refused_alone(serve):
    served = serve()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        good = [
            pool.submit(post, f"{served.url}/score", {"prompt": "w1", "answer": "w2"})
            for _ in range(3)
        ]
        bad = pool.submit(post, f"{served.url}/score", {"prompt": "w1 " * 500, "answer": "w2"})
        status, reply = bad.result()
        assert status == 400
        assert "reads 64 at most" in reply["error"]
        assert [g.result()[0] for g in good] == [200] * 3


def test_an_oversized_body_is_refused_unread(echo, monkeypatch):
    monkeypatch.setattr(endpoint, "MAX_BYTES", 1000)
    status, reply = post(f"{echo}/get_reward", {"query": ["w1 " * 500]})
    assert status == 413
    assert "at most 1000 bytes" in reply["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Content-Length": "-5"}, 411),
        ({"Content-Length": "²"}, 411),
        ({"Content-Length": "9" * 5000}, 413),
    ],
)
def test_a_length_must_be_stated(echo, headers, status):
    connection = http.client.HTTPConnection(echo.removeprefix("http://"), timeout=WAIT)
    try:
        connection.putrequest("POST", "/score", skip_accept_encoding=True)
        connection.putheader("Authorization", f"Bearer {TOKEN}")
        for name, value in headers.items():
            connection.putheader(name, value.encode())
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == status
        assert json.load(response)["error"].endswith(".")
    finally:
        connection.close()


def test_what_the_library_refuses_is_json_too(echo):
    connection = http.client.HTTPConnection(echo.removeprefix("http://"), timeout=WAIT)
    try:
        connection.request("DELETE", "/score")
        response = connection.getresponse()
        assert response.status == 501
        assert "DELETE" in json.load(response)["error"]
    finally:
        connection.close()


def test_cancelling_ends_it_with_silent_clients_connected(serve):
    served = serve()
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as silent:
        silent.sendall(b"POST /score HTTP/1.1\r\n")
        served.job.token.cancel()
        assert end(served.job).outcome == "cancelled"
    assert served.url == ""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), timeout=WAIT)


def test_a_question_that_waits_at_the_end_is_told(monkeypatch):
    with endpoint.Endpoint("127.0.0.1", 0, TOKEN) as open_endpoint:
        pool = concurrent.futures.ThreadPoolExecutor(1)
        asked = pool.submit(post, f"{open_endpoint.url}/score", {"prompt": "w1", "answer": "w2"})
        (question,) = open_endpoint.take(WAIT)
        assert question.items == [reward_protocol.Item((Message("user", "w1"),), "w2")]
    status, reply = asked.result(WAIT)
    pool.shutdown()
    assert status == 503
    assert "closing" in reply["error"]


def test_a_full_queue_says_so(monkeypatch):
    monkeypatch.setattr(endpoint, "_MAX_WAITING", 2)
    with endpoint.Endpoint("127.0.0.1", 0, TOKEN) as open_endpoint:
        status, reply = post(f"{open_endpoint.url}/get_reward", {"query": ["w1"] * 3})
    assert status == 503
    assert "Ask again later" in reply["error"]


def test_a_slow_model_is_told_and_its_question_dropped(monkeypatch):
    monkeypatch.setattr(endpoint, "_ANSWER_S", 0.05)
    with endpoint.Endpoint("127.0.0.1", 0, TOKEN) as open_endpoint:
        status, reply = post(f"{open_endpoint.url}/score", {"prompt": "w1", "answer": "w2"})
        assert status == 503
        assert "not ready" in reply["error"]
        assert open_endpoint.take(WAIT) == []


def test_a_score_that_is_no_number_is_told():
    with (
        endpoint.Endpoint("127.0.0.1", 0, TOKEN) as open_endpoint,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        body = {"prompt": "w1", "answer": "w2"}
        asked = pool.submit(post, f"{open_endpoint.url}/score", body)
        (question,) = open_endpoint.take(WAIT)
        question.answer([float("nan")])
        status, reply = asked.result(WAIT)
    assert status == 500
    assert "no number" in reply["error"]


def test_listening_beyond_the_loopback_is_warned_of(scored):
    served = serving.serve_reward(scored, host="0.0.0.0", port=0, token=TOKEN)
    events = []
    for event in served.job.follow(WAIT):
        events.append(event)
        if isinstance(event, Progress) and event.note.startswith("Scoring"):
            served.job.token.request_stop()
    (warning,) = [e for e in events if isinstance(e, Warned)]
    assert "other machines" in warning.message
    assert served.job.outcome == "stopped"


def test_a_taken_port_fails_with_a_sentence(scored):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served = serving.serve_reward(scored, port=taken.getsockname()[1], token=TOKEN)
        error = end(served.job).error
    assert "Nothing can listen at 127.0.0.1" in error.message
    assert not error.traceback


def test_an_address_of_another_machine_fails_with_a_sentence(scored):
    served = serving.serve_reward(scored, host="no.such.host.invalid", token=TOKEN)
    assert "There is no address no.such.host.invalid" in end(served.job).error.message
    with pytest.raises(UserError, match="no port 70000"):
        serving.serve_reward(scored, port=70_000, token=TOKEN)


@pytest.mark.parametrize("token", ["short", "has, a comma and blanks", "t\xf6ken-of-many-letters"])
def test_a_weak_token_is_refused(ready, token):
    with pytest.raises(UserError, match="token"):
        serving.serve_reward(ready, token=token)


def test_without_a_reward_model_serving_says_so(ready):
    with pytest.raises(UserError, match="no reward model yet"):
        serving.serve_reward(ready)


def test_a_reward_model_of_another_base_is_not_served(scored, tmp_path):
    other = tinymodels.write(tmp_path / "random-gpt2", "gpt2")
    library.select_model(scored, str(other))
    with pytest.raises(UserError, match="was trained on random-llama"):
        serving.serve_reward(scored)


def test_a_damaged_reward_model_is_not_served(scored):
    folder = scored.artifact_folder(reward.reward_runs(scored)[0].id, "reward_model")
    (folder / "adapter_config.json").write_text("{}")
    assert "is damaged" in end(serving.serve_reward(scored).job).error.message
