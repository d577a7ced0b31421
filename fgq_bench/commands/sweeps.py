"""``run`` and ``run-all``: plan, execute with progress, summarise."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from fgq_bench.cards import card_names
from fgq_bench.commands.given import check_roots, check_used, datasets_of
from fgq_bench.commands.parsing import check_device, parse_choice
from fgq_bench.commands.printing import print_json, print_rows, print_text, progress_bar
from fgq_bench.compiling import artifact_path, code_bytes
from fgq_bench.errors import UserError
from fgq_bench.executors.choice import Choice
from fgq_bench.loaders.setting import Setting
from fgq_bench.planning import LoadedModel, Request, Run, plan
from fgq_bench.predictions import bytes_per_sequence
from fgq_bench.reporting.pace import Pace
from fgq_bench.results import Result
from fgq_bench.runner import OnBadData, Outcome, Overwrite, Sweep, Workspace, split_pending
from fgq_bench.scratch import clear_below
from fgq_bench.tasks.aggregate import PER_CATEGORY
from fgq_bench.tasks.registry import find_task
from fgq_bench.tasks.scoring import fields_read

HEADLINES = {  # one number per task
    "pose": "auc@30",
    "pose-first-camera": "auc@30",
    "depth": "delta_1.25_median",
    "pointmap": "acc_mean_depth+camera",
    "pointmap-mm": "acc_mean_depth+camera",
    "pointmap-median": "acc_mean_points",
    "depth-l1": "delta_1.25_scale",
    "trajectory": "ate_sim3",
    "agreement": "rotation",
}


def run_request(
    request: Request, output: Path, overwrite: str, cache: str, on_bad_data: str, dry_run: bool, as_json: bool,
    choice: Choice,
) -> int:  # fmt: skip
    """Execute one grid and print its results; the exit code is 1 where a cell failed."""
    choice.check()
    policy = cast(OnBadData, parse_choice("--on-bad-data", on_bad_data, ("stop", "skip")))
    device, here = request.device, _planning_device(request.device, choice)
    request = replace(request, device=here, elsewhere=choice.elsewhere or here != device)
    runs = plan(request, LoadedModel.load(request))
    check_used(request, runs)
    workspace = _workspace(output, cache)
    if dry_run:
        _print_plan(runs, workspace, _overwrite(overwrite), as_json)
        return 0
    outcome = execute(runs, workspace, _overwrite(overwrite), policy, choice, device)
    headlines = {run.dataset.card.name: run.dataset.setting for run in runs}
    if as_json:
        print_json([{**result.labels, "status": result.status, "error": result.error, "key": result.key, "metrics": result.metrics, "skipped": result.skipped, "notes": result.notes} for result in outcome.results])  # fmt: skip
    else:
        print_rows("results", [_summary(result, headlines[result.labels["dataset"]]) for result in outcome.results])
    return _finish(outcome, workspace, quiet=as_json)


def run_reports(
    preset: str, names: list[str], model: str | None, roots: dict[str, Path], limit: int | None, device: str,
    output: Path, overwrite: str, cache: str, on_bad_data: str, dry_run: bool, choice: Choice,
) -> int:  # fmt: skip
    """Compute the cells of every report of ``preset``, or of the reports ``names`` (on ``model``), and render them."""
    from fgq_bench.commands.reports import print_page, write_reports
    from fgq_bench.reporting.page.page import write_page
    from fgq_bench.reporting.reports import build_report, find_report, plan_reports

    parse_choice("--preset", preset, ("quick", "full"))
    choice.check()
    here = _planning_device(device, choice)
    policy = cast(OnBadData, parse_choice("--on-bad-data", on_bad_data, ("stop", "skip")))
    if model is not None and not names:
        raise UserError("--model needs --report: reports of a preset are those of their own models")
    cards = [find_report(name, model) for name in names or card_names("reports")]
    cards = [card for card in cards if names or preset in card.presets]
    planned = plan_reports(cards, limit, here, roots, choice.elsewhere or here != device, download=True)
    runs = [run for _, found in planned for run in found]
    check_roots(roots, datasets_of(runs))
    workspace = _workspace(output, cache)
    if dry_run:
        _print_plan(runs, workspace, _overwrite(overwrite), as_json=False)
        return 0
    outcome = execute(runs, workspace, _overwrite(overwrite), policy, choice, device)
    reports = [build_report(card, found, workspace.store) for card, found in planned]
    write_reports(reports, workspace.store, workspace.predictions, output / "report", "md,latex,csv")
    print_page(write_page(output / "report" / "index.html", reports, workspace.store, workspace.predictions))
    return _finish(outcome, workspace, quiet=False)


def execute(
    runs: list[Run], workspace: Workspace, overwrite: Overwrite, on_bad_data: OnBadData, choice: Choice, device: str
) -> Outcome:
    """Run a plan behind a progress bar with an ETA; an interrupt keeps everything that is stored.

    ``choice`` says who computes, on ``device`` (theirs).
    """
    clear_below(workspace.root)
    _, pending = split_pending(runs, workspace.store, overwrite, on_bad_data)
    try:
        with (
            progress_bar("sequences") as progress,
            choice.open(workspace, on_bad_data, device) as executor,
        ):
            bar = progress.add_task("starting", total=sum(len(item.run.dataset.sequences()) for item in pending))

            def advance(label: str, steps: int) -> None:
                progress.update(bar, description=label, advance=steps)

            return Sweep(workspace, overwrite, on_bad_data, executor.perform).execute(runs, advance)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; finished cells are stored: run the same command to go on\n")
        raise


def _planning_device(device: str, choice: Choice) -> str:
    """Where the model is that runs are planned with: on ``device`` only where it also computes."""
    if choice.elsewhere:
        return "cpu"
    check_device(device)
    return device if choice.workers == 1 else "cpu"


def _workspace(output: Path, cache: str) -> Workspace:
    return Workspace(output, parse_choice("--cache", cache, ("task", "none")) == "task")


def _overwrite(value: str) -> Overwrite:
    return cast(Overwrite, parse_choice("--overwrite", value, ("failed", "never", "always")))


def _print_plan(runs: list[Run], workspace: Workspace, overwrite: Overwrite, as_json: bool) -> None:
    done, pending = split_pending(runs, workspace.store, overwrite)
    pace, rows = Pace.read(workspace.store), list[dict[str, Any]]()
    made: dict[Path, int] = {}  # artefacts that are not there yet, and the bytes of their codes
    for item in pending:
        run, dataset = item.run, item.run.dataset
        fields = fields_read(find_task(name) for name in run.tasks)
        frames = sum(map(len, dataset.frames.values()))
        size = dataset.setting.image_size
        path = artifact_path(workspace.artifacts, run)
        if not run.scheme.is_float and not path.is_file():
            made[path] = code_bytes(run)
        hours = pace.hours([(run, [cell.conditions["task"]["name"] for cell in item.cells])])
        rows.append(
            {
                "run": run.label, "scope": run.scope, "seed": run.seed, "cells": len(item.cells),
                "sequences": len(dataset.sequences()),
                "cache_MB": round(bytes_per_sequence(frames, size, size, fields) / 1e6, 1),
                "hours": None if hours is None else round(hours, 4),
            }
        )  # fmt: skip
    known = [row["hours"] for row in rows if row["hours"] is not None]
    total = {
        "stored": len(done), "artefacts": len(made), "artefacts_MB": round(sum(made.values()) / 1e6, 1),
        "hours": round(sum(known), 2), "runs_without_an_estimate": len(rows) - len(known),
    }  # fmt: skip
    if as_json:
        print_json({**total, "pending": rows})
        return
    print_rows("to do", [{**row, "hours": "?" if row["hours"] is None else row["hours"]} for row in rows])
    print_text(f"{len(done)} cells stored, {sum(row['cells'] for row in rows)} to compute")
    note = f"; {len(rows) - len(known)} runs without an estimate" if len(known) < len(rows) else ""
    print_text(
        f"{len(made)} artefacts to make ({total['artefacts_MB']} MB of codes), predictions take "
        f"{sum(row['cache_MB'] for row in rows):.1f} MB, about {sum(known):.2f} hours on one device like the one that filled "
        f"{workspace.store.root}{note}"
    )


def _summary(result: Result, setting: Setting) -> dict[str, str]:
    labels = {key: value for key, value in result.labels.items() if key != "model"}
    scope = result.conditions["scope"]
    if result.status != "ok":
        return {**labels, "scope": scope, "result": f"{result.status}: {result.error}"}
    printed = _headline(result, labels["task"], setting)
    return {**labels, "scope": scope, "result": "\n".join(printed)}


def _headline(result: Result, task: str, setting: Setting) -> list[str]:
    """What the protocol's paper prints of a task; one number where there is no such list."""
    asked = [] if setting.entry is None else [text for text in setting.entry.headline if text.startswith(f"{task}.")]
    names = [text.removeprefix(f"{task}.") for text in asked] or [HEADLINES.get(task, find_task(task).metrics[0].name)]
    lines = []
    for name in names:
        entry = result.metrics.get(name) or result.metrics[name.removesuffix(PER_CATEGORY)]  # of a single category
        factor, unit = 1.0, entry["unit"]
        if unit == "metres" and find_task(task).unit == 1e-3:
            factor, unit = 1000.0, "millimetres"
        value, low, high = (factor * entry[key] for key in ("value", "ci_low", "ci_high"))
        lines.append(f"{name} {value:.3f} [{low:.3f}, {high:.3f}] {unit}")
    return lines


def _finish(outcome: Outcome, workspace: Workspace, quiet: bool) -> int:
    failed = outcome.failed
    skipped = {(row["sequence"], row["reason"]) for result in outcome.results for row in result.skipped}
    if skipped and not quiet:
        print_text(f"{len(skipped)} sequences skipped as bad data:", "yellow")
        for _, reason in sorted(skipped):
            print_text(f"  {reason}", "yellow")
    if not quiet:
        for line in sorted({line for result in outcome.results for line in result.notes}):
            print_text(f"copy of the data: {line}")
        stored, absent = len(outcome.results) - outcome.computed, len(outcome.not_applicable)
        none = f", {absent} not applicable" if absent else ""
        print_text(
            f"{outcome.computed} cells computed, {stored} already stored, {len(failed)} failed{none}; results in {workspace.store.root}"
        )
        for result in failed:
            print_text(f"failed: {result.path()}: {result.error}", "red")
    return 1 if failed else 0
