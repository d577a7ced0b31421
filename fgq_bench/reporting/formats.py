"""Table formats: GitHub Markdown, LaTeX (booktabs), CSV."""

from __future__ import annotations

import re
from collections.abc import Callable

from fgq_bench.reporting.tables import Cell, Table
from fgq_bench.suggest import unknown

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$",
    "Δ": r"$\Delta$", "π": r"$\pi$", "³": r"$^3$", "δ": r"$\delta$", "<": r"$<$", ">": r"$>$", "°": r"$^\circ$", "–": "--",
}  # fmt: skip
_MARKDOWN_MARKS = {"": "{}", "best": "**{}**", "second": "<u>{}</u>"}
_LATEX_MARKS = {"": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in _one_line(text))


def _one_line(text: str) -> str:
    """Without line breaks, which end a Markdown row and, in pairs, a LaTeX argument."""
    return " ".join(text.split("\n"))


def _markdown(text: str) -> str:
    """A table's cell: no character of it begins another."""
    return _one_line(text).replace("|", r"\|")


def _label(name: str) -> str:
    """A name that LaTeX takes for a label."""
    return re.sub(r"[^\w.-]+", "-", name)


def to_markdown(table: Table) -> str:
    """A GitHub table under its caption."""

    def show(cell: Cell) -> str:
        return _MARKDOWN_MARKS[cell.mark].format(_markdown(cell.text))

    lines = [f"### {table.title}", "", table.caption, "", "| " + " | ".join(map(_markdown, table.heads)) + " |"]
    lines.append("|" + "|".join(["---", "---", *["---:"] * (len(table.heads) - 2)]) + "|")
    lines += ["| " + " | ".join(map(show, row)) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A booktabs table; needs ``booktabs`` and ``graphicx`` (it is scaled to the line width)."""

    def show(cell: Cell) -> str:
        return _LATEX_MARKS[cell.mark].format(escape_latex(cell.text))

    lines = [
        r"\begin{table}[t]", r"\centering", rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\label{{tab:{_label(table.name)}}}", r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{ll{'r' * (len(table.heads) - 2)}}}", r"\toprule",
        " & ".join(map(escape_latex, table.heads)) + r" \\", r"\midrule",
        *(" & ".join(map(show, row)) + r" \\" for row in table.rows),
        r"\bottomrule", r"\end{tabular}}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Comma-separated text cells, without marks."""
    text: str = table.frame.to_csv(index=False, lineterminator="\n")
    return text


FORMATS: dict[str, tuple[str, Callable[[Table], str]]] = {
    "md": ("md", to_markdown),
    "latex": ("tex", to_latex),
    "csv": ("csv", to_csv),
}


def find_format(name: str) -> tuple[str, Callable[[Table], str]]:
    """File ending and renderer of a format; raises UserError with close names."""
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return FORMATS[name]
