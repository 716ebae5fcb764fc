"""Rewards on another base than the policy's, and classifiers of others, through the one loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests import tinymodels
from tests.close import FORWARD, assert_close
from workbench.config.lora import LoraSettings
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models.classifier_folder import read
from workbench.models.loading import LoadedModel
from workbench.rewards import loading
from workbench.rewards.classifier import ClassifierReward
from workbench.rewards.loading import Place
from workbench.rewards.neural import RewardModel
from workbench.rewards.retold import Retold

PROMPTS = [(Message("user", f"w{i} w{i + 1}"),) for i in range(4)]
TEXTS = ["w1 w2 w3", "w4", "", "w7 w7 w7 w7 w8"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tinymodels.load(tinymodels.write(tmp_path_factory.mktemp("policy") / "p", "llama"))


def _ids(policy: LoadedModel, text: str) -> list[int]:
    ids: list[int] = policy.tokenizer.encode(text, add_special_tokens=False)
    return [*ids, policy.stop_id]


def _foreign(tmp_path: Path, kind: Any, n_members: int = 1) -> tuple[RewardModel, LoadedModel]:
    """A reward model whose base has other numbers for the same words, and another template."""
    folder = tinymodels.write(tmp_path / "base", kind, seed=4)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    words = content["model"]["vocab"]
    turned = {f"w{i}": words[f"w{16 - i}"] for i in range(17)}
    content["model"]["vocab"] = {**words, **turned}
    path.write_text(json.dumps(content))
    base = tinymodels.load(folder)
    base.tokenizer.chat_template = (
        None if kind == "t5" else "{% for m in messages %}w3 {{ m['content'] }} w3 {% endfor %}"
    )
    return RewardModel.fresh(base, LoraSettings(r=2, alpha=4), 1, n_members), base


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_what_the_policy_wrote_is_told_to_another_base_in_its_own_tokens(
    kind: Any, policy: LoadedModel, tmp_path: Path
) -> None:
    reward, base = _foreign(tmp_path, kind, n_members=3)
    wanted = reward.score_texts(PROMPTS, TEXTS)
    reward.save(tmp_path / "reward")
    reward.close()
    asked = []

    def find_base(name: str, digest: str) -> LoadedModel:
        asked.append((name, digest))
        return base

    scorer = loading.load(Place(policy, find_base), tmp_path / "reward")
    assert isinstance(scorer, Retold)
    assert asked == [(base.info.name, base.info.digest)]
    answers = [_ids(policy, text) for text in TEXTS]
    assert scorer.score(PROMPTS, answers) == wanted == scorer.score_texts(PROMPTS, TEXTS)
    assert _ids(policy, "w1") != [*base.tokenizer.encode("w1", add_special_tokens=False), 1]
    for row, score in enumerate(wanted):
        assert_close(scorer.score(PROMPTS[row : row + 1], answers[row : row + 1]), [score], FORWARD)
    means, spreads = scorer.score_with_spread(PROMPTS, answers)
    assert means == wanted
    assert min(spreads) > 0
    prefixes = scorer.score_prefixes(PROMPTS, answers)
    assert [len(p) for p in prefixes] == [len(a) + 1 for a in answers]
    assert_close([p[-1] for p in prefixes], wanted, FORWARD)
    scorer.close()
    assert not [name for name, _ in base.model.named_parameters() if ".lora_" in name]


def test_on_the_policys_own_base_nothing_else_is_asked_for(
    policy: LoadedModel, tmp_path: Path
) -> None:
    reward = RewardModel.fresh(policy, LoraSettings(r=2), 1)
    reward.save(tmp_path)
    reward.close()

    def find_base(name: str, digest: str) -> LoadedModel:
        raise AssertionError((name, digest))

    scorer = loading.load(Place(policy, find_base), tmp_path)
    assert isinstance(scorer, RewardModel)
    scorer.close()
    (tmp_path / "reward.json").unlink()  # as earlier versions wrote it
    scorer = loading.load(Place(policy, find_base), tmp_path)
    assert isinstance(scorer, RewardModel)
    scorer.close()


def test_a_text_that_the_base_cannot_hold_is_cut_where_it_is_read_least(
    policy: LoadedModel, tmp_path: Path
) -> None:
    reward, base = _foreign(tmp_path, "gpt2")
    scorer = Retold(reward, policy)
    long = " ".join(["w1", *["w2"] * 80])
    assert base.context_length == 64
    (score,) = scorer.score_texts(PROMPTS[:1], [long])
    assert scorer.score_texts(PROMPTS[1:2], [long]) == [score]  # no prompt is left
    (other,) = scorer.score_texts([(Message("user", long),)], ["w4 w5"])
    assert other != score
    reward.close()


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_a_classifier_of_others_is_a_reward(kind: Any, policy: LoadedModel, tmp_path: Path) -> None:
    source = tinymodels.write_classifier(tmp_path / "theirs", kind)
    (tmp_path / "reward").mkdir()
    marker = tmp_path / "reward" / "classifier.json"
    marker.write_text(json.dumps({"path": str(source), "digest": read(source).digest}))
    scorer = loading.load(Place(policy, lambda *_: policy), tmp_path / "reward")
    assert isinstance(scorer, ClassifierReward)
    wanted = scorer.score_texts(PROMPTS, TEXTS)
    assert scorer.score(PROMPTS, [_ids(policy, text) for text in TEXTS]) == wanted
    for row, score in enumerate(wanted):
        assert_close(
            scorer.score_texts(PROMPTS[row : row + 1], TEXTS[row : row + 1]), [score], FORWARD
        )
    tokenizer = AutoTokenizer.from_pretrained(source)
    seen = tokenizer.decode(scorer.encode(PROMPTS[0], "w1 w2").ids)
    if kind == "bert":
        assert seen == "w0 w1 <sep> w1 w2 <sep>"
    else:
        assert seen.startswith("w0 w1")
        assert seen.endswith("w1 w2 <eos>")
    assert len(scorer.encode([Message("user", "w1 " * 200)], "w2").ids) <= 64
    again = loading.load(Place(policy, lambda *_: policy), tmp_path / "reward")
    assert again.score_texts(PROMPTS, TEXTS) == wanted
    (source / "config.json").write_text((source / "config.json").read_text() + " ")
    with pytest.raises(UserError, match="has changed since it was imported"):
        loading.load(Place(policy, lambda *_: policy), tmp_path / "reward")
