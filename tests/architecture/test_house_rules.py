"""House rules that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "workbench"
FORMULAS = {
    "exp", "expm1", "log", "log1p", "softmax", "log_softmax", "logsumexp", "sigmoid", "logsigmoid",
    "softplus", "rsqrt", "cross_entropy", "kl_div", "binary_cross_entropy_with_logits",
}  # fmt: skip
LONGEST_FILE = 450


def _files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((PACKAGE / folder).rglob("*.py"))]


def _formulas(source: str) -> Iterator[str]:
    """Calls of tensor functions or methods that belong into objectives; math and numpy are free."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        is_scalar = isinstance(owner, ast.Name) and owner.id in {"math", "np", "cmath"}
        if node.func.attr in FORMULAS and not is_scalar:
            yield f"line {node.lineno}: {node.func.attr}"


@pytest.mark.parametrize(
    "path",
    _files("training", "rewards", "evaluation", "environments", "app"),
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_tensor_formulas_live_in_objectives_only(path: Path) -> None:
    """Copied numerics drift apart; a loss has one home, where mutants are hunted."""
    assert list(_formulas(path.read_text(encoding="utf-8"))) == []


def test_formulas_are_found_where_they_are() -> None:
    assert list(_formulas("loss = -torch.nn.functional.logsigmoid(a - b)"))
    assert list(_formulas("ratio = (new - old).exp()"))
    assert not list(_formulas("y = math.exp(1.0)\nlog.info('x')"))
    assert any(list(_formulas(p.read_text(encoding="utf-8"))) for p in _files("objectives"))


@pytest.mark.parametrize("path", _files("."), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_readable(path: Path) -> None:
    n_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert n_lines <= LONGEST_FILE, f"{n_lines} lines: split it along what changes together"
