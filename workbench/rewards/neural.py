"""The reward model: a LoRA adapter `reward` and a score head on the base that is loaded anyway.

B answers, T tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from workbench.config.lora import LoraSettings
from workbench.data.chat_template import encode_answer, pieces
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models import adapters, attribution
from workbench.models.decoding import pad_answers, pad_prompts, seeds
from workbench.models.heads import MemberHeads, ScalarHead
from workbench.models.loading import LoadedModel, Trunk
from workbench.rewards.base import require_numbers
from workbench.rewards.explaining import Owed

ADAPTER = "reward"
FACTS = "reward.json"
"""Beside the adapter: the base by name and digest, and how the reward model was trained."""
_MEMBERS, _MEMBERS_KEY = "heads.safetensors", "weight"
_HEAD = 1  # what a key of `seeds` is for

# The pad id matters: Hugging Face pools at the last token that is not padding, and many
# tokenizers pad with the stop token, which would pool before it.
_CARD = """---
base_model: {base}
library_name: peft
tags: [reward-model, rlhf, lora]
---

# Reward model

LoRA adapter and score head (one label; the raw logit is the score), written by RLHF Workbench.
Give it prompt and answer with the stop token at the end. Padding must be token {pad_id}:

```python
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

base = AutoModelForSequenceClassification.from_pretrained("{base}", num_labels=1)
base.config.pad_token_id = {pad_id}
model = PeftModel.from_pretrained(base, "this folder").eval()
```
"""


# Transformers' classifiers of the T5 kind have another head and read another position.
_CARD_OF_ENCODER_DECODER = """---
base_model: {base}
library_name: peft
tags: [reward-model, rlhf, lora]
---

# Reward model

LoRA adapter and score head on an encoder-decoder, written by RLHF Workbench, which reads it.
The score is w · h: w is `base_model.model.score.weight` of the weights here, h the decoder's last
hidden state after the answer and its stop token, as the output head gets it (with tied embeddings
T5 scales it by 1/√d_model first); the prompt is the encoder's input.
"""


_CARD_OF_MEMBERS = """
## Ensemble

The score head is the mean of {n} heads, whose weights are the rows of `weight` in
`heads.safetensors`. How far their scores differ tells how sure the reward model is of an answer.
"""


class Encoded(NamedTuple):
    """Token ids of a prompt and of an answer that ends with exactly one stop token."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


