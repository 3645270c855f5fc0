import {
  button,
  bytes,
  draggable,
  explorer,
  fixed,
  forward,
  frame,
  gaussianKL,
  html,
  oneOf,
  options,
  paint,
  plot,
  put,
  read,
  slider,
  svg,
  typeset,
  unpackLayers,
  within,
} from "./shared.js";

// Pixels of an image, points of a page, pixels of the box that holds a digit, each way.
const [SIDE, POINTS, BOX] = [28, 56, 20];
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TIE = 1e-9; // ties are rounded up, whatever rounding errors there are
const PEN = 3; // points: half the width of a stroke
const EDGE = 3.6; // the plane is shown from -3.6 to 3.6
const UNIT = 4096; // codes travel as whole numbers of 1/4096
const PACKED = [
  "encoder",
  "decoder",
  "hidden",
  "bits",
  "coins",
  "draws",
  "nodes",
  "percentiles",
  "tails",
  "codes",
  "labels",
];
const FIXED = ["pages", "average", "classes", "floor", "colors", "places"];
const PLACED = { turn: 0, size: 1, right: 0, up: 0, stroke: 0 }; // a page as it was drawn

// -- A page as text: see _drawing.py ----------------------------------------------------------------------------------

export function encode(page) {
  let [text, run, ink] = ["", 0, 0];
  const end = () => {
    for (; run >= 32; run = Math.floor(run / 32)) text += LETTERS[32 + (run % 32)];
    text += LETTERS[run];
    run = 0;
  };
  for (const bit of page) {
    if (bit !== ink) {
      end();
      ink = bit;
    }
    run++;
  }
  if (ink) end();
  return text;
}

// null for a text that is no page's.
export function decode(text) {
  const page = new Uint8Array(POINTS ** 2);
  let [at, ink, run, unit] = [0, 0, 0, 1];
  for (const letter of text) {
    const value = LETTERS.indexOf(letter);
    run += (value % 32) * unit;
    unit *= 32;
    if (value < 0 || at + run > POINTS ** 2) return null;
    if (value >= 32) continue;
    page.fill(ink, at, at + run);
    [at, ink, run, unit] = [at + run, 1 - ink, 0, 1];
  }
  return unit > 1 || ink ? null : page;
}

// -- From a page to an image ------------------------------------------------------------------------------------------

// Ink wherever ink is at most `by` points away; below 0, paper wherever paper is.
function grown(page, by) {
  if (!by) return page;
  const [spreads, reach] = [by > 0 ? 1 : 0, Math.abs(by)];
  const result = page.slice();
  for (let i = 0; i < page.length; i++) {
    if (page[i] !== spreads) continue;
    const [row, column] = [Math.floor(i / POINTS), i % POINTS];
    for (let a = Math.max(-reach, -row); a <= Math.min(reach, POINTS - 1 - row); a++)
      for (let b = Math.max(-reach, -column); b <= Math.min(reach, POINTS - 1 - column); b++)
        if (a * a + b * b <= reach * reach) result[i + a * POINTS + b] = spreads;
  }
  return result;
}

// Each point is what the nearest point of the page was that lay there.
export function moved({ drawing, turn, size, right, up, stroke }) {
  const page = grown(decode(drawing), stroke);
  const [c, s] = [Math.cos((turn * Math.PI) / 180) / size, Math.sin((turn * Math.PI) / 180) / size];
  const middle = POINTS / 2 + TIE;
  return page.map((_, i) => {
    const across = (i % POINTS) - (POINTS - 1) / 2 - 2 * right;
    const down = Math.floor(i / POINTS) - (POINTS - 1) / 2 + 2 * up;
    const [column, row] = [Math.floor(c * across - s * down + middle), Math.floor(s * across + c * down + middle)];
    return column >= 0 && column < POINTS && row >= 0 && row < POINTS ? page[row * POINTS + column] : 0;
  });
}

const whole = (value) => Math.floor(value + 0.5 + TIE);

// Of each of so many equal pieces of the points from start to stop: the points in it, each with its share of the piece.
function shares(start, stop, pieces) {
  const length = stop - start;
  return Array.from({ length: pieces }, (_, i) => {
    const [from, to] = [start + (length * i) / pieces, start + (length * (i + 1)) / pieces];
    const found = [];
    for (let point = Math.floor(from); point < Math.min(to, POINTS); point++)
      found.push([point, (Math.max(0, Math.min(to, point + 1) - Math.max(from, point)) * pieces) / length]);
    return found;
  });
}

