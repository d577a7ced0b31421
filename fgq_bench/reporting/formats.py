"""Table formats: GitHub Markdown, LaTeX (booktabs), CSV."""

from __future__ import annotations

from collections.abc import Callable

from fgq_bench.reporting.tables import Table
from fgq_bench.suggest import unknown

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "Δ": r"$\Delta$", "δ": r"$\delta$", "<": r"$<$", ">": r"$>$", "°": r"$^\circ$", "–": "--",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in text)


def to_markdown(table: Table) -> str:
    """A GitHub table under its caption."""
    heads = list(table.frame.columns)
    lines = [f"### {table.title}", "", table.caption, "", "| " + " | ".join(heads) + " |"]
    lines.append("|" + "|".join(["---", "---", *["---:"] * (len(heads) - 2)]) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in table.frame.astype(str).itertuples(index=False)]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A booktabs table; needs ``booktabs`` and ``graphicx`` (it is scaled to the line width)."""
    heads = [escape_latex(head) for head in table.frame.columns]
    rows = [" & ".join(map(escape_latex, row)) + r" \\" for row in table.frame.astype(str).itertuples(index=False)]
    lines = [
        r"\begin{table}[t]", r"\centering", rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}", r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{ll{'r' * (len(heads) - 2)}}}", r"\toprule", " & ".join(heads) + r" \\", r"\midrule",
        *rows, r"\bottomrule", r"\end{tabular}}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Comma-separated text cells."""
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
