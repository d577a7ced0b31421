"""``check``: is a copy of a data set complete, readable and read rightly?"""

from __future__ import annotations

from pathlib import Path

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.commands.check_report import describe, print_report, problems
from fgq_bench.commands.inventory import take_inventory
from fgq_bench.commands.parsing import parse_root
from fgq_bench.commands.printing import print_json, progress_bar
from fgq_bench.commands.spot_check import Reading, read_sequence, spread
from fgq_bench.files import write_json
from fgq_bench.loaders.base import Dataset, open_dataset
from fgq_bench.loaders.scene import Scene
from fgq_bench.reporting.contact_sheet import FRAMES, draw_contact_sheet

SHOWN = 8  # sequences, at most, that are drawn and whose geometry is checked


def check_dataset(
    name: str, root: str | None, protocol: str | None, sequences: int, output: Path | None, as_json: bool
) -> int:
    """Check a copy and print what was found; 0 where nothing is wrong, else 1.

    Args:
        name: of the data set.
        root: PATH or DATASET=PATH.
        protocol: None: the data set's own.
        sequences: how many to read, spread over the data set; 0: all.
        output: folder for ``check.json`` and ``contact-sheet.png``; None: only print.
        as_json: print what ``check.json`` holds.
    """
    dataset = open_dataset(load_card(DatasetCard, name), parse_root(name, root), protocol=protocol)
    inventory = take_inventory(dataset)
    readings, scenes = _read(dataset, spread(inventory.scored, sequences or len(inventory.scored)), quiet=as_json)
    wrong = problems(inventory, readings)
    report = describe(dataset, inventory, readings, wrong)
    if output is not None:
        write_json(output / "check.json", report)
        if scenes:
            draw_contact_sheet(f"{dataset.card.title}: {dataset.card.summary}", scenes, output / "contact-sheet.png")
    if as_json:
        print_json(report)
    else:
        print_report(report, inventory, readings)
    return 1 if wrong else 0


def _read(dataset: Dataset, names: list[str], quiet: bool) -> tuple[list[Reading], list[Scene]]:
    """What came of ``names``, and the first frames of those to draw."""
    readings, scenes, shown = [], [], set(spread(names, SHOWN))
    with progress_bar("sequences", disable=quiet) as bar:
        for name in bar.track(names, description="reading"):
            reading, scene = read_sequence(dataset, name, geometry=name in shown)
            readings.append(reading)
            if scene is not None and name in shown:
                scenes.append(scene.select(list(range(min(FRAMES, len(scene.images))))))
    return readings, scenes
