"""What results of every kind hold: identity, status, and the sizes and placement of a quantized model."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fgq_bench.quant.header import ManifestIdentity, MethodIdentity, SchemeText
from fgq_bench.schema import Count, NotNegative, OpenSchema, Schema, Size, absent

COMPONENTS = ("aa", "dino", "camera", "heads", "scales", "transforms")


def _sizes(sizes: dict[str, int]) -> dict[str, int]:
    expected = {*COMPONENTS, "total", "total_bf16"}
    if sizes and sizes.keys() != expected:
        raise ValueError(f"the keys are {', '.join(sorted(expected))}")
    if sizes and not (sizes["total"] == sum(sizes[part] for part in COMPONENTS) > 0 < sizes["total_bf16"]):
        raise ValueError("'total' must be the sum of the parts, and no total is 0")
    return sizes


Sizes = Annotated[dict[str, Count], AfterValidator(_sizes)]
"""Bytes by component and in all (see ``quant.size.count_bytes``), or nothing."""


class ModelIdentity(OpenSchema):
    """The float model."""

    name: str
    hash: str


class Compilation(OpenSchema):
    """Conditions of a quantized model (see ``planning.Run.compilation``)."""

    model: ModelIdentity
    method: MethodIdentity
    preset: str | None
    calibration: ManifestIdentity | None
    scheme: SchemeText
    scope: str
    seed: int


class Device(OpenSchema):
    """Where a time was measured."""

    name: str
    type: Literal["cpu", "cuda"]
    threads: Size


class Shares(Schema):
    """Of what runs as integers."""

    layers: NotNegative
    bytes: NotNegative
    flops: NotNegative


class Quantisers(Schema):
    """Of inputs, by kind."""

    fused: Count
    separate: Count


class Execution(Schema):
    """How a quantized model is executed (see ``kernels.placement.Placement.summary``)."""

    backend: str
    integer: Shares
    kernels: dict[str, Count]
    refusals: dict[str, Count]
    quantisers: Quantisers


class Skipped(Schema):
    """A sequence that was left out as bad data."""

    sequence: str
    reason: str


class ResultSchema(Schema):
    """The fields of ``results.Result``."""

    key: str
    status: Literal["ok", "failed", "not applicable"]
    error: str | None
    metrics: dict[str, Any]
    sequences: list[Any]
    bytes: Sizes
    skipped: list[Skipped] = absent()
    notes: list[str] = absent()
    schema_number: int = Field(alias="schema")

    @model_validator(mode="after")
    def _failures_say_why(self) -> Self:
        if (self.status == "ok") != (self.error is None):
            raise ValueError("key 'error': a text where the status is not ok, else null")
        return self
