"""Makes experiment-v1.db: run once per schema version, and then the file stays as it is.

    python -m tests.golden.make_experiment

A file of an old version shows that today's program opens what an old one wrote.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.events import Marked, Sample, Step
from workbench.store import migrations
from workbench.store.experiment import DATABASE_NAME, Experiment


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "experiment"
        with Experiment.create(path) as experiment:
            _fill(experiment)
        version = migrations.known()[-1].version
        target = Path(__file__).with_name(f"experiment-v{version}.db")
        with closing(sqlite3.connect(path / DATABASE_NAME)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))


def _fill(experiment: Experiment) -> None:
    prompts = [
        NewPrompt((Message("user", "什么是奖励模型？"),), "dialogue", "zh"),
        NewPrompt((Message("user", "What is a policy?"),), "dialogue", "en", "heldout"),
    ]
    ids = experiment.prompts.add_many(prompts)
    for prompt_id in ids:
        first, second = experiment.completions.add_many(
            [NewCompletion(prompt_id, f"answer {i}", (1, 2), "stop", seed=i) for i in range(2)]
        )
        experiment.comparisons.add_many([(prompt_id, first, second)])
    experiment.comparisons.next_pending("ada")
    experiment.judgements.add(1, "second", "ada", "person", 2.5)
    experiment.judgements.add(2, "first", "simulated", "simulated", 0.0)
    experiment.judgements.add(2, "second", "ada", "person", 4.0, strength=1, is_revealed=True)
    experiment.rankings.add(2, [[4], [3]], "bob", "person", 3.0)
    experiment.repeats.add(1, "tie", "ada", "person", 1.0, is_swapped=True)
    experiment.remarks.add("rating", 1, 1, "4", "ada", "person")
    experiment.remarks.add("tag", 1, None, "词", "ada", "person")
    experiment.drafts.save(1, "ada", {"text": "begun"})
    run_id = experiment.runs.create(
        "policy", "ppo", "PPO 1", {"learning_rate": 1e-4}, {"n_prompts": 1}
    )
    figures = {"logp": (-0.5, -0.25)}
    events = [
        Step(1, 1, {"objective/kl": 0.5}, 1.0),
        Marked(1, "labels", "8 labels"),
        Sample(0, 1, "词", 0.5, 0.0, 2, True, True, ("词", "<eos>"), figures),
    ]
    experiment.runs.append_events(run_id, events)
    experiment.runs.finish(run_id, "done")


if __name__ == "__main__":
    main()
