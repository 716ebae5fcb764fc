"""A local model as a judge: how likely is it to say that the first answer is the better one?

Nothing is sampled: the probabilities of the two verdict words are read behind the question.
B questions, R tokens of a verdict, F spellings.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.judge import JudgeSettings
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models import adapters
from workbench.models.decoding import pad_prompts
from workbench.models.loading import LoadedModel
from workbench.objectives.verdicts import first_probability
from workbench.rewards.judge_question import Answer, Question

Ids = tuple[int, ...]


class LocalJudge:
    """Asks the base of a loaded model, causal or encoder-decoder, without any adapter.

    Raises:
        UserError: The model's tokenizer does not tell the two labels apart.
    """

    def __init__(self, model: LoadedModel, settings: JudgeSettings, cancel: CancelToken) -> None:
        self.model = model
        self.settings = settings
        # On a processor more gains nothing, and progress and a stop would wait for it.
        self.tokens_at_once = 1024 if model.device.type == "cpu" else 8192
        self._cancel = cancel
        self._labels = (settings.first_label.strip(), settings.second_label.strip())
        self._spellings = [self._spell(label) for label in self._labels]
        if set(self._spellings[0]) & set(self._spellings[1]):
            raise UserError(
                f"{model.info.name} reads {self._labels[0]} and {self._labels[1]} as the same.",
                "Choose labels that its tokenizer knows.",
            )

    def ask(self, questions: Sequence[Question]) -> Generator[tuple[int, Answer], None, None]:
        """Probabilities of the two verdicts, as many questions at once as fit.

        A question that is longer than the model's context gets no verdict.
        """
        encoded = [self._encode(question) for question in questions]
        limit = self.model.context_length - max(map(len, chain(*self._spellings)))
        for i, ids in enumerate(encoded):
            if len(ids) > limit:
                text = f"(not asked: {len(ids)} tokens, and the model takes {limit})"
                yield i, Answer(None, text, 0.0, 0)
        fitting = [i for i, ids in enumerate(encoded) if len(ids) <= limit]
        for rows in self._batches(fitting, encoded):
            if self._cancel.should_stop:
                self._cancel.raise_if_cancelled()
                return
            start = time.perf_counter()
            values = self._probabilities([encoded[i] for i in rows]).tolist()
            seconds = (time.perf_counter() - start) / len(rows)
            for i, p in zip(rows, values, strict=True):
                yield i, Answer(p, self._labels[p < 0.5], seconds, len(encoded[i]) + 1)

    def close(self) -> None:
        """Nothing is held: the model is its owner's."""

    def _spell(self, label: str) -> list[Ids]:
        """The token sequences of a label at the start of an answer, with and without a space."""
        encode = self.model.tokenizer.encode
        spelled = (tuple(encode(text, add_special_tokens=False)) for text in (label, f" {label}"))
        return list(dict.fromkeys(ids for ids in spelled if ids))

    def _encode(self, question: Question) -> Ids:
        text = question.text(self.settings)
        return tuple(self.model.encode_prompt([Message("user", text)]))

    def _batches(self, rows: Sequence[int], encoded: Sequence[Ids]) -> Iterator[list[int]]:
        """Neighbours together: the two orders of a pair are about equally long."""
        batch: list[int] = []
        for i in rows:
            width = max(len(encoded[j]) for j in (*batch, i))
            if batch and width * (len(batch) + 1) > self.tokens_at_once:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    @torch.no_grad()
    def _probabilities(self, questions: Sequence[Ids]) -> Tensor:  # (B,)
        ids, is_prompt = pad_prompts(self.model, questions)
        spellings = [*self._spellings[0], *self._spellings[1]]
        columns: dict[Ids, Tensor] = {}
        with (
            adapters.active(self.model, None),
            self.model.checking(self._cancel.raise_if_cancelled),
        ):
            # Spellings that differ in their last token only are read off one state.
            for before in dict.fromkeys(spelling[:-1] for spelling in spellings):
                group = [spelling for spelling in spellings if spelling[:-1] == before]
                logps = self._last_tokens(ids, is_prompt, before, [g[-1] for g in group])
                columns |= zip(group, logps.unbind(1), strict=True)
        n_first = len(self._spellings[0])
        stacked = torch.stack([columns[spelling] for spelling in spellings], dim=1)
        return first_probability(stacked[:, :n_first], stacked[:, n_first:])

    def _last_tokens(
        self,
        ids: Tensor,  # (B, P) left-padded
        is_prompt: Tensor,  # (B, P) bool
        before: Ids,
        last: Sequence[int],
    ) -> Tensor:  # (B, len(last))
        """Log-probabilities of answers that are `before` and then each of `last`."""
        spelling = torch.tensor([*before, last[0]], device=ids.device).expand(len(ids), -1)
        is_said = torch.ones_like(spelling, dtype=torch.bool)
        states = self.model.response_states(ids, is_prompt, spelling, is_said)
        ends = torch.tensor(list(last), device=ids.device).expand(len(ids), -1)
        state = states[:, -1:].expand(-1, len(last), -1)
        logps, _ = self.model.logps(state, ends, torch.ones_like(ends, dtype=torch.bool), 1.0)
        if before:
            earlier, _ = self.model.logps(states[:, :-1], spelling[:, :-1], is_said[:, :-1], 1.0)
            logps = logps + earlier.sum(1, keepdim=True)
        return logps
