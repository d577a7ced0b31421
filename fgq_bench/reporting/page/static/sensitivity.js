// One curve per head over the blocks, for whole blocks or one kind of linear.
if (DATA.sensitivity) {
  const section = document.getElementById("sensitivity");
  const select = section.querySelector("select");
  const [host, legend, readout] = [".chart", ".legend", ".readout"].map((name) => section.querySelector(name));
  const { parts, tasks } = DATA.sensitivity;
  const kinds = [...new Set(parts.map((part) => part.kind))];

  function draw() {
    const kind = kinds[select.value];
    const shown = parts.filter((part) => part.kind === kind);
    const frame = drawFrame(host, `Relative error of every head, ${kind}`, host.clientWidth < 600 ? 320 : 400);
    const positive = shown.flatMap((part) => part.errors).filter((value) => value > 0);
    const up = scale(positive.length ? positive : [1], true, frame.bottom, MARGIN.top);
    const step = (frame.right - MARGIN.left) / shown.length;
    const across = (index) => MARGIN.left + (index + 0.5) * step;
    shown.forEach((part, index) => {
      if (part.protected) frame.svg.append(shape("rect", { class: "protected", x: across(index) - step / 2, width: step, y: MARGIN.top, height: frame.bottom - MARGIN.top }));
    });
    drawUp(frame, up, "relative error of the head (%)");
    const every = Math.ceil(44 / step);
    const names = shown.map((part, index) => [across(index), part.stage.split(".").pop().replace("_", " ")]);
    drawAcross(frame, names.filter((_, index) => index % every === 0), "the only quantized part (F: frame, G: global)");
    const groups = [];
    tasks.forEach((task, place) => {
      const line = shown.map((part, index) => [index, part.errors[place], part]).filter(([, error]) => error > 0);
      frame.svg.append(shape("polyline", { class: `curve k${place}`, fill: "none", points: line.filter(([, , part]) => /^[FG]\d+$/.test(part.stage)).map(([index, error]) => `${across(index)},${up.place(error)}`).join(" ") }));
      for (const [index, error, part] of line) {
        const sign = mark(place);
        sign.setAttribute("transform", `translate(${across(index)} ${up.place(error)})`);
        const text = `${part.stage}, ${part.kind}${part.protected ? " (QVGGT keeps this block in 16 bits)" : ""}\n${task}: ${shortNumber(error)} %`;
        groups.push(shape("g", { "aria-label": text }, sign));
      }
    });
    frame.svg.append(...groups);
    readout.textContent = "Point at a mark, or reach it with Tab and the arrow keys, to read its numbers.";
    if (groups.length) explorable(groups, readout);
  }

  tasks.forEach((task, place) => legend.append(element("span", {}, shape("svg", { viewBox: "-8 -8 16 16" }, mark(place)), task)));
  legend.append(element("span", {}, shape("svg", { viewBox: "0 0 16 16", class: "chart" }, shape("rect", { class: "protected", width: 16, height: 16 })), "kept in 16 bits by QVGGT"));
  fillSelect(select, kinds);
  select.addEventListener("input", draw);
  onWidth(host, draw);
}
