"""Latency results: one case, timed in several variants on one machine."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from fgq_bench.models.checkpoints import MODELS
from fgq_bench.result_kinds.common import Compilation, Device, Execution, ModelIdentity, ResultSchema, Sizes
from fgq_bench.schema import Count, Finite, NotNegative, OpenSchema, Positive, Schema, Size, absent

Subject = Literal["layers", "blocks", "aggregator", "model"]
Role = Literal["qkv", "proj", "fc1", "fc2"]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)
ROLES: tuple[Role, ...] = get_args(Role)  # linears of a transformer block
SIZES_OF = {"layers": {"role", "tokens", "in", "out"}, "blocks": {"block", "frames", "image_size"}}
SIZES = {"frames", "image_size"}  # of the other subjects


class Speedup(Schema):
    """How many times as fast as another variant, with a 95 % interval."""

    value: Finite
    ci_low: Finite
    ci_high: Finite
    over: str


class Peak(Schema):
    """Bytes of one call."""

    allocated: Count
    reserved: Count = absent()


class Times(Schema):
    """Raw samples and their quantiles in seconds, or why there are none."""

    error: str = absent()
    value: Positive = absent()
    p20: Positive = absent()
    p80: Positive = absent()
    samples: Annotated[list[Positive], Field(min_length=1)] = absent()
    unit: Literal["s"] = absent()
    aggregation: str = absent()
    speedup: Speedup = absent()

    @model_validator(mode="after")
    def _samples_or_an_error(self) -> Self:
        timed = {"value", "p20", "p80", "samples", "unit"}
        if not self._stands_alone() and (missing := timed - self.model_fields_set):
            raise ValueError(f"key {min(missing)!r} is missing")
        if self._stands_alone() and "value" in self.model_fields_set:
            raise ValueError("a value, or the reason why there is none: not both")
        return self

    def _stands_alone(self) -> bool:
        """Whether a reason stands in place of times."""
        return "error" in self.model_fields_set


class Variant(Times):
    """One way to do a case's work: times, memory, where the time went, what it is."""

    refused: dict[str, str] = absent()  # kernel -> why it does not take the layer
    eager: Times = absent()
    not_examined: str = absent()
    operators: list[str] = absent()
    roofline: NotNegative = absent()
    resident_bytes: dict[str, Count] = absent()
    working_bytes: Peak = absent()
    peak_bytes: Peak = absent()
    breakdown: dict[str, NotNegative] = absent()
    kernel: str = absent()
    version: str | None = absent()
    method: str = absent()
    scheme: str = absent()
    execution: Execution = absent()
    stored_bytes: Sizes = absent()

    def _stands_alone(self) -> bool:
        return bool({"error", "refused"} & self.model_fields_set)

    @model_validator(mode="after")
    def _time_went_somewhere(self) -> Self:
        if "breakdown" in self.model_fields_set and not sum(self.breakdown.values()) > 0:
            raise ValueError("key 'breakdown': no part took any time")
        return self


class Compared(OpenSchema):
    """What was compared: schemes of layers, or quantized networks of one scope; by which kernels."""

    backend: str
    schemes: list[str] = absent()
    variants: list[Compilation] = absent()
    scope: str = absent()


class Timed(OpenSchema):
    """Conditions: machine, software, case with its sizes, variants."""

    model: ModelIdentity
    device: Device
    torch: str
    algorithm: int
    subject: Subject
    case: str
    variants: Compared
    role: Role = absent()
    tokens: Size = absent()
    into: Size = absent("in")
    out: Size = absent()
    block: str = absent()
    frames: Size = absent()
    image_size: Size = absent()

    @model_validator(mode="after")
    def _has_the_sizes_of_its_subject(self) -> Self:
        there = {"in" if name == "into" else name for name in self.model_fields_set}
        if missing := SIZES_OF.get(self.subject, SIZES) - there:
            raise ValueError(f"key {min(missing)!r} is missing, which results of {self.subject} have")
        compared = {"schemes"} if self.subject == "layers" else {"variants", "scope"}
        if missing := compared - self.variants.model_fields_set:
            raise ValueError(f"key 'variants.{min(missing)}' is missing, which results of {self.subject} have")
        if self.model.name not in MODELS:
            raise ValueError(f"key 'model.name': no model {self.model.name!r}; there are {', '.join(MODELS)}")
        return self


class Peaks(Schema):
    """Measured rates of the device; null: it cannot do it."""

    bf16_flops: Positive | None
    int8_ops: Positive | None
    bandwidth: Positive | None
    kernels: dict[Literal["bf16", "int8", "bandwidth"], str] = absent()  # what ran longest; not in older results


class About(Schema):
    """What the roofline shares refer to."""

    peaks: Peaks


class LatencyResult(ResultSchema):
    """Entries by variant."""

    kind: Literal["latency"]
    conditions: Timed
    metrics: dict[str, Variant]
    sequences: list[Any] = Field(max_length=0)
    execution: About = absent()
