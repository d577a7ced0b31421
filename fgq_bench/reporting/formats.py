"""Table formats: GitHub Markdown, LaTeX (booktabs), CSV."""

from __future__ import annotations

import re
from collections.abc import Callable

from fgq_bench.reporting.tables import Cell, Table
from fgq_bench.suggest import unknown
from fgq_bench.terminal import printable

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$",
    "Δ": r"$\Delta$", "π": r"$\pi$", "³": r"$^3$", "δ": r"$\delta$", "<": r"$<$", ">": r"$>$", "°": r"$^\circ$", "–": "--",
}  # fmt: skip
_MARKDOWN_SPECIAL = re.compile(r"[\\|*~]|<(?=[A-Za-z/!?])|](?=[(\[:])")
_MARKDOWN_BLOCK = re.compile(r"^(?:#|>|[-+](?=[-+ ])|```)|(?<=^\d)[.)]|(?<=^\d\d)[.)]")
_NUMBERS = re.compile(r"[-+\d.,\[\]±%°x e]+")  # values with intervals and units: nothing to compute, nothing to call
_MARKDOWN_MARKS = {"": "{}", "best": "**{}**", "second": "<u>{}</u>"}
_LATEX_MARKS = {"": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def one_line(text: str) -> str:
    """Without line breaks, which end a Markdown row and, in pairs, a LaTeX argument; tabs and escape codes go, too."""
    return printable(" ".join(text.splitlines()).replace("\t", " "))


def escape_markdown(text: str) -> str:
    """Text in which no tag, comment, link, emphasis or cell of a table begins; code in backquotes stays code."""
    return _MARKDOWN_SPECIAL.sub(r"\\\g<0>", one_line(text))


def markdown_paragraph(text: str) -> str:
    """``escape_markdown`` for a text that begins a line: it begins no heading, list, quotation or code, either."""
    return _MARKDOWN_BLOCK.sub(r"\\\g<0>", escape_markdown(text).lstrip())


def plain_name(name: str) -> str:
    """A name that LaTeX takes for a label, and every file system for one file's."""
    return re.sub(r"[^\w.-]+", "-", name)


def to_markdown(table: Table) -> str:
    """A GitHub table under its caption."""

    def show(cell: Cell) -> str:
        return _MARKDOWN_MARKS[cell.mark].format(escape_markdown(cell.text))

    lines = [
        f"### {escape_markdown(table.title)}",
        "",
        markdown_paragraph(table.caption),
        "",
        "| " + " | ".join(map(escape_markdown, table.heads)) + " |",
    ]
    lines.append("|" + "|".join(["---", "---", *["---:"] * (len(table.heads) - 2)]) + "|")
    lines += ["| " + " | ".join(map(show, row)) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A booktabs table; needs ``booktabs`` and ``graphicx`` (it is scaled to the line width)."""

    def show(cell: Cell) -> str:
        return _LATEX_MARKS[cell.mark].format(escape_latex(cell.text))

    lines = [
        r"\begin{table}[t]", r"\centering", rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\label{{tab:{plain_name(table.name)}}}", r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{ll{'r' * (len(table.heads) - 2)}}}", r"\toprule",
        " & ".join(map(escape_latex, table.heads)) + r" \\", r"\midrule",
        *(" & ".join(map(show, row)) + r" \\" for row in table.rows),
        r"\bottomrule", r"\end{tabular}}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Comma-separated text cells, without marks; none of them is a formula to a spreadsheet."""
    frame = table.frame.map(_csv)
    text: str = frame.to_csv(index=False, lineterminator="\n", header=[_csv(head) for head in table.heads])
    return text


def _csv(text: str) -> str:
    """A cell; what a spreadsheet would compute begins with an apostrophe, which makes it a text."""
    line = one_line(text)
    return f"'{line}" if line.lstrip()[:1] in tuple("=+-@") and not _NUMBERS.fullmatch(line) else line


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
