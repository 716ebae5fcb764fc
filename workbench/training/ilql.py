"""ILQL: implicit Q-learning of language, offline, from answers with scores.

    L_Q   = Σ_i (r_t + γV(s_{t+1}) − Q_i(s_t, y_t))²          two heads, i = 1, 2
    L_V   = |τ − 1(Q̂ < V)|·(Q̂ − V)²                           Q̂ = min_i of slow copies of Q_i
    L_CQL = Σ_i −log softmax(Q_i(s_t, ·))[y_t]
    L_π   = −min(exp(β_π(Q̂ − V)), w)·log π(y_t|s_t)            AWAC
    L     = L_Q + L_V + α·L_CQL + c·L_π                        means over the tokens of a batch

V is the τ-expectile of Q̂ over the tokens that the data takes: near the best of them, so that
good parts of different answers are joined, without asking about tokens that no answer has.
Answers are then sampled from logits + β·(Q̂ − V) (`models/policy.py`).

When: there are scored answers of mixed quality, and no time to sample new ones during training.
An on-policy algorithm on the same reward goes further from the data, for better and worse.

Snell et al. 2022 (arXiv:2206.11871); the expectile: Kostrikov et al. 2021 (arXiv:2110.06169).
Left out: values of whole utterances, a supervised policy beside the learning one (here one
adapter is both), target copies of the trunk (of the heads only, as in trlx).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from workbench.cancel import CancelToken
from workbench.config.ilql import ILQLSettings
from workbench.events import Event
from workbench.objectives.q_learning import (
    expectile_loss,
    following_values,
    q_loss,
    td_target,
)
from workbench.training import q_learning
from workbench.training.episodes import Batch
from workbench.training.inputs import Inputs
from workbench.training.learner import begin
from workbench.training.q_learning import Heads, Losses, View, conservatism, imitation


def train(settings: ILQLSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train adapter and heads; what is yielded and raised stands at `q_learning.run`."""
    heads = Heads(
        inputs.model, settings.q_rank, settings.seed, n_q=2, target_rate=settings.target_rate
    )
    learner = begin("ilql", settings, inputs, heads.modules)
    yield from q_learning.run(learner, heads, partial(_losses, settings), inputs, cancel)


def _losses(settings: ILQLSettings, view: View, batch: Batch) -> Losses:
    is_response = batch.is_response
    next_values = following_values(view.values, is_response)
    targets = td_target(batch.rewards, next_values, is_response, settings.gamma)
    return Losses(
        q=torch.stack([q_loss(q, targets, is_response) for q in view.qs]).sum(0),
        value=expectile_loss(view.q_hat, view.values, settings.expectile),
        conservative=conservatism(view, is_response),
        imitation=imitation(settings, view),
    )
