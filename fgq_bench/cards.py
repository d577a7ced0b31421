"""Cards: strict, flat TOML files that say what a method, a data set, a protocol or a report is.

Cards live in ``methods/``, ``datasets/`` and ``reports/`` of the repository, or in ``fgq_bench/_content/`` of an
installed wheel. A malformed card is refused with its file, key and line.
"""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pydantic

from fgq_bench.bounded import read_text
from fgq_bench.documents import TOML_LIMIT, parse_toml
from fgq_bench.errors import UserError
from fgq_bench.files import is_file_name
from fgq_bench.seeds import LARGEST_SEED
from fgq_bench.sidecars import is_sidecar
from fgq_bench.suggest import unknown

LARGEST = 4096  # pixels: side of a model's input; a card that asks for more would fill the memory
Seed = Annotated[int, pydantic.Field(ge=0, le=LARGEST_SEED)]
Scalar = bool | int | pydantic.FiniteFloat | str


OWN = __package__ or "fgq_bench"  # the package whose modules a card may name


def _card_name(name: str) -> str:
    """``name`` if it is a card's; a file that is passed on must not bring in another, which names code."""
    if not is_file_name(name) or name.endswith(".toml"):
        raise ValueError(f"{name!r} is a file, where only the name of a card of this project may stand")
    return name


CardName = Annotated[str, pydantic.AfterValidator(_card_name)]


class Card(pydantic.BaseModel):
    """What every card has."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    code: ClassVar[str | None] = None  # the key that names a class, for cards that name code

    name: str
    title: str
    summary: str


class MethodCard(Card):
    """A quantization method; ``options`` are its hyper-parameters, ``presets`` named changes to them."""

    code: ClassVar[str | None] = "quantizer"

    quantizer: str  # "module:Class"
    algorithm: int  # raised when the code changes meaning, so that stored results become stale
    source: str  # paper and licence note
    schemes: list[str] = []  # if given, the only schemes the method makes sense with
    calibrated: bool = False  # whether it learns from a calibration manifest
    random: bool = False  # whether its outcome depends on the seed
    options: dict[str, Scalar] = {}
    sources: dict[str, str] = {}  # where each option's value comes from
    presets: dict[str, dict[str, Scalar]] = {}

    @pydantic.field_validator("presets")
    @classmethod
    def _names_are_parts_of_file_names(cls, presets: dict[str, Any]) -> dict[str, Any]:
        if odd := [name for name in presets if not is_file_name(name)]:
            raise ValueError(f"the preset {odd[0]!r} cannot be part of a file's name")
        return presets


class DatasetCard(Card):
    """A data set and one of its splits.

    With ``image_size`` the loader itself decides frames and pictures, and ``protocol`` says in words how. Without it,
    ``protocol`` names the protocol card that decides unless a user asks for another.
    """

    code: ClassVar[str | None] = "loader"

    loader: str  # "module:Class"
    licence: str
    citation: str
    protocol: str
    download: str = "nothing to download"  # the steps, in words
    disk: str = "none"  # size once unpacked
    tasks: list[str] = []  # that can be scored, without a protocol card
    image_size: int | None = pydantic.Field(None, ge=1, le=LARGEST)  # width in pixels
    options: dict[str, Scalar] = {}  # for the loader


class ProtocolEntry(pydantic.BaseModel):
    """How one data set is read and scored under a protocol: frames, pictures, tasks, what the paper prints."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    tasks: list[str] = []  # none: to calibrate on
    frames: Literal["random", "stride", "first", "each", "all"]  # see loaders/frames.py
    count: int | None = pydantic.Field(None, ge=1)  # random, first: frames of a sequence
    seed: Seed | None = None  # random
    stride: int | None = pydantic.Field(None, ge=1)  # stride
    at_most_half: bool = False  # stride: at most half the sequence's length
    minimum: int = 1  # sequences with fewer frames are left out
    resize: Literal["crop", "squash", "pad", "keep", "area", "cover"] = "crop"  # see loaders/images.py
    width: int = pydantic.Field(0, ge=0, le=LARGEST)  # pixels; area: none
    height: int | None = pydantic.Field(None, ge=1, le=LARGEST)  # squash, cover: pixels; squash: None: as wide
    pixels: int | None = pydantic.Field(None, ge=1, le=LARGEST**2)  # area: at most that many
    truth: Literal["image", "native"] = "image"  # resolution of the true depth
    headline: list[str] = []  # "task.metric[/category]" that the paper prints
    options: dict[str, Scalar] = {}  # for the loader, beside the data set card's
    notes: str = ""  # what the paper leaves open, and what is done here

    @pydantic.model_validator(mode="after")
    def _frames_are_complete(self) -> ProtocolEntry:
        needed = {"random": ("count", "seed"), "stride": ("stride",), "first": ("count",)}.get(self.frames, ())
        for name in ("count", "seed", "stride"):
            if (getattr(self, name) is not None) != (name in needed):
                raise ValueError(f"frames = {self.frames!r} {'needs' if name in needed else 'has no'} {name}")
        if self.at_most_half and self.frames != "stride":
            raise ValueError("at_most_half belongs to frames = 'stride'")
        if self.height is not None and self.resize not in ("squash", "cover"):
            raise ValueError("height belongs to resize = 'squash' and 'cover'")
        if self.height is None and self.resize == "cover":
            raise ValueError("resize = 'cover' needs height")
        if (self.pixels is not None, self.width > 0) != (self.resize == "area", self.resize != "area"):
            raise ValueError(
                f"resize = {self.resize!r} needs {'pixels and has no width' if self.resize == 'area' else 'width and has no pixels'}"
            )
        return self

    @property
    def side(self) -> int:
        """Width in pixels; under ``area`` that of a square picture."""
        return self.width or math.isqrt(self.pixels or 0)


