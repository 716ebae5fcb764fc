"""`launch.md`: how to start a job elsewhere, and what of its settings goes along."""

from __future__ import annotations

from workbench import __version__
from workbench.app.handover import openrlhf, trl
from workbench.app.handover.peers import Plan, Translation, batches

_CARDS = (8, 4, 2)


def text(plan: Plan, by_trl: Translation, by_openrlhf: Translation) -> str:
    """The whole file."""
    return "\n".join(
        [
            f"# {plan.algorithm} on {plan.model}, elsewhere",
            "",
            f"Written by RLHF Workbench {__version__}. MANIFEST.json holds the SHA-256 of every "
            "file; job.json says where everything comes from. The lines for several cards or "
            "machines follow the documentation of each program; they were not run here.",
            "",
            *_model(plan),
            *_worker(plan),
            *_trl(plan, by_trl),
            *_openrlhf(by_openrlhf),
            *_carried(plan, by_trl, by_openrlhf),
        ]
    )


def _model(plan: Plan) -> list[str]:
    lines = ["## The model", ""]
    if plan.hub_id:
        revision = f", revision `{plan.revision}`" if plan.revision else ""
        lines.append(
            f"`MODEL` is `{plan.hub_id}`{revision} unless it is set to a folder. Compare the "
            "digest in job.json where the weights must be the same: a model that was converted "
            "from GGUF is not bit-equal to the one on the Hub."
        )
    else:
        lines.append(f"Set `MODEL` to the folder of {plan.model}: it has no name on the Hub.")
    if not plan.has_chat_template:
        lines += [
            "",
            "Its tokenizer has no chat template. Copy chat_template.jinja, the plain one that was "
            "used here, into its folder for TRL and OpenRLHF.",
        ]
    if plan.has_start_adapter:
        lines += [
            "",
            "Training starts from the adapter in start_adapter/. The worker takes it by itself; "
            "TRL and OpenRLHF need base and adapter in one: `rlhf-workbench export adapter "
            "--merged`, and `MODEL` set to that folder.",
        ]
    return [*lines, ""]


def _worker(plan: Plan) -> list[str]:
    cards = _cards(batches(plan.settings).step)
    return [
        "## With this program's worker",
        "",
        "The same code as in the window, without Qt. Settings mean the whole: a batch is shared "
        "out over all processes, and rank 0 writes. Each process holds the whole base, so the "
        "base must fit on one card.",
        "",
        "```sh",
        "pip install rlhf-workbench",
        "# one process",
        'python -m workbench.worker . --model "$MODEL" --out ../run',
        f"# {cards} cards of one machine",
        f'torchrun --nproc-per-node {cards} -m workbench.worker . --model "$MODEL" --out ../run',
        "# the same through accelerate",
        f"accelerate launch --multi_gpu --num_processes {cards} -m workbench.worker . "
        '--model "$MODEL" --out ../run',
        "# 2 machines; run it on both, ../run on a shared disk",
        f"torchrun --nnodes 2 --nproc-per-node {cards} --rdzv-backend c10d --rdzv-endpoint "
        '"$FIRST_MACHINE:29500" -m workbench.worker . --model "$MODEL" --out ../run',
        "```",
        "",
    ]