class RewardModel:
    """Scores an answer at its stop token (Stiennon et al. 2020; Ouyang et al. 2022).

    Attributes:
        head: Gives the score; of an ensemble it is the mean head.
        members: The heads of an ensemble; None without one.
    """

    def __init__(
        self,
        base: LoadedModel,
        head: ScalarHead,
        lora: LoraSettings,
        name: str = "reward model",
        adapter: str = ADAPTER,
        members: MemberHeads | None = None,
    ) -> None:
        self.base = base
        self.head = head
        self.members = members
        self.lora = lora
        self.name = name
        self.adapter = adapter
        self.tokens_at_once = 4096
        self.trainable: list[torch.nn.Parameter] = []

    @classmethod
    def fresh(
        cls, base: LoadedModel, lora: LoraSettings, seed: int, n_members: int = 1
    ) -> RewardModel:
        """A new one whose adapter and head are trainable; the adapter's are `trainable`.

        Of an ensemble the members are trainable, and `average_members_` makes the head of them.
        """
        head = ScalarHead(base.hidden_size, bias=False)
        members = None
        if n_members == 1:
            head.init_normal_(torch.Generator().manual_seed(seed))
        else:
            members = MemberHeads(base.hidden_size, n_members)
            keys = [seeds(seed, _HEAD, i, n=1)[0] for i in range(n_members)]
            members.init_normal_([torch.Generator().manual_seed(key) for key in keys])
            members.to(base.device)
        model = cls(base, head.to(base.device), lora, members=members)
        model.average_members_()
        model.trainable = adapters.add(base, ADAPTER, lora, seed)
        return model

    @property
    def n_members(self) -> int:
        """How many heads vote."""
        return 1 if self.members is None else len(self.members.linear.weight)

    def average_members_(self) -> None:
        """Make the head the mean of the members as they are now; without any it stays."""
        if self.members is not None:
            self.members.average_into_(self.head)

    @classmethod
    def load(cls, base: LoadedModel, folder: Path, adapter: str = ADAPTER) -> RewardModel:
        """From a SEQ_CLS adapter folder, frozen; scores are bit-equal to those before saving.

        Raises:
            UserError: The folder does not fit the loaded model.
        """
        head = adapters.load_scorer(base, adapter, folder)
        members = _load_members(base, folder)
        return cls(base, head, adapters.lora_settings(folder), folder.name, adapter, members)

    def close(self) -> None:
        """Take the adapter off the base."""
        adapters.remove(self.base, self.adapter)

    def save(self, folder: Path, facts: Mapping[str, object] | None = None) -> None:
        """Write a folder that PEFT loads on AutoModelForSequenceClassification(num_labels=1).

        Args:
            folder: Where to.
            facts: How it was trained, for those who read `reward.json`.
        """
        adapters.save(self.base, self.adapter, self.lora, folder, score_head=self.head)
        info = self.base.info
        text = _CARD_OF_ENCODER_DECODER if info.is_encoder_decoder else _CARD
        card = text.format(base=info.hub_id or info.name, pad_id=self.base.pad_id)
        if self.members is not None:
            weight = self.members.linear.weight.detach().cpu().contiguous()
            save_file({_MEMBERS_KEY: weight}, str(folder / _MEMBERS))
            card += _CARD_OF_MEMBERS.format(n=self.n_members)
        (folder / "README.md").write_text(card, encoding="utf-8")
        content = {
            "base": {"name": info.name, "digest": info.digest},
            "members": self.n_members,
            "pad_id": self.base.pad_id,
            **(facts or {}),
        }
        (folder / FACTS).write_text(json.dumps(content, indent=2), encoding="utf-8")

    def encode(self, prompt: Sequence[Message], answer: Sequence[int]) -> Encoded:
        """Prompt and answer, closed with a stop token.

        A cut answer gets its stop token too: the model was trained on whole answers only, and
        cutting is punished where it is known (`missing_eos_penalty`), not guessed from a score.
        """
        ids = list(answer)
        if not ids or ids[-1] not in self.base.stop_ids:
            ids.append(self.base.stop_id)
        return Encoded(tuple(self.base.encode_prompt(prompt)), tuple(ids))

    def encode_text(self, prompt: Sequence[Message], text: str) -> Encoded:
        """As `encode`, for an answer that is text."""
        answer = encode_answer(self.base.tokenizer, text, self.base.stop_id)
        return Encoded(tuple(self.base.encode_prompt(prompt)), tuple(answer))

    def encode_beginning(self, prompt: Sequence[Message], text: str) -> Encoded:
        """As `encode_text`, for an answer that goes on: it has no stop token yet."""
        answer: list[int] = self.base.tokenizer.encode(text, add_special_tokens=False)
        return Encoded(tuple(self.base.encode_prompt(prompt)), tuple(answer))

    def encode_rendered(self, prompt: str, answer: str) -> Encoded:
        """As `encode`, for text that a chat template has rendered, special tokens included.

        Without a prompt the answer holds it too; a score is read at the last token in any case.
        """
        tokenizer = self.base.tokenizer
        has_template = tokenizer.chat_template is not None
        start: list[int] = tokenizer.encode(prompt, add_special_tokens=not has_template)
        ids: list[int] = tokenizer.encode(answer, add_special_tokens=False)
        if not ids or ids[-1] not in self.base.stop_ids:
            ids.append(self.base.stop_id)
        if not start:
            start, ids = ids[:-1], ids[-1:]
        return Encoded(tuple(start), tuple(ids))

    def forward(self, sequences: Sequence[Encoded]) -> Tensor:
        """Scores (B,) of whole sequences, read at each last token; gradients as the caller set."""
        scores: Tensor = self.head(self._states(sequences))
        return scores

    def forward_members(self, sequences: Sequence[Encoded]) -> Tensor:
        """As `forward`, of each member: (B, M); without any M is 1."""
        if self.members is None:
            return self.forward(sequences).unsqueeze(-1)
        scores: Tensor = self.members(self._states(sequences))
        return scores

    def _states(self, sequences: Sequence[Encoded]) -> Tensor:  # (B, H)
        prompt_ids, prompt_mask = pad_prompts(self.base, [s.prompt for s in sequences])
        answer_ids, is_answer = pad_answers(self.base, [s.answer for s in sequences])
        with adapters.active(self.base, self.adapter):
            return self.base.answer_states(prompt_ids, prompt_mask, answer_ids, is_answer)

    def score_sequences(self, sequences: Sequence[Encoded]) -> list[float]:
        """Scores of whole sequences; those of one length together, so that padding is small.

        Raises:
            UserError: A score is not a number.
        """
        return require_numbers(self._in_chunks(sequences, self.forward), self.name)

    @torch.no_grad()
    def _in_chunks(
        self, sequences: Sequence[Encoded], compute: Callable[[Sequence[Encoded]], Tensor]
    ) -> list[Any]:
        order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
        found: list[Any] = [0.0] * len(sequences)
        start = 0
        while start < len(order):
            size = max(1, self.tokens_at_once // len(sequences[order[start]]))
            chunk = order[start : start + size]
            values = compute([sequences[i] for i in chunk]).tolist()
            for i, value in zip(chunk, values, strict=True):
                found[i] = value
            start += size
        return found

    def score_sequences_with_spread(
        self, sequences: Sequence[Encoded]
    ) -> tuple[list[float], list[float]]:
        """Scores, and the standard deviation of the members' own (n − 1 in the denominator).

        Raises:
            UserError: It is no ensemble, or a score is not a number.
        """
        if self.members is None:
            raise UserError(
                f"{self.name} is one network, so how sure it is cannot be told.",
                "Train an ensemble: set Members to 5 or more.",
            )
        members = self.members

        def compute(part: Sequence[Encoded]) -> Tensor:
            states = self._states(part)
            return torch.stack([self.head(states), members(states).std(dim=-1)], dim=-1)

        found = self._in_chunks(sequences, compute)
        means, spreads = [mean for mean, _ in found], [spread for _, spread in found]
        return require_numbers(means, self.name), require_numbers(spreads, self.name)

    def score(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[float]:
        """One score per answer given as token ids."""
        return self.score_sequences(
            [self.encode(p, a) for p, a in zip(prompts, answers, strict=True)]
        )

    def score_texts(
        self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
    ) -> list[float]:
        """One score per answer given as text."""
        return self.score_sequences(
            [self.encode_text(p, t) for p, t in zip(prompts, texts, strict=True)]
        )

    def score_with_spread(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> tuple[list[float], list[float]]:
        """As `score_sequences_with_spread`, of answers given as token ids."""
        return self.score_sequences_with_spread(
            [self.encode(p, a) for p, a in zip(prompts, answers, strict=True)]
        )

    def score_texts_with_spread(
        self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
    ) -> tuple[list[float], list[float]]:
        """As `score_sequences_with_spread`, of answers given as text."""
        return self.score_sequences_with_spread(
            [self.encode_text(p, t) for p, t in zip(prompts, texts, strict=True)]
        )

    @torch.no_grad()
    def score_prefixes(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """Scores of every beginning of each answer, the empty one first; the last is `score`.

        A beginning is read as it stands, without a stop token, so only the last was trained.
        """
        rows = [self.encode(p, a) for p, a in zip(prompts, answers, strict=True)]
        whole = self.score_sequences(rows)
        potentials = []
        for row, answer, score in zip(rows, answers, whole, strict=True):
            prompt_ids, prompt_mask = pad_prompts(self.base, [row.prompt])
            answer_ids, is_answer = pad_answers(self.base, [row.answer])
            with adapters.active(self.base, self.adapter):
                states = self.base.response_states(prompt_ids, prompt_mask, answer_ids, is_answer)
            potentials.append([*self.head(states)[0, : len(answer)].tolist(), score])
        return potentials

    def gradient_times_input(self, prompt: Sequence[Message], text: str) -> Owed:
        """Gradient × input for each token of an answer; see `models.attribution`."""
        row = self.encode_text(prompt, text)
        found = attribution.gradient_times_input(
            self.base, lambda: self.forward([row]), len(row.answer)
        )
        return Owed(pieces(self.base.tokenizer, row.answer), found.answer)

    def can_read(self, model: LoadedModel, trunk: Trunk) -> bool:
        """Whether stored lower states of a model are this reward model's own too."""
        return model is self.base and 0 < trunk.n_layers <= adapters.first_layer(
            self.base, self.lora
        )

    @torch.no_grad()
    def score_rollout(
        self,
        prompt_ids: Tensor,  # (B, P) left-padded
        prompt_mask: Tensor,  # (B, P) bool
        answer_ids: Tensor,  # (B, R) closed
        is_answer: Tensor,  # (B, R) bool
        trunk: Trunk,  # (B, P + R, H)
    ) -> Tensor:  # (B,)
        """Scores of answers whose lower states are there already."""
        size = max(1, self.tokens_at_once // trunk.states.shape[1])
        scores = []
        with adapters.active(self.base, self.adapter):
            for start in range(0, len(prompt_ids), size):
                rows = slice(start, start + size)
                states = self.base.answer_states(
                    prompt_ids[rows],
                    prompt_mask[rows],
                    answer_ids[rows],
                    is_answer[rows],
                    trunk=Trunk(trunk.states[rows], trunk.n_layers),
                )
                scores.append(self.head(states))
        return torch.cat(scores)


def base_of(folder: Path) -> tuple[str, str] | None:
    """Name and digest of the base that a folder was trained on; None where it does not say.

    Reward models of earlier versions do not; they are of the experiment's own model.
    """
    try:
        base = json.loads((folder / FACTS).read_text(encoding="utf-8"))["base"]
        return str(base["name"]), str(base["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _load_members(base: LoadedModel, folder: Path) -> MemberHeads | None:
    path = folder / _MEMBERS
    if not path.is_file():
        return None
    try:
        weight = load_file(str(path))[_MEMBERS_KEY]
        members = MemberHeads(base.hidden_size, len(weight))
        members.linear.load_state_dict({"weight": weight})
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise UserError(
            f"The heads of the ensemble in {folder.name} cannot be read.", "Train it again."
        ) from error
    return members.to(base.device).requires_grad_(False)
