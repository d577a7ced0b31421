// Any two columns of a report against each other, intervals as bars.
if (DATA.scatter) {
  const section = document.getElementById("scatter");
  const form = section.querySelector("form").elements;
  const [host, legend, readout, status, conditions] = [".chart", ".legend", ".readout", ".status", ".conditions"].map((name) => section.querySelector(name));
  const schemesOf = (sets) => [...new Set(sets.flatMap((set) => set.rows.map((row) => row.scheme)))];
  const kinds = schemesOf(DATA.scatter); // a scheme has one look in every report
  const find = (set, part, otherwise) => {
    const index = set.axes.findIndex((axis) => axis.label.startsWith(part));
    return index < 0 ? otherwise : index;
  };

  function choose() {
    const set = DATA.scatter[form.set.value];
    const labels = set.axes.map((axis) => axis.label);
    fillSelect(form.x, labels, find(set, "MB", 0));
    fillSelect(form.y, labels, find(set, "Δ rotation", 0));
    form.logx.checked = false;
    form.logy.checked = labels[form.y.value].startsWith("Δ");
    legend.querySelectorAll("label").forEach((label) => label.remove());
    schemesOf([set]).forEach((scheme) => {
      const box = element("input", { type: "checkbox", value: scheme });
      box.checked = true;
      const sign = shape("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" }, mark(kinds.indexOf(scheme)));
      legend.append(element("label", {}, box, sign, scheme || "full precision"));
    });
    draw();
  }

  function draw() {
    const set = DATA.scatter[form.set.value];
    const [x, y] = [Number(form.x.value), Number(form.y.value)];
    const wanted = new Set([...legend.querySelectorAll("input:checked")].map((box) => box.value));
    const rows = set.rows.filter((row) => wanted.has(row.scheme));
    const measured = rows.filter((row) => row.values[x] && row.values[y]);
    const shown = measured.filter((row) => !(form.logx.checked && row.values[x][0] <= 0) && !(form.logy.checked && row.values[y][0] <= 0));
    const notes = [];
    if (rows.length > measured.length) notes.push(`${rows.length - measured.length} of ${rows.length} rows are not measured in both.`);
    if (measured.length > shown.length) notes.push(`At 0, which a log axis cannot show: ${measured.filter((row) => !shown.includes(row)).map((row) => row.name).join("; ")}.`);
    status.textContent = notes.join(" ");
    conditions.textContent = [set.conditions, ...new Set([x, y].map((axis) => set.axes[axis].note))].join(" ");
    readout.textContent = "Point at a mark, or reach it with Tab and the arrow keys, to read its numbers.";
    if (!shown.length) return host.replaceChildren(element("p", { class: "note" }, "No row to show."));
    plot(set, shown, x, y);
  }

  function spread(point, log) {
    return [point[0], point[1] ?? point[0], point[2] ?? point[0]].filter((value) => !log || value > 0);
  }

  function plot(set, rows, x, y) {
    const [labelX, labelY] = [set.axes[x].label, set.axes[y].label];
    const frame = drawFrame(host, `${set.title}: ${labelY} against ${labelX}`, host.clientWidth < 600 ? 340 : 460);
    const across = scale(rows.flatMap((row) => spread(row.values[x], form.logx.checked)), form.logx.checked, MARGIN.left, frame.right);
    const up = scale(rows.flatMap((row) => spread(row.values[y], form.logy.checked)), form.logy.checked, frame.bottom, MARGIN.top);
    drawUp(frame, up, labelY);
    drawAcross(frame, ticks(across.low, across.high, across.log, frame.width < 600 ? 4 : 9).map((value) => [across.place(value), shortNumber(value)]), labelX);
    const ordered = [...rows].sort((a, b) => a.values[x][0] - b.values[x][0]);
    const groups = ordered.map((row) => {
      const [px, py] = [row.values[x], row.values[y]];
      const [cx, cy] = [across.place(px[0]), up.place(py[0])];
      const kind = kinds.indexOf(row.scheme);
      const group = shape("g", { "aria-label": `${row.name}\n${labelX}: ${px[3]}\n${labelY}: ${py[3]}` });
      const [left, right] = span(px, across);
      const [low, high] = span(py, up);
      group.append(shape("line", { class: `bar k${kind % 7}`, x1: left, x2: right, y1: cy, y2: cy }));
      group.append(shape("line", { class: `bar k${kind % 7}`, x1: cx, x2: cx, y1: low, y2: high }));
      const sign = mark(kind);
      sign.setAttribute("transform", `translate(${cx} ${cy})`);
      const ending = cx > frame.width * 0.6;
      group.append(sign);
      group.nameText = shape("text", { class: "name", x: cx + (ending ? -11 : 11), y: cy - 9, "text-anchor": ending ? "end" : "start" }, row.name);
      return group;
    });
    frame.svg.append(...groups, ...groups.map((group) => group.nameText));
    explorable(groups, readout);
  }

  // Pixels of an interval's ends; an end that a log axis cannot show stops at the axis.
  function span(point, axis) {
    return [point[1] ?? point[0], point[2] ?? point[0]].map((value) => axis.place(axis.log && value <= 0 ? axis.low : value));
  }

  fillSelect(form.set, DATA.scatter.map((set) => set.title));
  form.set.addEventListener("input", choose);
  for (const name of ["x", "y", "logx", "logy"]) form[name].addEventListener("input", draw);
  legend.addEventListener("input", draw);
  choose();
  onWidth(host, draw);
}
