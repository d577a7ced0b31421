"""The papers' tables checked against the metrics' own algebra and against themselves, one file per kind of check."""
