"""CO3Dv2's annotations of one category, official or preprocessed as for VGGT, as arrays.

Official files have a record of about 1 kB for each of a category's 20 000 to 200 000 frames; they are decoded one record
at a time. Measured on synthetic categories, seconds of processor time: 20 000 frames (19 MB of JSON) 0.4, 120 000 frames
1.5 (``json.loads`` alone: 2.8, and 1 GB of memory), 2.8 if all of them are in the split; a preprocessed list of 10 000
frames 0.1. So 51 categories take half a minute to two minutes, preprocessed ones 5 s.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgq_bench.errors import UserError
from fgq_bench.loaders.reading import Floats, read_json

QUALITY = 0.5  # viewpoint_quality_score that a sequence must exceed
OFFICIAL = "frame_annotations.jgz"
FOLDERS = (".", "annotations")  # where preprocessed files may lie
POSE = {"R": 9, "T": 3, "focal_length": 2, "principal_point": 2}  # values of a key
GAP = re.compile(r"[\s,]*")


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
    """The sequences of a category's split; none where it is not annotated. Raises UserError for malformed files."""
    path = annotation_file(root, category, split)
    if path is None:
        return {}
    return _official(path.parent, split) if path.name == OFFICIAL else _preprocessed(path)


def _preprocessed(path: Path) -> Tracks:
    """``{category}_{split}.jgz``: sequence -> [{filepath, R, T, focal_length, principal_point}]."""
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(frames, list) for frames in content.values()):
        raise UserError(f"{path}: an object of lists is expected, sequence -> frames")
    found = {}
    for sequence, frames in content.items():
        paths = [_text(path, frame, "filepath") for frame in frames]
        rows = [[x for key, count in POSE.items() for x in _numbers(path, frame, key, count)] for frame in frames]
        nothing = [np.nan] * 3  # size and scale
        found[sequence] = _track(paths, [row + nothing for row in rows])
    return found


def _official(folder: Path, split: str) -> Tracks:
    """Frames of ``set_lists_fewview_dev.json`` in its order, of sequences that pass the quality filter."""
    path = folder / "sequence_annotations.jgz"
    good = {_text(path, record, "sequence_name") for record in _records(path) if _quality(path, record) > QUALITY}
    listed = _set_list(folder / "set_lists" / "set_lists_fewview_dev.json", split)
    wanted = {sequence: frames for sequence, frames in listed.items() if sequence in good}
    path = folder / OFFICIAL
    rows: dict[tuple[str, int], list[float]] = {}
    for record in _records(path):
        if (sequence := _text(path, record, "sequence_name")) in wanted:
            rows[sequence, _frame_number(path, record)] = _official_row(path, record)
    for sequence, frames in wanted.items():
        for number, picture in frames:
            if (sequence, number) not in rows:
                raise UserError(f"{path}: key 'frame_number': no frame {number} of {sequence}, which the set list has as {picture}")  # fmt: skip
    return {
        sequence: _track([picture for _, picture in frames], [rows[sequence, number] for number, _ in frames])
        for sequence, frames in wanted.items()
    }


def _official_row(path: Path, record: Any) -> list[float]:
    view, depth = _get(record, "viewpoint"), _get(record, "depth")
    if (found := _get(view, "intrinsics_format")) != "ndc_isotropic":
        raise UserError(f"{path}: key 'viewpoint.intrinsics_format': CO3Dv2 has 'ndc_isotropic', not {found!r}")
    row = [x for key, count in POSE.items() for x in _numbers(path, view, key, count, "viewpoint.")]
    row += _numbers(path, _get(record, "image"), "size", 2, "image.")
    return row + ([np.nan] if depth is None else _numbers(path, depth, "scale_adjustment", 1, "depth."))


def _set_list(path: Path, split: str) -> dict[str, list[tuple[int, str]]]:
    """Frame number and picture of every frame of a split, by sequence."""
    found: dict[str, list[tuple[int, str]]] = {}
    if not path.is_file() and any(path.parent.glob("set_lists_manyview*.json")):
        raise UserError(f"{path}: no such file; {path.parent} has many-view lists only, as the single-sequence subset (--single_sequence_subset), whose sequences no protocol scores: download the category in full")  # fmt: skip
    try:
        for sequence, number, picture in read_json(path)[split]:
            found.setdefault(str(sequence), []).append((int(number), str(picture)))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: key {split!r}: a list of [sequence, frame number, path] is expected") from None
    return found


def _track(paths: list[str], rows: list[list[float]]) -> Track:
    """A track of rows of 19 numbers: R, T, focal length, principal point, size, scale."""
    values = np.array(rows, dtype=np.float64).reshape(-1, 19)
    rotation, *others = np.split(values, [9, 12, 14, 16, 18], 1)
    translation, focal, centre, size, scale = others
    return Track(paths, rotation.reshape(-1, 3, 3), translation, focal, centre, size, scale[:, 0])


def _records(path: Path) -> Iterator[Any]:
    """The records of a gzipped JSON array, one at a time; raises UserError."""
    decode = json.JSONDecoder().raw_decode
    try:
        text = gzip.decompress(path.read_bytes()).decode()
        at = text.index("[") + 1
        while text[at := GAP.match(text, at).end()] != "]":  # type: ignore[union-attr]
            record, at = decode(text, at)
            yield record
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, ValueError, IndexError, RecursionError) as error:
        raise UserError(f"{path}: not a gzipped JSON array ({error})") from None


def _quality(path: Path, record: Any) -> float:
    """The quality score of a sequence; 0 where it has none."""
    missing = _get(record, "viewpoint_quality_score") is None
    return 0.0 if missing else _numbers(path, record, "viewpoint_quality_score", 1)[0]


def _get(record: Any, key: str) -> Any:
    return record.get(key) if isinstance(record, dict) else None


def _text(path: Path, record: Any, key: str) -> str:
    value = _get(record, key)
    if not isinstance(value, str):
        raise UserError(f"{path}: key {key!r}: a text is expected, not {value!r:.60}")
    return value


def _numbers(path: Path, record: Any, key: str, count: int, within: str = "") -> list[float]:
    """``count`` numbers of a number, a list or a list of lists; ``within``: where ``record`` is, for the error."""
    value = _get(record, key)
    rows = value if isinstance(value, list) else [value]
    numbers = [x for row in rows for x in (row if isinstance(row, list) else [row])]
    try:
        if len(numbers) != count or not all(type(x) in (int, float) for x in numbers):
            raise ValueError
        return [float(x) for x in numbers]
    except (ValueError, OverflowError):
        raise UserError(f"{path}: key {within + key!r}: {count} numbers are expected, not {value!r:.60}") from None


def _frame_number(path: Path, record: Any) -> int:
    number = _numbers(path, record, "frame_number", 1)[0]
    if not number.is_integer():
        raise UserError(f"{path}: key 'frame_number': a whole number is expected, not {number}")
    return int(number)
