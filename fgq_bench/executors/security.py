"""Who may talk to a scheduler: whoever reaches one can run code, so it is on this machine or behind TLS."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fgq_bench.errors import UserError

if TYPE_CHECKING:
    from distributed.security import Security

EXAMPLE = "tcp://127.0.0.1:8786 or tls://HOST:8786"


@dataclass(frozen=True)
class Tls:
    """Files of a TLS identity: the authority that signed both sides, this side's certificate and its key."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, files: Mapping[str, Path | None]) -> Tls | None:
        """From ``--tls-ca``, ``--tls-cert``, ``--tls-key``; None where none is given. Raises UserError for a part."""
        given = {option: path for option, path in files.items() if path is not None}
        if not given:
            return None
        if missing := [option for option in files if option not in given]:
            raise UserError(f"TLS needs {', '.join(files)}; {missing[0]} is not given")
        for option, path in given.items():
            if not path.is_file():
                raise UserError(f"{option} {path}: no such file")
        return cls(*given.values())

    def security(self) -> Security:
        """For Dask: every connection is encrypted, and both sides show a certificate of the authority."""
        from distributed.security import Security

        ca, certificate, key = str(self.ca), str(self.certificate), str(self.key)
        return Security(
            require_encryption=True, tls_ca_file=ca, tls_client_cert=certificate, tls_client_key=key,
            tls_scheduler_cert=certificate, tls_scheduler_key=key, tls_worker_cert=certificate, tls_worker_key=key,
        )  # fmt: skip


def check_address(address: str, tls: Tls | None, insecure: bool) -> None:
    """Refuse a scheduler's address that is malformed, or that others can reach without TLS; raises UserError.

    ``insecure``: the user says that the network is closed.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("tcp", "tls") or host is None or port is None:
        raise UserError(f"--scheduler {address!r}: expected {EXAMPLE}")
    if parts.scheme == "tls" and tls is None:
        raise UserError(f"--scheduler {address}: TLS needs --tls-ca, --tls-cert, --tls-key")
    if parts.scheme == "tcp" and tls is not None:
        raise UserError(f"--scheduler {address}: with TLS the address begins with tls://")
    if parts.scheme == "tcp" and not is_loopback(host) and not insecure:
        raise UserError(f"--scheduler {address}: refused without TLS, whoever reaches it can run code; use tls:// with --tls-ca, --tls-cert, --tls-key, or --insecure on a closed network")  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host`` (names other than localhost are not looked up)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
