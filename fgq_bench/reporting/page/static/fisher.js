// Heat-maps of blocks and channels, one per task; a cursor reads single channels.
if (DATA.fisher) {
  const section = document.getElementById("fisher");
  const { tasks, blocks, types, channels, lowest, highest } = DATA.fisher;
  const codes = decode(DATA.fisher.codes, Uint16Array);
  const select = section.querySelector("select");
  const readout = section.querySelector(".readout");
  const hosts = section.querySelector(".heats");
  const [DARK, BRIGHT] = [-3, 2]; // log10 of the colour scale's ends
  const STOPS = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];

  const value = (code) => (code === 0 ? 0 : 10 ** (lowest + ((code - 1) / 65534) * (highest - lowest)));

  function relative(task, block, channel) {
    const chosen = Number(select.value);
    let sum = 0;
    for (let type = 0; type < types.length; type++) {
      if (chosen > 0 && chosen - 1 !== type) continue;
      sum += value(codes[((task * blocks.length + block) * types.length + type) * channels + channel]);
    }
    return sum;
  }

  function colour(logarithm) {
    const place = Math.max(0, Math.min(0.9999, (logarithm - DARK) / (BRIGHT - DARK))) * (STOPS.length - 1);
    const [low, part] = [Math.floor(place), place % 1];
    return STOPS[low].map((from, index) => from + part * (STOPS[low + 1][index] - from));
  }

  function paint(canvas, width, height, pixel) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let index = 0; index < width * height; index++) image.data.set([...pixel(index % width, Math.floor(index / width)), 255], 4 * index);
    context.putImageData(image, 0, 0);
  }

  function draw() {
    hosts.querySelectorAll("canvas").forEach((canvas, task) => {
      paint(canvas, channels, blocks.length, (channel, block) => {
        const found = relative(task, block, channel);
        return found === 0 ? [128, 128, 128] : colour(Math.log10(found));
      });
    });
    readout.textContent = "Point at a channel, or focus a map and use the arrow keys, to read it.";
  }

  function tell(task, block, channel) {
    const kind = select.options[select.value].textContent;
    readout.textContent = `${tasks[task]}, ${blocks[block]}, channel ${channel}, ${kind}\nF = ${shortNumber(relative(task, block, channel))} x the task's mean`;
  }

  function cursor(canvas, task) {
    let [block, channel] = [0, 0];
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      block = Math.max(0, Math.min(blocks.length - 1, Math.floor(((event.clientY - box.top) / box.height) * blocks.length)));
      channel = Math.max(0, Math.min(channels - 1, Math.floor(((event.clientX - box.left) / box.width) * channels)));
      tell(task, block, channel);
    });
    canvas.addEventListener("focus", () => tell(task, block, channel));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      block = (block + step[0] + blocks.length) % blocks.length;
      channel = (channel + step[1] + channels) % channels;
      tell(task, block, channel);
    });
  }

  tasks.forEach((task, index) => {
    const canvas = element("canvas", { width: channels, height: blocks.length, tabindex: 0, role: "img", "aria-label": `${task}: Fisher information of ${blocks.length} blocks and ${channels} channels` });
    const names = element("div", { class: "names", "aria-hidden": "true" }, ...blocks.map((name) => element("span", {}, name)));
    const map = element("div", { class: "map" }, names, canvas);
    map.style.height = `${Math.max(150, 12 * blocks.length)}px`;
    hosts.append(element("figure", {}, element("figcaption", {}, task), map));
    cursor(canvas, index);
  });
  fillSelect(select, ["all tokens", ...types.map((type) => `${type} tokens`)]);
  select.addEventListener("input", draw);
  paint(section.querySelector(".scale canvas"), 256, 1, (x) => colour(DARK + (x / 255) * (BRIGHT - DARK)));
  draw();
}
