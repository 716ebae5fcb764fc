"""A judge behind an endpoint with OpenAI's chat protocol.

One question is one request, or several where the server gives no log-probabilities. A server that
is busy, broken or silent is asked again, later each time; a cancel is noticed at once, in a
request and in a wait. The key is sent to the server and told to nobody: not in an error, not in a
log, not in a stored answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2

from workbench.cancel import CancelToken
from workbench.config.judge import KEY_VARIABLE, JudgeSettings
from workbench.errors import Cancelled, EnvironmentProblem, UserError, WorkbenchError
from workbench.rewards.endpoint_reply import (
    NonsenseError,
    Reply,
    read_problem,
    read_reply,
    read_retry_after,
)
from workbench.rewards.judge_question import Answer, Asking, Note, Question

log = logging.getLogger(__name__)

_POLL_S = 0.05
_LONGEST_BACKOFF_S = 60.0
_LONGEST_WAIT_S = 600.0
_LONGEST_REPLY = 4 << 20
_LONGEST_TOLD = 300
_N_TOP = 5  # the most that every server allows
_TRANSIENT = {408, 425, 429}
_LOCAL = ("localhost", "127.", "::1")
_Tasks = dict["asyncio.Task[Answer]", int]


class _Transient(Exception):
    """The server may answer later; `wait` is what it asks for in seconds."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.what = what
        self.wait = wait


