"""Which entries of a folder are nobody's data: what operating systems, viewers and archivers leave beside the others."""

from __future__ import annotations

SYSTEMS = frozenset(
    ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found")
)  # fmt: skip


def is_sidecar(name: str) -> bool:
    """Whether a file or folder is hidden (``._0.png``, ``.DS_Store``) or a system's own (``__MACOSX``, ``Thumbs.db``)."""
    return name.startswith(".") or name.lower() in SYSTEMS
