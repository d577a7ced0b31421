"""CO3Dv2's annotations of one category, official or preprocessed as for VGGT, as arrays.

Official files have a record of about 1 kB for each of a category's 20 000 to 200 000 frames; they are decoded one record
at a time. Measured on synthetic categories, seconds of processor time: 20 000 frames (19 MB of JSON) 0.4, 120 000 frames
1.5 (``json.loads`` alone: 2.8, and 1 GB of memory), 2.8 if all of them are in the split; a preprocessed list of 10 000
frames 0.1. So 51 categories take half a minute to two minutes, preprocessed ones 5 s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from fgq_bench.bounded import read_gzip
from fgq_bench.errors import BadData
from fgq_bench.loaders.co3d_records import FrameRecord, Named, Preprocessed, SequenceRecord
from fgq_bench.loaders.reading import Floats, named, read_json
from fgq_bench.schema import first_fault

RECORDS = 2**30  # bytes of a category's annotations, unpacked: 1 million frames
QUALITY = 0.5  # viewpoint_quality_score that a sequence must exceed
OFFICIAL = "frame_annotations.jgz"
FOLDERS = (".", "annotations")  # where preprocessed files may lie
GAP = re.compile(r"[\s,]*")
SchemaT = TypeVar("SchemaT", bound=BaseModel)


@dataclass
class Track:
    """The cameras of a sequence of N frames as they are annotated: PyTorch3D's row vectors, NDC."""

    paths: list[str]  # of the pictures, relative to the data set's folder
    rotation: Floats  # [N, 3, 3]
    translation: Floats  # [N, 3]
    focal: Floats  # [N, 2] in halves of the shorter side
    centre: Floats  # [N, 2]
    size: Floats  # [N, 2] height and width of the picture, pixels; NaN: not annotated
    scale: Floats  # [N] that stored depth is multiplied by; NaN: no depth

    @property
    def names(self) -> list[str]:
        """The pictures' file names."""
        return [path.rpartition("/")[2] for path in self.paths]


Tracks = dict[str, Track]  # by the sequence's name in its category


def annotation_file(root: Path, category: str, split: str) -> Path | None:
    """The file with a category's cameras; None where there is none.

    Preprocessed files win where both are there: they are made from the official ones, and read faster.
    """
    places = [root / folder / f"{category}_{split}.jgz" for folder in FOLDERS]
    places.append(root / category / OFFICIAL)
    return next((path for path in places if path.is_file()), None)


def read_category(root: Path, category: str, split: str) -> Tracks:
    """The sequences of a category's split; none where it is not annotated. Raises BadData for malformed files."""
    path = annotation_file(root, category, split)
    if path is None:
        return {}
    return _official(path.parent, split) if path.name == OFFICIAL else _preprocessed(path)


def _preprocessed(path: Path) -> Tracks:
    """``{category}_{split}.jgz``: sequence -> [{filepath, R, T, focal_length, principal_point}]."""
    content = _parsed(Preprocessed, read_json(path), path)
    nothing = [np.nan] * 3  # size and scale
    return {
        sequence: _track([frame.filepath for frame in frames], [frame.row + nothing for frame in frames])
        for sequence, frames in content.root.items()
    }


def _official(folder: Path, split: str) -> Tracks:
    """Frames of ``set_lists_fewview_dev.json`` in its order, of sequences that pass the quality filter."""
    path = folder / "sequence_annotations.jgz"
    sequences = (_parsed(SequenceRecord, record, path) for record in _records(path))
    good = {each.sequence_name for each in sequences if (each.viewpoint_quality_score or [0.0])[0] > QUALITY}
    listed = _set_list(folder / "set_lists" / "set_lists_fewview_dev.json", split)
    wanted = {sequence: frames for sequence, frames in listed.items() if sequence in good}
    path = folder / OFFICIAL
    rows: dict[tuple[str, int], list[float]] = {}
    for record in _records(path):
        if _parsed(Named, record, path).sequence_name in wanted:
            frame = _parsed(FrameRecord, record, path)
            rows[frame.sequence_name, int(frame.frame_number[0])] = frame.row
    for sequence, frames in wanted.items():
        for number, picture in frames:
            if (sequence, number) not in rows:
                raise BadData(f"{path}: key 'frame_number': no frame {number} of {sequence}, which the set list has as {picture}")  # fmt: skip
    return {
        sequence: _track([picture for _, picture in frames], [rows[sequence, number] for number, _ in frames])
        for sequence, frames in wanted.items()
    }


def _set_list(path: Path, split: str) -> dict[str, list[tuple[int, str]]]:
    """Frame number and picture of every frame of a split, by sequence."""
    if not path.is_file() and any(path.parent.glob("set_lists_manyview*.json")):
        raise BadData(f"{path}: no such file; {path.parent} has many-view lists only, as the single-sequence subset (--single_sequence_subset), whose sequences no protocol scores: download the category in full")  # fmt: skip
    content = read_json(path)
    entries = content.get(split) if isinstance(content, dict) else None
    found: dict[str, list[tuple[int, str]]] = {}
    for entry in entries if isinstance(entries, list) else [None]:
        if not (isinstance(entry, list) and [type(value) for value in entry] == [str, int, str]):
            raise BadData(f"{path}: key {split!r}: a list of [sequence, frame number, path] is expected")
        sequence, number, picture = entry
        if not (sequence.isprintable() and picture.isprintable()):
            raise BadData(f"{path}: key {split!r}: {entry!r:.100} cannot be printed")
        found.setdefault(sequence, []).append((number, picture))
    return found


def _track(paths: list[str], rows: list[list[float]]) -> Track:
    """A track of rows of 19 numbers: R, T, focal length, principal point, size, scale."""
    values = np.array(rows, dtype=np.float64).reshape(-1, 19)
    rotation, *others = np.split(values, [9, 12, 14, 16, 18], 1)
    translation, focal, centre, size, scale = others
    return Track(paths, rotation.reshape(-1, 3, 3), translation, focal, centre, size, scale[:, 0])


def _records(path: Path) -> Iterator[Any]:
    """The records of a gzipped JSON array, one at a time; raises BadData."""
    decode = json.JSONDecoder().raw_decode
    with named(path, "not a gzipped JSON array"):
        text = read_gzip(path, RECORDS).decode()
        at = text.index("[") + 1
        try:
            while text[at := GAP.match(text, at).end()] != "]":  # type: ignore[union-attr]
                record, at = decode(text, at)
                yield record
        except (IndexError, RecursionError):
            raise ValueError("it ends too early, or is nested too deeply") from None


def _parsed(schema: type[SchemaT], values: Any, path: Path) -> SchemaT:
    """``values`` as ``schema`` declares them; raises BadData with file and key."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise BadData(f"{path}: {first_fault(error)}") from None
