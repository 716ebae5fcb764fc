"""A trained reward model at an HTTP address, for trainers on this machine or on others.

POST /get_reward speaks the protocol of OpenRLHF's remote reward (openrlhf 0.11.2, `utils/agent.py`
asks and `cli/serve_rm.py` answers): {"query": [...], "prompts": [...], "labels": [...]} gives
{"rewards": [...], "scores": [...], "extra_logs": {}}. A query is its prompt and the answer, both as
the policy's chat template renders them, so the policy must have the reward model's template.
OpenRLHF sends no header of its own, but sends the password of the URL: http://token:TOKEN@host:port.
POST /score takes {"prompt": messages or text, "answer": text}; GET /health needs no token.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from workbench.app import bases, scorers
from workbench.app.endpoint import Endpoint, Question
from workbench.app.planning import reward_source
from workbench.app.reward_protocol import Item
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.errors import UserError
from workbench.events import Progress, Warned
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.rewards.neural import Encoded, RewardModel

HOST = "127.0.0.1"
PORT = 8420
# It stands in URLs, and OpenRLHF cuts a list of URLs at commas.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
_LOOK_UP_S = 0.1


@dataclass
class Serving:
    """A reward model that is served, or will be when its job's turn comes.

    Attributes:
        token: What a client must send.
        job: Serves until it is stopped or cancelled.
        url: Where it listens; empty until it does.
    """

    token: str
    job: Job = field(init=False)
    url: str = ""


def serve_reward(
    ws: Workspace,
    reward_run: int | None = None,
    *,
    host: str = HOST,
    port: int = PORT,
    token: str = "",
) -> Serving:
    """Score whatever clients send until the job is stopped.

    Args:
        ws: The experiment.
        reward_run: Whose reward model scores; None takes the newest.
        host: Address to listen at. Only the loopback keeps other machines out.
        port: 0 takes any free one.
        token: What clients must send; empty makes a random one.

    Raises:
        UserError: There is no reward model of the chosen model, no such port, or the token is weak.
    """
    if token and not _TOKEN.fullmatch(token):
        raise UserError(
            "The token is too short or has other characters than letters, digits and . _ ~ -.",
            "Give 16 characters or more, or none for a random token.",
        )
    if not 0 <= port <= 65_535:
        raise UserError(f"There is no port {port}.", "Choose one of 1 to 65535, or 0 for any.")
    scorer = reward_source(ws, reward_run)
    bases.require(scorer, ws.model_info())
    ws.artifact_folder(scorer.id, "reward_model")
    serving = Serving(token or secrets.token_urlsafe(32))

    def work(cancel: CancelToken) -> Working:
        model = yield from ws.model(cancel)
        from workbench.rewards.neural import RewardModel
        from workbench.rewards.retold import Retold

        scorer_there = yield from scorers.opened(ws, scorer, model, cancel)
        reward = scorer_there.reward if isinstance(scorer_there, Retold) else scorer_there
        try:
            if not isinstance(reward, RewardModel):
                raise UserError(
                    f"{scorer.name} cannot be served: clients send texts that a chat template has "
                    "rendered, and only a trained network reads those.",
                    "Choose a reward model that was trained here.",
                )
            with Endpoint(host, port, serving.token) as endpoint:
                serving.url = endpoint.url
                if not endpoint.is_local:
                    yield Warned(
                        f"{endpoint.url} can be reached from other machines, and what is sent "
                        "there is not encrypted.",
                        f"Listen at {HOST} and let the others in through an SSH tunnel.",
                    )
                return (yield from _serve(endpoint, reward, cancel))
        finally:
            serving.url = ""
            reward.close()

    serving.job = ws.submit(f"Serve {scorer.name}", "serve", work)
    return serving


def _serve(endpoint: Endpoint, reward: RewardModel, cancel: CancelToken) -> Working:
    n_requests = n_answers = 0
    yield Progress(0, 0, f"Scoring at {endpoint.url}")
    while not cancel.should_stop:
        if questions := endpoint.take(_LOOK_UP_S):
            n_answers += _answer(questions, reward)
            n_requests += len(questions)
            yield Progress(n_requests, 0, f"{n_requests} requests served")
    return {"requests": n_requests, "answers": n_answers}


def _answer(questions: Sequence[Question], reward: RewardModel) -> int:
    """Score all that waits together; a question with a text that is too long is refused alone."""
    fitting: list[tuple[Question, list[Encoded]]] = []
    for question in questions:
        sequences = [_encode(reward, item) for item in question.items]
        longest = max(map(len, sequences), default=0)
        if longest > reward.base.context_length:
            question.refuse(
                HTTPStatus.BAD_REQUEST,
                f"Prompt and answer have {longest} tokens; the reward model reads "
                f"{reward.base.context_length} at most.",
            )
        else:
            fitting.append((question, sequences))
    scores = iter(reward.score_sequences([s for _, sequences in fitting for s in sequences]))
    for question, sequences in fitting:
        question.answer([next(scores) for _ in sequences])
    return sum(len(sequences) for _, sequences in fitting)


def _encode(reward: RewardModel, item: Item) -> Encoded:
    if isinstance(item.prompt, str):
        return reward.encode_rendered(item.prompt, item.answer)
    return reward.encode_text(item.prompt, item.answer)
