// Point clouds side by side, orthographic, z-buffered, all seen from one viewpoint.
if (DATA.clouds) {
  const section = document.getElementById("clouds");
  const form = section.querySelector("form").elements;
  const host = section.querySelector(".clouds");
  const conditions = section.querySelector(".conditions");
  const { reach, outside, scenes } = DATA.clouds;
  const START = { turn: 0.44, tilt: 0.61, zoom: 1 }; // radians; that of the static figures
  const PIXELS = 360;
  const view = { ...START };
  const decoded = new Map();
  let pending = false;

  function points(code) {
    if (!decoded.has(code)) decoded.set(code, decode(code, Int16Array));
    return decoded.get(code);
  }

  function splat(canvas, code, colours) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(PIXELS, PIXELS);
    const nearest = new Float32Array(PIXELS * PIXELS).fill(Infinity);
    const found = points(code);
    const [cy, sy, cx, sx] = [Math.cos(view.turn), Math.sin(view.turn), Math.cos(view.tilt), Math.sin(view.tilt)];
    const factor = ((reach / 32767) * view.zoom * PIXELS) / 2.1;
    const size = view.zoom > 1.6 ? 4 : 3;
    for (let index = 0; index < found.length / 3; index++) {
      const [x, y, z] = [found[3 * index], found[3 * index + 1], found[3 * index + 2]];
      if (x === outside) continue;
      const [right, ahead] = [cy * x - sy * z, sy * x + cy * z];
      const column = Math.round(PIXELS / 2 + factor * right);
      const row = Math.round(PIXELS / 2 + factor * (cx * y - sx * ahead));
      const depth = sx * y + cx * ahead;
      for (let dy = 0; dy < size; dy++)
        for (let dx = 0; dx < size; dx++) {
          const [px, py] = [column + dx, row + dy];
          if (px < 0 || py < 0 || px >= PIXELS || py >= PIXELS || nearest[py * PIXELS + px] <= depth) continue;
          nearest[py * PIXELS + px] = depth;
          image.data.set([colours[3 * index], colours[3 * index + 1], colours[3 * index + 2], 255], 4 * (py * PIXELS + px));
        }
    }
    context.putImageData(image, 0, 0);
  }

  function draw() {
    pending = false;
    const scene = scenes[form.scene.value];
    const colours = points.colours ?? (points.colours = decode(scene.colours, Uint8Array));
    const { panels } = scene.schemes[form.scheme.value];
    host.querySelectorAll("canvas").forEach((canvas, index) => {
      const code = scene.codes[panels[index].cloud];
      if (code) splat(canvas, code, colours);
    });
  }

  function redraw() {
    if (!pending) requestAnimationFrame(draw);
    pending = true;
  }

  const TURNS = {
    left: () => (view.turn -= 0.15), right: () => (view.turn += 0.15), up: () => (view.tilt += 0.15), down: () => (view.tilt -= 0.15),
    near: () => (view.zoom *= 1.2), far: () => (view.zoom /= 1.2), reset: () => Object.assign(view, START),
  };
  const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", "+": "near", "=": "near", "-": "far", Home: "reset" };

  function move(name) {
    TURNS[name]();
    redraw();
  }

  function orbit(canvas) {
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS) || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      move(KEYS[event.key]);
    });
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      view.turn += event.movementX / 120;
      view.tilt += event.movementY / 120;
      redraw();
    });
  }

  function panel({ cloud, title, note }, scene) {
    const canvas = element("canvas", { width: PIXELS, height: PIXELS, tabindex: 0, role: "img", "aria-label": `Point cloud: ${title}. Arrow keys turn it.` });
    orbit(canvas);
    const text = scene.codes[cloud] ? note : `${note}; its prediction is not cached: run it again with --cache task`;
    return element("figure", {}, canvas, element("figcaption", {}, element("strong", {}, title), element("span", { class: "note" }, text)));
  }

  function show() {
    const scene = scenes[form.scene.value];
    host.replaceChildren(...scene.schemes[form.scheme.value].panels.map((each) => panel(each, scene)));
    conditions.textContent = scene.conditions;
    draw();
  }

  function choose() {
    const scene = scenes[form.scene.value];
    points.colours = null;
    const names = scene.schemes.map((each) => each.scheme);
    fillSelect(form.scheme, names, names.indexOf("w4a4"));
    show();
  }

  for (const button of section.querySelectorAll("[data-turn]")) button.addEventListener("click", () => move(button.dataset.turn));
  fillSelect(form.scene, scenes.map((scene) => scene.title));
  form.scene.addEventListener("input", choose);
  form.scheme.addEventListener("input", show);
  choose();
}
