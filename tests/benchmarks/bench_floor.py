"""How near PPO comes to what this machine can do: the share of the floor that each phase reaches.

    python -m tests.benchmarks.bench_floor [--model starter] [--last-layers 0] [--scaling]
        [--picture FILE] [--folder DIR]

The floor of a phase is the time that its arithmetic needs at the rate of the best matrix product
measured here, or that reading the weights needs at the bandwidth measured here, whichever is
longer, for the real tokens alone: padding, attention's softmax, norms, Python and everything else
count as waste. `--scaling` measures further batch sizes, answer lengths and model sizes, one epoch
each; `--picture` draws them when matplotlib is there. One thread on one core; on a card the same in
bf16, with wall time.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import meter, peers

SHORTEST, LONGEST = 16, 37
BATCH, TOKENS, EPOCHS, RANK = 16, 32, 4, 16
PHASES = ("generate", "score", "optimise")


@dataclass(frozen=True, slots=True)
class Rates:
    """What the machine does at best."""

    flops: float  # per second, largest of several matrix products
    decode_flops: float  # the same for a handful of rows
    bandwidth: float  # bytes per second, read


@dataclass(frozen=True, slots=True)
class Sizes:
    """Weights of a model that take part in matrix products."""

    n_layers: int
    layer: int  # of one layer
    lora: int  # of one layer's adapter
    head: int  # V · H
    width: int  # H
    bytes_each: int


@dataclass(frozen=True, slots=True)
class Work:
    """One PPO update in tokens."""

    prompts: tuple[int, ...]
    n_tokens: int
    epochs: int
    adapted: int  # layers with LoRA, the upper ones

    @property
    def whole(self) -> int:
        """Tokens of all prompts with their answers."""
        return sum(self.prompts) + self.answers

    @property
    def answers(self) -> int:
        """Tokens of all answers."""
        return len(self.prompts) * self.n_tokens

    @property
    def pairs(self) -> int:
        """Pairs of a token and one that it attends to, in one layer."""
        return sum((p + self.n_tokens) ** 2 // 2 for p in self.prompts)


def floors(sizes: Sizes, work: Work, rates: Rates) -> dict[str, float]:
    """Seconds of each phase at the machine's rates.

    A product with a weight takes 2 operations per weight and token. Backwards a frozen weight takes
    as many again and LoRA twice as many. The head's gradient takes another product. With LoRA on
    the upper layers only, those below are computed once per update, in `score`.
    """
    shared = sizes.n_layers - work.adapted
    adapted = work.adapted * (sizes.layer + sizes.lora)
    attention = 4 * sizes.width * work.pairs  # scores and mixed values of one layer
    prefill = 2 * sum(work.prompts) * (shared * sizes.layer + adapted)
    per_step = 2 * len(work.prompts) * (shared * sizes.layer + adapted + sizes.head)
    weights = (sizes.n_layers * sizes.layer + sizes.head) * sizes.bytes_each
    generate = prefill / rates.flops + work.n_tokens * max(
        per_step / rates.decode_flops, weights / rates.bandwidth
    )
    trunk = shared * (2 * sizes.layer * work.whole + attention)
    reference = work.adapted * (2 * sizes.layer * work.whole + attention)
    reward = 2 * adapted * work.whole + work.adapted * attention
    head = 2 * sizes.head * work.answers
    learn = (
        2 * work.whole * work.adapted * (2 * sizes.layer + 3 * sizes.lora)
        + 3 * work.adapted * attention
        + 2 * head
    )
    return {
        "generate": generate,
        "score": (trunk + reference + head + reward) / rates.flops,
        "optimise": work.epochs * learn / rates.flops,
    }


def main(argv: list[str] | None = None) -> int:
    """Measure one update, or several for the scaling table."""
    arguments = _arguments(argv)
    if arguments.job:
        job = json.loads(Path(arguments.job).read_text(encoding="utf-8"))
        meter.pin(job["core"])
        meter.write_result(job["result"], measure(job))
        return 0
    arguments.folder = arguments.folder or peers.default_folder()
    rows = [_row(arguments, arguments.model, BATCH, TOKENS, EPOCHS)]
    if arguments.scaling:
        base = arguments.model
        variants = [(base, batch, TOKENS) for batch in (4, 16, 64)]
        variants += [(base, BATCH, tokens) for tokens in (16, 64)]
        variants += [("tiny", BATCH, TOKENS)]
        variants += [("1b", BATCH, TOKENS)] if peers.has_cuda() else []
        rows += [_row(arguments, *variant, 1) for variant in variants]
    print(table(rows))  # noqa: T201
    if arguments.picture and importlib.util.find_spec("matplotlib"):
        draw(rows, arguments.picture)
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", choices=("starter", "tiny", "1b"), default="starter")
    parser.add_argument("--last-layers", type=int, default=0, help="with LoRA; 0 means all")
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--picture", type=Path, help="file for the scaling, such as scaling.svg")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="of models with random weights")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _row(
    arguments: argparse.Namespace, model: str, batch: int, tokens: int, epochs: int
) -> dict[str, Any]:
    from tests.benchmarks import subjects

    is_cuda = peers.has_cuda()
    job = {
        "name": model,
        "model": str(subjects.model_folder(model, arguments.folder)),
        "prompts": subjects.random_prompts(
            batch, SHORTEST, LONGEST, subjects.vocabulary(model), seed=0
        ),
        "tokens": tokens,
        "epochs": epochs,
        "last_layers": arguments.last_layers if model == arguments.model else 0,
        "device": "cuda" if is_cuda else "cpu",
        "dtype": "bfloat16" if is_cuda else "float32",
        "core": arguments.core,
    }
    row = peers.run_side(Path(sys.executable), "tests.benchmarks.bench_floor", job)
    print(json.dumps(row), flush=True)  # noqa: T201
    return row


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Rates of the machine, then one update after a warm-up, in this process."""
    from workbench.app.workspace import prepare_torch

    prepare_torch(keeps_core_free=False)
    from tests.benchmarks.ours import load_for_ids, prompts_of_ids, reward_model, with_clock
    from workbench.cancel import CancelToken
    from workbench.config.lora import LoraSettings
    from workbench.config.ppo import PPOSettings
    from workbench.events import Step
    from workbench.training import ppo
    from workbench.training.inputs import Inputs

    watch = meter.Meter(job["device"], n_warmup=1)
    with_clock(watch)
    model = load_for_ids(job["model"], job["device"], job["dtype"])
    sizes = sizes_of(model)
    rates = rates_of(watch, sizes, len(job["prompts"]), job["device"], job["dtype"])
    lora = LoraSettings(r=RANK, alpha=2 * RANK, last_layers=job["last_layers"])
    settings = PPOSettings(
        updates=2,
        batch_size=len(job["prompts"]),
        epochs=job["epochs"],
        max_new_tokens=job["tokens"],
        checkpoint_every=0,
        n_samples=0,
        lora=lora,
    )
    with tempfile.TemporaryDirectory() as folder:
        prompts, reward = prompts_of_ids(job["prompts"]), reward_model(model, lora)
        inputs = Inputs(model, Path(folder), prompts=prompts, reward=reward)
        watch.mark()
        for event in ppo.train(settings, inputs, CancelToken()):
            if isinstance(event, Step):
                for phase in PHASES:
                    watch.add(phase, event.metrics[f"time/{phase}"])
                watch.mark()
    lengths = tuple(map(len, job["prompts"]))
    adapted = job["last_layers"] or sizes.n_layers
    floor = floors(sizes, Work(lengths, job["tokens"], job["epochs"], adapted), rates)
    what = {name: job[name] for name in ("name", "tokens", "epochs", "last_layers")}
    return {
        **what,
        "batch": len(lengths),
        "gflops": round(rates.flops / 1e9, 1),
        "decode_gflops": round(rates.decode_flops / 1e9, 1),
        "gb_per_s": round(rates.bandwidth / 1e9, 1),
        "floor": {phase: round(seconds, 4) for phase, seconds in floor.items()},
        **watch.report(len(lengths)),
    }


