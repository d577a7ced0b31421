"""``manifest``: draw the clips that methods learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgq_bench import api
from fgq_bench.calibration.candidates import Candidates, Features, deep_blocks, draw_candidates, load_or_measure
from fgq_bench.calibration.manifest import Manifest
from fgq_bench.calibration.sampling import Rule, check_candidates, choose, sample_random, to_manifest
from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.commands.given import check_roots
from fgq_bench.commands.parsing import check_device, parse_choice, parse_roots
from fgq_bench.commands.printing import print_text, working
from fgq_bench.errors import UserError
from fgq_bench.loaders.base import Dataset, open_dataset
from fgq_bench.models.checkpoints import find_model, model_hash
from fgq_bench.reporting.figures.candidates import draw_choice
from fgq_bench.suggest import unknown

MODEL = ("model", "checkpoint", "device", "shared", "figure")
FILTER = ("filter", "share", "keep")
SAMPLERS: dict[str, tuple[str, ...]] = {
    "random": (),
    "filtered": (*FILTER, *MODEL),
    "clustered": ("clusters", *MODEL),
    "nfds": (*FILTER, "clusters", *MODEL),
}  # with the options that each uses
SHARED = Path("runs", "cache", "calibration")


def choose_rule(sampler: str, given: dict[str, Any]) -> Rule:
    """The rule of ``sampler`` with the ``given`` options; defaults fill in the others.

    Raises:
        UserError: unknown sampler or filter, an option that the sampler does not use, a value out of range.
    """
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS)
    uses = SAMPLERS[sampler]
    for key in given:
        if key not in uses:
            others = ", ".join(other for other, names in SAMPLERS.items() if key in names)
            raise UserError(f"--{key}: sampler {sampler} does not use it; these do: {others}")
    values: dict[str, Any] = {"clusters": given.get("clusters", 8)} if "clusters" in uses else {}
    if "filter" in uses:
        values["filter"] = parse_choice("--filter", given.get("filter", "zscore"), ("zscore", "iqr"))
        if values["filter"] == "zscore":
            values |= {"share": given.get("share", 0.2), "keep": "keep" in given}
        elif refused := [key for key in ("share", "keep") if key in given]:
            raise UserError(f"--{refused[0]}: filter iqr rejects by quartiles, not by share; use --filter zscore")
    rule = Rule(sampler, **values)
    if rule.share is not None and not 0 < rule.share < 1:
        raise UserError(f"--share {rule.share:g}: must lie between 0 and 1, for example 0.2 for a fifth")
    if rule.clusters is not None and rule.clusters < 1:
        raise UserError(f"--clusters {rule.clusters}: must be 1 or more")
    return rule


def write_manifest(
    datasets: list[str], roots: list[str], protocol: str | None, sampler: str, sequences: int, frames: int,
    seed: int, options: dict[str, Any], output: Path,
) -> None:  # fmt: skip
    """Draw a manifest and write it; in ``options``, None and False mean: not given."""
    if output.suffix != ".json":
        raise UserError(f"--output {output}: must end in .json")
    given = {key: value for key, value in options.items() if value is not None and value is not False}
    rule = choose_rule(sampler, given)
    folders = parse_roots(roots)
    check_roots(folders, datasets)
    opened = [open_dataset(load_card(DatasetCard, name), folders.get(name), protocol=protocol) for name in datasets]
    for dataset in opened:
        dataset.check_whole()
    if sampler == "random":
        manifest = sample_random(output.stem, opened, sequences, frames, seed)
    else:
        manifest = _from_candidates(rule, opened, sequences, frames, seed, given, output.stem)
    manifest.save(output)
    print_text(f"wrote {output}: {len(manifest.clips)} clips of {frames} frames, hash {manifest.hash[:12]}")


def _from_candidates(
    rule: Rule, datasets: list[Dataset], sequences: int, frames: int, seed: int, given: dict[str, Any], name: str
) -> Manifest:
    """Look at every candidate, choose, say what was rejected, and draw the figure if one is wanted."""
    figure: Path | None = given.get("figure")
    if figure is not None and figure.suffix != ".png":
        raise UserError(f"--figure {figure}: must end in .png")
    candidates = draw_candidates(datasets, frames, seed)
    check_candidates(rule, candidates, sequences)
    features, measured = _measure(datasets, candidates, given)
    choice = choose(rule, candidates, features, sequences)
    manifest = to_manifest(name, rule, candidates, choice, measured)
    for source, count in manifest.selection["counts"]["candidates"].items():
        rejected, chosen = (manifest.selection["counts"][what][source] for what in ("rejected", "chosen"))
        print_text(f"{source}: {count} candidates, {rejected} rejected, {chosen} chosen")
    if rule.clusters:
        print_text(f"cluster sizes: {', '.join(map(str, manifest.selection['cluster_sizes']))}")
    if figure is not None:
        files = draw_choice(f"{name}: {rule}", candidates, features, choice, figure.with_suffix(""))
        print_text(f"wrote {', '.join(str(file.path) for file in files)}")
    return manifest


def _measure(datasets: list[Dataset], candidates: Candidates, given: dict[str, Any]) -> tuple[Features, dict[str, Any]]:
    """Features of the candidates, and what a manifest says of the model that they come from."""
    spec = find_model(given.get("model", "vggt-tiny"))
    network = api.load_model(spec.name, given.get("checkpoint"), check_device(given.get("device", "cpu")))
    identity, total = model_hash(network), len(candidates.clips)
    with working("looking at the candidates") as say:
        features = load_or_measure(
            network, identity, datasets, candidates, spec.compute_dtype, given.get("shared", SHARED),
            lambda done: say(f"looking at the candidates: {done} of {total}"),
        )  # fmt: skip
    return features, {"model": spec.name, "model_hash": identity, "layers": deep_blocks(network)}
