"""A kept probe: the same scores after reloading, alone and in a batch, and on no other base."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests import tinymodels
from tests.close import FORWARD, assert_close
from workbench.config.probe import ProbeKind
from workbench.data.chat_template import encode_answer
from workbench.data.folders import atomic_folder
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models.loading import LoadedModel
from workbench.rewards import loading, probe_reward
from workbench.rewards.features import answer_features
from workbench.rewards.probe_fits import Network
from workbench.rewards.probes import Probe

PROMPTS = [(Message("user", text),) for text in ("w1 w2 w3 w4", "w5", "w2 w6 w7")]
TEXTS = ["w4 w4 w7", "w1 w2 w3 w4 w5 w6", "w8"]


def a_probe(base: LoadedModel, kind: ProbeKind = "logistic", members: int = 3) -> Probe:
    rng = np.random.default_rng(0)
    m, h = members + 1, base.hidden_size
    if kind == "mlp":
        network = Network(
            rng.normal(size=(m, 4)),
            rng.normal(size=m),
            rng.normal(size=(m, h, 4)) / h,
            np.ones((m, 4)),
        )
    else:
        network = Network(rng.normal(size=(m, h)), rng.normal(size=m))
    return Probe(1, "mean", 1.0, network)


def kept(base: LoadedModel, folder: Path, kind: ProbeKind = "logistic", members: int = 3) -> Path:
    with atomic_folder(folder) as partial:
        probe_reward.save(partial, a_probe(base, kind, members), kind, base, 40)
    return folder


def no_other(name: str, digest: str) -> LoadedModel:
    raise UserError(f"{name} {digest} is not here.")


def load(base: LoadedModel, folder: Path) -> probe_reward.ProbeReward:
    reward = loading.load(loading.Place(base, no_other), folder)
    assert isinstance(reward, probe_reward.ProbeReward)
    return reward


@pytest.mark.parametrize(
    ("arch", "kind"), [("llama", "logistic"), ("t5", "logistic"), ("gpt2", "mlp")]
)
def test_scores_hold_after_reloading_and_in_any_batch(tmp_path, arch, kind) -> None:
    base = tinymodels.load(tinymodels.write(tmp_path / "base", arch))
    probe = a_probe(base, kind)
    before = probe_reward.ProbeReward(base, probe)
    after = load(base, kept(base, tmp_path / "kept", kind))
    together = before.score_texts(PROMPTS, TEXTS)
    assert after.score_texts(PROMPTS, TEXTS) == together
    assert len(set(together)) == 3
    # Prompts are padded at the left and answers at the right; alone there is neither.
    for prompt, text, score in zip(PROMPTS, TEXTS, together, strict=True):
        assert_close(after.score_texts([prompt], [text]), [score], FORWARD)
    # What it reads is the layer and the pooling that it says.
    states = answer_features(base, PROMPTS, TEXTS, [1])[:, 0, 1]
    assert_close(together, probe.network.scores(states.astype(np.float64))[0], FORWARD)
    ids = [encode_answer(base.tokenizer, text, base.stop_id) for text in TEXTS]
    assert after.score(PROMPTS, ids) == together
    assert after.score(PROMPTS, [own[:-1] for own in ids]) == together  # cut answers are closed
    assert after.score([], []) == []
    mean, spread = after.score_with_spread(PROMPTS, ids)
    assert mean == together
    members = probe.network.scores(states.astype(np.float64))[1:]
    assert_close(spread, members.std(0, ddof=1), FORWARD)
    after.close()


def test_an_ensemble_must_have_been_kept(tmp_path) -> None:
    base = tinymodels.load(tinymodels.write(tmp_path / "base", "llama"))
    reward = load(base, kept(base, tmp_path / "kept", members=0))
    with pytest.raises(UserError, match="without an ensemble"):
        reward.score_with_spread(PROMPTS, [[5], [5], [5]])


def test_another_base_is_named_by_its_digest(tmp_path) -> None:
    base = tinymodels.load(tinymodels.write(tmp_path / "base", "llama"))
    folder = kept(base, tmp_path / "kept")
    (tmp_path / "other").mkdir()
    same_name = tinymodels.load(tinymodels.write(tmp_path / "other" / "base", "llama", seed=1))
    with pytest.raises(UserError, match=base.info.digest[:12]) as caught:
        load(same_name, folder)
    assert same_name.info.digest[:12] in caught.value.message
    other = tinymodels.load(tinymodels.write(tmp_path / "policy", "gpt2"))
    with pytest.raises(UserError, match=f"base {base.info.digest} is not here"):
        load(other, folder)
    # A policy with a vocabulary of its own is scored by its text.
    reward = loading.load(loading.Place(other, lambda _name, _digest: base), folder)
    ids = [encode_answer(other.tokenizer, text, other.stop_id) for text in TEXTS]
    assert reward.score(PROMPTS, ids) == load(base, folder).score_texts(PROMPTS, TEXTS)


def test_damaged_folders_are_refused(tmp_path) -> None:
    base = tinymodels.load(tinymodels.write(tmp_path / "base", "llama"))
    folder = kept(base, tmp_path / "kept")
    told = json.loads((folder / probe_reward.FILE).read_text())
    for change in ({"hidden_size": 3}, {"layer": "x"}, {"more": 1}):
        (folder / probe_reward.FILE).write_text(json.dumps(told | change))
        with pytest.raises(UserError, match="cannot be read"):
            load(base, folder)
    (folder / probe_reward.FILE).write_text(json.dumps(told))
    (folder / probe_reward.WEIGHTS).write_bytes(b"broken")
    with pytest.raises(UserError, match="cannot be read"):
        load(base, folder)