class ProtocolCard(Card):
    """A paper's evaluation protocol: one entry per data set that it reads."""

    source: str  # paper, and where what it leaves open comes from
    datasets: dict[str, ProtocolEntry]


class ReportChanges(pydantic.BaseModel):
    """What a report of a published table is on another model; a key that is not given keeps the report's value."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    scope: str | None = None
    calibration: str | None = None
    sequences: int | None = None
    seeds: list[Seed] | None = None
    beside: dict[str, CardName] = {}  # none: each published data set is itself
    words: dict[str, str] = {}


class ReportCard(Card):
    """A table: which cells are its rows, which metrics its columns.

    With ``also_on`` the rows are run on further models, too: a table for each, and how far their rankings agree.
    With ``published`` it is a paper's table made here: rows and columns are the published ones, ``beside`` says which
    data set here stands beside which of the paper's, and ``models`` what changes on other models (``--model``).
    """

    model: str
    also_on: list[str] = []
    scope: str
    presets: list[Literal["quick", "full"]]  # of run-all; none: only where it is asked for by name
    datasets: list[CardName] = []
    rows: list[str] = []  # "METHOD[:PRESET] SCHEME [KEY=VALUE ...] [@CALIBRATION]"
    columns: list[str] = []  # "task.metric"
    protocol: CardName | None = None  # of data sets in files; None: each one's own
    calibration: str | None = None  # manifest of rows without @CALIBRATION; None: the model's own
    seeds: list[Seed] = [0]
    sequences: int | None = pydantic.Field(None, ge=1)  # only the first ones of each data set; None: all
    backend: str = "reference"
    pictures: list[str] = []  # rows whose predictions are drawn; none: no figures at all
    published: str | None = None  # "PAPER, TABLE" of reports/published, for example "fgq, Table 1"
    beside: dict[str, CardName] = {}  # published data set -> the one scored here
    words: dict[str, str] = {}  # method, preset, scheme or @CALIBRATION of a published row -> what it is here
    not_here: str = ""  # why nothing of the table is made here; empty: it is
    models: dict[str, ReportChanges] = {}

    @pydantic.field_validator("rows")
    @classmethod
    def _rows_name_cards(cls, rows: list[str]) -> list[str]:
        for row in rows:
            _card_name(row.partition(" ")[0].partition(":")[0])
        return rows

    @pydantic.model_validator(mode="after")
    def _says_what_it_shows(self) -> ReportCard:
        needed, paper = ("datasets", "rows", "columns"), ("beside", "words", "not_here", "models")
        for key in needed if self.published is None else ():
            if not getattr(self, key):
                raise ValueError(f"{key} is missing")
        for key in paper if self.published is None else (*needed, "also_on"):
            if getattr(self, key):
                why = (
                    "belongs to a report with published" if self.published is None else "is that of the published table"
                )
                raise ValueError(f"{key} {why}")
        if len({self.model, *self.also_on}) != 1 + len(self.also_on):
            raise ValueError(f"also_on names a model twice, or the report's own, {self.model!r}")
        return self


CardT = TypeVar("CardT", bound=Card)
KINDS: dict[str, type[Card]] = {
    "methods": MethodCard,
    "datasets": DatasetCard,
    "protocols": ProtocolCard,
    "reports": ReportCard,
}
FOLDERS = {**{kind: kind for kind in KINDS}, "protocols": "datasets/protocols"}


@cache
def content_root() -> Path:
    """Folder that holds ``methods/``, ``datasets/`` and ``reports/``: inside the wheel, else the repository root."""
    installed = Path(__file__).parent / "_content"
    return installed if installed.is_dir() else Path(__file__).parent.parent


def card_names(kind: str) -> list[str]:
    """Names of all cards of ``kind`` (a key of ``KINDS``)."""
    return sorted(path.stem for path in (content_root() / FOLDERS[kind]).glob("*.toml") if not is_sidecar(path.name))


def load_card(kind: type[CardT], name: str) -> CardT:
    """The card called ``name``, or the one in the file ``name`` if that ends in .toml.

    Only users name files, on the command line; they may name any code. A card that is called by its name runs this
    package's own. Raises UserError for an unknown name, for a malformed card, and for one that names other code.
    """
    plural = next(key for key, value in KINDS.items() if value is kind)
    path = Path(name) if name.endswith(".toml") else content_root() / FOLDERS[plural] / f"{name}.toml"
    if not (name.endswith(".toml") or is_file_name(name)) or not path.is_file():
        raise unknown(plural.removesuffix("s"), name, card_names(plural))
    card = parse_card(kind, path)
    if kind.code and not name.endswith(".toml") and not getattr(card, kind.code).startswith((f"{OWN}.", f"{OWN}:")):
        raise UserError(
            f"{path}: key {kind.code!r}: {getattr(card, kind.code)!r} is no module of {OWN}; to run other code, "
            "give the card's file on the command line"
        )
    return card


def parse_card(kind: type[CardT], path: Path) -> CardT:
    """Read and validate one file; the error names the file, the line and the key."""
    try:
        text = read_text(path, TOML_LIMIT)
        values = parse_toml(text)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not valid TOML: {str(error).splitlines()[0]}") from None
    try:
        card = kind.model_validate(values)
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
