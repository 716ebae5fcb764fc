"""A kept probe as a reward: a folder with `probe.json` and weights, read onto the base it needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from workbench.config.probe import POOLINGS, Pooling, ProbeKind
from workbench.data.chat_template import decode_answer, encode_answer
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models.loading import LoadedModel
from workbench.rewards.features import Encoded, features_of_ids
from workbench.rewards.probe_fits import Network
from workbench.rewards.probes import Probe, require_finite

FILE = "probe.json"
WEIGHTS = "weights.safetensors"

Floats = NDArray[np.float64]


class ProbeFile(BaseModel):
    """What `probe.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    kind: ProbeKind
    layer: int
    pooling: Pooling
    strength: float
    base: str
    base_digest: str
    hidden_size: int
    n_labels: int


def save(folder: Path, probe: Probe, kind: ProbeKind, base: LoadedModel, n_labels: int) -> None:
    """Write a probe into a folder that is there."""
    told = ProbeFile(
        kind=kind,
        layer=probe.layer,
        pooling=probe.pooling,
        strength=probe.strength,
        base=base.info.name,
        base_digest=base.info.digest,
        hidden_size=base.hidden_size,
        n_labels=n_labels,
    )
    (folder / FILE).write_text(told.model_dump_json(indent=2), encoding="utf-8")
    arrays = {name: a for name, a in probe.network._asdict().items() if a is not None}
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / WEIGHTS)


def read(folder: Path) -> tuple[ProbeFile, Probe]:
    """A probe and what is told of it, without its base.

    Raises:
        UserError: The folder is damaged.
    """
    try:
        told = ProbeFile.model_validate_json((folder / FILE).read_bytes())
        arrays = load_file(folder / WEIGHTS)
        network = Network(**arrays)
        _check_shapes(network, told.hidden_size)
    except (OSError, ValidationError, SafetensorError, TypeError, ValueError) as error:
        raise UserError(f"The probe in {folder} cannot be read.", "Keep it anew.") from error
    return told, Probe(told.layer, told.pooling, told.strength, network)


class ProbeReward:
    """Scores answers by what one layer of the frozen base makes of them.

    Only the layers up to that one are computed. A cut answer gets its stop token, as the answers
    that the probe learned from have one.
    """

    def __init__(
        self,
        base: LoadedModel,
        probe: Probe,
        name: str = "probe",
        policy: LoadedModel | None = None,
    ) -> None:
        self.base = base
        self.probe = probe
        self.name = name
        self._policy = policy or base

    @classmethod
    def load(cls, policy: LoadedModel, folder: Path, base: LoadedModel) -> Self:
        """From a folder, onto the base it was fitted on; `policy` is whose token ids are scored.

        Raises:
            UserError: The folder is damaged, or the base has other weights.
        """
        told, probe = read(folder)
        if told.base_digest != base.info.digest:
            raise UserError(
                f"This probe was fitted to {told.base} with the digest {told.base_digest[:12]}, "
                f"not to {base.info.name} with {base.info.digest[:12]}.",
                f"Choose that {told.base} on the Models page, or keep a probe on this model.",
            )
        return cls(base, probe, folder.name, policy)

    def close(self) -> None:
        """Nothing was put on the base."""

    def score(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[float]:
        """One score per answer given as token ids of the policy."""
        return _listed(self._members(self._encoded(prompts, answers))[0])

    def score_texts(
        self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
    ) -> list[float]:
        """One score per answer given as text."""
        return _listed(self._members(self._encoded_texts(prompts, texts))[0])

    def score_with_spread(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> tuple[list[float], list[float]]:
        """Scores as `score` gives them, and the standard deviation over the ensemble's members.

        Raises:
            UserError: The probe was kept without an ensemble.
        """
        members = self._members(self._encoded(prompts, answers))
        if len(members) < 3:
            raise UserError(
                f"{self.name} was kept without an ensemble, so its scores have no spread.",
                "Keep it again with Ensemble at 16.",
            )
        return _listed(members[0]), _listed(members[1:].std(0, ddof=1))

    def _members(self, rows: Sequence[Encoded]) -> Floats:
        """(M, B), member 0 first."""
        if not rows:
            return np.zeros((len(self.probe.network.weight), 0))
        features = features_of_ids(self.base, rows, [self.probe.layer])
        states = features[:, 0, POOLINGS.index(self.probe.pooling)]
        require_finite(states)
        return self.probe.scores(states)

    def _encoded(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[Encoded]:
        if self._policy is not self.base:
            tokenizer = self._policy.tokenizer
            return self._encoded_texts(prompts, [decode_answer(tokenizer, a) for a in answers])
        rows = []
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = list(answer)
            if not ids or ids[-1] not in self.base.stop_ids:
                ids.append(self.base.stop_id)
            rows.append((self.base.encode_prompt(prompt), ids))
        return rows

    def _encoded_texts(
        self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
    ) -> list[Encoded]:
        tokenizer, stop_id = self.base.tokenizer, self.base.stop_id
        return [
            (self.base.encode_prompt(prompt), encode_answer(tokenizer, text, stop_id))
            for prompt, text in zip(prompts, texts, strict=True)
        ]


def _listed(values: Floats) -> list[float]:
    return [float(value) for value in values]


def _check_shapes(network: Network, hidden_size: int) -> None:
    inner: Any = network.weight if network.hidden is None else network.hidden.swapaxes(1, 2)
    if inner.shape[-1] != hidden_size or (network.hidden is None) != (network.bias is None):
        raise ValueError(json.dumps(inner.shape))
