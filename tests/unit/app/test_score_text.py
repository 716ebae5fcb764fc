"""An answer that was typed: its score, and what the score owes to each token."""

import json

import pytest

from tests.close import FORWARD, assert_close
from tests.unit.app.conftest import end
from workbench.app import designs, reward, score_text
from workbench.app.score_text import Text, TextScore, typed
from workbench.cli import main
from workbench.config.reward_model import RewardModelSettings
from workbench.config.reward_parts.design import RewardDesign
from workbench.config.reward_parts.kinds import BrevityPart, KeywordsPart
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models.attribution import gradient_times_input
from workbench.rewards.neural import RewardModel


@pytest.fixture
def scored(judged):
    assert end(reward.train_reward(judged, RewardModelSettings(epochs=1))).outcome == "done"
    return judged


def _scores(ws, texts, **kwargs) -> list[TextScore]:
    finished = end(score_text.score(ws, texts, **kwargs))
    assert finished.error is None, finished.error
    found = finished.result["scores"]
    assert isinstance(found, list)
    return found


def test_a_text_and_what_its_score_owes_to_each_token(scored, model_folder) -> None:
    dialogue = (Message("user", "w1"), Message("assistant", "w2"), Message("user", "w3 w4"))
    texts = [typed("w1 w2", "w5 w6 w7"), Text(dialogue, "w9"), typed("w1", "")]
    found = _scores(scored, texts)
    run = score_text.rewards(scored)[0]
    assert [(s.run_id, s.run_name, s.text) for s in found] == [(run.id, run.name, t) for t in texts]

    # The reward itself is the oracle: asked for the whole and for each beginning by itself.
    from tests import tinymodels

    model = tinymodels.load(model_folder)
    alone = RewardModel.load(model, scored.artifact_folder(run.id, "reward_model"))
    expected = alone.score_texts([t.prompt for t in texts], [t.answer for t in texts])
    assert_close([s.score for s in found], expected, FORWARD)
    prefixes, gradient = found[0].by_token
    assert prefixes.tokens == gradient.tokens
    assert "".join(prefixes.tokens).replace(" ", "") == "w5w6w7<eos>"
    assert prefixes.start + sum(prefixes.values) == pytest.approx(found[0].score, abs=1e-5)
    assert prefixes.so_far[-1] == found[0].score
    # Some token must matter, and not all alike.
    assert len({round(v, 5) for v in prefixes.values}) > 1
    row = alone.encode_text(texts[0].prompt, texts[0].answer)
    owed = gradient_times_input(model, lambda: alone.forward([row]), len(row.answer))
    assert_close(gradient.values, owed.answer, FORWARD)
    assert max(map(abs, gradient.values)) > 0
    assert [t.tokens for t in found[2].by_token] == [("<eos>",), ("<eos>",)]

    plain = _scores(scored, texts[:1], by_token=False)[0]
    assert plain.by_token == ()
    assert plain.score == found[0].score

    with pytest.raises(UserError, match="There is no prompt"):
        score_text.score(scored, [typed(" ", "w1")])
    finished = end(score_text.score(scored, [typed("w1", "w2 " * 80)]))
    assert finished.error is not None
    # w1, the turn marker, 80 words and the stop token; the tiny model reads 64.
    assert "have 83 tokens; random-llama reads 64 at most" in finished.error.message
    assert "to 62 tokens or fewer" in finished.error.hint


def test_a_designed_reward_is_told_part_by_part(ready) -> None:
    parts = (
        BrevityPart(longest=4, weight=2.0),
        KeywordsPart(words="w7", label="Sevens", shift=0.5, scale=0.25),
    )
    assert end(designs.save(ready, RewardDesign(name="Short", parts=parts))).outcome == "done"
    found = _scores(ready, [typed("w1", "w5 w7 w6")])[0]
    # Three of four words; one seven, half over the shift of 0.5, in quarters.
    assert [(p.title, p.value, p.contribution) for p in found.parts] == [
        ("Brevity", -0.75, -1.5),
        ("Sevens", 1.0, 2.0),
    ]
    assert found.score == 0.5
    (prefixes,) = found.by_token
    assert prefixes.start == -2.0
    assert prefixes.values == (-0.5, 3.5, -0.5, 0.0)


def test_the_command_scores_one_text_or_a_file(ready, capsys, tmp_path) -> None:
    parts = (BrevityPart(longest=4),)
    assert end(designs.save(ready, RewardDesign(name="Short", parts=parts))).outcome == "done"
    ready.close()
    base = ["--experiment", str(ready.path)]
    capsys.readouterr()
    assert main(["reward", "score", "1", "--prompt", "w1", "--answer", "w2 w3", *base]) == 0
    out = capsys.readouterr().out
    assert out.startswith("-0.5000  by Short, version 1\n  -0.5000  Brevity (its value: -0.5)")
    assert "  -0.2500  so far -0.5000  ' w3'" in out
    rows = [{"prompt": "w1", "completion": "w2"}, {"prompt": "w1", "completion": "w2 w3 w4"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["reward", "score", "--file", str(tmp_path / "t.jsonl"), *base, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [t["score"] for t in told if t["event"] == "Result"] == [-0.25, -0.75]
    assert main(["reward", "score", *base]) == 2
