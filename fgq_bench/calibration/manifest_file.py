"""A calibration manifest as a file: names, clips and sources, no card that could name code."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from fgq_bench.files import is_file_name
from fgq_bench.schema import Schema, absent


def _dataset_name(name: str) -> str:
    """Data sets are those of this project's cards: a file that is passed on must not bring in a card, which names code."""
    if not is_file_name(name) or name.endswith(".toml"):
        raise ValueError(f"{name!r} is not the name of a data set")
    return name


def _clip(values: list[Any]) -> list[Any]:
    texts = [*values[:2], *values[2]] if len(values) == 3 and isinstance(values[2], list) else [None]
    if not all(isinstance(text, str) and text.isprintable() for text in texts) or len(texts) == 2:
        raise ValueError("[data set, sequence, [frame, ...]] is expected")
    _dataset_name(values[0])
    return values


DatasetName = Annotated[str, AfterValidator(_dataset_name)]
Fingerprint = Annotated[str, Field(pattern=r"^(?:[^:/\\]+:)?[0-9a-f]{12}$")]  # see ``fingerprint``


class ManifestFile(Schema):
    """A manifest as it is stored."""

    name: str
    sampler: str
    seed: int
    hash: str
    sources: dict[DatasetName, Fingerprint]
    clips: Annotated[list[Annotated[list[Any], AfterValidator(_clip)]], Field(min_length=1)]
    selection: dict[str, Any] = absent()

    @model_validator(mode="after")
    def _every_source_is_pinned(self) -> Self:
        if missing := [dataset for dataset, *_ in self.clips if dataset not in self.sources]:
            raise ValueError(f"key 'sources': {missing[0]!r} is missing, which a clip is of")
        return self