// A part of a page as an image: of each pixel the share that is ink.
function reduced(page, [top, bottom], [left, right], height, width, image, y, x) {
  const columns = shares(left, right, width);
  shares(top, bottom, height).forEach((rows, i) =>
    columns.forEach((across, j) => {
      let sum = 0;
      for (const [row, a] of rows) for (const [column, b] of across) sum += a * b * page[row * POINTS + column];
      image[(y + i) * SIDE + x + j] = sum;
    }),
  );
  return image;
}

export const grey = (page) => reduced(page, [0, POINTS], [0, POINTS], SIDE, SIDE, new Float64Array(SIDE ** 2), 0, 0);

// By MNIST's recipe: into a box of 20 x 20, then the centre of mass to the middle of pixel 14, counted from 0.
export function centred(page) {
  const [rows, columns] = [new Float64Array(POINTS), new Float64Array(POINTS)];
  page.forEach((bit, i) => {
    rows[Math.floor(i / POINTS)] += bit;
    columns[i % POINTS] += bit;
  });
  const spans = [rows, columns].map((mass) => [mass.findIndex(Boolean), mass.findLastIndex(Boolean) + 1]);
  if (spans[0][0] < 0) return new Float64Array(SIDE ** 2);
  const longest = Math.max(...spans.map(([a, b]) => b - a));
  const [height, width] = spans.map(([a, b]) => Math.max(1, whole((BOX * (b - a)) / longest)));
  const small = reduced(page, ...spans, height, width, new Float64Array(SIDE ** 2), 0, 0);
  const [down, across] = [new Float64Array(height), new Float64Array(width)];
  small.forEach((value, i) => {
    if (!value) return;
    down[Math.floor(i / SIDE)] += value;
    across[i % SIDE] += value;
  });
  const [top, left] = [down, across].map((mass) => {
    const centre = mass.reduce((sum, value, i) => sum + i * value, 0) / mass.reduce((sum, value) => sum + value, 0);
    return Math.min(Math.max(whole(SIDE / 2 - centre), 0), SIDE - mass.length);
  });
  return reduced(page, ...spans, height, width, new Float64Array(SIDE ** 2), top, left);
}

// -- The network ------------------------------------------------------------------------------------------------------

function unpack({ encoder, decoder, hidden, bits, coins, codes, labels, ...rest }) {
  const views = { coins: bytes(coins), codes: bytes(codes), labels: bytes(labels) };
  const list = (view, kind, size) =>
    Array.from({ length: view.byteLength / size }, (_, i) => view[`get${kind}`](i * size, true));
  return {
    ...rest,
    encoder: unpackLayers(hidden[0], encoder, bits),
    decoder: unpackLayers(hidden[1], decoder),
    coins: list(views.coins, "Uint8", 1),
    codes: list(views.codes, "Int16", 2).map((value) => value / UNIT),
    labels: list(views.labels, "Uint8", 1),
  };
}

// Ink where the grey value is above the coin.
const thrown = (image, coins) => image.map((value, i) => Number(255 * value > coins[i] + 1e-6));

// The mean and the standard deviation of q(z | x).
export function encoded(x, encoder) {
  const [m1, m2, l1, l2] = forward(encoder, x);
  return { mu: [m1, m2], std: [Math.exp(l1 / 2), Math.exp(l2 / 2)] };
}

// The image's bill: -log p(x | z), its mean over q by Gauss and Hermite, and the KL.
function billed(x, { encoder, decoder, nodes: [at, weights] }) {
  const { mu, std } = encoded(x, encoder);
  let reconstruction = 0;
  at.forEach((eps, k) => {
    const logits = forward(
      decoder,
      mu.map((m, j) => m + std[j] * eps[j]),
    );
    let cost = 0;
    for (let i = 0; i < logits.length; i++) {
      const logit = logits[i];
      cost += Math.max(logit, 0) + Math.log1p(Math.exp(-Math.abs(logit))) - x[i] * logit;
    }
    reconstruction += weights[k] * cost;
  });
  const kl = mu.reduce((sum, m, j) => sum + gaussianKL(m, std[j]), 0);
  return { x, mu, std, reconstruction, kl, bill: reconstruction + kl };
}

// For tests: what the encoder says of images, given as lists of pixels.
export const codesOf = (state, images) => {
  const { encoder } = unpack(state);
  return images.map((x) => encoded(x, encoder)).map(({ mu, std }) => [...mu, ...std]);
};