def sizes_of(model: Any) -> Sizes:
    """Counted in the loaded model, before any adapter is on it."""
    from torch import nn

    blocks = max((m for m in model.model.modules() if isinstance(m, nn.ModuleList)), key=len)
    linear = [m for m in blocks[0].modules() if isinstance(m, nn.Linear)]
    head = model.output_head.weight
    return Sizes(
        n_layers=len(blocks),
        layer=sum(m.weight.numel() for m in linear),
        lora=sum(RANK * (m.in_features + m.out_features) for m in linear),
        head=head.numel(),
        width=head.shape[1],
        bytes_each=head.element_size(),
    )


def rates_of(watch: meter.Meter, sizes: Sizes, batch: int, device: str, dtype: str) -> Rates:
    """The best of several matrix products, and of reading memory, on this machine now."""
    import torch

    kind = getattr(torch, dtype)

    def flops(rows: int, width: int, out: int) -> float:
        x, w = torch.randn(rows, width), torch.randn(out, width)
        x, w = x.to(device, kind), w.to(device, kind)
        return 2 * rows * width * out / _seconds(watch, lambda: torch.nn.functional.linear(x, w))

    width = sizes.width
    far = torch.ones(1 << 28, dtype=torch.uint8, device=device).view(torch.float32)
    return Rates(
        flops=max(flops(rows, width, 4 * width) for rows in (512, 2048)),
        decode_flops=max(flops(batch, width, out) for out in (width, 4 * width)),
        bandwidth=far.nbytes / _seconds(watch, far.sum),
    )


