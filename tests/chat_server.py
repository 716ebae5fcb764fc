"""A real HTTP server with OpenAI's chat protocol that likes longer answers.

It misbehaves to order.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEMPLATE = "{rubric}|{prompt}|{first}|{second}"
MODEL = "judge-1"


@dataclass
class Asked:
    """One request as it came."""

    path: str
    key: str
    body: dict[str, Any]
    at: float

    @property
    def answers(self) -> tuple[str, str]:
        """The two answers in the order in which they were shown."""
        _, _, first, second = self.body["messages"][0]["content"].split("|")
        return first, second


Misbehave = Callable[["Handler"], None]


@dataclass
class Server:
    """What a test asks of the server, and what was asked of it.

    Attributes:
        gives_logprobs: Whether it answers with log-probabilities when asked for them.
        refuses_logprobs: Whether a request for them is an error.
        key: What clients must send; empty takes all.
        says: Overrides what the model says, given both answers as shown.
        script: What happens to the next requests instead of an answer.
        asked: Every request.
    """

    url: str = ""
    gives_logprobs: bool = True
    refuses_logprobs: bool = False
    key: str = ""
    says: Callable[[str, str], str] | None = None
    script: deque[Misbehave] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


def p_longer(first: str, second: str) -> float:
    """How sure the server is that the first answer is better."""
    return 1 / (1 + math.exp(len(second) - len(first)))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    state: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = (self.headers["authorization"] or "").removeprefix("Bearer ")
        self.request_body = body
        self.state.asked.append(Asked(self.path, key, body, time.monotonic()))
        if self.state.script:
            self.state.script.popleft()(self)
        elif self.state.key and key != self.state.key:
            self.error(401, f"Incorrect API key provided: {key}")
        elif body["model"] != MODEL or self.path != "/v1/chat/completions":
            self.error(404, f"The model `{body['model']}` does not exist")
        elif self.state.refuses_logprobs and "logprobs" in body:
            self.error(400, "logprobs are not supported")
        else:
            self.reply(self.answer())

    def answer(self) -> dict[str, Any]:
        first, second = self.state.asked[-1].answers
        p = p_longer(first, second)
        text = self.state.says(first, second) if self.state.says else "A" if p > 0.5 else "B"
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
        if self.state.gives_logprobs and self.request_body.get("logprobs"):
            logprobs = {" A": math.log(p * 0.9), "B": math.log((1 - p) * 0.9), "The": -5.0}
            top = [{"token": t, "logprob": lp} for t, lp in logprobs.items()]
            said = max(top, key=lambda t: t["logprob"])
            choice["logprobs"] = {"content": [{**said, "top_logprobs": top}]}
        return {"model": MODEL, "choices": [choice], "usage": {"total_tokens": 50}}

    def reply(self, value: object, status: int = 200, **headers: str) -> None:
        self.send(json.dumps(value).encode(), status, **headers)

    def error(self, status: int, message: str, **headers: str) -> None:
        self.reply({"error": {"message": message}}, status, **headers)

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def hang(self, seconds: float) -> None:
        """Say nothing for a while, or until the server ends."""
        self.state.ended.wait(seconds)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


class _Http(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, *_: object) -> None:
        """Clients hang up in the middle: that is what is tested."""


@contextmanager
def serving(**changes: Any) -> Iterator[Server]:
    """The server on a free port of the loopback, until the block ends."""
    state = Server(**changes)
    handler = type("OwnHandler", (Handler,), {"state": state, "timeout": 5.0})
    http = _Http(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        state.ended.set()
        http.shutdown()
        thread.join()
        http.server_close()
