"""Calibration manifests: which sequences and frames every method of a sweep is calibrated on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from fgq_bench.calibration.manifest_file import ManifestFile
from fgq_bench.cards import DatasetCard, content_root, load_card
from fgq_bench.documents import read_json
from fgq_bench.errors import UserError
from fgq_bench.files import is_file_name, write_json
from fgq_bench.loaders.base import Dataset, open_dataset
from fgq_bench.loaders.scene import Scene
from fgq_bench.schema import check, fault_of
from fgq_bench.sidecars import is_sidecar
from fgq_bench.suggest import unknown

FOLDER = "datasets/calibration"
IMAGE_BUDGET = 2**30  # bytes of images kept in memory


@dataclass(frozen=True)
class Clip:
    """Some frames of one sequence, in the order in which the model sees them: the first is the reference view."""

    dataset: str  # name of a data set card
    sequence: str
    frames: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """Clips with how they were chosen. Its identity is ``hash``: the clips and how they are read, whoever chose them.

    ``sources`` pins the content of every data set that is drawn from (see ``fingerprint``): a manifest is refused
    where a card has changed since, so that the hash always stands for the same pictures. ``selection`` says why these
    sequences were chosen and which were rejected (see ``sampling``); empty for a uniform draw.
    """

    name: str
    sampler: str
    seed: int
    clips: tuple[Clip, ...]
    sources: tuple[tuple[str, str], ...]
    selection: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets that are drawn from."""
        return list(dict.fromkeys(clip.dataset for clip in self.clips))

    @property
    def hash(self) -> str:
        """SHA-256 over every clip in order, and over the sources that have more than one way to be read."""
        clips: Any = [asdict(clip) for clip in self.clips]
        by_protocol = [source for source in self.sources if protocol_of(source[1])]
        content = {"clips": clips, "sources": by_protocol} if by_protocol else clips
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        """What decides a calibration, for result keys, with the name for readers."""
        return {"manifest": self.name, "hash": self.hash}

    def describe(self) -> dict[str, Any]:
        """What a reader wants to know, with a one-line summary."""
        datasets = ", ".join(self.datasets)
        frames = sorted({len(clip.frames) for clip in self.clips})
        summary = f"{len(self.clips)} clips of {'-'.join(map(str, frames))} frames from {datasets}"
        return {"name": self.name, "summary": summary, "sampler": self.sampler, "seed": self.seed, "hash": self.hash}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, with the hash."""
        clips = [[clip.dataset, clip.sequence, list(clip.frames)] for clip in self.clips]
        return {
            "name": self.name,
            "sampler": self.sampler,
            "seed": self.seed,
            "hash": self.hash,
            "sources": dict(self.sources),
            "clips": clips,
            **({"selection": self.selection} if self.selection else {}),
        }

    def save(self, path: Path) -> None:
        """Write as JSON; raises UserError for what ``load_manifest`` would refuse."""
        values = self.to_dict()
        check(ManifestFile, values, str(path))
        write_json(path, values)


def fingerprint(dataset: Dataset) -> str:
    """What decides the pictures of a data set's sequences: loader, options, image size, the way they are resized.

    12 digits of a SHA-256; ``<protocol>:`` stands before them where a protocol card has decided.
    """
    setting = dataset.setting
    content = {**dataset.source(), "image_size": setting.image_size}
    if setting.entry is not None:
        content |= {"resize": setting.entry.resize, "height": setting.entry.height}
        content |= {"pixels": setting.entry.pixels} if setting.entry.pixels else {}
    digits = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    return digits if setting.entry is None else f"{setting.protocol}:{digits}"


def protocol_of(fingerprint: str) -> str | None:
    """Name of the protocol card in a source's fingerprint; None: the data set's own way."""
    return fingerprint.rpartition(":")[0] or None


def choose_manifest(asked: str | None, own: str | None, model: str) -> str:
    """The manifest asked for, else the model's own; raises UserError where there is neither."""
    if asked is None and own is None:
        raise UserError(
            f"model {model} comes with no calibration manifest: draw one at its image size with fgq-bench manifest and "
            "give --calibration FILE"
        )
    return asked or own or ""


def manifest_names() -> list[str]:
    """Names of the manifests that come with the project."""
    return sorted(path.stem for path in (content_root() / FOLDER).glob("*.json") if not is_sidecar(path.name))


