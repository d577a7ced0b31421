"""An artefact's header: how a quantized model was made."""

from __future__ import annotations

from typing import Annotated

import pydantic
from pydantic import AfterValidator, Field

from fgq_bench.errors import UserError
from fgq_bench.quant.scheme import Scheme
from fgq_bench.schema import OpenSchema

OTHER_SCHEMES, FLOAT_TARGETS = "other_schemes", "float_targets"  # keys of ``Header``


def _parsed(text: str) -> str:
    try:
        Scheme.parse(text)
    except UserError as error:
        raise ValueError(str(error)) from None
    return text


SchemeText = Annotated[str, AfterValidator(_parsed)]


class MethodIdentity(OpenSchema):
    """A method as it identifies what it makes."""

    name: str
    algorithm: int
    options: dict[str, bool | int | pydantic.FiniteFloat | str]


class ManifestIdentity(OpenSchema):
    """A calibration manifest as it identifies what was calibrated."""

    manifest: str
    hash: str


class FloatModel(OpenSchema):
    """The float model that was quantized."""

    hash: str


class Header(OpenSchema):
    """What identifies a quantized model, and how it differs from "every target at the scheme".

    ``other_schemes`` are schemes that linears have beside ``scheme`` (mixed precision), ``float_targets`` the linears
    of the scope that stay float.
    """

    model: FloatModel
    method: MethodIdentity
    preset: str | None
    calibration: ManifestIdentity | None
    scheme: SchemeText
    scope: str
    seed: int
    calibrated_on: list[str] = Field([])
    other_schemes: list[SchemeText] = Field([])
    float_targets: list[str] = Field([])
