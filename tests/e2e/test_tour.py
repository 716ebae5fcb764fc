import json

from tests.e2e.conftest import parse

WANTED = {
    "pairs_judged", "reward_heldout_accuracy", "reward_heldout_accuracy_interval",
    "reward_before", "reward_before_interval", "reward_after", "reward_after_interval",
    "win_rate", "win_rate_interval", "win_rate_reward", "win_rate_reward_interval",
    "kl_mean", "seconds", "paths",
}  # fmt: skip


def test_the_tour_on_the_tiny_model_makes_a_better_policy(command, tmp_path):
    done = command("tour", "--model", "tiny", "--json", "--experiment", tmp_path / "tour")
    assert done.code == 0, done.err
    assert not done.imported & {"PySide6", "pyqtgraph"}
    events = parse(done.out)
    assert {"Started", "Answer", "Step", "Sample", "Evaluated", "Saved", "Finished"} <= {
        event.get("event") for event in events
    }
    result = events[-1]
    assert result.keys() >= WANTED
    assert "event" not in result
    assert result["pairs_judged"] >= 50
    assert result["reward_after"] > result["reward_before"]
    for name in ("win_rate", "win_rate_reward"):
        low, high = result[f"{name}_interval"]
        assert low <= result[name] <= high
    assert result["win_rate_interval"][0] > 0.5
    assert result["kl_mean"] < 15
    assert set(result["seconds"]) == {"generate", "judge", "reward", "policy", "evaluate", "export"}

    lines = (tmp_path / "tour" / "exports" / "preferences").rglob("*.jsonl")
    rows = [json.loads(line) for file in lines for line in file.read_text("utf-8").splitlines()]
    assert sum("chosen" in row for row in rows) >= result["pairs_judged"]
    checked = command("check", "--json", "--experiment", tmp_path / "tour")
    assert checked.code == 0, checked.out
    assert checked.events[0]["problems"] == []
