// Elements, and the page's data. Texts only ever enter as text, never as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function fillSelect(select, texts, chosen = 0) {
  select.replaceChildren(...texts.map((text, index) => element("option", { value: index }, text)));
  select.value = Math.max(0, Math.min(chosen, texts.length - 1));
}

function decode(text, Kind) {
  return new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

// Redraw when the width changes (not at every pixel of height that a phone's address bar moves).
function onWidth(node, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (node.clientWidth !== width) {
      width = node.clientWidth;
      draw();
    }
  }).observe(node);
}

function shortNumber(value) {
  return String(Number(value.toPrecision(4)));
}
