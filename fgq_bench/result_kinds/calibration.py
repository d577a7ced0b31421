"""Calibration results: what quantizing costs, in seconds and bytes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from fgq_bench.result_kinds.common import Compilation, Device, ResultSchema
from fgq_bench.schema import NotNegative, Schema


class Cost(Schema):
    """A quantity of one quantization."""

    value: NotNegative
    unit: Literal["seconds", "bytes"]


class Measured(Compilation):
    """Conditions: a quantized model, the machine, the software."""

    device: Device
    torch: str
    compiled: bool
    algorithm: int


class CalibrationResult(ResultSchema):
    """Costs by name (see ``fgq_bench.cost``)."""

    kind: Literal["calibration"]
    conditions: Measured
    metrics: dict[str, Cost]
    sequences: list[Any] = Field(max_length=0)
