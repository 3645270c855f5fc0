import {
  button,
  bytes,
  draggable,
  explorer,
  fixed,
  forward,
  frame,
  html,
  oneOf,
  options,
  paint,
  plot,
  put,
  read,
  slider,
  svg,
  unpackLayers,
  within,
  xlogy,
} from "./shared.js";

const EDGE = 4; // the plane is shown from -4 to 4, both ways
const NEAR = 0.25; // a code within this distance of z counts as near
const UNIT = 4096; // codes travel as whole numbers of 1/4096
const SIDE = 28; // pixels of a digit, each way
const TILES = 16; // decoded digits on the map, each way
const PACKED = ["sizes", "weights", "codes", "labels"];
const two = fixed(2);

// -- What travelled as bytes ------------------------------------------------------------------------------------------

// The decoder's layers, and the codes with their labels, as arrays of numbers.
export function unpack({ sizes, weights, codes, labels }) {
  const views = { codes: bytes(codes), labels: bytes(labels) };
  return {
    layers: unpackLayers(sizes, weights),
    codes: Float64Array.from(
      { length: views.codes.byteLength / 2 },
      (_, i) => views.codes.getInt16(2 * i, true) / UNIT,
    ),
    labels: Uint8Array.from({ length: views.labels.byteLength }, (_, i) => views.labels.getUint8(i)),
    place: null, // where the decoder was last
  };
}

// -- Arithmetic -------------------------------------------------------------------------------------------------------

// The probability of each pixel at z, row by row. The array is the decoder's own: the next call overwrites it.
function decode(parts, z1, z2) {
  const { layers, place } = parts;
  if (place?.[0] === z1 && place[1] === z2) return layers.at(-1).output;
  const output = forward(layers, [z1, z2]);
  for (let i = 0; i < output.length; i++) output[i] = 1 / (1 + Math.exp(-output[i]));
  parts.place = [z1, z2];
  return output;
}

export const pixels = (state) => [...decode(unpack(state), state.z1, state.z2)];

export function numbers({ z1, z2, ...packed }, parts = unpack(packed)) {
  const { codes, labels } = parts;
  let [near, nearest, least] = [0, -1, Infinity];
  for (let i = 0; i < labels.length; i++) {
    const distance = Math.sqrt((codes[2 * i] - z1) ** 2 + (codes[2 * i + 1] - z2) ** 2);
    if (distance <= NEAR) near++;
    if (distance < least) [least, nearest] = [distance, labels[i]];
  }
  const entropy = decode(parts, z1, z2).reduce((sum, p) => sum - xlogy(p, p) - xlogy(1 - p, 1 - p), 0);
  return {
    log_prior: -Math.log(2 * Math.PI) - (z1 ** 2 + z2 ** 2) / 2,
    near: (100 * near) / labels.length,
    nearest,
    entropy,
  };
}

// What kind of place z is, of those that the question names: null for one in between.
export function kindOf(z1, z2, { codes, labels }) {
  const classes = [];
  for (let i = 0; i < labels.length; i++)
    if (Math.hypot(codes[2 * i] - z1, codes[2 * i + 1] - z2) <= NEAR) classes.push(labels[i]);
  if (!classes.length) return Math.hypot(z1, z2) > 3 ? "a corner" : null;
  const kinds = new Set(classes).size;
  return kinds > 2 ? "between clouds" : kinds === 1 && classes.length >= 5 ? "amid a cloud" : null;
}

// -- Pictures ---------------------------------------------------------------------------------------------------------

// Some 20 milliseconds, once: when it is first asked for.
function drawMap(parts) {
  const canvas = html("canvas", { width: TILES * SIDE, height: TILES * SIDE, class: "vx-map", "aria-hidden": "true" });
  const middle = (n) => EDGE * ((2 * n + 1) / TILES - 1);
  for (let row = 0; row < TILES; row++)
    for (let column = 0; column < TILES; column++)
      paint(canvas, decode(parts, middle(column), -middle(row)), column * SIDE, row * SIDE);
  return canvas;
}

