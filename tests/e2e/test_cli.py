import json

import pytest

from workbench.cli import main
from workbench.data.figures import Estimate, Figure
from workbench.data.folders import atomic_folder
from workbench.store.experiment import Experiment

_NO_SHARES = ("--share-uncertainty=0", "--share-diversity=0", "--share-random=0")


@pytest.fixture(autouse=True)
def _working_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("RLHF_WORKBENCH_EXPERIMENT", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def experiment(tmp_path, capsys):
    assert main(["new", "experiment"]) == 0
    capsys.readouterr()
    return tmp_path / "experiment"


def test_help_needs_neither_torch_nor_qt(command):
    done = command("train", "ppo", "--help")
    assert done.code == 0
    assert done.imported == set()
    assert "--learning-rate" in done.out
    assert "--lora.r" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "ppo", "--lerning-rate", "1"], "Did you mean --learning-rate?"),
        (["train", "ppo", "--preset", "quick look", "--updates", "0"], "updates: Must lie between"),
        (["train", "ppo", "--updates", "many"], "updates: Must be a whole number"),
        (["train", "ppo", "--learning-rate", "nan"], "learning_rate"),
        (["train", "ppo", "--minibatches", "5"], "batch_size: Must be a multiple"),
        (["train", "ppo", "--config", "missing.toml"], "missing.toml cannot be read"),
        (["train", "ppo"], "There are no training prompts yet"),
        (["train", "ppo", "--resume", "7"], "no run 7"),
        (["train", "reward"], "0 ranked pairs"),
        (["generate", "--temperature", "-1"], "temperature: Must lie between"),
        (["judge"], "--simulate"),
        (["judge", "--simulate"], "no pair"),
        (["queue", "--strategy", "luck"], "strategy: Must be one of"),
        (["queue", "--strategy", "mix", *_NO_SHARES], "no share of anything"),
        (["queue", "--strategy", "uncertainty", "--doubt", "reward-model"], "no reward model yet"),
        (["queue", "--fill", "--fill.source", "base-trained"], "no trained policy to set beside"),
        (["evaluate"], "no trained policy yet"),
        (["text-metrics"], "no trained policy yet"),
        (["safety", "--run", "7"], "no run 7"),
        (["gate", "--max-kl", "-1"], "max_kl: Must lie between"),
        (["best-of-n"], "There are no prompts to answer"),
        (["best-of-n", "--n", "1"], "n: Must lie between"),
        (["export", "adapter"], "no trained policy yet"),
        (["export", "bundle"], "no trained policy yet"),
        (["export", "bundle", "--algorithm", "reward"], "0 ranked pairs"),
        (["export", "bundle", "--algorithm", "nonsense"], "invalid choice"),
        (["export", "bundle", "--run", "7"], "no run 7"),
        (["serve", "reward"], "no reward model yet"),
        (["serve", "reward", "--port", "70000"], "no port 70000"),
        (["serve"], "required"),
        (["prompts", "import", "missing.jsonl"], "missing.jsonl"),
        (["preferences", "import", "missing.jsonl"], "missing.jsonl"),
        (["preferences", "import", "p.jsonl", "--columns", "prompt"], "prompt names no column"),
        (["preferences", "import", "p.jsonl", "--format", "excel"], "invalid choice"),
        (["preferences", "export", "out"], "Nothing was judged yet"),
        (["preferences", "export", "out", "--heldout-share", "2"], "share of 2 cannot be held out"),
        (
            ["preferences", "export", "--annotator-kind", "simulated", "--without-simulated"],
            "Only simulated judgements are wanted",
        ),
        (["answers", "import", "missing.jsonl"], "missing.jsonl"),
        (["train", "dpo"], "0 ranked pairs"),
        (["train", "dpo", "--kind", "best"], "kind: Must be one of 'sigmoid', 'ipo' or 'hinge'"),
        (["train", "dpo", "--kind", "ipo", "--label-smoothing", "0.1"], "label_smoothing: Must be"),
        (["train", "kto"], "0 ranked pairs; KTO needs at least 8"),
        (["train", "sft"], "0 answers; Supervised fine-tuning needs at least 8"),
        (["models", "use", "no-such-model"], "no model named no-such-model"),
        (["frobnicate"], "frobnicate"),
        (["train"], "required"),
        (["tour", "--model", "no-such-model"], "no model named no-such-model"),
    ],
)
def test_wrong_input_is_a_sentence_and_code_2(experiment, capsys, arguments, words, tiny_chosen):
    assert main(["--experiment", str(experiment), *arguments]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert "Traceback" not in err
    assert out == ""


def test_the_gate_ends_with_a_code_that_a_script_can_use(experiment, capsys):
    with Experiment.open(experiment) as opened:
        run = opened.runs.create("policy", "ppo", "PPO 1", {}, {})
        with atomic_folder(experiment / "adapters" / "adapter") as folder:
            (folder / "x").write_text("x")
        opened.artifacts.add(run, "adapter", "adapters/adapter", "0")
        opened.runs.finish(run, "done")
        kl = Figure("kl", None, Estimate(2.0, 1.5, 2.5), None, 9)
        measured = opened.runs.create(
            "evaluation", "text-metrics", "Text metrics 1", {}, {"policy_run": run}
        )
        opened.runs.finish(measured, "done", {"figures": [kl.to_dict()], "notes": []})
    only_kl = ["--no-checks-perplexity", "--no-checks-safety", "--no-checks-win-rate"]
    gate = ["gate", "--experiment", str(experiment), *only_kl]
    assert main([*gate, "--max-kl", "2"]) == 0
    said = capsys.readouterr().out
    assert "The gate passed. 1 of 1 checks passed." in said
    assert "KL to the base: 2 nats, 95 % interval 1.5 to 2.5; at most 2 nats." in said
    assert main([*gate, "--max-kl", "1.9", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "failed"
    assert main(gate[:3]) == 1
    assert "The gate is incomplete" in capsys.readouterr().out


def test_quality_of_labels_is_told_in_sentences_and_as_json(experiment, tmp_path, capsys):
    rows = [{"prompt": f"p{i}", "chosen": "good " * (i + 2), "rejected": "bad"} for i in range(12)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert main(["preferences", "import", str(file), "--experiment", str(experiment)]) == 0
    capsys.readouterr()
    assert main(["quality", "--experiment", str(experiment)]) == 0
    said = capsys.readouterr().out
    assert "pairs chose the longer answer in 100 % of 12 pairs" in said
    assert "12 pairs are decided" in said
    assert main(["quality", "--json", "--experiment", str(experiment)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"]["state"] == "bad"
    assert {f["key"] for f in told["findings"]} >= {"amount", "length", "again"}
    keeping = ["quality", "--several", "majority", "--keep-rule", "--experiment", str(experiment)]
    assert main(keeping) == 0
    with Experiment.open(experiment) as opened:
        assert opened.settings.get("aggregation")["several"] == "majority"
    capsys.readouterr()
    assert main(["quality", "--annotator", "zed", "--experiment", str(experiment)]) == 2
    assert "zed has judged nothing here" in capsys.readouterr().err


@pytest.fixture
def tiny_chosen(experiment, model_folder, capsys):
    assert main(["models", "use", str(model_folder), "--experiment", str(experiment)]) == 0
    capsys.readouterr()


def test_without_a_model_generation_says_so(experiment, capsys):
    assert main(["generate", "--experiment", str(experiment)]) == 2
    assert "No model is chosen" in capsys.readouterr().err


def test_a_folder_without_an_experiment_is_told(capsys):
    assert main(["generate"]) == 2
    assert "There is no experiment" in capsys.readouterr().err


def test_all_problems_of_settings_are_told_at_once(experiment, capsys, tmp_path):
    (tmp_path / "s.toml").write_text("updates = -1\nlern_rate = 1\n[lora]\nr = 0\n")
    code = main(["train", "ppo", "--config", "s.toml", "--experiment", str(experiment), "--json"])
    assert code == 2
    out, _ = capsys.readouterr()
    (line,) = [json.loads(line) for line in out.splitlines()]
    assert line["event"] == "Error"
    for words in ("3 settings", "updates: Must", "Did you mean", "lora.r: Must"):
        assert words in line["message"]


def test_the_environment_names_the_experiment(experiment, capsys, monkeypatch):
    monkeypatch.setenv("RLHF_WORKBENCH_EXPERIMENT", str(experiment))
    assert main(["check"]) == 0
    assert "The experiment is whole." in capsys.readouterr().out


def test_new_refuses_a_folder_with_something_in_it(tmp_path, capsys):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    assert main(["new", "taken"]) == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_check_finds_a_file_that_is_no_database(experiment, capsys):
    (experiment / "experiment.db").write_bytes(b"not a database" * 1000)
    assert main(["check", "--experiment", str(experiment)]) == 1
    out, err = capsys.readouterr()
    assert "database" in (out + err).lower()
    assert "Traceback" not in out + err


def test_prompts_are_imported_and_bad_lines_told(experiment, capsys, tmp_path):
    lines = ['{"prompt": "Hello"}', "{broken", '{"prompt": "你好"}']
    (tmp_path / "p.jsonl").write_text("\n".join(lines), encoding="utf-8")
    code = main(["prompts", "import", "p.jsonl", "--experiment", str(experiment), "--json"])
    out, err = capsys.readouterr()
    assert code == 0
    assert json.loads(out) == {"event": "Result", "n": 2, "n_problems": 1}
    assert "line 2" in err


def test_answers_are_imported_and_bad_lines_told(experiment, capsys, tmp_path):
    rows = [
        '{"prompt": "Hello", "completion": "Hi."}',
        '{"prompt": "Bye"}',
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    command = ["answers", "import", "a.jsonl", "--experiment", str(experiment)]
    assert main([*command, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"event": "Result", "n": 2, "n_known": 0, "n_problems": 1}
    assert "line 2: There is no answer among its fields: prompt." in err
    assert main(command) == 0
    out, _ = capsys.readouterr()
    assert out.strip() == "0 answers imported, 2 were there already, 1 lines left out."


def test_demo_prompts_are_listed_and_added(experiment, capsys):
    base = ["--experiment", str(experiment), "--json"]
    assert main(["prompts", "demo", *base]) == 0
    groups = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tour = next(group for group in groups if group["name"] == "tour")
    assert tour["n"] >= 96
    assert main(["prompts", "demo", "tour", *base]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == tour["n"]


def test_best_of_n_tells_its_curve_and_keeps_the_best(experiment, tiny_chosen, capsys, tmp_path):
    pairs = [
        {"prompt": f"w{i} w{i + 1}", "chosen": "w1 w2", "rejected": f"w{i} w3"} for i in range(12)
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    base = ["--experiment", str(experiment)]
    assert main(["preferences", "import", "p.jsonl", *base]) == 0
    assert main(["train", "reward", "--epochs", "1", *base]) == 0
    sampling = ["--prompts", "all", "--n", "4", "--max-new-tokens", "16", "--keep"]
    capsys.readouterr()
    assert main(["best-of-n", *sampling, *base]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["n", "KL", "at", "most", "score", "win", "rate", "tokens"]
    assert [row.split()[:2] for row in rows] == [["1", "0.00"], ["2", "0.19"], ["4", "0.64"]]
    assert main(["best-of-n", *sampling, "--seed", "9", "--json", *base]) == 0
    *events, result = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [point["n"] for point in result["curve"]] == [1, 2, 4]
    assert result["curve"][0]["win_rate"]["value"] == 0.5
    assert events[-1]["result"]["n_kept"] > 0


def test_a_second_program_is_told_who_holds_the_experiment(experiment, command):
    from workbench.store.experiment import Experiment

    with Experiment.open(experiment):
        done = command("prompts", "demo", "tour", "--experiment", experiment)
    assert done.code == 1
    assert "read-only" in done.err.lower()


def test_preferences_come_in_and_go_out_in_named_forms(experiment, capsys, tmp_path):
    base = ["--experiment", str(experiment)]
    rows = "".join(f"Why {i}?;x{i};y\n" for i in range(30))
    (tmp_path / "t.csv").write_text(f"frage;gut;schlecht\n{rows}only one\n", encoding="utf-8")
    columns = ["--columns", "prompt=frage,chosen=gut,rejected=schlecht"]
    assert main(["preferences", "import", "t.csv", *base]) == 2
    assert "its columns are frage, gut, schlecht" in capsys.readouterr().err
    assert main(["preferences", "import", "t.csv", *columns, *base]) == 0
    out, err = capsys.readouterr()
    assert out == "30 pairs imported, 1 lines left out.\n"
    assert "line 32: There is no field chosen and no field rejected." in err
    forms = ["--format", "llama-factory", "--format", "trl-unpaired", "--annotator", "t"]
    split = ["--split-files", "--heldout-share", "0.3"]
    assert main(["preferences", "export", "out", *forms, *split, "--json", *base]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["n_pairs"], result["n_ties"]) == (30, 0)
    files = {path.name for path in (tmp_path / "out").rglob("*.json*")}
    assert files >= {"dataset_info.json", "preferences_heldout.json", "unpaired_train.jsonl"}
    assert main(["export", "preferences", "out", *base]) == 2
    assert "already there" in capsys.readouterr().err


def test_the_queue_is_filled_and_put_in_order(experiment, capsys, tiny_chosen, tmp_path):
    (tmp_path / "p.txt").write_text("".join(f"w{i} w{i + 1}\n" for i in range(8)))
    here = ["--experiment", str(experiment)]
    assert main(["prompts", "import", "p.txt", *here]) == 0
    capsys.readouterr()
    fill = ["--fill", "--fill.n-pending", "3", "--fill.max-new-tokens", "8"]
    assert main(["queue", "--strategy", "diversity", *fill, "--json", *here]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    titles = [e["title"] for e in events if e["event"] == "Started"]
    assert set(titles[:-1]) == {"Fill the queue"}
    assert titles[-1] == "Order of the queue"
    (n_pairs,) = {sum(e["result"].get("n_pairs", 0) for e in events if e["event"] == "Finished")}
    assert n_pairs >= 3
    assert events[-1]["result"]["n_ordered"] + events[-1]["result"]["n_same"] == n_pairs
    # What was said once holds until something else is said.
    assert main(["queue", "--json", *here]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["result"] == events[-1]["result"]
