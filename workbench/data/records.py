"""The nouns of an experiment, as frozen records. Ids are those of the experiment's database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]
Split = Literal["train", "heldout"]
Source = Literal["generated", "imported", "edited"]
Finish = Literal["stop", "length", "unknown"]
Verdict = Literal["first", "second", "tie", "both_bad", "skip"]
AnnotatorKind = Literal["person", "simulated", "ai", "imported"]
Strength = Literal[0, 1, 2]
"""How much better the better answer is: not said, slightly, clearly."""
RemarkKind = Literal["rating", "comment", "tag"]
RunKind = Literal["reward", "policy", "evaluation"]
RunStatus = Literal["queued", "running", "paused", "done", "stopped", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a dialogue."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class NewPrompt:
    """A prompt before it has an id; `group` names the task, `language` is en, zh or empty."""

    messages: tuple[Message, ...]
    group: str = ""
    language: str = ""
    split: Split = "train"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked: one user message, or a dialogue that ends with one."""

    id: int
    messages: tuple[Message, ...]
    group: str
    language: str
    split: Split
    created_at: str

    @property
    def text(self) -> str:
        """The last user message, for lists and titles."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class NewCompletion:
    """An answer with its provenance, before it has an id.

    `token_ids` are the generated ids, stop token included; empty for texts that were
    imported or edited. `adapter` names the trained run's adapter, None for the base. `parent_id`
    is the answer that an edited one was made from; one that was written by hand has only an
    `author`.
    """

    prompt_id: int
    text: str
    token_ids: tuple[int, ...] = ()
    finish: Finish = "unknown"
    source: Source = "generated"
    model_digest: str = ""
    model_name: str = ""
    adapter: str | None = None
    sampling: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    run_id: int | None = None
    parent_id: int | None = None
    author: str = ""


@dataclass(frozen=True, slots=True)
class Completion(NewCompletion):
    """A stored answer."""

    id: int = 0
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to one prompt in the (shuffled) order in which they are shown."""

    id: int
    prompt_id: int
    first_id: int
    second_id: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an annotator said of a comparison. Append-only; undo marks `is_undone`.

    `is_revealed`: the annotator had asked which model wrote which answer. `ranking_id`: the
    ranking of several answers that it follows from.
    """

    id: int
    comparison_id: int
    verdict: Verdict
    annotator: str
    annotator_kind: AnnotatorKind
    seconds: float
    is_undone: bool
    created_at: str
    strength: Strength = 0
    is_revealed: bool = False
    ranking_id: int | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Answers to one prompt in order, best place first; answers of one place are equally good."""

    id: int
    prompt_id: int
    places: tuple[tuple[int, ...], ...]
    annotator: str
    annotator_kind: AnnotatorKind
    seconds: float
    created_at: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """What an annotator said of a pair when it was shown once more.

    `verdict` is in the comparison's own order, also where the sides were swapped on the screen.
    """

    id: int
    comparison_id: int
    verdict: Verdict
    strength: Strength
    is_swapped: bool
    annotator: str
    annotator_kind: AnnotatorKind
    seconds: float
    created_at: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A rating (1 to 5), a comment or a tag on an answer, or on a prompt (no `completion_id`)."""

    id: int
    kind: RemarkKind
    prompt_id: int
    completion_id: int | None
    value: str
    annotator: str
    annotator_kind: AnnotatorKind
    created_at: str


@dataclass(frozen=True, slots=True)
class AiAnswer:
    """What an AI judge answered about a pair in one order.

    `p_first` is the probability that the comparison's own first answer is better, also where the
    sides were swapped; None when the answer named neither.
    """

    comparison_id: int
    judge: str
    is_swapped: bool
    p_first: float | None
    text: str
    seconds: float
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Preference:
    """Chosen over rejected, derived from the latest standing judgement of a comparison.

    `weight`: how much it counts in training, against 1 for a person's.
    """

    comparison_id: int
    prompt: Prompt
    chosen: str
    rejected: str
    annotator: str
    annotator_kind: AnnotatorKind
    strength: Strength = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Tie:
    """Two answers to one prompt of which neither was called better.

    `weight`: how much it counts in training, against 1 for a person's.
    """

    prompt: Prompt
    first: str
    second: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class RankedAnswers:
    """The texts of a ranking, best place first; those of one place are equally good.

    `weight`: how much it counts in training, against 1 for a person's.
    """

    prompt: Prompt
    places: tuple[tuple[str, ...], ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Rated:
    """An answer with its rating, from 1 to 5; the mean where several people rated it.

    `weight`: how much it counts in training, against 1 for a person's.
    """

    prompt: Prompt
    answer: str
    rating: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Feedback:
    """An answer that an annotator called good or bad by itself, without a partner.

    `weight`: how much it counts in training, against 1 for a person's.
    """

    prompt: Prompt
    answer: str
    is_desirable: bool
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt with an answer to learn from."""

    prompt: Prompt
    answer: str


@dataclass(frozen=True, slots=True)
class Run:
    """One training or evaluation run with its settings and place in the lineage."""

    id: int
    kind: RunKind
    algorithm: str
    name: str
    status: RunStatus
    settings: Mapping[str, object]
    inputs: Mapping[str, object]
    results: Mapping[str, object]
    error: str
    created_at: str
    finished_at: str | None
    note: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelRound:
    """When a training run asked people about its own answers, and what came of it.

    `reward_run_trained` learned from the labels; it scores from then on when it was accepted.
    """

    id: int
    run_id: int
    step: int
    comparison_ids: tuple[int, ...]
    reward_run_before: int
    reward_run_trained: int | None
    outcome: Literal["open", "accepted", "refused", "skipped"]
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something a run wrote: path relative to the experiment folder, SHA-256 of its manifest."""

    id: int
    run_id: int
    kind: Literal["checkpoint", "adapter", "reward_model", "export"]
    path: str
    digest: str
    created_at: str
