"""One-step SARSA: values of the policy that wrote the answers, and one step beyond it.

    L_Q = (r_t + γQ(s_{t+1}, y_{t+1}) − Q(s_t, y_t))²
    L_V = ½(Q(s_t, y_t) − V(s_t))²                   the ½-expectile, which is the mean
    L   = L_Q + L_V + α·L_CQL + c·L_π                the last two as in `ilql.py`

The target holds Q of the token that the answer goes on with, as the textbook's SARSA has it, and
not V(s_{t+1}), whose mean it is (expected SARSA): so Q depends on no second head, and V is only
the baseline of the advantage. There is no maximum anywhere: Q is the value of the data's own
policy, not of the best one. Hence nothing overestimates, and what ILQL needs against that, twin
heads and slow copies, is not here: on-policy evaluation is stable without (Tsitsiklis and Van
Roy 1997).

"One step": sampling from logits + β·(Q − V) improves on the data's policy once. It is on-policy in
that sense, while it samples nothing in training; to take the next step, generate answers with the
trained policy and train on those.

When: as ILQL, when the answers come from one policy and are good on average; it is the steadier
of the two and cannot join the good parts of bad answers.

Rummery and Niranjan 1994; Brandfonbrener et al. 2021 (arXiv:2106.08909).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from workbench.cancel import CancelToken
from workbench.config.sarsa import SARSASettings
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


def train(settings: SARSASettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train adapter and heads; what is yielded and raised stands at `q_learning.run`."""
    heads = Heads(inputs.model, settings.q_rank, settings.seed, n_q=1)
    learner = begin("sarsa", settings, inputs, heads.modules)
    yield from q_learning.run(learner, heads, partial(_losses, settings), inputs, cancel)


def _losses(settings: SARSASettings, view: View, batch: Batch) -> Losses:
    is_response = batch.is_response
    next_q = following_values(view.q_hat, is_response)
    targets = td_target(batch.rewards, next_q, is_response, settings.gamma)
    (q,) = view.qs
    return Losses(
        q=q_loss(q, targets, is_response),
        value=expectile_loss(view.q_hat, view.values, 0.5),
        conservative=conservatism(view, is_response),
        imitation=imitation(settings, view),
    )
