"""The reward model: a LoRA adapter `reward` and a score head on the base that is loaded anyway.

B answers, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from workbench.config.lora import LoraSettings
from workbench.data.chat_template import encode_answer
from workbench.data.records import Message
from workbench.models import adapters
from workbench.models.heads import ScalarHead
from workbench.models.loading import LoadedModel

ADAPTER = "reward"

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


class RewardModel:
    """Scores an answer at its stop token (Stiennon et al. 2020; Ouyang et al. 2022)."""

    def __init__(
        self, base: LoadedModel, head: ScalarHead, lora: LoraSettings, name: str = "reward model"
    ) -> None:
        self.base = base
        self.head = head
        self.lora = lora
        self.name = name
        self.micro_batch_size = 8
        self.trainable: list[torch.nn.Parameter] = []

    @classmethod
    def fresh(cls, base: LoadedModel, lora: LoraSettings, seed: int) -> RewardModel:
        """A new one whose head and adapter are trainable."""
        parameters = adapters.add(base, ADAPTER, lora, seed)
        head = ScalarHead(base.hidden_size, bias=False)
        head.init_normal_(torch.Generator().manual_seed(seed))
        model = cls(base, head.to(base.device), lora)
        model.trainable = [*parameters, *model.head.parameters()]
        return model

    @classmethod
    def load(cls, base: LoadedModel, folder: Path) -> RewardModel:
        """From a SEQ_CLS adapter folder, frozen; scores are bit-equal to those before saving.

        Raises:
            UserError: The folder does not fit the loaded model.
        """
        head = adapters.load(base, ADAPTER, folder, with_head=True)
        assert head is not None
        return cls(base, head, adapters.lora_settings(folder), folder.name)

    def save(self, folder: Path) -> None:
        """Write a folder that PEFT loads on AutoModelForSequenceClassification(num_labels=1)."""
        adapters.save(self.base, ADAPTER, self.lora, folder, score_head=self.head)
        base = self.base.info.hub_id or self.base.info.name
        card = _CARD.format(base=base, pad_id=self.base.pad_id)
        (folder / "README.md").write_text(card, encoding="utf-8")

    def encode(self, prompt: Sequence[Message], answer: Sequence[int]) -> list[int]:
        """Prompt and answer as one sequence that ends with exactly one stop token.

        A cut answer gets its stop token too: the model was trained on whole answers only, and
        cutting is punished where it is known (`missing_eos_penalty`), not guessed from a score.
        """
        ids = list(answer)
        if not ids or ids[-1] not in self.base.stop_ids:
            ids.append(self.base.stop_id)
        return self.base.encode_prompt(prompt) + ids

    def encode_text(self, prompt: Sequence[Message], text: str) -> list[int]:
        """As `encode`, for an answer that is text."""
        answer = encode_answer(self.base.tokenizer, text, self.base.stop_id)
        return self.base.encode_prompt(prompt) + answer

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Scores (B,) of whole sequences, read at each last token; gradients as the caller set."""
        width = max(len(s) for s in sequences)
        ids = [list(s) + [self.base.pad_id] * (width - len(s)) for s in sequences]
        lengths = torch.tensor([len(s) for s in sequences], device=self.base.device)
        mask = torch.arange(width, device=self.base.device)[None] < lengths[:, None]
        with adapters.active(self.base, ADAPTER):
            states = self.base.states(torch.tensor(ids, device=self.base.device), mask)
        scores: Tensor = self.head(states).gather(1, lengths[:, None] - 1)[:, 0]
        return scores

    @torch.no_grad()
    def score_sequences(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """Scores of whole sequences, computed alike whatever else is scored with them.

        Sorted by length, so that padding is small.
        """
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
        scores = [0.0] * len(sequences)
        for start in range(0, len(order), self.micro_batch_size):
            chunk = order[start : start + self.micro_batch_size]
            for i, value in zip(
                chunk, self.forward([sequences[i] for i in chunk]).tolist(), strict=True
            ):
                scores[i] = value
        return scores

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
