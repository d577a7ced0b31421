// Sort a table by a column: best first, reversed, as printed. Stable; rows without a value stay last.
{
  const NONE = new Set(["", "–", "failed", "refused", "nan"]);
  const words = new Intl.Collator("en", { numeric: true });

  function keyOf(row, column, numeric) {
    const cell = row.cells[column];
    if (numeric) return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    return NONE.has(cell.textContent) ? null : cell.textContent;
  }

  function sortRows(rows, column, numeric, sign) {
    const keyed = rows.map((row) => [keyOf(row, column, numeric), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (numeric ? a - b : words.compare(a, b));
    });
    return keyed.map(([, row]) => row);
  }

  function onHead(table, printed, column) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const head = heads[column];
    const cycle = head.textContent.includes("↑") ? ["descending", "ascending"] : ["ascending", "descending"];
    const order = [...cycle, "none"][cycle.indexOf(head.ariaSort) + 1];
    for (const other of heads) other.ariaSort = "none";
    head.ariaSort = order;
    const numeric = head.classList.contains("number");
    body.append(...(order === "none" ? printed : sortRows([...body.rows], column, numeric, order === "ascending" ? 1 : -1)));
  }

  for (const table of document.querySelectorAll("table")) {
    const printed = [...table.tBodies[0].rows];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.ariaSort = "none";
      head.querySelector("button").addEventListener("click", () => onHead(table, printed, column));
    });
  }

  // Filter: rows without a scheme (full precision, bf16) are references and stay beside every scheme.
  const form = document.getElementById("filter");
  if (form) {
    const rows = [...document.querySelectorAll("#tables tbody tr")];
    const apply = () => {
      const text = form.elements.text.value.trim().toLowerCase();
      const scheme = form.elements.scheme.value;
      for (const row of rows) {
        const fits = !scheme || !row.dataset.scheme || row.dataset.scheme === scheme;
        row.hidden = !(fits && row.textContent.toLowerCase().includes(text));
      }
      form.elements.count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }
}
