// Axes, marks and their keyboard: what the scatter plot and the curves share.
const MARGIN = { left: 62, right: 16, top: 10, bottom: 46 };
const MARKS = [
  "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0", "M-5,-5h10v10h-10z", "M0,-6.5L6,5H-6z", "M0,-6.5L6.5,0L0,6.5L-6.5,0z",
  "M0,6.5L6,-5H-6z", "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z", "M-6,-3h12v6h-12z",
];

// The next seven kinds have the same colours on other shapes.
function mark(kind) {
  const round = Math.floor(kind / MARKS.length);
  return shape("path", { d: MARKS[(kind + round) % MARKS.length], class: `mark k${kind % MARKS.length}` });
}

function ticks(low, high, log, most) {
  if (log) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const step of [1, 2, 5]) found.push(step * 10 ** power);
    const inside = found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
    const decades = inside.filter((value) => Number.isInteger(Math.round(Math.log10(value) * 1e9) / 1e9));
    return inside.length > most && decades.length > 1 ? decades : inside;
  }
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let index = Math.ceil(low / step); index * step <= high * (1 + 1e-9); index++) found.push(Number((index * step).toPrecision(12)));
  return found;
}

// A scale from numbers to pixels; `values` are those it must show.
function scale(values, log, from, to) {
  const move = log ? Math.log10 : (value) => value;
  let low = Math.min(...values.map(move));
  let high = Math.max(...values.map(move));
  const pad = (high - low) * 0.06 || Math.abs(high) * 0.05 || 0.5;
  low -= pad;
  high += pad;
  const place = (value) => from + ((move(value) - low) / (high - low)) * (to - from);
  const back = log ? (value) => 10 ** value : (value) => value;
  return { place, low: back(low), high: back(high), log };
}

function drawFrame(host, label, height) {
  const width = Math.max(host.clientWidth, 240);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": label });
  host.replaceChildren(svg);
  return { svg, width, height, right: width - MARGIN.right, bottom: height - MARGIN.bottom };
}

function drawUp(frame, y, label) {
  for (const value of ticks(y.low, y.high, y.log, 7)) {
    const at = y.place(value);
    frame.svg.append(shape("line", { class: "grid", x1: MARGIN.left, x2: frame.right, y1: at, y2: at }));
    frame.svg.append(shape("text", { x: MARGIN.left - 7, y: at + 4, "text-anchor": "end" }, shortNumber(value)));
  }
  const middle = (MARGIN.top + frame.bottom) / 2;
  frame.svg.append(shape("text", { transform: `translate(13 ${middle}) rotate(-90)`, "text-anchor": "middle" }, label));
}

function drawAcross(frame, places, label) {
  for (const [at, text] of places) {
    frame.svg.append(shape("line", { class: "grid", x1: at, x2: at, y1: MARGIN.top, y2: frame.bottom }));
    const inside = Math.min(at, frame.width - 3.4 * text.length);
    frame.svg.append(shape("text", { x: inside, y: frame.bottom + 17, "text-anchor": "middle" }, text));
  }
  const middle = (MARGIN.left + frame.right) / 2;
  frame.svg.append(shape("text", { x: middle, y: frame.height - 8, "text-anchor": "middle" }, label));
}

// One tab stop for all marks; arrows move between them, hover and focus show the same text. A group stays where it is in
// the tree (moving it would drop the focus); its name, if it has one, lies in a layer above all marks.
function explorable(groups, readout) {
  const show = (group) => {
    for (const other of groups) {
      other.classList.toggle("active", other === group);
      other.nameText?.classList.toggle("active", other === group);
    }
    readout.textContent = group.getAttribute("aria-label");
  };
  groups.forEach((group, index) => {
    group.setAttribute("tabindex", index === 0 ? 0 : -1);
    group.setAttribute("role", "img");
    group.addEventListener("pointerenter", () => show(group));
    group.addEventListener("click", () => show(group));
    group.addEventListener("focus", () => show(group));
    group.addEventListener("keydown", (event) => {
      const to = { ArrowRight: index + 1, ArrowDown: index + 1, ArrowLeft: index - 1, ArrowUp: index - 1, Home: 0, End: groups.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = groups[(to + groups.length) % groups.length];
      for (const other of groups) other.setAttribute("tabindex", other === next ? 0 : -1);
      next.focus({ preventScroll: true });
    });
  });
}