def _trl(plan: Plan, by: Translation) -> list[str]:
    lines = [f"## With TRL {trl.VERSION}", ""]
    if by.remark:
        lines += [by.remark, ""]
    if not by.command:
        return lines
    cut = batches(plan.settings, needs_groups=by.command in ("rloo", "grpo"))
    # KTO pairs each answer with another one of the same device.
    least = 2 if by.command == "kto" else 1
    cards, on_each = _cards(cut.step // least), _cards(cut.step // least, n_machines=2)
    on_all = f"--num_processes {cards} {_share(cut.step, cards)}"
    on_two = (
        f"--num_machines 2 --num_processes {2 * on_each} {_share(cut.step, 2 * on_each)} "
        '--main_process_ip "$FIRST_MACHINE" --main_process_port 29500 --machine_rank "$RANK"'
    )
    return [
        *lines,
        "```sh",
        "pip install -r requirements-trl.txt",
        "# one card",
        f"sh {trl.SCRIPT}",
        "# the processor",
        f"sh {trl.SCRIPT} {trl.ON_PROCESSOR}",
        f"# {cards} cards of one machine, each with a whole model",
        f"sh {trl.SCRIPT} --accelerate_config multi_gpu {on_all}",
        "# the same with the model cut over the cards (FSDP 2)",
        f"sh {trl.SCRIPT} --accelerate_config fsdp2 {on_all}",
        "# 2 machines (FSDP 2); run it on both, RANK is 0 on the first and 1 on the second",
        f"sh {trl.SCRIPT} --accelerate_config fsdp2 {on_two}",
        "```",
        "",
    ]


def _openrlhf(by: Translation) -> list[str]:
    lines = [f"## With OpenRLHF {openrlhf.VERSION}", ""]
    if by.remark:
        lines += [by.remark, ""]
    if not by.command:
        return lines
    lines += [
        "It needs CUDA cards and an environment of its own.",
        "",
        "```sh",
        "pip install -r requirements-openrlhf.txt",
    ]
    if by.command != openrlhf.RL_MODULE:
        return [*lines, "# all cards of one machine", f"sh {openrlhf.SCRIPT}", "```", ""]
    return [
        *lines,
        "# the reward model, on any machine with this program; it prints its token",
        "rlhf-workbench serve reward --port 8420",
        "# when that is another machine: a tunnel, for tokens and texts are not encrypted",
        "ssh -N -L 8420:127.0.0.1:8420 THAT_MACHINE &",
        "# 4 cards of one machine",
        "export REWARD_URL=http://token:TOKEN@127.0.0.1:8420/get_reward",
        f"CARDS=4 sh {openrlhf.SCRIPT}",
        "# 2 machines with 4 cards each: start Ray on both, then the script on the first",
        "ray start --head --num-gpus 4",
        'ray start --address "$FIRST_MACHINE:6379" --num-gpus 4',
        f"CARDS=4 sh {openrlhf.SCRIPT} --actor.num_nodes 2 --ref.num_nodes 2 --critic.num_nodes 2 "
        "--vllm.num_engines 8",
        "```",
        "",
    ]


def _carried(plan: Plan, by_trl: Translation, by_openrlhf: Translation) -> list[str]:
    """The table of settings; a dash where a trainer has nothing of the kind."""
    lines = [
        "## What is carried over",
        "",
        "| setting | here | TRL | OpenRLHF |",
        "|---|---|---|---|",
    ]
    for name, value in plan.values.items():
        there = [by.cell(name, value) or "-" for by in (by_trl, by_openrlhf)]
        lines.append(f"| {name} | {value} | {there[0]} | {there[1]} |")
    lost = [*_lost(plan, by_trl, "TRL"), *_lost(plan, by_openrlhf, "OpenRLHF")]
    if plan.n_lighter:
        lost.append(
            f"- {plan.n_lighter} pairs are labels of an AI judge and count less here, with the "
            "worker too; TRL and OpenRLHF count all alike. `annotator_kind` tells them apart."
        )
    if lost:
        lines += ["", "Not carried over:", "", *lost]
    return [*lines, ""]


def _lost(plan: Plan, by: Translation, who: str) -> list[str]:
    """Settings that do something here and nothing there; one that is off is no loss."""
    if not by.command:
        return []
    idle = () if plan.values.get("is_kl_adaptive") else ("kl_target", "kl_horizon")
    return [
        f"- {name} = {value}: {by.reasons.get(name, f'{who} has no such setting.')}"
        for name, value in plan.values.items()
        if value not in (0, False, "") and name not in idle and not by.cell(name, value)
    ]


def _cards(step: int, n_machines: int = 1) -> int:
    """The largest usual number of cards per machine that a step can be shared out over."""
    return next((n for n in _CARDS if step % (n * n_machines) == 0), 1)


def _share(step: int, n_devices: int) -> str:
    """TRL's batch flags for so many devices, so that a step stays the same."""
    each = max(1, step // n_devices)
    at_once = max(k for k in range(1, 9) if each % k == 0)
    return (
        f"--per_device_train_batch_size {at_once} --gradient_accumulation_steps {each // at_once}"
    )
