"""A small HTTP endpoint that collects questions about scores for one thread that answers them.

Connections are handled by threads of their own; none of them touches a model. Whatever they ask
waits in one queue, so that work on the model is serial and questions that came meanwhile are
answered together. Refusals are JSON with a sentence: {"error": "..."}.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
import logging
import queue
import socket
import socketserver
import sys
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from workbench.app.reward_protocol import FORMS, MAX_ANSWERS, Item, RefusedError, bad
from workbench.errors import EnvironmentProblem, UserError

log = logging.getLogger(__name__)

MAX_BYTES = 8 << 20
_MAX_WAITING = 8 * MAX_ANSWERS
_MAX_CONNECTIONS = 512
_SILENT_S = 10.0  # a client that says nothing for so long is dropped
_ANSWER_S = 170.0  # OpenRLHF gives up after 180
_LINGER_S = 1.0


class Question:
    """The items of one request; the thread of its connection waits for the scores."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.is_given_up = False
        self._outcome: list[float] | RefusedError = RefusedError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"The scores were not ready after {_ANSWER_S:.0f} seconds. Ask for fewer at once.",
        )
        self._is_ready = threading.Event()

    def answer(self, scores: list[float]) -> None:
        """Give the scores, in the order of the items."""
        self._outcome = scores
        self._is_ready.set()

    def refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Give an error instead."""
        self._outcome = RefusedError(status, sentence)
        self._is_ready.set()

    def wait(self) -> list[float]:
        """The scores.

        Raises:
            RefusedError: There are none, or they took too long.
        """
        self.is_given_up = not self._is_ready.wait(_ANSWER_S)
        if isinstance(self._outcome, RefusedError):
            raise self._outcome
        return self._outcome


class Endpoint:
    """Listens while it is open as a context; `take` gives what was asked.

    Args:
        host: Name or address to listen at.
        port: 0 takes any free one.
        token: Who asks must send it, as a bearer token or as the password in the URL.

    Raises:
        UserError: There is no such address.
        EnvironmentProblem: The port is taken or not allowed.
    """

    def __init__(self, host: str, port: int, token: str) -> None:
        self._queue: queue.SimpleQueue[Question] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open: list[Question] = []
        self._is_closing = False
        self._token = token.encode()
        self._server = _listen(host, port, self)
        port = self._server.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.is_local = ipaddress.ip_address(str(self._server.server_address[0])).is_loopback
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="endpoint", daemon=True
        )

    def __enter__(self) -> Endpoint:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_closing = True
            left, self._open = self._open, []
        for question in left:
            question.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "The reward model is closing.")
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def take(self, timeout: float) -> list[Question]:
        """What waits: at least one question, unless none comes in `timeout` seconds."""
        try:
            taken = [self._queue.get(timeout=timeout)]
        except queue.Empty:
            return []
        n = len(taken[0].items)
        while n < MAX_ANSWERS:
            try:
                taken.append(self._queue.get_nowait())
            except queue.Empty:
                break
            n += len(taken[-1].items)
        return [question for question in taken if not question.is_given_up]

    def is_allowed(self, authorisation: str) -> bool:
        """Whether a header holds the token; takes equally long whatever it holds."""
        scheme, _, given = authorisation.partition(" ")
        secret = given.strip().encode()
        if scheme.lower() == "basic":
            secret = _password(secret)
        elif scheme.lower() != "bearer":
            secret = b""
        return hmac.compare_digest(secret, self._token)

    def ask(self, items: Sequence[Item]) -> list[float]:
        """Wait for the scores of these items; called by the threads of connections.

        Raises:
            RefusedError: They are not scored.
        """
        question = Question(items)
        with self._lock:
            n_waiting = sum(len(q.items) for q in self._open)
            if self._is_closing or n_waiting + len(items) > _MAX_WAITING:
                raise RefusedError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"{n_waiting} answers wait to be scored already. Ask again later.",
                )
            self._open.append(question)
        self._queue.put(question)
        try:
            return question.wait()
        finally:
            with self._lock:
                if question in self._open:
                    self._open.remove(question)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    # On Windows this option lets a second program listen at the same port.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, family: socket.AddressFamily, address: Any, endpoint: Endpoint) -> None:
        self.address_family = family
        self.endpoint = endpoint
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service for this machine's name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def verify_request(self, _request: Any, _address: Any) -> bool:
        return len(self._connections) < _MAX_CONNECTIONS

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wake the threads whose clients say nothing."""
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RD)
            except OSError:
                continue  # it has ended by itself

    def handle_error(self, _request: Any, client_address: Any) -> None:
        # A connection that was broken off is the client's affair, anything else a bug.
        tell = log.info if isinstance(sys.exception(), OSError) else log.error
        tell("a request of %s was not answered", client_address[0], exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SILENT_S
    server_version = "RLHF-Workbench"
    sys_version = ""

    def do_GET(self) -> None:
        if self._path() == "/health":
            self._reply(HTTPStatus.OK, {"status": "ok"})
        else:
            self._refuse(HTTPStatus.NOT_FOUND, _NO_SUCH_PAGE)

    def do_POST(self) -> None:
        try:
            values = self._answer()
        except RefusedError as refused:
            self._refuse(refused.status, refused.sentence)
        else:
            self._reply(HTTPStatus.OK, values)

    def _answer(self) -> dict[str, Any]:
        # Nothing of the body is read before it is clear that the client may ask.
        if not self.server.endpoint.is_allowed(self.headers.get("Authorization", "")):
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "The token is missing or wrong. Send it as Authorization: Bearer TOKEN.",
            )
        form = FORMS.get(self._path())
        if form is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, _NO_SUCH_PAGE)
        return form.write(self.server.endpoint.ask(form.read(self._body())))

    def _path(self) -> str:
        return self.path.partition("?")[0].rstrip("/")

    def _body(self) -> dict[str, Any]:
        stated = self.headers.get("Content-Length", "")
        if not (stated.isascii() and stated.isdigit()):
            raise RefusedError(
                HTTPStatus.LENGTH_REQUIRED, "The request must state its Content-Length."
            )
        if len(stated) > 12 or int(stated) > MAX_BYTES:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The request is too long; at most {MAX_BYTES} bytes are taken at once.",
            )
        try:
            content = json.loads(self.rfile.read(int(stated)))
        except (ValueError, RecursionError):
            raise bad("The request is not JSON.") from None
        if not isinstance(content, dict):
            raise bad("The request must be a JSON object.")
        return content

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library itself refuses, in the same form."""
        status = HTTPStatus(code)
        self._refuse(status, explain or message or f"{status.phrase}.")

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self._reply(status, {"error": sentence})
        self._linger()

    def _reply(self, status: HTTPStatus, values: dict[str, Any]) -> None:
        content = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(content)

    def _linger(self) -> None:
        """Let the client read the refusal of what it still sends.

        Closing a socket with unread bytes resets the connection, and the answer is lost with it.
        """
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_LINGER_S)
        n_left = 2 * MAX_BYTES
        while n_left > 0 and (read := len(self.connection.recv(1 << 16))):
            n_left -= read

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


_NO_SUCH_PAGE = "There is only POST /get_reward, POST /score and GET /health."


def _listen(host: str, port: int, endpoint: Endpoint) -> _Server:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise UserError(
            f"There is no address {host} on this machine.",
            "Take 127.0.0.1, or 0.0.0.0 for every address of this machine.",
        ) from None
    family, _, _, _, address = found[0]
    try:
        return _Server(family, address, endpoint)
    except OSError as error:
        raise EnvironmentProblem(
            f"Nothing can listen at {host}, port {port}: {error.strerror or error}.",
            "Choose another port, or 0 for any that is free.",
        ) from error


def _password(encoded: bytes) -> bytes:
    """The password of basic authentication, which is how a URL with a password is sent."""
    try:
        return base64.b64decode(encoded, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
