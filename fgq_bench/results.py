"""Results: what identifies a cell, what a cell says, and the store on disk."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fgq_bench.errors import NotApplicable, UserError
from fgq_bench.files import write_json

SCHEMA = 1


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
        """Where the cell lives inside a store: no brackets or colons, the key's first 12 digits last."""
        c = self.conditions
        if self.kind == "latency":
            return Path(c["model"]["name"], self.kind, self._machine, c["subject"], f"{c['case']}-{self.key[:12]}.json")
        file = f"{self.method.replace(':', '+')}-{c['scheme']}-{self.key[:12]}.json"
        if self.kind == "calibration":
            return Path(c["model"]["name"], self.kind, self._machine, file)
        n = self.labels
        return Path(n["model"], n["dataset"], n["task"], file)

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
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.get("schema") != SCHEMA:
                raise UserError(f"{path}: schema {values.get('schema')!r}, this version reads {SCHEMA}")
            return Result(**values)
        except (json.JSONDecodeError, TypeError, AttributeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a result file ({error}); delete it and run again") from None

    def get(self, expected: Result) -> Result | None:
        """The stored result of a cell, None if there is none."""
        path = self.root / expected.path()
        return self.read(path) if path.is_file() else None

    def put(self, result: Result, meta: dict[str, Any]) -> None:
        """Write a result and, beside it, how it was made (``meta``: seconds, memory, environment, command)."""
        path = self.root / result.path()
        write_json(path.with_suffix(".meta.json"), meta)
        write_json(path, result.values())

    def all(self) -> list[Result]:
        """Every stored result in path order."""
        paths = sorted(self.root.rglob("*.json"))
        return [self.read(path) for path in paths if not path.name.endswith(".meta.json")]
