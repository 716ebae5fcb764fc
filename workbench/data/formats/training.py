"""What an algorithm learns from as JSONL in TRL's conversational forms, one writer per form.

Prompt-only, preference, unpaired preference (KTO) and prompt-completion; further columns say where
a row comes from. See https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from workbench.data.formats import trl
from workbench.data.formats.rows import PreferenceRow
from workbench.data.records import Answered, Feedback, Preference, Prompt


def write_prompts(prompts: Iterable[Prompt]) -> str:
    """One line per prompt: `prompt`."""
    return "".join(_line({"prompt": _messages(p), **_about(p)}) for p in prompts)


def write_preferences(preferences: Iterable[Preference]) -> str:
    """One line per pair: `prompt`, `chosen`, `rejected`."""
    return "".join(_line(trl.pair_line(to_row(p))) for p in preferences)


def write_feedback(feedback: Iterable[Feedback]) -> str:
    """One line per answer: `prompt`, `completion`, and `label`, which is true for a good one."""
    return "".join(
        _line({**_answered(f.prompt, f.answer), "label": f.is_desirable, **_about(f.prompt)})
        for f in feedback
    )


def write_answers(answers: Iterable[Answered]) -> str:
    """One line per answer: `prompt`, `completion`."""
    return "".join(_line({**_answered(a.prompt, a.answer), **_about(a.prompt)}) for a in answers)


def to_row(preference: Preference) -> PreferenceRow:
    """A preference as it stands in a file."""
    prompt = preference.prompt
    return PreferenceRow(
        messages=prompt.messages,
        first=preference.chosen,
        second=preference.rejected,
        annotator=preference.annotator,
        annotator_kind=preference.annotator_kind,
        group=prompt.group,
        language=prompt.language,
        split=prompt.split,
    )


def _answered(prompt: Prompt, answer: str) -> dict[str, object]:
    return {
        "prompt": _messages(prompt),
        "completion": [{"role": "assistant", "content": answer}],
    }


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in prompt.messages]


def _about(prompt: Prompt) -> dict[str, object]:
    return {
        "prompt_id": prompt.id,
        "group": prompt.group,
        "language": prompt.language,
        "split": prompt.split,
    }


def _line(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
