"""``list`` and ``show``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgq_bench.cards import KINDS, DatasetCard, card_names, load_card
from fgq_bench.commands.parsing import root_of
from fgq_bench.commands.printing import print_json, print_rows, print_text
from fgq_bench.errors import UserError
from fgq_bench.loaders.setting import protocol_names
from fgq_bench.suggest import unknown


def catalogue(kind: str) -> dict[str, dict[str, Any]]:
    """Everything of one kind by name; raises UserError for an unknown kind."""
    if kind == "datasets":
        cards = {name: load_card(DatasetCard, name) for name in card_names(kind)}
        return {name: {**card.model_dump(), "protocols": protocol_names(card)} for name, card in cards.items()}
    if kind in KINDS:
        return {name: load_card(KINDS[kind], name).model_dump() for name in card_names(kind)}
    if kind == "calibrations":
        from fgq_bench.calibration.manifest import load_manifest, manifest_names

        return {name: load_manifest(name).describe() for name in manifest_names()}
    if kind == "backends":
        from fgq_bench.kernels.registry import BACKENDS

        return {
            name: {"name": name, "summary": backend.summary, "here": backend.state()}
            for name, backend in BACKENDS.items()
        }
    if kind == "models":
        from fgq_bench.models.checkpoints import MODELS

        return {
            name: {
                "name": name, "summary": spec.title, "checkpoint": spec.checkpoint, "compute_dtype": spec.compute_dtype,
                "licence": spec.licence, "config": spec.config.to_dict(),
            }
            for name, spec in MODELS.items()
        }  # fmt: skip
    if kind == "tasks":
        from fgq_bench.tasks.registry import TASKS

        return {
            name: {
                "name": name, "summary": (type(task).__doc__ or "").partition("\n")[0], "alignment": task.alignment,
                "metrics": {m.name: f"{m.unit}, {'higher' if m.higher_is_better else 'lower'} is better" for m in task.metrics},
            }
            for name, task in TASKS.items()
        }  # fmt: skip
    raise unknown("kind", kind, (*KINDS, "backends", "calibrations", "models", "tasks"))


def list_kind(kind: str, as_json: bool) -> None:
    """Print the names and summaries of one kind."""
    entries = catalogue(kind)
    if as_json:
        print_json(list(entries.values()))
    else:
        shown = [key for key in ("name", "summary", "here") if all(key in entry for entry in entries.values())]
        print_rows(kind, [{key: entry[key] for key in shown} for entry in entries.values()])


def show_name(name: str, figure: Path | None, roots: list[str], as_json: bool) -> None:
    """Print everything called ``name``; with ``figure``, write a data set's contact sheet."""
    everything = {kind: catalogue(kind) for kind in (*KINDS, "calibrations", "tasks", "backends", "models")}
    found = {kind: entries[name] for kind, entries in everything.items() if name in entries}
    if not found:
        raise unknown("name", name, [entry for entries in everything.values() for entry in entries])
    if roots and figure is None:
        raise UserError(f"--root {roots[0]}: nothing is read without --figure")
    if figure is not None:
        _contact_sheet(name, figure, roots, "datasets" in found)
    if as_json:
        print_json(found)
        return
    for kind, entry in found.items():
        rows = [{"key": key, "value": value} for key, value in entry.items()]
        print_rows(f"{kind.removesuffix('s')} {name}", rows)


def _contact_sheet(name: str, figure: Path, roots: list[str], is_dataset: bool) -> None:
    if not is_dataset:
        raise UserError(f"--figure: {name} is not a data set")
    from fgq_bench.loaders.base import open_dataset
    from fgq_bench.reporting.contact_sheet import write_contact_sheet

    dataset = open_dataset(load_card(DatasetCard, name), root_of(name, roots))
    write_contact_sheet(dataset, figure)
    print_text(f"wrote {figure}")
