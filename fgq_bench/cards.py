"""Cards: strict, flat TOML files that say what a method, a data set or a report is.

Cards live in ``methods/``, ``datasets/`` and ``reports/`` of the repository, or in ``fgq_bench/_content/`` of an
installed wheel. A malformed card is refused with its file, key and line.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic

from fgq_bench.errors import UserError
from fgq_bench.suggest import unknown

Scalar = bool | int | float | str


class Card(pydantic.BaseModel):
    """What every card has."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    summary: str


class MethodCard(Card):
    """A quantization method; ``options`` are its hyper-parameters, ``presets`` named changes to them."""

    quantizer: str  # "module:Class"
    algorithm: int  # raised when the code changes meaning, so that stored results become stale
    source: str  # paper and licence note
    schemes: list[str] = []  # if given, the only schemes the method makes sense with
    calibrated: bool = False  # whether it learns from a calibration manifest
    random: bool = False  # whether its outcome depends on the seed
    options: dict[str, Scalar] = {}
    sources: dict[str, str] = {}  # where each option's value comes from
    presets: dict[str, dict[str, Scalar]] = {}


class DatasetCard(Card):
    """A data set and the split that is scored."""

    loader: str  # "module:Class"
    licence: str
    citation: str
    tasks: list[str]
    image_size: int  # width in pixels
    protocol: str
    options: dict[str, Scalar] = {}  # for the loader


class ReportCard(Card):
    """A table: which cells are its rows, which metrics its columns."""

    model: str
    datasets: list[str]
    scope: str
    rows: list[str]  # "METHOD[:PRESET] SCHEME [KEY=VALUE ...] [@CALIBRATION]"
    columns: list[str]  # "task.metric"
    presets: list[Literal["quick", "full"]]  # of run-all
    seeds: list[int] = [0]
    sequences: int | None = None  # only the first ones of each data set; None: all
    backend: str = "reference"
    pictures: list[str] = []  # rows whose predictions are drawn; none: no figures at all


CardT = TypeVar("CardT", bound=Card)
KINDS: dict[str, type[Card]] = {"methods": MethodCard, "datasets": DatasetCard, "reports": ReportCard}


@cache
def content_root() -> Path:
    """Folder that holds ``methods/``, ``datasets/`` and ``reports/``: inside the wheel, else the repository root."""
    installed = Path(__file__).parent / "_content"
    return installed if installed.is_dir() else Path(__file__).parent.parent


def card_names(kind: str) -> list[str]:
    """Names of all cards of ``kind`` (a key of ``KINDS``)."""
    return sorted(path.stem for path in (content_root() / kind).glob("*.toml"))


def load_card(kind: type[CardT], name: str) -> CardT:
    """The card called ``name``, or the one in the file ``name`` if that ends in .toml.

    Raises UserError for an unknown name and for a malformed card.
    """
    folder = next(key for key, value in KINDS.items() if value is kind)
    path = Path(name) if name.endswith(".toml") else content_root() / folder / f"{name}.toml"
    if not path.is_file():
        raise unknown(folder.removesuffix("s"), name, card_names(folder))
    return parse_card(kind, path)


def parse_card(kind: type[CardT], path: Path) -> CardT:
    """Read and validate one file; the error names the file, the line and the key."""
    text = path.read_text(encoding="utf-8")
    try:
        card = kind.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}:{_line_of(text, first['loc'])}: key {key!r}: {_explain(kind, first)}") from None
    if card.name != path.stem:
        raise UserError(f"{path}:{_line_of(text, ('name',))}: key 'name': must be the file's name, {path.stem!r}")
    return card


def _explain(kind: type[Card], error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return f"is not a key of a {kind.__name__}; keys: {', '.join(kind.model_fields)}"
    if error["type"] == "missing":
        return "is missing"
    return str(error["msg"])


def _line_of(text: str, location: tuple[int | str, ...]) -> int:
    """Line of the last string key of ``location``, found by scanning; 1 where it does not occur."""
    keys = [str(part) for part in location if isinstance(part, str)]
    for key in reversed(keys):
        pattern = re.compile(rf"^\s*(?:\[.*\b{re.escape(key)}\]|\"?{re.escape(key)}\"?\s*=)", re.MULTILINE)
        if match := pattern.search(text):
            return text.count("\n", 0, match.end()) + 1
    return 1
