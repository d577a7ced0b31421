"""``latency``: time layers, blocks, aggregator and whole network on this machine's kernels."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fgq_bench.commands.given import check_used, unused_calibration
from fgq_bench.commands.parsing import check_device
from fgq_bench.commands.printing import print_text
from fgq_bench.compiling import compile_model, compiled
from fgq_bench.environment import describe, package_version
from fgq_bench.errors import UserError
from fgq_bench.kernels.placement import install
from fgq_bench.kernels.registry import PEERS, Backend, find_backend
from fgq_bench.latency.allocator import keep_freed_memory
from fgq_bench.latency.cases import Arm, Case, layer_cases, network_cases, roles
from fgq_bench.latency.deployment import deployed, random_model
from fgq_bench.latency.harness import empty_result, run_case
from fgq_bench.latency.roofline import Peaks, peaks
from fgq_bench.latency.timing import Budget
from fgq_bench.latency.variants import BASELINE
from fgq_bench.models.checkpoints import find_model
from fgq_bench.models.workload import linear_flops
from fgq_bench.planning import LoadedModel, Request, Run, plan
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.size import count_bytes
from fgq_bench.result_kinds.latency import SUBJECTS
from fgq_bench.results import Result
from fgq_bench.runner import Workspace

RANDOM = "random weights, seed 0"
TOKENS = {"cpu": (1, 16, 1374, 2748), "cuda": (1, 16, 64, 1374, 2748, 5496, 13740, 27480, 41220)}
FRAMES = {"cpu": (1, 2), "cuda": (1, 2, 4, 10, 20, 30)}
PARTS = ("extra", "+", "only", "without")  # names of a layer's other variants: in the result, not on the screen
DATASET = "procedural-objects"  # names the artefacts of accuracy runs; nothing of it is read


@dataclass(frozen=True)
class Options:
    """What ``fgq-bench latency`` was asked for; empty lists stand for the device's defaults."""

    model: str
    checkpoint: str | None
    subjects: list[str]
    methods: list[str]
    schemes: list[str]
    scope: str
    backend: str | None
    tokens: list[int]
    frames: list[int]
    size: int | None
    seconds: float
    device: str
    calibration: str | None


def measure_latency(options: Options, output: Path, overwrite: bool) -> int:
    """Time what is asked for, case by case; what is stored already is not timed again. Returns the exit code."""
    device = torch.device(check_device(options.device))
    backend = find_backend(options.backend or device.type)
    _check(options, backend, device)
    budget = Budget(seconds=options.seconds)
    workspace = Workspace(output)
    keep_freed_memory()
    session = Session(options, workspace, device, backend, budget, overwrite)
    if "layers" in options.subjects:
        session.run_layers()
    if networks := [subject for subject in options.subjects if subject != "layers"]:
        session.run_networks(networks)
    print_text(f"{session.done} cases timed, {session.stored} already stored; results in {workspace.store.root}")
    return 1 if session.failed else 0


def _check(options: Options, backend: Backend, device: torch.device) -> None:
    """Raise UserError for what cannot be timed, before anything is."""
    for subject in options.subjects:
        if subject not in SUBJECTS:
            raise UserError(f"--subject {subject!r}: choose from {', '.join(SUBJECTS)}")
    if not backend.load(device.type):
        raise UserError(f"--backend {backend.name}: emulates, so there is nothing to time; choose one with kernels")
    if options.calibration is not None and options.subjects == ["layers"]:
        raise unused_calibration(options.calibration)
    config, size = find_model(options.model).config, options.size
    if size is not None and size % config.patch:
        raise UserError(f"--size {size}: must be a multiple of the patch size {config.patch}")
    if "layers" not in options.subjects:
        return
    for text in options.schemes:
        scheme = Scheme.parse(text)
        if scheme.has_static_inputs or scheme.is_float:
            raise UserError(f"--scheme {text}: single layers are timed at quantizing schemes with dynamic inputs")
        for role, (width, _) in roles(config.dim).items():
            scheme.groups_of(width, role)