// How many of the 10,000 test digits cost less: at both ends, 100 of them, exactly, else in hundreds.
function cheaper(bill, { percentiles, tails: [least, most] }) {
  const below = (values) => values.filter((value) => value < bill).length;
  if (bill <= least.at(-1)) return below(least);
  if (bill > most[0]) return 9900 + below(most);
  const above = percentiles.findIndex((value) => value > bill);
  const [low, high] = [percentiles[above - 1], percentiles[above]];
  return 100 * Math.floor(above - 1 + (bill - low) / (high - low) + 0.5);
}

// All of a state: its page, both images with their bills, and the one that is chosen.
function look(state, parts) {
  const page = moved(state);
  const [plain, middle] = [grey, centred].map((recipe) => billed(thrown(recipe(page), parts.coins), parts));
  return { page, plain, middle, chosen: state.centred ? middle : plain };
}

const shown = ({ plain, middle, chosen }, parts) => ({
  reconstruction: chosen.reconstruction,
  kl: chosen.kl,
  bill: chosen.bill,
  cheaper: cheaper(chosen.bill, parts),
  saved: plain.bill - middle.bill,
});

export const numbers = (state, parts = unpack(state)) => shown(look(state, parts), parts);

// -- Pictures ---------------------------------------------------------------------------------------------------------

