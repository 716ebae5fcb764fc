"""The folder of a designed reward: `design.json`, and a copy of everything that its parts need.

`parts/01/` is the reward of the first part, or the user's file that it calls; `references.jsonl`
holds reference answers by the digest of their prompt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from workbench.config.reward_parts import design as designs
from workbench.config.reward_parts.design import RewardDesign
from workbench.data.records import Message
from workbench.errors import UserError

DESIGN = "design.json"
REFERENCES = "references.jsonl"
FUNCTION = "function.py"
_FORMAT = 1


class Reference(NamedTuple):
    """An answer that others are compared with; `against` says which kind of answer it is."""

    against: str
    prompt: str  # digest
    answer: str


def write(
    folder: Path, design: RewardDesign, sources: Mapping[int, Path], references: Iterable[Reference]
) -> None:
    """Write the folder, complete with links to, or copies of, what its parts need.

    Args:
        folder: Exists and is empty.
        design: The design.
        sources: Reward folder, or Python file, of the parts that have one, by their number from 0.
        references: Answers that parts compare with.
    """
    for i, source in sources.items():
        target = part_folder(folder, i)
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=_link)
        else:
            target.mkdir()
            shutil.copyfile(source, target / FUNCTION)
    lines = (json.dumps(r._asdict(), ensure_ascii=False) + "\n" for r in references)
    if text := "".join(lines):
        (folder / REFERENCES).write_text(text, encoding="utf-8")
    content = {"format": _FORMAT, "design": design.model_dump()}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (folder / DESIGN).write_text(text, encoding="utf-8")


def read(folder: Path) -> RewardDesign:
    """The design in a folder.

    Raises:
        UserError: It is damaged, or was written by a newer program.
    """
    try:
        content = json.loads((folder / DESIGN).read_bytes())
        is_known = content["format"] == _FORMAT
        values = content["design"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder / DESIGN} is damaged.", "Save the design again.") from None
    if not is_known:
        raise UserError(
            f"{folder} was written by a newer version of this program.", "Install that version."
        )
    return designs.read(values)


def read_references(folder: Path, against: str) -> dict[str, str]:
    """Reference answers of one kind, by the digest of their prompt.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / REFERENCES
    if not path.is_file():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return {str(r["prompt"]): str(r["answer"]) for r in rows if r["against"] == against}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged.", "Save the design again.") from None


def part_folder(folder: Path, i: int) -> Path:
    """Where what part `i`, counted from 0, needs lies."""
    return folder / "parts" / f"{i + 1:02}"


def prompt_digest(messages: Sequence[Message]) -> str:
    """What tells a prompt from others: equal words, equal digest."""
    said = json.dumps([[m.role, m.content] for m in messages], ensure_ascii=False)
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()


def _link(source: str, target: str) -> None:
    """A second name for a file that is never written again; a copy where links cannot be had."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