class Session:
    """One run of the harness: the machine's peaks are measured once, when the first case is due."""

    def __init__(
        self,
        options: Options,
        workspace: Workspace,
        device: torch.device,
        backend: Backend,
        budget: Budget,
        overwrite: bool,
    ) -> None:
        self.options, self.workspace, self.device, self.backend = options, workspace, device, backend
        self.budget, self.overwrite = budget, overwrite
        self.config = find_model(options.model).config
        self.peaks: Peaks | None = None
        self.done = self.stored = self.failed = 0

    def run_layers(self) -> None:
        """Every role at every number of tokens."""
        schemes = [Scheme.parse(text) for text in self.options.schemes]
        tokens = self.options.tokens or TOKENS[self.device.type]
        peers = {name: package_version(name) for name in PEERS if find_backend(name).missing() is None}
        about = {"schemes": self.options.schemes, **self._kernels(), "peers": peers}
        model = {"name": self.options.model, "hash": RANDOM}
        for case in layer_cases(self.config.dim, tokens, schemes, self.backend, self.device):
            if not self._is_stored(case, model, about):
                self._case(case, model, about)

    def run_networks(self, subjects: Sequence[str]) -> None:
        """Blocks, aggregator, whole network: the float one in bf16 beside every method's artefact."""
        options = self.options
        frames, size = options.frames or FRAMES[self.device.type], options.size or self.config.image_size
        loaded = self._load()
        runs = [run for run in self._runs(loaded) if not run.scheme.is_float]
        about: dict[str, Any] = {
            "variants": [run.compilation() for run in runs],
            "scope": options.scope,
            **self._kernels(),
        }
        model = {"name": options.model, "hash": loaded.hash}
        arms: dict[str, Arm] = {}
        for case in network_cases(subjects, arms, frames, size):
            if self._is_stored(case, model, about):
                continue
            if not arms:
                arms[BASELINE] = Arm(deployed(loaded.model), {})
                flops = linear_flops(loaded.model, 1, (size, size))
                arms |= {f"{run.method.label} {run.scheme}": self._arm(run, flops) for run in runs}
            self._case(case, model, about)

    def _kernels(self) -> dict[str, Any]:
        """What of the kernels decides the time: their versions, and what compiled them."""
        return {
            "backend": self.backend.name,
            "kernels": self.backend.versions(),
            "triton": package_version("triton"),
        }

    def _load(self) -> LoadedModel:
        spec, options = find_model(self.options.model), self.options
        if options.checkpoint is None and not Path(spec.checkpoint).is_file():
            return LoadedModel(spec, random_model(spec.config, 0, self.device), RANDOM)
        return LoadedModel.load(
            Request([], [], [], model=options.model, checkpoint=options.checkpoint, device=options.device)
        )

    def _runs(self, loaded: LoadedModel) -> list[Run]:
        o = self.options
        request = Request(
            o.methods, o.schemes, [DATASET], None, o.model, o.checkpoint, [o.scope], device=o.device, limit=1,
            calibration=o.calibration,
        )  # fmt: skip
        runs = plan(request, loaded)
        check_used(request, runs)
        if loaded.hash == RANDOM and (learning := [run for run in runs if run.clips is not None]):
            raise UserError(
                f"{learning[0].method.label} {learning[0].scheme}: learns from data, which says nothing about random "
                "weights: give --checkpoint"
            )
        return runs

    def _arm(self, run: Run, flops: dict[str, float]) -> Arm:
        """Quantize (or read the artefact of an accuracy run), place on the backend, cast the rest to bf16."""
        print_text(f"preparing {run.method.label} {run.scheme}")
        if run.loaded.hash == RANDOM:
            quantized = compile_model(run.method, run.loaded.model, run.scheme, run.scope, run.seed, {}, None)
        else:
            quantized = compiled(self.workspace.artifacts, self.workspace.calibrations, run)
        model, placement = install(quantized, run.loaded.model, self.backend)
        about = {
            "method": run.method.label, "scheme": str(run.scheme), "execution": placement.summary(flops),
            "stored_bytes": count_bytes(run.loaded.model, quantized),
        }  # fmt: skip
        return Arm(deployed(model), about)

    def _is_stored(self, case: Case, model: dict[str, str], about: dict[str, Any]) -> bool:
        stored = None if self.overwrite else self.workspace.store.get(empty_result(case, model, about, self.device))
        done = stored is not None and not any("error" in entry for entry in stored.metrics.values())
        self.stored += done
        return done

    def _case(self, case: Case, model: dict[str, str], about: dict[str, Any]) -> None:
        if self.peaks is None:
            self.peaks = peaks(self.device, 3.0, self.backend.load(self.device.type))
        began = time.monotonic()
        empty = empty_result(case, model, about, self.device)
        result = run_case(case, empty, self.device, self.budget, self.peaks)
        seconds = time.monotonic() - began
        self.workspace.store.put(result, {"seconds": seconds, "environment": describe(), "command": sys.argv})
        self.done += 1
        self.failed += any("error" in entry for entry in result.metrics.values())
        print_text(f"{case.subject} {case.name}: {_line(result)} ({seconds:.0f} s)")


def _line(result: Result) -> str:
    """Times in milliseconds with the speed-up over the baseline; no parts of layers, transforms or extras."""
    texts = []
    for name, entry in result.metrics.items():
        if "refused" in entry:
            texts.append(f"{name} refused ({'; '.join(entry['refused'].values())})")
        elif "error" in entry:
            texts.append(f"{name} failed: {entry['error']}")
        elif not any(part in name for part in PARTS):
            faster = f" {entry['speedup']['value']:.2f}x" if name != BASELINE and "speedup" in entry else ""
            texts.append(f"{name} {1e3 * entry['value']:.2f} ms{faster}")
    return ", ".join(texts)
