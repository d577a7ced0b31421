"""The loader interface: a data set is a list of sequences that can be read one by one."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from functools import cached_property
from itertools import islice
from pathlib import Path

import pydantic

from fgq_bench.cards import DatasetCard
from fgq_bench.errors import BadData, UserError
from fgq_bench.lazy import find_class
from fgq_bench.loaders.frames import hash_frames
from fgq_bench.loaders.scene import Scene
from fgq_bench.loaders.setting import Setting


class Dataset(ABC):
    """A data set with its frames chosen.

    Args:
        card: what the data set is.
        options: this loader's ``Options``, from the card and the protocol.
        setting: how it is read: its protocol, resolved.
        root: folder with the files, None for data sets that need none.
        limit: use only the first ``limit`` sequences.
    """

    class Options(pydantic.BaseModel):
        """Loader options; unknown names are refused."""

        model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    def __init__(
        self, card: DatasetCard, options: Options, setting: Setting, root: Path | None, limit: int | None
    ) -> None:
        self.card, self.options, self.setting, self.root, self.limit = card, options, setting, root, limit

    @abstractmethod
    def frame_list(self) -> dict[str, list[str]]:
        """Every sequence that is scored, with the names of its frames in order (before ``limit``)."""

    @abstractmethod
    def load(self, sequence: str) -> Scene:
        """Read one sequence; raises UserError for missing or damaged files."""

    def read(self, sequence: str, names: list[str]) -> Scene:
        """Some frames of a sequence, in that order; raises UserError as ``load`` does."""
        listed = self.frames.get(sequence, [])
        if missing := [name for name in names if name not in listed]:
            raise UserError(f"data set {self.card.name} has no frame {missing[0]!r} of {sequence!r}")
        return self.load(sequence).select([listed.index(name) for name in names])

    def global_name(self, sequence: str) -> str:
        """A name that this sequence shares with itself in every split and every copy, and with nothing else."""
        return f"{self.card.loader} {sequence}"

    @property
    def broken(self) -> dict[str, str]:
        """Parts of the data set whose sequences are not in ``frame_list`` because their index is bad data, with why."""
        return {}

    def notes(self) -> list[str]:
        """What this copy lacks or what of it was left out, one line each, for results."""
        return []

    @cached_property
    def frames(self) -> dict[str, list[str]]:
        """The first ``limit`` entries of ``frame_list()``."""
        return dict(islice(self.frame_list().items(), self.limit))

    def sequences(self) -> list[str]:
        """Names of the sequences in order, at most ``limit`` of them."""
        return list(self.frames)

    def check_not_empty(self) -> None:
        """Raise UserError where there is no sequence to score. Some may be missing: see ``broken``."""
        if not self.frames:
            for reason in self.broken.values():
                raise BadData(reason)
            raise UserError(f"data set {self.card.name}: no sequence under {self.root} has enough frames for the protocol {self.setting.protocol}")  # fmt: skip

    def check_whole(self) -> None:
        """As ``check_not_empty``, and BadData where a part is broken: for whoever cannot say that it was left out."""
        for reason in self.broken.values():
            raise BadData(reason)
        self.check_not_empty()

    @cached_property
    def frame_list_hash(self) -> str:
        """SHA-256 of ``frames``: part of every result's key."""
        return hash_frames(self.frames)

    def source(self) -> dict[str, object]:
        """What decides the content of a sequence, for result keys: never the data set's title or summary."""
        return {
            "name": self.card.name,
            "loader": self.card.loader,
            "options": dict(sorted(self.setting.options.items())),
        }

    @cached_property
    def reading(self) -> str:
        """All that decides what ``load`` gives for a sequence's frames, as text: where they lie, and how they are read."""
        setting = self.setting
        return json.dumps([str(self.root), self.source(), setting.identity(), setting.image_size], sort_keys=True)


class SceneCache:
    """Scenes kept in memory while they fit into ``budget`` bytes, so that a sweep reads or renders them once."""

    def __init__(self, budget: int = 2**30) -> None:
        self.budget = budget
        self.scenes: dict[tuple[str, ...], Scene] = {}

    def load(self, dataset: Dataset, sequence: str) -> Scene:
        """The scene, from memory where possible."""
        key = (dataset.reading, sequence, *dataset.frames[sequence])
        if key in self.scenes:
            return self.scenes[key]
        scene = dataset.load(sequence)
        if scene.nbytes <= self.budget:
            self.budget -= scene.nbytes
            self.scenes[key] = scene
        return scene


def open_dataset(
    card: DatasetCard, root: Path | None = None, limit: int | None = None, protocol: str | None = None
) -> Dataset:
    """Build the data set of ``card`` under ``protocol`` (default: its own).

    Raises UserError for a protocol it does not have, options that its loader refuses, a folder that it needs.
    """
    cls = find_class(card.loader, Dataset, f"data set {card.name}")  # type: ignore[type-abstract]
    setting = Setting.of(card, protocol)
    try:
        options = cls.Options(**setting.options)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"data set {card.name}: option {key!r}: {first['msg']}") from None
    return cls(card, options, setting, root, limit)