class EndpointJudge:
    """Asks an endpoint, as many questions at once as the settings say.

    Args:
        settings: Whose `url` and `model` are asked.
        key: Sent as a bearer token; empty for servers that need none.
        cancel: Cancel ends requests and waits at once; a stop lets requests come to their end.
        first_wait: Seconds before a question is first asked again; doubled each time.

    Raises:
        UserError: The key cannot be sent.
    """

    def __init__(
        self, settings: JudgeSettings, key: str, cancel: CancelToken, *, first_wait: float = 1.0
    ) -> None:
        if not (key.isascii() and key.isprintable()) or " " in key:
            # What httpx would say of it holds the key.
            raise UserError(
                "The key of the endpoint has characters that no key has.",
                "Copy it again, without spaces and line breaks.",
            )
        self.settings = settings
        self._key = key
        self._cancel = cancel
        self._first_wait = first_wait
        self._server = urlsplit(settings.url).netloc
        self._address = _address(settings.url)
        self._has_logprobs: bool | None = None
        self._n_answered = 0
        self._problem: WorkbenchError | None = None
        self._notes: deque[str] = deque()
        self._runner = asyncio.Runner()
        self._client: httpx2.AsyncClient | None = None

    def ask(self, questions: Sequence[Question]) -> Asking:
        """Answers as they come, and why there is a wait; see `Judge.ask`."""
        waiting = deque(enumerate(questions))
        pending: _Tasks = {}
        self._problem = None
        try:
            while waiting or pending:
                self._begin(waiting, pending)
                if not pending:
                    self._cancel.raise_if_cancelled()
                    if self._cancel.should_stop:
                        return
                    yield Note("Paused")  # the runner holds here
                    continue
                done = self._runner.run(self._some(pending))
                while self._notes:
                    yield Note(self._notes.popleft())
                for task in done:
                    i, answer = pending.pop(task), self._answer_of(task)
                    if answer is not None:
                        yield i, answer
                if self._problem is not None:
                    waiting.clear()  # what is under way is paid, so it may come to its end
            if self._problem is not None:
                raise self._problem
        finally:
            self._abandon(pending)

    def _answer_of(self, task: asyncio.Task[Answer]) -> Answer | None:
        """None where there is none: of a stop, or of trouble, the first of which is kept."""
        try:
            return task.result()
        except Cancelled:
            self._cancel.raise_if_cancelled()
        except WorkbenchError as problem:
            self._problem = self._problem or problem
        return None

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._runner.run(self._client.aclose())
            self._client = None
        self._runner.close()

    def _begin(self, waiting: deque[tuple[int, Question]], pending: _Tasks) -> None:
        loop = self._runner.get_loop()
        while waiting and len(pending) < self.settings.concurrency:
            # Requests that wait for a pause to end would run out of time.
            if self._cancel.should_stop or self._cancel.is_paused:
                return
            i, question = waiting.popleft()
            pending[loop.create_task(self._answer(question))] = i

    async def _some(self, pending: _Tasks) -> set[asyncio.Task[Answer]]:
        """Those that have ended; none when there is only something to tell."""
        while True:
            done, left = await asyncio.wait(
                pending, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED
            )
            is_held = bool(left) and self._cancel.is_paused
            if (done and not is_held) or self._notes:
                return done
            self._cancel.raise_if_cancelled()

    def _abandon(self, pending: _Tasks) -> None:
        async def gone() -> None:
            await asyncio.gather(*pending, return_exceptions=True)

        if pending:
            for task in pending:
                task.cancel()
            self._runner.run(gone())

    async def _answer(self, question: Question) -> Answer:
        text = question.text(self.settings).encode("utf-8", "replace").decode()
        start = time.perf_counter()
        replies: list[Reply] = []
        if self._has_logprobs is not False or self.settings.samples == 1:
            reply = await self._reply(text, 0.0)
            if self._has_logprobs is None:
                self._has_logprobs = reply.has_logprobs
            if self._has_logprobs or self.settings.samples == 1:
                return self._to_answer([reply], reply.n_tokens, start)
            replies.append(reply)
        samples = [
            await self._reply(text, self.settings.temperature) for _ in range(self.settings.samples)
        ]
        return self._to_answer(samples, sum(r.n_tokens for r in (*replies, *samples)), start)

    def _to_answer(self, replies: Sequence[Reply], n_tokens: int, start: float) -> Answer:
        self._n_answered += 1
        said = [reply.p_first for reply in replies if reply.p_first is not None]
        text = " / ".join(self._clean(reply.text) for reply in replies)
        p_first = sum(said) / len(said) if said else None
        return Answer(p_first, text, time.perf_counter() - start, n_tokens)

    async def _reply(self, text: str, temperature: float) -> Reply:
        attempt = 0
        while True:
            try:
                return await self._once(text, temperature)
            except _Transient as problem:
                if attempt == self.settings.retries or problem.wait > _LONGEST_WAIT_S:
                    raise self._given_up(problem, attempt) from None
                await self._wait(problem, attempt)
                attempt += 1

    async def _once(self, text: str, temperature: float) -> Reply:
        """One request.

        Raises:
            _Transient: It may be answered later.
            UserError: It never will be.
        """
        asks_logprobs = self._has_logprobs is not False
        status, headers, body = await self._post(self._request(text, temperature, asks_logprobs))
        if 200 <= status < 300:
            try:
                return read_reply(body, self.settings)
            except NonsenseError as nonsense:
                raise _Transient(f"answers with {nonsense}") from None
        problem = self._clean(read_problem(body))
        if status in _TRANSIENT or status >= 500:
            wait = read_retry_after(headers.get("retry-after", ""), time.time())
            what = "is busy" if status == 429 else f"failed ({status})"
            raise _Transient(f"{what}: {problem}" if problem else what, wait)
        if status in (400, 422):
            if asks_logprobs and self._has_logprobs is None:
                self._has_logprobs = False
                return await self._once(text, temperature)
            if self._n_answered:
                # Others were answered, so it is this question: too long, as a rule.
                return Reply(f"(refused: {problem})", None, False, 0)
        raise self._refused(status, problem)

    async def _post(self, request: dict[str, Any]) -> tuple[int, httpx2.Headers, bytes]:
        content = json.dumps(request).encode()
        try:
            async with (
                asyncio.timeout(self.settings.timeout),
                self._connection().stream("POST", self._address, content=content) as response,
            ):
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _LONGEST_REPLY:
                        raise _Transient("answers without end")
                return response.status_code, response.headers, body
        except (TimeoutError, httpx2.TimeoutException):
            raise _Transient(f"says nothing for {self.settings.timeout:g} s") from None
        except httpx2.ConnectError:
            raise _Transient("cannot be reached") from None
        except httpx2.TransportError:
            raise _Transient("broke the connection") from None
        except httpx2.DecodingError:
            raise _Transient("answers with something that cannot be unpacked") from None

    def _connection(self) -> httpx2.AsyncClient:
        if self._client is None:
            headers = {"Content-Type": "application/json"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            # A proxy for the world outside knows nothing of this machine.
            is_local = (urlsplit(self.settings.url).hostname or "").startswith(_LOCAL)
            self._client = httpx2.AsyncClient(headers=headers, timeout=None, trust_env=not is_local)
        return self._client

    def _request(self, text: str, temperature: float, asks_logprobs: bool) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": self.settings.max_tokens,
            "temperature": temperature,
        }
        return request | ({"logprobs": True, "top_logprobs": _N_TOP} if asks_logprobs else {})

    async def _wait(self, problem: _Transient, attempt: int) -> None:
        # Jitter: clients that were refused together must not come back together.
        backoff = min(_LONGEST_BACKOFF_S, self._first_wait * 2**attempt) * random.uniform(0.5, 1.0)
        seconds = max(problem.wait, backoff)
        note = f"{self._server} {problem.what}. Asking again in {seconds:.0f} s"
        log.warning("%s", note)
        self._notes.append(note)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._cancel.should_stop or self._problem is not None:
                raise Cancelled
            await asyncio.sleep(min(left, _POLL_S))

    def _given_up(self, problem: _Transient, attempt: int) -> EnvironmentProblem:
        kept = "What was answered is kept: start it again to go on from there."
        if problem.wait > _LONGEST_WAIT_S:
            minutes = problem.wait / 60
            return EnvironmentProblem(
                f"{self._server} {problem.what}, and asks to wait {minutes:.0f} minutes.", kept
            )
        times = "once" if attempt == 0 else f"{attempt + 1} times"
        return EnvironmentProblem(f"{self._server} {problem.what}; it was asked {times}.", kept)

    def _refused(self, status: int, problem: str) -> UserError:
        if status in (401, 403):
            does = "does not take this key" if self._key else "wants a key"
            return UserError(
                f"{self._server} {does} ({status}).",
                f"Enter it in the dialog, or put it into ${KEY_VARIABLE}.",
            )
        said = f": {problem}" if problem else "."
        return UserError(
            f"{self._server} refuses the question ({status}){said}",
            f"Check the address {self.settings.url} and the model's name {self.settings.model}.",
        )

    def _clean(self, text: str) -> str:
        """A server's words, fit to be told and stored: short, printable, without the key."""
        if self._key:
            text = text.replace(self._key, "(key)")
        text = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
        return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}…"


def _address(url: str) -> str:
    """Where questions go, also when the user gave only the server or already the whole address."""
    if url.endswith("/chat/completions"):
        return url
    return f"{url}/chat/completions" if urlsplit(url).path else f"{url}/v1/chat/completions"
