"""What was made from what: labels, reward models, policies, evaluations and exports as a graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from workbench.app.workspace import Workspace
from workbench.data.records import Run

NodeKind = Literal["labels", "reward", "policy", "evaluation", "export"]
_KINDS: tuple[NodeKind, ...] = ("labels", "reward", "policy", "evaluation", "export")
_INPUTS = {
    "reward_run": "scores",
    "start_run": "start",
    "policy_run": "policy",
    "again_of": "run again",
}


@dataclass(frozen=True, slots=True)
class Node:
    """Something that was made.

    Attributes:
        key: Its own in the graph.
        kind: The column in which it stands.
        title: Its name.
        fact: One line about it.
        run_id: The run that made it; None for labels.
        is_gone: Deleted, or its files are not there any more.
    """

    key: str
    kind: NodeKind
    title: str
    fact: str
    run_id: int | None = None
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """What went into something, and as what."""

    source: str
    target: str
    role: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """Everything and how it hangs together; nodes in the order in which they were made."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def around(self, key: str) -> Lineage:
        """Only what a node was made from, at any distance, and what was made from it."""
        kept = self._reached(key, is_upward=True) | self._reached(key, is_upward=False)
        return Lineage(
            tuple(node for node in self.nodes if node.key in kept),
            tuple(edge for edge in self.edges if {edge.source, edge.target} <= kept),
        )

    def _reached(self, key: str, *, is_upward: bool) -> set[str]:
        found, new = {key}, {key}
        while new:
            new = {
                edge.source if is_upward else edge.target
                for edge in self.edges
                if (edge.target if is_upward else edge.source) in new
            } - found
            found |= new
        return found


def lineage(ws: Workspace) -> Lineage:
    """The graph of an experiment. A run that is deleted stays while something was made from it."""
    runs = {run.id: run for run in ws.experiment.runs.list()}
    edges = [*_edges_of_runs(ws, runs)]
    nodes: dict[str, Node] = {}
    for edge in edges:
        if edge.source.startswith("labels:"):
            nodes.setdefault(edge.source, _labels(edge.source, runs))
        elif (missing := int(edge.source.removeprefix("run:"))) not in runs:
            run = ws.run(missing)
            nodes[edge.source] = _node(run, is_gone=True)
    for run in runs.values():
        nodes[f"run:{run.id}"] = _node(run, is_gone=_is_gone(ws, run))
    for artifact in ws.experiment.artifacts.list():
        if artifact.kind == "export" and artifact.run_id in runs:
            key = f"export:{artifact.id}"
            is_gone = not (ws.path / artifact.path).exists()
            name = artifact.path.rsplit("/", 1)[-1]
            nodes[key] = Node(key, "export", name, artifact.digest[:8], artifact.run_id, is_gone)
            edges.append(Edge(f"run:{artifact.run_id}", key, "written"))
    order = {kind: i for i, kind in enumerate(_KINDS)}
    ranked = sorted(nodes.values(), key=lambda node: (order[node.kind], node.run_id or 0))
    return Lineage(tuple(ranked), tuple(dict.fromkeys(edges)))


def dependants(ws: Workspace, run_id: int) -> list[Run]:
    """Runs that are not deleted and were made directly from this one."""
    runs = {run.id: run for run in ws.experiment.runs.list()}
    made = [e.target for e in _edges_of_runs(ws, runs) if e.source == f"run:{run_id}"]
    return [runs[int(key.removeprefix("run:"))] for key in dict.fromkeys(made)]


def _edges_of_runs(ws: Workspace, runs: dict[int, Run]) -> Iterator[Edge]:
    for run in runs.values():
        target = f"run:{run.id}"
        for name, role in _INPUTS.items():
            if isinstance(source := run.inputs.get(name), int):
                yield Edge(f"run:{source}", target, role)
        digest = run.inputs.get("labels_digest")
        # A policy's digest is that of its reward model's labels, to which it is tied already.
        if digest and "reward_run" not in run.inputs:
            yield Edge(f"labels:{digest}", target, "labels")
        for label_round in ws.experiment.label_rounds.of_run(run.id):
            if label_round.outcome == "accepted":
                role = f"scores from update {label_round.step}"
                yield Edge(f"run:{label_round.reward_run_trained}", target, role)


def _node(run: Run, *, is_gone: bool) -> Node:
    return Node(f"run:{run.id}", run.kind, run.name, run.status, run.id, is_gone)


def _labels(key: str, runs: dict[int, Run]) -> Node:
    digest = key.removeprefix("labels:")
    learned = next(run for run in runs.values() if run.inputs.get("labels_digest") == digest)
    n = learned.inputs.get("n_pairs", learned.inputs.get("n_labels", 0))
    return Node(key, "labels", f"{n} labels", digest[:8])


def _is_gone(ws: Workspace, run: Run) -> bool:
    """Whether what a run that is done wrote is not there any more."""
    written = [a for a in ws.experiment.artifacts.for_run(run.id) if a.kind != "checkpoint"]
    return bool(written) and not (ws.path / written[-1].path).exists()
