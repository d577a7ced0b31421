"""What is checked and measured, most important first: right or wrong before fast or slow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

FGQ = (sys.executable, "-m", "fgq_bench")
PYTEST = (sys.executable, "-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider", "-W", "default")


@dataclass(frozen=True)
class Step:
    """One command with its own limit; ``timed`` ones run alone, the others together before them."""

    name: str
    seconds: float  # at most
    command: Sequence[str]
    timed: bool = True


def latency(store: str, *options: str) -> tuple[str, ...]:
    """``fgq-bench latency`` on this GPU."""
    return (*FGQ, "latency", "--device", "cuda", "--backend", "cuda", "-o", store, *options)


def steps(store: str, scratch: str, output: str) -> list[Step]:
    """All steps; results go to ``store``, what only fills caches to ``scratch``, other files to ``output``."""
    layers = ("--subject", "layers", "-b", "w4a4", "-b", "w8a8")
    networks = ("-m", "rtn", "-b", "w4a4", "-b", "w8a8", "--scope", "aa+dino")
    few = ("--subject", "layers", "-b", "w4a16", "-b", "w4a16g128")
    return [
        Step("machine", 60, (sys.executable, "-m", "tests.gpu.machine"), timed=False),
        Step("kernel-tests", 150, (*PYTEST, "tests/kernels/triton", "tests/kernels/test_cutlass.py", "-n", "4"), timed=False),
        Step("latency-tests", 120, (*PYTEST, "tests/latency", "tests/kernels/test_placement.py", "-n", "2"), timed=False),
        Step(
            "parity", 120,
            (*FGQ, "parity", "-m", "rtn", "-m", "quarot", "-b", "w4a4", "-b", "w8a8", "-b", "w4a16g64", "--limit", "2",
             "--backend", "cuda", "--device", "cuda", "-o", scratch, "--json"),
            timed=False,
        ),
        Step("compile-layers", 100, latency(scratch, *layers, "--tokens", "13740", "--seconds", "0.01"), timed=False),
        Step("compile-networks", 120, latency(scratch, "--subject", "blocks", *networks, "--frames", "1", "--seconds", "0.01"), timed=False),
        Step("layers", 120, latency(store, *layers, "--tokens", "13740", "--tokens", "1374", "--seconds", "0.4")),
        Step("aggregator", 120, latency(store, "--subject", "aggregator", *networks, "--frames", "1", "--frames", "2", "--frames", "10", "--seconds", "1.5")),
        Step("tiles", 40, (sys.executable, "-m", "tests.gpu.tiles")),
        Step("few-tokens", 45, latency(store, *few, "--tokens", "1", "--tokens", "16", "--tokens", "64", "--seconds", "0.2")),
        Step("training", 60, (sys.executable, "-m", "tests.gpu.training_speed", output)),
        Step("blocks-model", 90, latency(store, "--subject", "blocks", "--subject", "model", *networks, "--frames", "1", "--frames", "2", "--seconds", "1")),
        Step("more-tokens", 60, latency(store, *layers, "--tokens", "2748", "--tokens", "41220", "--seconds", "0.3")),
        Step("30-frames", 90, latency(store, "--subject", "aggregator", *networks, "--frames", "30", "--seconds", "3")),
    ]  # fmt: skip


def dry_steps(store: str, scratch: str, output: str) -> list[Step]:
    """The same commands on fake tensors and small sizes: every line of Python between a command and a kernel's launch."""
    fake = (sys.executable, "-m", "tests.gpu.fake_cuda")

    def faked(*options: str) -> tuple[str, ...]:
        command = latency(store, "--seconds", "0.001", *options)
        return (*fake, *command[2:])

    return [
        Step("machine", 60, (*fake, "tests.gpu.machine")),
        Step("layers", 300, faked("--subject", "layers", "-b", "w4a4", "-b", "w8a8", "--tokens", "160")),
        Step("few-tokens", 300, faked("--subject", "layers", "-b", "w4a16", "-b", "w4a16g128", "--tokens", "1")),
        Step(
            "networks", 300,
            faked("--subject", "blocks", "--subject", "aggregator", "--subject", "model", "-m", "rtn", "-b", "w4a4", "-b", "w8a8",
                  "--frames", "1", "--size", "28"),
        ),
    ]  # fmt: skip