function show({ model, el, start }) {
  const parts = unpack(read(model, PACKED));
  let last = {};
  const now = () => {
    const [z1, z2] = [model.get("z1"), model.get("z2")];
    // Table and sliders ask.
    return last.z1 === z1 && last.z2 === z2 ? last : (last = { z1, z2, ...numbers({ z1, z2 }, parts) });
  };
  // Of each kind of place that was seen, the one where the decoder was least sure.
  const seen = new Map();
  function evidence() {
    const kind = kindOf(model.get("z1"), model.get("z2"), parts);
    if (kind && model.get("z1") !== start.z1) seen.set(kind, Math.max(now().entropy, seen.get(kind) ?? 0));
    const found = [...seen].map(([where, nats]) => `${where} ${fixed(0)(nats)}`).join(", ");
    const left = ["a corner", "between clouds", "amid a cloud"].filter((where) => !seen.has(where));
    const most = Math.max(...seen.values());
    const done = !left.length && seen.get("between clouds") === most;
    const next = left.length ? `Still to see: ${left.join(", ")}.` : "Look for a blend between clouds.";
    return { done, say: found && `You saw, in nats: ${found}. ${done ? "" : next}` };
  }
  const place = () => `z = (${two(model.get("z1"))}, ${two(model.get("z2"))})`;
  const inside = (v) => Math.max(-EDGE, Math.min(EDGE, Math.round(100 * v) / 100));
  const go = (z1, z2) => put(model, { z1: inside(z1), z2: inside(z2) });
  const spoken = () => `nearest code is a ${now().nearest}, ${fixed(1)(now().near)} % of the codes near`;
  const { colors, places } = read(model, ["colors", "places"]);

  // What stays while z moves: the digit, the plane with its codes, and the point.
  const digit = html("canvas", { width: SIDE, height: SIDE, role: "img", class: "vx-pixels vx-digit" });
  const point = html("div", {
    class: "vx-point",
    tabindex: "0",
    role: "application",
    "aria-roledescription": "point in a plane",
    "data-grip": "z",
  });
  const plane = html("div", { class: "vx-plane" });
  const classes = options(model, "shown", "codes of", () => [[-1, "all"], ...colors.map((_, k) => [k, String(k)])]);
  [...classes.children].forEach((one, k) => (one.style.borderBottom = `5px solid ${colors[k - 1] ?? "currentcolor"}`));
  const map = button("map of digits", () => put(model, { map: !model.get("map") }));
  classes.append(map);
  let [top, tiles, key] = [null, null, ""];

  // Anew when the size changes, the class, or the map: 2,000 codes, or the map with the codes of one class.
  function drawPlane(size) {
    const [shown, mapped] = [model.get("shown"), model.get("map")];
    const what = mapped ? "decoded digits" : "the codes of test images as points";
    const which = `${what}, ${shown < 0 ? "of all classes" : `class ${shown} standing out`}`;
    top = plot({
      width: size,
      height: size - 6,
      x: [-EDGE, EDGE],
      y: [-EDGE, EDGE],
      xlabel: "*z*₁",
      ylabel: "*z*₂",
      label: `The latent plane from −4 to 4: ${which}.`,
    });
    const [left, upper, span] = [top.sx(-EDGE), top.sy(EDGE), top.sx(EDGE) - top.sx(-EDGE)];
    const dense = Math.max(2, window.devicePixelRatio || 1);
    const canvas = html("canvas", { width: span * dense, height: span * dense, "aria-hidden": "true" });
    const layers = mapped ? [(tiles ??= drawMap(parts)), canvas] : [canvas];
    for (const { style } of layers)
      Object.assign(style, { left: `${left}px`, top: `${upper}px`, width: `${span}px`, height: `${span}px` });
    const context = canvas.getContext("2d");
    context.scale(dense, dense);
    const codes = (chosen, radius, alpha) => {
      context.globalAlpha = alpha;
      parts.labels.forEach((label, i) => {
        if (!chosen(label)) return;
        context.fillStyle = colors[label];
        context.beginPath();
        context.arc(top.sx(parts.codes[2 * i]) - left, top.sy(parts.codes[2 * i + 1]) - upper, radius, 0, 7);
        context.fill();
      });
    };
    const radius = span / 260;
    if (shown >= 0 && !mapped) codes((label) => label !== shown, radius, 0.22);
    if (shown >= 0 || !mapped) codes((label) => shown < 0 || label === shown, radius * (shown < 0 ? 1 : 1.3), 0.8);
    for (const deviations of [1, 2, 3])
      top.add("circle", {
        class: "vx-line vx-prior vx-dashed vx-thin",
        cx: top.sx(0),
        cy: top.sy(0),
        r: (span / 2 / EDGE) * deviations,
      });
    context.globalAlpha = 0.85;
    context.globalCompositeOperation = "destination-out"; // the page shows through, whatever its colour
    for (const [k, a, b] of mapped ? [] : places) {
      if (shown >= 0 && k !== shown) continue;
      context.beginPath();
      context.arc(top.sx(a) - left, top.sy(b) - upper, 9, 0, 7);
      context.fill();
      top.text(a, b, String(k), { dy: 5.5, "text-anchor": "middle", class: "vx-class" });
    }
    const ring = (span / 2 / EDGE) * NEAR;
    point.replaceChildren(
      svg(
        "svg",
        { width: 44, height: 44, viewBox: "-22 -22 44 44", "aria-hidden": "true" },
        [
          ["#fff", 5],
          ["#000", 2.2],
        ].map(([stroke, thick]) => svg("circle", { r: ring, fill: "none", stroke, "stroke-width": thick })),
        svg("circle", { class: "vx-dot vx-highlight", r: 4, stroke: "#fff" }),
      ),
    );
    for (const node of [...plane.children]) if (node !== point) node.remove(); // the point keeps its focus
    plane.prepend(...layers, top.node);
    if (!point.parentNode) plane.append(point);
  }

  function draw(width) {
    const wanted = `${width} ${model.get("shown")} ${model.get("map")}`;
    if (key !== wanted) {
      key = wanted;
      drawPlane(Math.min(400, width));
      map.setAttribute("aria-pressed", model.get("map"));
    }
    const [z1, z2] = [model.get("z1"), model.get("z2")];
    paint(digit, decode(parts, z1, z2));
    digit.setAttribute(
      "aria-label",
      `What the decoder draws at ${place()}: the probability of ink in each pixel, from 0 to 1.`,
    );
    point.style.transform = `translate(${top.sx(z1)}px, ${top.sy(z2)}px)`;
    point.setAttribute("aria-label", `${place()}. Arrow keys move it, with Shift further.`);
    return plane;
  }

  frame({
    model,
    el,
    start,
    evidence,
    marks: ["entropy"],
    draw,
    numbers: now,
    controls: html(
      "div",
      { class: "vx-card" },
      digit,
      html(
        "div",
        {},
        html("p", { class: "vx-caption" }, "The decoder's probability of ink in each pixel, from 0 to 1"),
        ["z1", "z2"].map((name, n) =>
          slider(model, name, { label: `*z*${"₁₂"[n]}`, min: -EDGE, max: EDGE, step: 0.05, spoken }),
        ),
      ),
    ),
    below: classes,
    legend: [
      ["highlight", `*z*, drag it; ring: ${NEAR} round it`],
      ["prior vx-dashed", "1, 2, 3 deviations of the prior"],
    ],
  });
  const onmove = (event) => go(...top.at(event));
  draggable(plane, { model, keys: ["z1", "z2"], onmove });
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
  point.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    const [a, b] = steps[event.key].map((step) => step * (event.shiftKey ? 0.5 : 0.1));
    go(model.get("z1") + a, model.get("z2") + b);
  });
}

const inPlane = within(-EDGE, EDGE);
export default explorer(
  {
    z1: inPlane,
    z2: inPlane,
    shown: oneOf([-1, ...Array(10).keys()]),
    map: oneOf([true, false]),
  },
  [...PACKED, "places", "colors"],
  show,
);