def load_manifest(name: str) -> Manifest:
    """The manifest called ``name``, or the one in the file ``name`` if that ends in .json.

    Raises:
        UserError: unknown name, malformed file, or a hash that is not that of the clips.
    """
    path = Path(name) if name.endswith(".json") else content_root() / FOLDER / f"{name}.json"
    if not (name.endswith(".json") or is_file_name(name)) or not path.is_file():
        raise unknown("calibration manifest", name, manifest_names())
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a calibration manifest ({error})") from None
    if (fault := fault_of(ManifestFile, values)) is not None:
        raise UserError(f"{path}: not a calibration manifest ({fault})")
    clips = tuple(Clip(dataset, sequence, tuple(frames)) for dataset, sequence, frames in values["clips"])
    sources, selection = tuple(values["sources"].items()), values.get("selection", {})
    manifest = Manifest(values["name"], values["sampler"], values["seed"], clips, sources, selection)
    if values["hash"] != manifest.hash:
        raise UserError(f"{path}: key 'hash' is not that of the clips ({manifest.hash[:12]}...): the file was edited")
    return manifest


class CalibrationClips:
    """The clips of a manifest with their data sets opened: iterates over images [S, 3, H, W], read when asked for
    and kept while they fit into ``IMAGE_BUDGET`` bytes, until another manifest is read.
    """

    _reading: ClassVar[CalibrationClips | None] = None

    def __init__(self, manifest: Manifest, roots: dict[str, Path]) -> None:
        self.manifest = manifest
        sources, self.datasets = dict(manifest.sources), {}
        for name in manifest.datasets:
            known = sources.get(name, "")
            dataset = open_dataset(load_card(DatasetCard, name), roots.get(name), protocol=protocol_of(known))
            if known != fingerprint(dataset):
                raise UserError(f"manifest {manifest.name}: the card of {name} has changed since; draw another")
            self.datasets[name] = dataset
        self._kept: dict[Clip, Tensor] = {}
        self._budget = IMAGE_BUDGET

    def __len__(self) -> int:
        return len(self.manifest.clips)

    def __iter__(self) -> Iterator[Tensor]:
        return (self.images(index) for index in range(len(self)))

    def images(self, index: int) -> Tensor:
        """Images [S, 3, H, W] of clip ``index``."""
        self._take_over()
        clip = self.manifest.clips[index]
        images = self._kept.get(clip)
        if images is None:
            images = self._read(clip).images
            size = images.numel() * images.element_size()
            if size <= self._budget:
                self._budget -= size
                self._kept[clip] = images
        return images

    def _take_over(self) -> None:
        """Drop the images of whatever manifest was read before: a sweep over many of them keeps one."""
        before = CalibrationClips._reading
        if before is not None and before is not self:
            before._kept.clear()
            before._budget = IMAGE_BUDGET
        CalibrationClips._reading = self

    def scene(self, index: int) -> Scene:
        """Clip ``index`` with the ground truth that its data set has."""
        return self._read(self.manifest.clips[index])

    def _read(self, clip: Clip) -> Scene:
        try:
            return self.datasets[clip.dataset].read(clip.sequence, list(clip.frames))
        except UserError as error:
            raise UserError(f"manifest {self.manifest.name}: {error}") from None

    def _global_name(self, clip: Clip) -> str:
        return self.datasets[clip.dataset].global_name(clip.sequence)

    def global_names(self) -> set[str]:
        """Names of the sequences that are calibrated on, by which a data set knows its own."""
        return {self._global_name(clip) for clip in self.manifest.clips}

    def check_disjoint(self, test: Dataset) -> None:
        """Raise UserError where a calibration sequence is also one that ``test`` scores."""
        scored = {test.global_name(sequence) for sequence in test.frame_list()}
        for clip in self.manifest.clips:
            if self._global_name(clip) in scored:
                raise UserError(
                    f"manifest {self.manifest.name}: calibrates on {clip.sequence!r} of {clip.dataset}, which "
                    f"{test.card.name} scores; draw another with fgq-bench manifest"
                )


def open_clips(name: str, roots: dict[str, Path]) -> CalibrationClips:
    """The manifest ``name`` with its data sets under ``roots``, opened once for all runs of a sweep."""
    return _opened(name, tuple(sorted(roots.items())))


@lru_cache(maxsize=4)
def _opened(name: str, roots: tuple[tuple[str, Path], ...]) -> CalibrationClips:
    return CalibrationClips(load_manifest(name), dict(roots))
