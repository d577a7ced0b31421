"""The command line: ``fgq-bench VERB``. Verbs only parse; the work is in ``commands/`` and imported when it is needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fgq_bench.commands.repeated import distinct, distinct_keys
from fgq_bench.errors import UserError, first_line, lacks_memory
from fgq_bench.seeds import LARGEST_SEED
from fgq_bench.terminal import printable, set_up_output

app = typer.Typer(
    name="fgq-bench",
    help="Compare post-training quantization of feed-forward 3D reconstruction transformers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for results, artifacts, cache and report.")]
Methods = Annotated[list[str], typer.Option("--method", "-m", help="NAME[:PRESET]; repeatable.", callback=distinct)]
Schemes = Annotated[
    list[str], typer.Option("--scheme", "-b", help="For example w4a4, w4a16g64; repeatable.", callback=distinct)
]
Subjects = Annotated[
    list[str], typer.Option("--subject", help="layers, blocks, aggregator or model; repeatable.", callback=distinct)
]
Datasets = Annotated[list[str], typer.Option("--dataset", "-d", help="Repeatable.", callback=distinct)]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", "-t", help="Default: all of the data set; repeatable.", callback=distinct)
]
Model = Annotated[str, typer.Option(help="See `fgq-bench list models`.")]
Checkpoint = Annotated[str | None, typer.Option(help="File, directory or hub id instead of the model's own.")]
Roots = Annotated[list[str] | None, typer.Option("--root", help="DATASET=PATH; repeatable.", callback=distinct_keys)]
Protocol = Annotated[str | None, typer.Option(help="See `fgq-bench list protocols` (default: the data set's own).")]
Scopes = Annotated[
    list[str], typer.Option("--scope", help="aa, aa+camera, aa+dino or all; repeatable.", callback=distinct)
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE of the method; repeatable.", callback=distinct_keys)
]
SEEDS: dict[str, Any] = {"min": 0, "max": LARGEST_SEED}  # what every generator takes
Seed = Annotated[int, typer.Option(help="Seed of every random choice.", **SEEDS)]
Seeds = Annotated[list[int], typer.Option("--seed", help="Repeatable.", callback=distinct, **SEEDS)]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N sequences of each data set.")]
Device = Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1.")]
Backend = Annotated[str, typer.Option(help="See `fgq-bench list backends`.")]
OtherModel = Annotated[str | None, typer.Option("--model", help="A report's table on another model than its own.")]
Overwrite = Annotated[str, typer.Option(help="What to do again: failed, never or always.")]
OnBadData = Annotated[str, typer.Option(help="A sequence that cannot be read: stop (its run fails) or skip (counted).")]
Cache = Annotated[str, typer.Option(help="Predictions kept on disk: task (what the tasks read) or none.")]
Calibration = Annotated[
    str | None, typer.Option(help="Calibration manifest, name or .json file (default: the model's own).")
]
Shared = Annotated[Path, typer.Option(help="Folder of what calibrated methods share: found there, else kept there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its size, compute nothing.")]
Executor = Annotated[str, typer.Option(help="Who computes: local (this machine) or dask (a cluster).")]
Workers = Annotated[int, typer.Option(min=1, help="local: processes, one per CUDA device on GPUs.")]
Scheduler = Annotated[str | None, typer.Option(help="dask: tcp://HOST:PORT or tls://HOST:PORT.")]
Cluster = Annotated[Path | None, typer.Option(help="dask: TOML file for dask-jobqueue (SLURM and others).")]
SharedOutput = Annotated[bool, typer.Option("--shared", help="dask: workers see OUTPUT at the same path.")]
Retries = Annotated[int, typer.Option(min=0, help="How often a run whose worker was lost is tried again.")]
TimeLimit = Annotated[
    float | None, typer.Option(min=0.001, help="Seconds for one run (one model on one data set), then it is ended.")
]
MemoryLimit = Annotated[
    float | None, typer.Option(min=0.001, help="GB of host memory for a process that computes, then it is ended.")
]
TlsCa = Annotated[Path | None, typer.Option(help="dask: certificate of the authority that signed both sides.")]
TlsCert = Annotated[Path | None, typer.Option(help="dask: this side's certificate.")]
TlsKey = Annotated[Path | None, typer.Option(help="dask: its key.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="dask: no TLS on a network that is closed to others.")]
Preset = Annotated[str, typer.Option(help="quick: one seed, 32 sequences; full: every report.")]
Formats = Annotated[str, typer.Option("--format", help="Comma-separated: md, latex, csv.")]

_RUNS = Path("runs")


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="methods, datasets, protocols, models, reports, calibrations, tasks or backends")
    ],
    as_json: Json = False,
) -> None:
    """List what there is."""
    from fgq_bench.commands.catalogue import list_kind

    list_kind(kind, as_json)


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="A method, data set, protocol, model, report, calibration, task or backend.")
    ],
    figure: Annotated[Path | None, typer.Option(help="Data sets: write a contact sheet (PNG or PDF).")] = None,
    root: Roots = None,
    as_json: Json = False,
) -> None:
    """Show one card, or a data set's pictures."""
    from fgq_bench.commands.catalogue import show_name

    show_name(name, figure, root or [], as_json)