def _seconds(watch: meter.Meter, call: Any) -> float:
    """The shortest of several runs, each long enough for the clock."""
    best, n = float("inf"), 1
    for _ in range(30):
        began = watch.seconds()
        for _ in range(n):
            call()
        took = watch.seconds() - began
        if took < _LONG_ENOUGH_S:
            n *= 2
        else:
            best = min(best, took / n)
    return best


_LONG_ENOUGH_S = 0.02


def table(rows: list[dict[str, Any]]) -> str:
    """Seconds of each phase and the share of its floor, one line per measurement."""
    head = ["model", "LoRA", "batch", "tokens", "epochs", *PHASES, "samples/s", "GiB"]
    lines = [head]
    for row in rows:
        shares = [
            f"{row['phases'][p]:.2f} ({100 * row['floor'][p] / row['phases'][p]:.0f} %)"
            for p in PHASES
        ]
        layers = f"last {row['last_layers']}" if row["last_layers"] else "all"
        what = [row["name"], layers, row["batch"], row["tokens"], row["epochs"]]
        lines.append(
            [*map(str, what), *shares, f"{row['samples_per_second']:.3f}", f"{row['peak_gib']:.2f}"]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    body = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    first = rows[0]
    rates = (
        f"{first['gflops']} GFLOP/s, {first['decode_gflops']} at {first['batch']} rows, "
        f"{first['gb_per_s']} GB/s; {first['clock']} per phase (share of its floor)"
    )
    return "\n".join([rates, *body])


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Samples per second against batch and answer length, and the floor beside them."""
    from matplotlib import pyplot as plt

    base = rows[0]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for axis, key in zip(axes, ("batch", "tokens"), strict=True):
        other = "tokens" if key == "batch" else "batch"
        line = sorted(
            (r for r in rows[1:] if r["name"] == base["name"] and r[other] == base[other]),
            key=lambda r: r[key],
        )
        x = [r[key] for r in line]
        axis.plot(x, [r["samples_per_second"] for r in line], "o-", label="measured")
        floor = [r["batch"] / sum(r["floor"].values()) for r in line]
        axis.plot(x, floor, "--", label="floor of this machine")
        axis.set_xlabel({"batch": "answers per update", "tokens": "tokens per answer"}[key])
        axis.set_xscale("log", base=2)
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel(f"answers per {base['clock'].removesuffix('s')}")
    axes[0].legend(frameon=False)
    figure.suptitle(f"PPO on {base['name']}, one epoch")
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    sys.exit(main())
