"""Records of CO3Dv2's annotations as schemas; official ones have many more keys, which nobody here reads."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, PlainValidator, RootModel

from fgq_bench.schema import OpenSchema


def _numbers(count: int) -> PlainValidator:
    """A number, a list or a list of lists with ``count`` numbers in all, as a flat list; NaN is for its frame to refuse."""

    def flat(value: Any) -> list[float]:
        rows = value if isinstance(value, list) else [value]
        numbers = [x for row in rows for x in (row if isinstance(row, list) else [row])]
        try:
            if len(numbers) != count or not all(type(x) in (int, float) for x in numbers):
                raise ValueError
            return [float(x) for x in numbers]
        except (ValueError, OverflowError):
            raise ValueError(f"{count} numbers are expected, not {value!r:.60}") from None

    return PlainValidator(flat)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r:.60} cannot be printed")
    return text


def _whole(numbers: list[float]) -> list[float]:
    if not numbers[0].is_integer():
        raise ValueError(f"a whole number is expected, not {numbers[0]}")
    return numbers


One = Annotated[list[float], _numbers(1)]
Two = Annotated[list[float], _numbers(2)]
Three = Annotated[list[float], _numbers(3)]
Nine = Annotated[list[float], _numbers(9)]
Text = Annotated[str, AfterValidator(_printable)]


class Camera(OpenSchema):
    """PyTorch3D's row vectors, NDC."""

    R: Nine
    T: Three
    focal_length: Two
    principal_point: Two

    @property
    def row(self) -> list[float]:
        """16 numbers: R, T, focal length, principal point."""
        return [*self.R, *self.T, *self.focal_length, *self.principal_point]


class Frame(Camera):
    """A frame of a preprocessed file."""

    filepath: Text


class Preprocessed(RootModel[dict[Text, list[Frame]]]):
    """``{category}_{split}.jgz``: sequence -> frames."""


class Viewpoint(Camera):
    """The camera of an official frame."""

    intrinsics_format: Literal["ndc_isotropic"]  # CO3Dv2's


class Picture(OpenSchema):
    """Height and width, pixels."""

    size: Two


class Depth(OpenSchema):
    """What stored depth is multiplied by."""

    scale_adjustment: One


class Named(OpenSchema):
    """Any official record."""

    sequence_name: Text


class FrameRecord(Named):
    """A record of ``frame_annotations.jgz``."""

    frame_number: Annotated[One, AfterValidator(_whole)]
    viewpoint: Viewpoint
    image: Picture
    depth: Depth | None = None

    @property
    def row(self) -> list[float]:
        """19 numbers: those of the camera, size, scale (NaN: no depth)."""
        scale = [float("nan")] if self.depth is None else self.depth.scale_adjustment
        return [*self.viewpoint.row, *self.image.size, *scale]


class SequenceRecord(Named):
    """A record of ``sequence_annotations.jgz``; no score counts as 0."""

    viewpoint_quality_score: One | None = None
