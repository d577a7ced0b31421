"""Results: what identifies a cell, what a cell says, and the store on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fgq_bench.bounded import read_bytes
from fgq_bench.documents import parse_json, read_json
from fgq_bench.errors import NotApplicable, UserError
from fgq_bench.files import is_file_name, json_text, write_json, write_text
from fgq_bench.result_kinds.accuracy import AccuracyResult
from fgq_bench.result_kinds.calibration import CalibrationResult
from fgq_bench.result_kinds.common import ResultSchema
from fgq_bench.result_kinds.latency import LatencyResult
from fgq_bench.schema import check
from fgq_bench.sidecars import is_sidecar

SCHEMA = 1
KINDS: dict[str, type[ResultSchema]] = {
    "accuracy": AccuracyResult,
    "latency": LatencyResult,
    "calibration": CalibrationResult,
}
OPTIONAL = ("execution", "skipped", "notes")  # fields of a result
NOTES = ".meta.json"  # how the name of the file beside a result ends
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
    notes: list[str] = field(default_factory=list)  # what the copy of the data lacked, and what of it was left out
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
        """The file's content: every field, those of ``OPTIONAL`` only where there is something to say."""
        return {key: value for key, value in asdict(self).items() if value or key not in OPTIONAL}

    @classmethod
    def parse(cls, values: Any, where: str) -> Result:
        """The result with these ``values``; raises UserError, with ``where`` and the key, if they are not those of one."""
        if not isinstance(values, dict):
            raise UserError(f"{where}: not a result file (an object is expected); delete it and run again")
        if values.get("schema") != SCHEMA:
            raise UserError(f"{where}: schema {values.get('schema')!r:.60}, this version reads {SCHEMA}")
        kind = values.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise UserError(f"{where}: key 'kind': one of {', '.join(KINDS)} is expected")
        check(KINDS[kind], values, where)
        result = cls(**values)
        if not _is_finite(result.conditions):
            raise UserError(f"{where}: key 'conditions': a number is not finite; delete it and run again")
        if result.key != content_key(result.conditions):
            raise UserError(f"{where}: 'key' is not that of the conditions; delete it and run again")
        return result

    def check(self, where: str) -> None:
        """Raise UserError where a value is not what results of this kind hold."""
        check(KINDS[self.kind], self.values(), where)

    def covers(self, sequences: Sequence[str]) -> bool:
        """Whether every one of ``sequences`` was scored, in this order, or skipped; and no other."""
        skipped = {each["sequence"] for each in self.skipped}
        scored = [name for name in sequences if name not in skipped]
        return skipped <= set(sequences) and [row["sequence"] for row in self.sequences] == scored

    def path(self) -> Path:
        """Where the cell lives inside a store: no brackets or colons, the key's first 12 digits last.

        Raises UserError where a condition cannot be part of a path: a result file may come from anybody.
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
        self._named: set[Path] = set()  # that a warning was given of

    def read(self, path: Path) -> Result:
        """Read one file; raises UserError, with file and key, if it is damaged, of another schema or not ours."""
        try:
            content = read_bytes(path)
            values = parse_json(content.decode("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not a result file ({error}); delete it and run again") from None
        result = Result.parse(values, str(path))
        if result.path().name != path.name:
            raise UserError(f"{path}: its name should be {result.path().name}")
        if noted_beside(path, DIGEST) not in (None, hashlib.sha256(content).hexdigest()):
            raise UserError(f"{path}: damaged, its content is not what was stored; delete it and run again")
        return result

    def readable(self, paths: Iterable[Path]) -> list[Result]:
        """The results in ``paths``, in their order; a file that cannot be read is named once, and left out."""
        found = []
        for path in sorted(paths):
            if path.name.endswith(NOTES):
                continue
            try:
                found.append(self.read(path))
            except UserError as error:
                if path not in self._named:
                    _log.warning("%s; left out", error)
                self._named.add(path)
        return found

    def get(self, expected: Result, sequences: Sequence[str] | None = None) -> Result | None:
        """The stored result of a cell, None if there is none or it is damaged: then it is made again.

        ``sequences``: those that an accuracy result must have scored or skipped, in order.
        """
        path = self.root / expected.path()
        if not path.is_file():
            return None
        try:
            stored = self.read(path)
        except UserError as error:
            _log.warning("%s", error)
            return None
        if sequences is not None and stored.status == "ok" and not stored.covers(sequences):
            _log.warning("%s: key 'sequences': not those of the data set; left out", path)
            return None
        return stored if stored.key == expected.key else None

    def put(self, result: Result, meta: dict[str, Any]) -> None:
        """Write a result and, beside it, how it was made (``meta``: seconds, memory, environment, command).

        The SHA-256 of the result's file goes into the latter, so that the former is the same on every machine.
        """
        path = self.root / result.path()
        result.check(str(path))
        content = json_text(result.values())
        write_json(path.with_suffix(NOTES), {**meta, DIGEST: hashlib.sha256(content.encode()).hexdigest()})
        write_text(path, content)

    def computed_on(self, result: Result) -> dict[str, Any] | None:
        """What a stored result was computed on (``numerics.computed_on``); None where that is not noted beside it."""
        found = noted_beside(self.root / result.path(), COMPUTED_ON)
        return found if isinstance(found, dict) else None

    def all(self) -> list[Result]:
        """Every stored result in path order."""
        paths = sorted(path for path in self.root.rglob("*.json") if not is_sidecar(path.name))
        return [self.read(path) for path in paths if not path.name.endswith(NOTES)]


def _is_finite(values: Any) -> bool:
    """Whether no number in ``values`` is NaN or infinite."""
    try:
        json.dumps(values, allow_nan=False)
    except ValueError:
        return False
    return True


def noted_beside(path: Path, key: str) -> object:
    """What is noted beside a result or an artefact; None where nothing is (a store that was copied without)."""
    try:
        return read_json(path.with_suffix(NOTES))[key]
    except (OSError, ValueError, TypeError, KeyError):
        return None