function show({ model, el, start }) {
  const parts = unpack(read(model, PACKED));
  const { pages, average, classes, floor, colors, places } = read(model, FIXED);
  const keys = Object.keys(start);
  const name = new Map(pages.map(([label, drawing]) => [drawing, label]));
  const label = () => name.get(model.get("drawing"));
  const asPlaced = () => Object.entries(PLACED).every(([key, value]) => model.get(key) === value);
  let last = {};
  const now = () => {
    const state = read(model, keys);
    const key = JSON.stringify(state);
    return last.key === key ? last : (last = { key, ...look(state, parts) });
  };

  // Of the pages that the question names, the bills that were seen.
  const asked = ["blank page", "bar", "8"];
  const seen = new Map();
  const asks = () => asked.includes(label()) && asPlaced();
  function evidence() {
    if (asks()) seen.set(label(), now().chosen.bill);
    const left = asked.filter((one) => !seen.has(one));
    const found = asked.filter((one) => seen.has(one)).map((one) => `${one} ${fixed(1)(seen.get(one))}`);
    const next = left.length ? `Still to see: ${left.join(", ")}.` : "";
    return { done: !left.length, say: found.length && `You saw: ${found.join(", ")}. ${next}` };
  }

  // What stays while the page changes: the pad, which keeps the focus, the plane's codes, and the draws.
  const paper = html("canvas", { width: POINTS, height: POINTS, class: "vx-pixels", "aria-hidden": "true" });
  const pad = html(
    "div",
    {
      class: "vx-pad",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "page to draw on",
      "data-grip": "page",
    },
    paper,
  );
  const plane = html("div", { class: "vx-plane vx-still" });
  const top = html("div", { class: "vx-desk" }, pad, plane);
  const digit = html("canvas", { width: SIDE, height: SIDE, role: "img", class: "vx-pixels vx-digit" });
  const strip = html("canvas", {
    width: parts.draws.length * SIDE,
    height: SIDE,
    role: "img",
    class: "vx-pixels vx-strip",
    "aria-label": "Ten decoded draws of q(z | x): the probability of ink in each pixel, from 0 to 1.",
  });
  const said = html("p", { class: "vx-caption" }, typeset("Ten draws of *z* from *q*(*z* | *x*), decoded:"));
  const bill = html("b");
  const bars = html("div");
  const dots = html("canvas", { "aria-hidden": "true" });

  function drawCodes(frameOf, width, height) {
    const dense = Math.max(2, window.devicePixelRatio || 1);
    const [left, upper] = [frameOf.sx(frameOf.x[0]), frameOf.sy(EDGE)];
    const [across, down] = [frameOf.sx(frameOf.x[1]) - left, frameOf.sy(-EDGE) - upper];
    Object.assign(dots, { width: across * dense, height: down * dense });
    Object.assign(dots.style, { left: `${left}px`, top: `${upper}px`, width: `${across}px`, height: `${down}px` });
    const context = dots.getContext("2d");
    context.scale(dense, dense);
    context.globalAlpha = 0.8;
    parts.labels.forEach((one, i) => {
      context.fillStyle = colors[one];
      context.beginPath();
      context.arc(frameOf.sx(parts.codes[2 * i]) - left, frameOf.sy(parts.codes[2 * i + 1]) - upper, 1.3, 0, 7);
      context.fill();
    });
  }

  let drawn = "";
  function drawPlane(width, height) {
    const { mu, std } = now().chosen;
    const far = (EDGE * (width - 42)) / (height - 46); // as many pixels a unit, both ways
    const q = `q(z | x) stands at (${mu.map(fixed(2)).join(", ")}), its deviations are ${std.map(fixed(2)).join(", ")}`;
    const found = plot({
      width,
      height,
      x: [-far, far],
      y: [-EDGE, EDGE],
      left: 30,
      bottom: 32,
      most: far, // every second whole number, as at the left
      label: `The latent plane with the codes of test images; ${q}.`,
    });
    if (drawn !== `${width} ${height}`) drawCodes({ ...found, x: [-far, far] });
    drawn = `${width} ${height}`;
    const unit = found.sx(1) - found.sx(0);
    const [x, y] = [found.sx(Math.max(-far, Math.min(far, mu[0]))), found.sy(Math.max(-EDGE, Math.min(EDGE, mu[1])))];
    for (const [digit, a, b] of places)
      found.text(a, b, String(digit), { dy: 5, "text-anchor": "middle", class: "vx-letter vx-over" });
    const [rx, ry] = std.map((one) => 2 * one * unit);
    for (const rim of ["vx-paper", "vx-highlight"])
      found.add("ellipse", { class: `vx-line ${rim}`, cx: x, cy: y, rx: rx + 9, ry: ry + 9 });
    found.add("ellipse", { class: "vx-cloud vx-highlight", cx: x, cy: y, rx, ry });
    plane.replaceChildren(dots, found.node);
    plane.style.width = `${width}px`;
  }

  // Amounts in nats, one row each: what it is, its parts with their colours, and their sum.
  function drawBill(width) {
    const { plain, middle } = now();
    const known = label() in classes ? [[`average ${label()}`, [["vx-prior vx-outlined", classes[label()]]]]] : [];
    const rows = [
      [
        "centred",
        [
          ["vx-data", middle.reconstruction],
          ["vx-kl", middle.kl],
        ],
      ],
      [
        "as drawn",
        [
          ["vx-data", plain.reconstruction],
          ["vx-kl", plain.kl],
        ],
      ],
      ["average digit", [["vx-prior vx-outlined", average]]],
      ...known,
    ];
    const sum = (amounts) => amounts.reduce((total, [, nats]) => total + nats, 0);
    const most = 1.16 * Math.max(160, ...rows.map(([, amounts]) => sum(amounts)));
    const all = rows.map(([what, amounts]) => `${what} ${fixed(0)(sum(amounts))}`).join(", ");
    const [step, height] = [21, 21 * 4 + 24];
    const found = svg("svg", {
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": `Bills in nats: ${all}; the floor of the average is ${floor}.`,
    });
    const [left, unit] = [92, (width - 98) / most];
    const add = (tag, attributes, ...children) => found.append(svg(tag, attributes, ...children));
    rows.forEach(([what, amounts], i) => {
      let from = 0;
      add("text", { x: left - 6, y: step * i + 15, "text-anchor": "end" }, what);
      for (const [kind, nats] of amounts) {
        const size = Math.max(0, nats * unit);
        add("rect", { class: `vx-bar ${kind}`, x: left + from * unit, y: step * i + 2, width: size, height: 17 });
        from += nats;
      }
    });
    add("path", { class: "vx-line vx-dashed vx-elbo", d: `M${left + floor * unit} 0V${step * 4}` });
    rows.forEach(([, amounts], i) =>
      add("text", { class: "vx-over", x: left + sum(amounts) * unit + 4, y: step * i + 15 }, fixed(0)(sum(amounts))),
    );
    add(
      "text",
      { x: left + floor * unit, y: step * 4 + 17, "text-anchor": "middle" },
      `floor of the average, ${floor}`,
    );
    return found;
  }

  function draw(width) {
    const narrow = width < 360;
    const size = narrow ? Math.min(width, 280) : Math.min(250, Math.round(0.52 * width));
    const { page, chosen } = now();
    paper.style.width = paper.style.height = `${size}px`;
    paint(paper, page);
    paint(digit, chosen.x);
    parts.draws.forEach((eps, k) => {
      const logits = forward(
        parts.decoder,
        chosen.mu.map((m, j) => m + chosen.std[j] * eps[j]),
      );
      paint(
        strip,
        logits.map((logit) => 1 / (1 + Math.exp(-logit))),
        k * SIDE,
      );
    });
    drawPlane(narrow ? width : Math.min(width - size - 8, 1.4 * size), narrow ? 200 : size);
    const what = label() ? `: ${/\d/.test(label()) ? `a test ${label()}` : label()}` : "";
    pad.setAttribute(
      "aria-label",
      `Your page${what}${asPlaced() ? "" : ", moved"}. Draw with pointer or finger. ` +
        "Arrow keys shift it, with Shift further; plus and minus change the strokes.",
    );
    digit.setAttribute(
      "aria-label",
      `What the model sees, 28 by 28 pixels, ${model.get("centred") ? "centred" : "as drawn"}.`,
    );
    bill.replaceChildren(`${fixed(1)(chosen.bill)} nats`);
    bars.replaceChildren(drawBill(width));
    return [top, said, strip, bars];
  }

  const begin = html("div", { class: "vx-options vx-buttons", role: "group", "aria-label": "begin with" });
  const starts = pages.map(([text, drawing]) => {
    const one = button(text, () => put(model, { ...PLACED, drawing }));
    const press = () => one.setAttribute("aria-pressed", model.get("drawing") === drawing);
    model.on("change:drawing", press);
    press();
    return one;
  });
  begin.append(...starts);

  frame({
    model,
    el,
    start,
    evidence,
    still: asks,
    marks: ["bill"],
    draw,
    numbers: () => shown(now(), parts),
    controls: html(
      "div",
      { class: "vx-card" },
      digit,
      html(
        "div",
        {},
        html(
          "div",
          {},
          html("p", { class: "vx-caption" }, "The model sees:"),
          bill,
          options(model, "centred", "", () => [
            [true, "centred"],
            [false, "as drawn"],
          ]),
        ),
      ),
    ),
    more: html(
      "div",
      { class: "vx-sliders vx-worded" },
      slider(model, "right", { label: "shift", min: -14, max: 14, step: 0.5, format: fixed(1) }),
      slider(model, "turn", { label: "turn", min: -90, max: 90, step: 5, format: (v) => `${fixed(0)(v)}°` }),
      slider(model, "size", { label: "size", min: 0.4, max: 2, step: 0.05, format: fixed(2) }),
      slider(model, "stroke", { label: "stroke", min: -3, max: 3, step: 1, format: fixed(0) }),
    ),
    below: begin,
    legend: [
      ["data", "reconstruction"],
      ["kl", "KL"],
      ["highlight", "*q*(*z* | *x*), ringed"],
    ],
  });

  // A line begins on the page as it is, or on a blank one in place of a page that the explorer brought.
  let [before, ink] = [null, null];
  pad.addEventListener("pointerdown", () => (before = null));
  const onmove = (event) => {
    const box = paper.getBoundingClientRect();
    const at = [
      ((event.clientX - box.left) / box.width) * POINTS - 0.5,
      ((event.clientY - box.top) / box.height) * POINTS - 0.5,
    ];
    if (!before) ink = name.has(model.get("drawing")) ? new Uint8Array(POINTS ** 2) : moved(read(model, keys));
    line(ink, before ?? at, at);
    before = at;
    put(model, { ...PLACED, drawing: encode(ink) });
  };
  draggable(pad, { model, keys, onmove });
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
  const inside = (value, most) => Math.max(-most, Math.min(most, value));
  pad.addEventListener("keydown", (event) => {
    const thicker = { "+": 1, "=": 1, "-": -1 }[event.key];
    if (event.key in steps) {
      const [right, up] = steps[event.key].map((step) => step * (event.shiftKey ? 4 : 1));
      put(model, { right: inside(model.get("right") + right, 14), up: inside(model.get("up") + up, 14) });
    } else if (thicker) put(model, { stroke: inside(model.get("stroke") + thicker, 3) });
    else return;
    event.preventDefault();
  });
}

// Inks all points within the pen of a straight line.
export function line(page, [x0, y0], [x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy || 1;
  for (let i = 0; i < page.length; i++) {
    const [x, y] = [(i % POINTS) - x0, Math.floor(i / POINTS) - y0];
    const along = Math.max(0, Math.min(1, (x * dx + y * dy) / length));
    if ((x - along * dx) ** 2 + (y - along * dy) ** 2 <= PEN ** 2) page[i] = 1;
  }
}

export default explorer(
  {
    drawing: (text) => (decode(text) ? text : undefined),
    turn: within(-90, 90),
    size: within(0.4, 2),
    right: within(-14, 14),
    up: within(-14, 14),
    stroke: oneOf([-3, -2, -1, 0, 1, 2, 3]),
    centred: oneOf([true, false]),
  },
  [...PACKED, ...FIXED],
  show,
);
