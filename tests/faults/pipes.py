"""Pipes and devices where files are expected: every command ends soon and in little memory, in one line."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.dots import write_clip
from tests.faults.outcome import Row
from tests.faults.pages import write_card
from tests.faults.sweep import Sweep

SECONDS = 60.0  # that a command may take
MEMORY = 8 * 2**30  # bytes of address space: a device without end is not to take this machine's memory
RUN = ("run", "-m", "fp", "-d", "procedural-rooms", "-t", "pose", "--limit", "1")


@dataclass(frozen=True)
class Place:
    """A file that a command reads.

    Args:
        path: where it lies; None of it is kept, what lies beside it belongs to it.
        arguments: the command line that reads it.
        needed: whether the command cannot do without it.
    """

    name: str
    path: Path
    arguments: tuple[str, ...]
    needed: bool = True


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS: tuple[tuple[str, Callable[[Path], None]], ...] = (("a pipe", _pipe), ("a link to a device", _device))


def pipes(sweep: Sweep) -> list[Row]:
    """Either of them in every place."""
    rows = []
    for kind, put in KINDS:
        row = Row(f"{kind} for a file", f"ends within {SECONDS:.0f} s, with one line where the file is needed")
        for place in _places(sweep.folder / f"places of {kind}", sweep):
            place.path.parent.mkdir(parents=True, exist_ok=True)
            place.path.unlink(missing_ok=True)
            put(place.path)
            ended = sweep.command(place.arguments, _little_memory).kill_after(SECONDS)
            problems = [f"not done after {SECONDS:.0f} s"] if ended.code < 0 else ended.problems
            if not problems and place.needed and ended.code == 0:
                problems = ["read, exit code 0"]
            row.judge("refused" if place.needed else "survived", [f"{place.name}: {problem}" for problem in problems])
        rows.append(row)
    return rows


def _little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _places(folder: Path, sweep: Sweep) -> list[Place]:
    """Every file that a user or a stranger can put before a command."""
    output = ("-o", str(folder / "output"))
    files = {name: folder / f"given.{name}" for name in ("safetensors", "pt", "toml", "json")}
    evaluate = ("evaluate", str(files["safetensors"]), "-d", "procedural-rooms", "-t", "pose", "--limit", "1")
    return [
        Place("checkpoint (.safetensors)", files["safetensors"], (*RUN, "--checkpoint", str(files["safetensors"]), *output)),
        Place("checkpoint (.pt)", files["pt"], (*RUN, "--checkpoint", str(files["pt"]), *output)),
        Place("artefact", files["safetensors"], evaluate),
        Place("method card", files["toml"], (*RUN, "-m", str(files["toml"]), "-b", "w4a4", *output)),
        Place("report card", files["toml"], ("report", str(files["toml"]), "--results", str(sweep.folder / "undisturbed" / "results"))),
        Place("cluster file", files["toml"], (*RUN, "--executor", "dask", "--cluster", str(files["toml"]), *output)),
        Place("calibration manifest", files["json"], (*RUN, "-m", "gptq", "-b", "w4a4", "--calibration", str(files["json"]), *output)),
        *_in_data(folder),
        *_in_store(folder, sweep),
    ]  # fmt: skip


def _in_data(folder: Path) -> list[Place]:
    cameras, pictures = folder / "re10k", folder / "pictures"
    write_clip(cameras)
    shutil.copytree(cameras / "clip" / "images", pictures / "a")
    clip, own = ("check", "re10k", "--root", str(cameras)), ("check", "folder", "--root", str(pictures))
    return [
        Place("picture of a clip", cameras / "clip" / "images" / "0003.png", clip),
        Place("camera file", cameras / "clip" / "annotations.json", clip),
        Place("picture of a folder", pictures / "a" / "0003.png", own),
    ]


def _in_store(folder: Path, sweep: Sweep) -> list[Place]:
    """A result, and what lies beside one, of a store that is read, and of one that is resumed."""
    read, resumed = folder / "read", folder / "resumed"
    for store in (read, resumed):
        shutil.copytree(sweep.folder / "undisturbed", store)
    card = write_card(folder)
    report = ("report", str(card), "--results", str(read / "results"), "--limit", "2")
    again = ("run", *sweep.arguments(resumed))
    one, other = [path for path in sorted((read / "results").rglob("rtn-*.json")) if ".meta." not in path.name][:2]
    same = resumed / one.relative_to(read)
    artifact = next((resumed / "artifacts").rglob("rtn-*.safetensors"))
    return [
        Place("file beside a result", one.with_suffix(".meta.json"), report, needed=False),
        Place("result", other, report, needed=False),
        Place("file beside a result, resumed", same.with_suffix(".meta.json"), again, needed=False),
        Place("result, resumed", same, again, needed=False),
        Place("artefact, resumed", artifact, again, needed=False),
    ]
