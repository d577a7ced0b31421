"""From a method's name to its quantizer: ``NAME[:PRESET]`` plus overrides -> card -> class, imported lazily."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import pydantic

from fgq_bench.cards import MethodCard, Scalar, load_card
from fgq_bench.documents import parse_toml
from fgq_bench.errors import UserError
from fgq_bench.lazy import find_class
from fgq_bench.suggest import unknown

if TYPE_CHECKING:
    from fgq_bench.models.interface import ReconstructionModel
    from fgq_bench.quant.scheme import Scheme
    from fgq_bench.quantizers.base import Quantizer


@dataclass(frozen=True)
class Method:
    """A method with its hyper-parameters resolved: card, then preset, then overrides."""

    card: MethodCard
    preset: str | None
    options: dict[str, Scalar]

    @property
    def label(self) -> str:
        """``name`` or ``name:preset``."""
        return f"{self.card.name}:{self.preset}" if self.preset else self.card.name

    def identity(self) -> dict[str, Any]:
        """What decides the method's outcome, for result keys: never its title or summary.

        The quantizer is named where it is not the one of the module that is called like the method.
        """
        about = {
            "name": self.card.name,
            "algorithm": self.card.algorithm,
            "options": dict(sorted(self.options.items())),
        }
        cls = self._quantizer_class()
        own = cls.__module__ == f"fgq_bench.quantizers.{self.card.name}"
        return about if own else {**about, "quantizer": f"{cls.__module__}:{cls.__qualname__}"}

    @property
    def is_random(self) -> bool:
        """Whether the outcome depends on the seed, with these options."""
        return self.card.random and self.quantizer().random

    def needs_calibration(self, scheme: Scheme) -> bool:
        """Whether it takes a calibration manifest: the method learns from it, or the scheme's static scales do."""
        return self.card.calibrated or scheme.has_static_inputs

    def quantizer(self) -> Quantizer:
        """Import and build the quantizer; raises UserError for options that it refuses."""
        cls = self._quantizer_class()
        try:
            return cls(cls.Options(**self.options))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "its options"
            known = ", ".join(cls.Options.model_fields) or "none"
            raise UserError(f"method {self.label}: option {key!r}: {first['msg']} (options: {known})") from None

    def _quantizer_class(self) -> type[Quantizer]:
        from fgq_bench.quantizers.base import Quantizer

        return find_class(self.card.quantizer, Quantizer, f"method {self.card.name}")  # type: ignore[type-abstract]


def split_pair(option: str, text: str) -> tuple[str, str]:
    """Key and value of ``KEY=VALUE``; raises UserError that names the option."""
    key, sign, value = text.partition("=")
    if not (key and sign and value):
        raise UserError(f"{option} {text!r}: expected KEY=VALUE")
    return key.strip(), value.strip()


def parse_overrides(texts: Iterable[str]) -> dict[str, Scalar]:
    """Overrides of a method's options, as ``--set`` is given them; values are read as TOML scalars, else as text."""
    overrides: dict[str, Scalar] = {}
    for text in texts:
        key, value = split_pair("--set", text)
        try:
            parsed = parse_toml(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        except ValueError as error:
            raise UserError(f"--set {text!r:.60}: {error}") from None
        if not isinstance(parsed, (bool, int, float, str)) or (isinstance(parsed, float) and not isfinite(parsed)):
            raise UserError(f"--set {text!r}: the value must be a finite number, true, false or text")
        overrides[key] = parsed
    return overrides


def find_method(text: str, overrides: dict[str, Scalar] | None = None) -> Method:
    """Resolve ``NAME`` or ``NAME:PRESET``; raises UserError with close names."""
    name, _, preset = text.partition(":")
    card = load_card(MethodCard, name)
    if preset and preset not in card.presets:
        raise unknown(f"preset of {name}", preset, card.presets)
    options = {**card.options, **(card.presets[preset] if preset else {}), **(overrides or {})}
    return Method(card, preset or None, options)


def check_compilable(method: Method, scheme: Scheme, scope: str, model: ReconstructionModel) -> None:
    """Refuse before anything runs what can never work; raises UserError.

    That is: a scheme the method's card excludes, and group sizes that do not divide a width.
    """
    from fgq_bench.quant.scopes import target_linears

    if method.card.schemes and str(scheme) not in method.card.schemes:
        raise UserError(f"method {method.label} only exists at {', '.join(method.card.schemes)}, not at {scheme}")
    for name in target_linears(model, scope):
        linear: Any = model.get_submodule(name)
        scheme.groups_of(linear.in_features, name)
