"""``python -m tests.cluster_proof``: a real scheduler and workers that are killed at random, against this process.

Writes a report in JSON and Markdown. Not part of the test run: it takes minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fgq_bench.calibration.sampling import sample_random
from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.executors.base import Patience
from fgq_bench.executors.dask_cluster import DaskExecutor
from fgq_bench.loaders.base import open_dataset
from fgq_bench.models.checkpoints import save_model
from fgq_bench.models.vggt import VGGT, VGGTConfig
from fgq_bench.planning import LoadedModel, Request, Run, plan
from fgq_bench.runner import Sweep, Workspace
from tests.cluster_proof.daemons import Cluster, Killer, patient
from tests.cluster_proof.schedule import critical_path, recorded, table
from tests.stores import stored

SMALL = VGGTConfig(
    dim=48, heads=4, depth=4, vit_depth=2, vit_heads=4, vit_grid=4, camera_depth=2, camera_heads=4, dpt_features=16,
    dpt_channels=(8, 16, 32, 32), dpt_levels=(0, 1, 2, 3), image_size=56,
)  # fmt: skip
SCHEMES = ["w8a8", "w4a4", "w4a8", "w4a16", "w3a16", "w2a16"]
RETRIES = 1000  # a run must not fail for being unlucky


def main() -> None:
    """Run the proof; exits with 1 where a byte differs or a cell is lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of 3 cells each (default 20: 60 cells)")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--limit", type=int, default=8, help="sequences of each run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--recorded", type=Path, help="results with .meta.json, for the schedule (default: the proof's)"
    )
    parser.add_argument("--output", type=Path, default=Path("cluster-proof"), help="folder of the report")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        report = prove(asked, Path(folder))
    asked.output.mkdir(parents=True, exist_ok=True)
    (asked.output / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (asked.output / "report.md").write_text(markdown(report))
    print(markdown(report))
    raise SystemExit(0 if report["lost"] == 0 and report["identical"] else 1)


def prove(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All measurements."""
    runs, warm_up = planned(folder, asked.runs, asked.limit)
    local, report = Workspace(folder / "local"), dict[str, Any](asked={key: str(value) for key, value in vars(asked).items()})  # fmt: skip
    report["local_seconds"] = timed(lambda: Sweep(local).execute(runs))
    expected = stored(local.root)
    for workers in (1, 2):
        with closing(Cluster(workers, folder / f"dask{workers}")) as cluster:
            compute(Workspace(folder / f"warm{workers}"), warm_up, cluster.address)
            quiet = Workspace(folder / f"quiet{workers}")
            report[f"dask_{workers}_seconds"] = timed(lambda: compute(quiet, runs, cluster.address))  # noqa: B023
            assert stored(quiet.root) == expected
    report["overhead_per_run"] = (report["dask_1_seconds"] - report["local_seconds"]) / len(runs)
    report["speed_up_of_2"] = report["dask_1_seconds"] / report["dask_2_seconds"]
    disturbed(asked, folder, runs, expected, report)
    calibration = calibration_seconds(folder / "quiet1", runs)
    jobs = recorded(asked.recorded or local.store.root, calibration)
    overhead = max(report["overhead_per_run"], 0.0)
    report |= {"jobs": len(jobs), "calibration_seconds": calibration, "critical_path": critical_path(jobs, overhead)}
    return {**report, "schedule": table(jobs, overhead)}


def planned(folder: Path, count: int, limit: int) -> tuple[list[Run], list[Run]]:
    """``count`` runs of 3 cells on a small random model, some of them calibrated; short ones to start workers with."""
    torch.manual_seed(0)
    save_model(VGGT(SMALL).eval(), folder / "small.safetensors", torch.float32)
    pools = [open_dataset(load_card(DatasetCard, f"procedural-{family}-pool")) for family in ("objects", "rooms")]
    sample_random("proof", pools, 8, 2, 0).save(folder / "proof.json")
    request = Request(
        ["rtn", "smoothquant", "gptq"], SCHEMES, ["procedural-objects", "procedural-rooms"],
        ["pose", "depth", "agreement"], limit=limit, checkpoint=str(folder / "small.safetensors"),
        calibration=str(folder / "proof.json"),
    )  # fmt: skip
    loaded = LoadedModel.load(request)
    runs = plan(request, loaded)
    if count > len(runs):
        raise SystemExit(f"--runs {count}: there are {len(runs)}")
    return runs[:: len(runs) // count][:count], plan(replace(request, methods=["fp"], limit=1), loaded)


def disturbed(
    asked: argparse.Namespace, folder: Path, runs: list[Run], expected: dict[str, bytes], report: dict[str, Any]
) -> None:
    """The sweep again and again, into a new store each time, until everybody was killed who was to be."""
    lost, identical, rounds = 0, True, 0
    attempts: Counter[int] = Counter()
    with closing(Cluster(asked.workers, folder / "dask")) as cluster:
        killer = Killer(cluster, asked.kills, (0.3, 6.0), asked.seed)
        killer.start()
        while killer.left or not rounds:
            workspace = Workspace(folder / f"killed{rounds}")
            outcome = compute(workspace, runs, cluster.address)
            rounds += 1
            keys = Counter(result.key for result in workspace.store.all())
            lost += len(expected) - len(keys) + len(outcome.failed) + sum(n - 1 for n in keys.values())
            identical &= stored(workspace.root) == expected
            notes = [json.loads(path.read_text()) for path in workspace.store.root.rglob("*.meta.json")]
            attempts.update(note["executor"]["attempts"] for note in notes if "executor" in note)
        killer.over.set()
        killer.join()
    report |= killer.counts() | {"rounds": rounds, "cells": len(expected), "lost": lost, "identical": identical}
    report["cells_by_attempts"] = dict(sorted(attempts.items()))


def compute(workspace: Workspace, runs: list[Run], address: str) -> Any:
    """The sweep on a cluster; its scheduler may not have started up yet."""

    executor = DaskExecutor(workspace, "stop", Patience(RETRIES), lambda: patient(address))
    return Sweep(workspace, perform=executor.perform).execute(runs)


def calibration_seconds(folder: Path, runs: list[Run]) -> float:
    """Of the statistics that the runs share, captured here."""
    from fgq_bench.executors.orders import calibration_orders
    from fgq_bench.executors.workshop import Workshop

    orders = calibration_orders(runs, folder / "none", "cpu")
    return timed(lambda: [Workshop(folder / "again").perform(order, lambda label, steps: None) for order in orders])


def timed(act: Callable[[], object]) -> float:
    """Seconds that ``act`` takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began


def markdown(report: dict[str, Any]) -> str:
    """For people."""
    rows = "\n".join(
        f"| {row['workers']} | {row['seconds']:.1f} | {row['speed_up']:.1f} | {row['efficiency']:.2f} | {row['binds']} |"
        for row in report["schedule"]
    )
    return f"""# Proof of the cluster executor

{report["cells"]} cells, {report["rounds"]} times; workers killed: {report["kills"]}, scheduler restarted: {report["scheduler_restarts"]}.
Cells lost, failed or twice in the store: {report["lost"]}; byte-identical to local: {report["identical"]}.
Cells by attempts: {report["cells_by_attempts"]} (up to {RETRIES} retries are allowed here; the default of --retries is
{Patience().retries}: runs that were lost more often would have been stored as failed).

In this process: {report["local_seconds"]:.1f} s; one Dask worker: {report["dask_1_seconds"]:.1f} s, two: {report["dask_2_seconds"]:.1f} s
(once they have started up). Overhead per run: {report["overhead_per_run"]:.2f} s; two workers against one: {report["speed_up_of_2"]:.2f}x.

Simulated from the recorded times of {report["jobs"]} jobs; critical path {report["critical_path"]:.1f} s.

| workers | seconds | speed-up | efficiency | binds |
|---:|---:|---:|---:|---|
{rows}
"""


if __name__ == "__main__":
    main()
