"""Tables inside a Markdown file, between ``<!-- table REPORT -->`` and ``<!-- end table -->``."""

from __future__ import annotations

import re

from fgq_bench.errors import UserError

_BLOCK = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(<!-- end table -->)", re.DOTALL)


def fill_tables(text: str, rendered: dict[str, str]) -> str:
    """``text`` with every marked table replaced by ``rendered[report]``; raises UserError for an unknown report."""

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in rendered:
            raise UserError(f"table {name!r} is asked for, but was not rendered")
        return f"{match[1]}{rendered[name]}{match[3]}"

    return _BLOCK.sub(replace, text)
