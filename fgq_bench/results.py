"""Results: what identifies a cell, what a cell says, and the store on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fgq_bench.errors import NotApplicable, UserError
from fgq_bench.files import is_file_name, json_text, write_json, write_text

SCHEMA = 1
DIGEST = "sha256"  # of a result's file, in the file beside it
COMPUTED_ON = "computed_on"  # there, too: ``numerics.computed_on``
_log = logging.getLogger(__name__)


def content_key(conditions: dict[str, Any]) -> str:
    """SHA-256 of ``conditions`` as canonical JSON, with the schema number."""
    text = json.dumps({"schema": SCHEMA, **conditions}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Result:
    """One cell. Units inside: fractions 0-1, degrees, metres, seconds, bytes; the reporter converts."""

    kind: Literal["accuracy", "latency", "calibration"]
    key: str
    conditions: dict[str, Any]
    status: Literal["ok", "failed", "not applicable"]
    error: str | None = None  # why it is not ok, in one line
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    sequences: list[dict[str, Any]] = field(default_factory=list)
    bytes: dict[str, int] = field(default_factory=dict)
    execution: dict[str, Any] = field(default_factory=dict)  # what ran as integers; empty on ``reference``
    skipped: list[dict[str, str]] = field(default_factory=list)  # sequences left out as bad data, with the reasons
    schema: int = SCHEMA

    @property
    def method(self) -> str:
        """``NAME[:PRESET]`` (of an accuracy or calibration result)."""
        name, preset = self.conditions["method"]["name"], self.conditions.get("preset")
        return f"{name}:{preset}" if preset else str(name)

    @property
    def labels(self) -> dict[str, str]:
        """What a person calls this cell: model, dataset, task, method, scheme (of an accuracy result)."""
        c = self.conditions
        return {
            "model": c["model"]["name"], "dataset": c["dataset"]["name"], "task": c["task"]["name"],
            "method": self.method, "scheme": c["scheme"],
        }  # fmt: skip

    def values(self) -> dict[str, Any]:
        """The file's content: every field, ``execution`` and ``skipped`` only where there is something to say."""
        return {key: value for key, value in asdict(self).items() if value or key not in ("execution", "skipped")}

    def path(self) -> Path:
        """Where the cell lives inside a store: no brackets or colons, the key's first 12 digits last.

        Raises UserError where a condition is no part of a path: a result file may come from anybody.
        """
        parts = self._parts()
        if odd := [part for part in parts if not is_file_name(part)]:
            raise UserError(f"result {self.key[:12]}: {odd[0]!r} cannot be the name of a file")
        return Path(*parts)

    def _parts(self) -> list[str]:
        c = self.conditions
        if self.kind == "latency":
            return [c["model"]["name"], self.kind, self._machine, c["subject"], f"{c['case']}-{self.key[:12]}.json"]
        file = f"{self.method.replace(':', '+')}-{c['scheme']}-{self.key[:12]}.json"
        if self.kind == "calibration":
            return [c["model"]["name"], self.kind, self._machine, file]
        n = self.labels
        return [n["model"], n["dataset"], n["task"], file]

    def ended(self, error: Exception) -> Result:
        """This cell without a value, because of ``error``: failed, or not applicable."""
        status: Literal["failed", "not applicable"] = "not applicable" if isinstance(error, NotApplicable) else "failed"
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return replace(self, status=status, error=reason.splitlines()[0])

    @property
    def _machine(self) -> str:
        """The device's name as a folder's (of a latency or calibration result)."""
        return re.sub(r"[^a-z0-9]+", "-", self.conditions["device"]["name"].lower()).strip("-")


class Store:
    """A folder of results, one JSON per cell; merging two stores is copying files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: Path) -> Result:
        """Read one file; raises UserError if it is damaged or of another schema."""
        try:
            content = path.read_bytes()
            values = json.loads(content.decode("utf-8"))
            if values.get("schema") != SCHEMA:
                raise UserError(f"{path}: schema {values.get('schema')!r}, this version reads {SCHEMA}")
            result = Result(**values)
            _check(result, path)
        except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise UserError(f"{path}: not a result file ({error}); delete it and run again") from None
        if noted_beside(path, DIGEST) not in (None, hashlib.sha256(content).hexdigest()):
            raise UserError(f"{path}: damaged, its content is not what was stored; delete it and run again")
        return result

    def get(self, expected: Result) -> Result | None:
        """The stored result of a cell, None if there is none or it is damaged: then it is made again."""
        path = self.root / expected.path()
        if not path.is_file():
            return None
        try:
            stored = self.read(path)
        except UserError as error:
            _log.warning("%s", error)
            return None
        return stored if stored.key == expected.key else None

    def put(self, result: Result, meta: dict[str, Any]) -> None:
        """Write a result and, beside it, how it was made (``meta``: seconds, memory, environment, command).

        The SHA-256 of the result's file goes into the latter, so that the former is the same on every machine.
        """
        path = self.root / result.path()
        content = json_text(result.values())
        write_json(path.with_suffix(".meta.json"), {**meta, DIGEST: hashlib.sha256(content.encode()).hexdigest()})
        write_text(path, content)

    def computed_on(self, result: Result) -> dict[str, Any] | None:
        """What a stored result was computed on (``numerics.computed_on``); None where that is not noted beside it."""
        found = noted_beside(self.root / result.path(), COMPUTED_ON)
        return found if isinstance(found, dict) else None

    def all(self) -> list[Result]:
        """Every stored result in path order."""
        paths = sorted(self.root.rglob("*.json"))
        return [self.read(path) for path in paths if not path.name.endswith(".meta.json")]


def _check(result: Result, path: Path) -> None:
    """Raise TypeError, KeyError or ValueError for fields of another kind, and where the key is not that of the conditions."""
    if result.kind not in ("accuracy", "latency", "calibration") or result.status not in (
        "ok",
        "failed",
        "not applicable",
    ):
        raise ValueError(f"kind {result.kind!r}, status {result.status!r}")
    for field_name, kind in (("conditions", dict), ("metrics", dict), ("sequences", list), ("bytes", dict)):
        if not isinstance(getattr(result, field_name), kind):
            raise TypeError(f"key {field_name!r} is no {kind.__name__}")
    if result.key != content_key(result.conditions):
        raise ValueError("key 'key' is not that of the conditions")
    if result.path().name != path.name:
        raise ValueError(f"its name should be {result.path().name}")


def noted_beside(path: Path, key: str) -> object:
    """What is noted beside a result or an artefact; None where nothing is (a store that was copied without)."""
    try:
        return json.loads(path.with_suffix(".meta.json").read_text(encoding="utf-8"))[key]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