@app.command()
def check(
    dataset: Annotated[str, typer.Argument(help="A data set.")],
    root: Annotated[str | None, typer.Option("--root", help="PATH of its files (or DATASET=PATH).")] = None,
    protocol: Protocol = None,
    sequences: Annotated[int, typer.Option(min=0, help="Read N, evenly spread; 0: all, before a sweep.")] = 4,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for check.json and contact-sheet.png; default: print.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether a copy of a data set is complete, readable and read rightly; exit code 1 where it is not."""
    from fgq_bench.commands.check import check_dataset

    raise typer.Exit(check_dataset(dataset, root, protocol, sequences, output, as_json))


@app.command()
def run(
    method: Methods,
    dataset: Datasets,
    scheme: Schemes = [],  # noqa: B006
    task: Tasks = None,
    model: Model = "vggt-tiny",
    checkpoint: Checkpoint = None,
    root: Roots = None,
    protocol: Protocol = None,
    scope: Scopes = ["aa"],  # noqa: B006
    set_: Overrides = None,
    seed: Seeds = [0],  # noqa: B006
    limit: Limit = None,
    device: Device = "cpu",
    backend: Backend = "reference",
    calibration: Calibration = None,
    output: Output = _RUNS,
    overwrite: Overwrite = "failed",
    cache: Cache = "task",
    on_bad_data: OnBadData = "stop",
    executor: Executor = "local",
    workers: Workers = 1,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    shared: SharedOutput = False,
    retries: Retries = 2,
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    insecure: Insecure = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Quantize, predict and score every combination of the options; what is stored already is not done again."""
    from fgq_bench.commands.parsing import parse_roots
    from fgq_bench.commands.sweeps import run_request
    from fgq_bench.executors.choice import Choice
    from fgq_bench.planning import Request
    from fgq_bench.registry import parse_overrides

    request = Request(
        method, scheme, dataset, task, model, checkpoint, scope, seed, backend, parse_overrides(set_ or []),
        parse_roots(root or []), protocol, limit, device, calibration,
    )  # fmt: skip
    choice = Choice.of(
        executor, workers, scheduler, cluster, shared, retries, time_limit, memory_limit, tls_ca, tls_cert, tls_key,
        insecure,
    )  # fmt: skip
    raise typer.Exit(run_request(request, output, overwrite, cache, on_bad_data, dry_run, as_json, choice))


@app.command("run-all")
def run_all(
    preset: Preset = "quick",
    report: Annotated[
        list[str] | None, typer.Option(help="These reports instead of the preset's; repeatable.", callback=distinct)
    ] = None,
    model: OtherModel = None,
    root: Roots = None,
    limit: Limit = None,
    device: Device = "cpu",
    output: Output = _RUNS,
    overwrite: Overwrite = "failed",
    cache: Cache = "task",
    on_bad_data: OnBadData = "stop",
    executor: Executor = "local",
    workers: Workers = 1,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    shared: SharedOutput = False,
    retries: Retries = 2,
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    insecure: Insecure = False,
    dry_run: DryRun = False,
) -> None:
    """Compute every cell that the preset's reports show, then write the reports and index.html to OUTPUT/report."""
    from fgq_bench.commands.parsing import parse_roots
    from fgq_bench.commands.sweeps import run_reports
    from fgq_bench.executors.choice import Choice

    choice = Choice.of(
        executor, workers, scheduler, cluster, shared, retries, time_limit, memory_limit, tls_ca, tls_cert, tls_key,
        insecure,
    )  # fmt: skip
    code = run_reports(
        preset,
        report or [],
        model,
        parse_roots(root or []),
        limit,
        device,
        output,
        overwrite,
        cache,
        on_bad_data,
        dry_run,
        choice,
    )
    raise typer.Exit(code)


@app.command()
def report(
    name: Annotated[str | None, typer.Argument(help="A report; default: all that have results.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with results.")] = _RUNS / "results",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write to; default: print.")] = None,
    formats: Formats = "md,latex,csv",
    fill: Annotated[
        Path | None, typer.Option(help="Markdown file whose <!-- table REPORT --> blocks are filled.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="HTML file to write: everything in one page.")] = None,
    model: OtherModel = None,
    limit: Limit = None,
    root: Roots = None,
    everything: Annotated[bool, typer.Option("--all", help="Every report, those without a result, too.")] = False,
    missing: Annotated[
        bool, typer.Option("--missing", help="Instead, list what is not stored and what it would cost.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Render tables from stored results; nothing is computed."""
    from fgq_bench.commands.parsing import parse_roots
    from fgq_bench.commands.reports import print_missing, render

    roots = parse_roots(root or [])
    if missing:
        print_missing(name, results, limit, roots, model, as_json)
    else:
        render(name, results, output, formats, fill, limit, as_json, page, roots, model, everything)


@app.command()
def audit(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for published.md and published.json; default: print.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the papers' printed tables against the metrics' own algebra and against themselves."""
    from fgq_bench.commands.audit import audit_published

    audit_published(output, as_json)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help='A row of the report, for example "fgq w4a4".')],
    second: Annotated[str, typer.Argument(help="Another row.")],
    report: Annotated[str, typer.Option(help="The report that names rows, columns and conditions.")] = "headline",
    model: OtherModel = None,
    results: Annotated[Path, typer.Option(help="Folder with results.")] = _RUNS / "results",
    root: Roots = None,
    as_json: Json = False,
) -> None:
    """Say whether one method beats another: differences on the same sequences, with intervals."""
    from fgq_bench.commands.comparison import compare_rows
    from fgq_bench.commands.parsing import parse_roots

    compare_rows(first, second, report, model, results, parse_roots(root or []), as_json)


@app.command()
def quantize(
    method: Annotated[str, typer.Option("--method", "-m", help="NAME[:PRESET]")],
    scheme: Annotated[str, typer.Option("--scheme", "-b", help="For example w4a4.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Safetensors file to write.")],
    model: Model = "vggt-tiny",
    checkpoint: Checkpoint = None,
    scope: Annotated[str, typer.Option(help="aa, aa+camera, aa+dino or all.")] = "aa",
    set_: Overrides = None,
    seed: Seed = 0,
    calibration: Calibration = None,
    root: Roots = None,
    shared: Shared = _RUNS / "cache" / "calibration",
    device: Device = "cpu",
) -> None:
    """Quantize a model and save it, packed."""
    from fgq_bench.commands.artifacts import quantize_to_file
    from fgq_bench.commands.parsing import parse_roots
    from fgq_bench.registry import parse_overrides

    quantize_to_file(
        model, checkpoint, device, method, scheme, scope, seed, parse_overrides(set_ or []), calibration,
        parse_roots(root or []), shared, output,
    )  # fmt: skip


@app.command()
def evaluate(
    artifact: Annotated[Path, typer.Argument(help="File written by `fgq-bench quantize`.")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="A data set.")],
    task: Tasks = None,
    model: Model = "vggt-tiny",
    checkpoint: Checkpoint = None,
    root: Roots = None,
    protocol: Protocol = None,
    limit: Limit = None,
    device: Device = "cpu",
    backend: Backend = "reference",
    as_json: Json = False,
) -> None:
    """Score a quantized model file on a data set."""
    from fgq_bench.commands.artifacts import evaluate_file

    evaluate_file(artifact, dataset, task, model, checkpoint, root or [], protocol, limit, device, backend, as_json)


@app.command()
def manifest(
    dataset: Datasets,
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write; its stem is the name.")],
    sampler: Annotated[str, typer.Option(help="random, filtered, clustered or nfds.")] = "random",
    sequences: Annotated[int, typer.Option(min=1, help="Clips in all; random: in equal shares from the sets.")] = 64,
    frames: Annotated[int, typer.Option(min=1, help="Frames per clip.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the sampler.", **SEEDS)] = 42,
    filter_: Annotated[str | None, typer.Option("--filter", help="zscore (default) or iqr.")] = None,
    share: Annotated[float | None, typer.Option(help="Of the candidates, what zscore discards (default 0.2).")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="The share is what is kept.")] = False,
    clusters: Annotated[int | None, typer.Option(help="K of the k-means (default 8).")] = None,
    model: Annotated[str | None, typer.Option(help="What sees the candidates (default vggt-tiny).")] = None,
    checkpoint: Checkpoint = None,
    device: Annotated[str | None, typer.Option(help="Torch device (default cpu).")] = None,
    shared: Annotated[
        Path | None, typer.Option(help="Folder of the candidates' features (default runs/cache/calibration).")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="PNG of candidates, clusters and scores (PDF beside it).")] = None,
    root: Roots = None,
    protocol: Protocol = None,
) -> None:
    """Draw a calibration manifest from data sets that are not scored."""
    from fgq_bench.commands.manifests import write_manifest

    options = {
        "filter": filter_, "share": share, "keep": keep, "clusters": clusters, "model": model,
        "checkpoint": checkpoint, "device": device, "shared": shared, "figure": figure,
    }  # fmt: skip
    write_manifest(dataset, root or [], protocol, sampler, sequences, frames, seed, options, output)


@app.command()
def frames(
    dataset: Annotated[str, typer.Argument(help="A data set with a protocol.")],
    root: Roots = None,
    protocol: Protocol = None,
) -> None:
    """Pin the frames that a protocol scores in datasets/frames, so that every copy of the data scores the same ones."""
    from fgq_bench.commands.frames import pin_frames

    pin_frames(dataset, root or [], protocol)


@app.command()
def calibrate(
    model: Model = "vggt-tiny",
    checkpoint: Checkpoint = None,
    calibration: Calibration = None,
    root: Roots = None,
    scope: Annotated[str, typer.Option(help="aa, aa+camera, aa+dino or all.")] = "aa",
    device: Device = "cpu",
    output: Output = _RUNS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print time and peak memory; needs neither weights nor data.")
    ] = False,
    sequences: Annotated[int, typer.Option(min=1, help="Of a dry run.")] = 64,
    frames: Annotated[int, typer.Option(min=1, help="Of a dry run.")] = 4,
    size: Annotated[int | None, typer.Option(min=1, help="Of a dry run: pixels (default: the model's).")] = None,
    as_json: Json = False,
) -> None:
    """Capture the statistics that calibrated methods share (they do so themselves when they are missing)."""
    from fgq_bench.commands import calibration as commands

    if dry_run:
        if given := [text for text in (calibration, checkpoint, *(root or [])) if text is not None]:
            raise UserError(f"--dry-run reads neither a manifest nor weights nor data: leave out {given[0]!r}")
        commands.dry_run(model, scope, sequences, frames, size, device, as_json)
    else:
        commands.calibrate(model, checkpoint, calibration, root or [], scope, device, output)


@app.command()
def fisher(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tensor, summary and heat-maps.")],
    estimator: Annotated[str, typer.Option(help="sum, gauss-newton or pseudo-label.")] = "gauss-newton",
    probes: Annotated[int, typer.Option(min=1, help="Random probes per clip (gauss-newton).")] = 8,
    model: Model = "vggt-tiny",
    checkpoint: Checkpoint = None,
    calibration: Calibration = None,
    root: Roots = None,
    seed: Annotated[int, typer.Option(help="Seed of probes and jitter.", **SEEDS)] = 0,
    shared: Shared = _RUNS / "cache" / "calibration",
    device: Device = "cpu",
) -> None:
    """Estimate how sensitive camera, depth and points are to every channel of every block."""
    from fgq_bench.commands.calibration import write_fisher

    write_fisher(model, checkpoint, calibration, root or [], estimator, probes, seed, device, shared, output)


@app.command()
def sensitivity(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for sensitivity.json and the figure.")],
    scheme: Annotated[str, typer.Option("--scheme", "-b", help="For example w4a16g64.")] = "w4a16g64",
    model: Model = "vggt-tiny",
    checkpoint: Checkpoint = None,
    calibration: Calibration = None,
    root: Roots = None,
    scope: Annotated[str, typer.Option(help="aa, aa+camera, aa+dino or all.")] = "aa",
    clips: Annotated[int, typer.Option(min=1, help="Calibration clips to measure on.")] = 8,
    device: Device = "cpu",
) -> None:
    """Quantize one block, and one linear, at a time: what does each head make of it?"""
    from fgq_bench.commands.sensitivity import write_sensitivity

    write_sensitivity(model, checkpoint, calibration, root or [], scheme, scope, clips, device, output)


@app.command("fisher-validity")
def fisher_validity(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables, measurements and figure.")],
    estimator: Annotated[
        list[str], typer.Option(help="sum, gauss-newton or pseudo-label; repeatable.", callback=distinct)
    ] = [  # noqa: B006
        "sum",
        "gauss-newton",
        "pseudo-label",
    ],
    model: Model = "vggt-tiny",
    checkpoint: Checkpoint = None,
    calibration: Calibration = None,
    dataset: Datasets = ["procedural-objects", "procedural-rooms"],  # noqa: B006
    root: Roots = None,
    clips: Annotated[int, typer.Option(min=2, help="To measure damage on: the data sets' first sequences.")] = 16,
    channels: Annotated[int, typer.Option(min=8, help="To disturb in each block, drawn at random.")] = 48,
    seed: Seeds = [0, 1, 2],  # noqa: B006
    shared: Shared = _RUNS / "cache" / "calibration",
    device: Device = "cpu",
) -> None:
    """Does Fisher information predict what noise in a channel or a block costs each task? Also: what of it cancels."""
    from fgq_bench.commands.fisher_validity import write_validity

    write_validity(
        model, checkpoint, calibration, dataset, root or [], estimator, clips, channels, seed, device, shared, output
    )


@app.command("train-tiny")
def train_tiny(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for checkpoint, curves and weights.")],
    model: Annotated[str, typer.Option(help="vggt-tiny or pi3-tiny.")] = "vggt-tiny",
    device: Device = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of weights and scenes.", **SEEDS)] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after N steps of the recipe (default: all).")] = None,
) -> None:
    """Train an embedded model on procedural scenes; continues from OUTPUT's checkpoint if there is one."""
    from fgq_bench.commands.training import train

    train(model, output, device, seed, steps)


@app.command()
def inspect(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for inspect.json and the figure.")],
    model: Model = "vggt-tiny",
    checkpoint: Checkpoint = None,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="A data set with poses.")] = "procedural-objects",
    root: Roots = None,
    limit: Limit = None,
    device: Device = "cpu",
) -> None:
    """Look inside a model: activation magnitudes by token type, and its pose accuracy when it may not compare views."""
    from fgq_bench.commands.inspection import inspect_model

    inspect_model(output, model, checkpoint, dataset, root or [], limit, device)


@app.command()
def latency(
    subject: Subjects = ["layers"],  # noqa: B006
    method: Methods = ["rtn"],  # noqa: B006
    scheme: Schemes = ["w4a4", "w8a8"],  # noqa: B006
    model: Annotated[str, typer.Option(help="Without a checkpoint, vggt-1b has random weights.")] = "vggt-1b",
    checkpoint: Checkpoint = None,
    scope: Annotated[str, typer.Option(help="aa, aa+camera, aa+dino or all.")] = "aa+dino",
    backend: Annotated[str | None, typer.Option(help="See `fgq-bench list backends` (default: the device's).")] = None,
    tokens: Annotated[
        list[int] | None, typer.Option(min=1, help="Rows of single layers; repeatable.", callback=distinct)
    ] = None,
    frames: Annotated[
        list[int] | None, typer.Option(min=1, help="Images of networks; repeatable.", callback=distinct)
    ] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Pixels of an image (default: the model's).")] = None,
    seconds: Annotated[float, typer.Option(help="Of timing per case, beyond three rounds.")] = 10.0,
    calibration: Calibration = None,
    device: Device = "cpu",
    output: Output = _RUNS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Time again what is stored.")] = False,
) -> None:
    """Time quantized layers and networks beside bf16, interleaved; keeps raw samples, memory and where time goes."""
    from fgq_bench.commands.latency import Options, measure_latency

    options = Options(
        model, checkpoint, subject, method, scheme, scope, backend, tokens or [], frames or [], size, seconds, device,
        calibration,
    )  # fmt: skip
    raise typer.Exit(measure_latency(options, output, overwrite))


@app.command()
def cost(
    method: Methods,
    scheme: Schemes = [],  # noqa: B006
    model: Model = "vggt-tiny",
    checkpoint: Checkpoint = None,
    scope: Annotated[str, typer.Option(help="aa, aa+camera, aa+dino or all.")] = "aa",
    seed: Seed = 0,
    calibration: Calibration = None,
    root: Roots = None,
    device: Device = "cpu",
    output: Output = _RUNS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Measure again what is stored.")] = False,
    as_json: Json = False,
) -> None:
    """Quantize from scratch, each time in a fresh process: seconds by stage (Fisher estimation is one), peak memory."""
    from fgq_bench.commands.cost import DATASET, measure_costs
    from fgq_bench.commands.parsing import parse_roots
    from fgq_bench.planning import Request

    request = Request(
        method, scheme, [DATASET], None, model, checkpoint, [scope], [seed], roots=parse_roots(root or []), limit=1,
        device=device, calibration=calibration,
    )  # fmt: skip
    raise typer.Exit(measure_costs(request, output, overwrite, as_json))


@app.command()
def parity(
    method: Methods,
    scheme: Schemes,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="A data set.")] = "procedural-objects",
    backend: Annotated[str, typer.Option(help="See `fgq-bench list backends`.")] = "cpu",
    model: Model = "vggt-tiny",
    checkpoint: Checkpoint = None,
    root: Roots = None,
    scope: Annotated[str, typer.Option(help="aa, aa+camera, aa+dino or all.")] = "aa",
    set_: Overrides = None,
    seed: Seed = 0,
    limit: Annotated[int, typer.Option(min=1, help="The first N sequences.")] = 8,
    device: Device = "cpu",
    calibration: Calibration = None,
    output: Output = _RUNS,
    as_json: Json = False,
) -> None:
    """Compare a backend with the reference: codes and sums of every layer, and predictions end to end."""
    from fgq_bench.commands.parity import check_parity
    from fgq_bench.commands.parsing import parse_roots
    from fgq_bench.planning import Request
    from fgq_bench.registry import parse_overrides

    request = Request(
        method, scheme, [dataset], None, model, checkpoint, [scope], [seed], backend, parse_overrides(set_ or []),
        parse_roots(root or []), None, limit, device, calibration,
    )  # fmt: skip
    raise typer.Exit(check_parity(request, output, as_json))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, which devices there are, and what each missing part would enable."""
    from fgq_bench.commands.doctor import diagnose

    diagnose(as_json)


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, never a traceback; ^C ends with 130."""
    set_up_output()
    try:
        app()
    except (UserError, OSError) as error:  # OSError: a file that the system refuses to open
        sys.stderr.write(f"error: {printable(str(error))}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not lacks_memory(error):
            raise
        sys.stderr.write(f"error: not enough memory: {printable(first_line(error))}\n")
        sys.exit(2)
