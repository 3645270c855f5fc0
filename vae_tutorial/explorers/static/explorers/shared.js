// What the explorers share: elements, controls, plots, and the arithmetic of nats. No explorer imports anything else.

// -- Elements ---------------------------------------------------------------------------------------------------------

const build =
  (namespace) =>
  (tag, attributes = {}, ...children) => {
    const node = document.createElementNS(namespace, tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat());
    return node;
  };
export const html = build("http://www.w3.org/1999/xhtml");
export const svg = build("http://www.w3.org/2000/svg");

// A true minus sign, which screen readers read as one.
export const fixed = (digits) => (value) =>
  Number.isFinite(value)
    ? value
        .toFixed(digits)
        .replace(/^-(?=0\.?0*$)/, "")
        .replace("-", "−")
    : value > 0
      ? "∞"
      : "−∞";

// -- The model, as an explorer hears it -------------------------------------------------------------------------------

// Several of its values, by key.
export const read = (model, keys) => Object.fromEntries(keys.map((key) => [key, model.get(key)]));

// Calls back when one of the values changes, from whatever side.
export function listen(model, keys, callback) {
  for (const key of keys) model.on(`change:${key}`, callback);
}

// Sets several values at once and sends them to Python, where there is one.
export function put(model, values) {
  for (const [key, value] of Object.entries(values)) model.set(key, value);
  model.save_changes();
}

// The model with an end: what was asked of it through `on` and `end` is over when `stop` is called.
function ending(model) {
  const ends = [];
  return {
    get: (key) => model.get(key),
    set: (key, value) => model.set(key, value),
    save_changes: () => model.save_changes(),
    on: (event, callback) => {
      model.on(event, callback);
      ends.push(() => model.off(event, callback));
    },
    end: (callback) => ends.push(callback),
    stop: () => ends.forEach((end) => end()),
  };
}

const WORDS = ["title", "question", "choices", "task", "rows"];

// What a module exports. `show({ model, el })` draws the explorer; it is drawn anew when Python sets its words, or one
// of the `fixed` values, which no reader moves.
export function explorer(fixed, show) {
  return {
    render({ model, el }) {
      let [shown, waiting, over] = [null, false, false];
      const draw = () => {
        waiting = false;
        if (over) return;
        shown?.stop();
        shown = ending(model);
        show({ model: shown, el });
      };
      const again = () => {
        if (!waiting) queueMicrotask(draw); // once for several values
        waiting = true;
      };
      const outer = ending(model);
      listen(outer, [...WORDS, ...fixed], again);
      draw();
      return () => {
        over = true;
        shown.stop();
        outer.stop();
      };
    },
  };
}

// -- The frame: title, prediction, controls, picture, numbers ---------------------------------------------------------

// `keys`: the values that a reader moves. `controls`: nodes. `draw(width)`: a node or several, anew at each change.
// `numbers()`: what the table shows, by the keys of the model's `rows`. Returns the node of the picture.
export function frame({ model, el, keys, controls, legend = [], draw, numbers }) {
  const picture = html("div", { class: "vx-picture" });
  const cells = new Map(model.get("rows").map(([key]) => [key, html("td")]));
  const guess = prediction(model);
  el.replaceChildren(
    html(
      "section",
      // JupyterLab would take the arrow keys, and letters, as commands of its own.
      {
        class: "vx",
        "aria-label": `Explorer: ${model.get("title")}`,
        onkeydown: (event) => plain(event) && event.stopPropagation(),
      },
      html("p", { class: "vx-title" }, model.get("title")),
      guess.node,
      html("div", { class: "vx-controls" }, controls),
      legend.length
        ? html(
            "ul",
            { class: "vx-legend" },
            legend.map(([name, text]) => html("li", { class: `vx-${name}` }, text)),
          )
        : [],
      picture,
      html(
        "table",
        { class: "vx-numbers" },
        html(
          "tbody",
          {},
          model.get("rows").map(([key, label]) => html("tr", {}, html("th", { scope: "row" }, label), cells.get(key))),
        ),
      ),
    ),
  );
  const update = () => {
    const width = Math.round(picture.clientWidth);
    if (!width) return; // not on the page yet: the observer calls again
    const drawn = [draw(width)].flat();
    // What stays is not put in anew: it would lose the focus.
    if (drawn.length !== picture.childNodes.length || drawn.some((node, i) => node !== picture.childNodes[i]))
      picture.replaceChildren(...drawn);
    const found = numbers();
    for (const [key, label, digits = 3] of model.get("rows")) {
      const value = found[key];
      cells.get(key).textContent = typeof value === "number" ? fixed(digits)(value) : value;
      cells.get(key).dataset.exact = value;
    }
  };
  listen(model, keys, update);
  listen(model, keys, guess.moved);
  const observer = new ResizeObserver(update);
  observer.observe(picture);
  model.end(() => observer.disconnect());
  update();
  return picture;
}

const plain = (event) => !event.ctrlKey && !event.metaKey && !event.altKey && event.key !== "Escape";

// A question before the first move. The answer comes after the reader has chosen, and then moved something.
function prediction(model) {
  const reply = html("p", { class: "vx-reply", role: "status" });
  const name = `vx-${Math.random().toString(36).slice(2)}`;
  let chosen = null;
  const choices = model.get("choices").map(([label, text]) => {
    const input = html("input", {
      type: "radio",
      name,
      onchange: () => {
        chosen = text;
        reply.textContent = model.get("task");
      },
    });
    return html("label", {}, input, " ", label);
  });
  const node = html(
    "fieldset",
    { class: "vx-predict" },
    html("legend", {}, "Predict"),
    html("p", {}, model.get("question")),
    choices,
    reply,
  );
  return { node, moved: () => chosen && (reply.textContent = chosen) };
}

// -- Controls ---------------------------------------------------------------------------------------------------------

// `spoken`: what a screen reader says at each step besides the value. `at(value)` and `from(position)` map the scale;
// six digits, since the way there and back may end a rounding beyond the bounds, which Python would refuse.
export function slider(
  model,
  key,
  { label, min, max, step, format = fixed(2), spoken = null, at = (v) => v, from = (v) => v },
) {
  const move = () => put(model, { [key]: Number(from(Number(input.value)).toPrecision(6)) });
  const input = html("input", { type: "range", min, max, step, oninput: move });
  const shown = html("span", { class: "vx-value", "aria-hidden": "true" }); // the slider itself says it
  const show = () => {
    input.value = at(model.get(key));
    shown.textContent = format(model.get(key));
    input.setAttribute("aria-valuetext", spoken ? `${shown.textContent}, ${spoken()}` : shown.textContent);
  };
  listen(model, [key], () => queueMicrotask(show));
  show();
  return html("label", { class: "vx-slider" }, html("span", {}, label), input, shown);
}

// A scale of equal ratios, for a slider, in so many steps from end to end: both ends can be reached.
export function ratios(low, high, steps = 200) {
  const whole = Math.log(high / low);
  return {
    min: 0,
    max: steps,
    step: 1,
    at: (value) => (steps * Math.log(value / low)) / whole,
    from: (position) => low * Math.exp((whole * position) / steps),
  };
}

export function button(label, onclick) {
  return html("button", { type: "button", class: "vx-button", onclick }, label);
}

const SCROLL = 8; // pixels after which a finger shows whether it scrolls the page

// Lets a pointer drag over a picture that is drawn anew at each move: listens on what stays. `where(event)`: whether a
// drag may begin there. A finger that comes down may be about to scroll the page: it counts when it moves sideways, or
// when it is lifted where it came down; on what is marked as `data-grip`, at once and in all directions.
export function draggable(node, onmove, where = () => true) {
  let [held, start] = [false, null];
  const grip = (event) => event.target.closest("[data-grip]");
  node.addEventListener("touchstart", (event) => grip(event) && event.preventDefault(), { passive: false });
  node.addEventListener("pointerdown", (event) => {
    [held, start] = [false, null];
    if (event.button || !where(event)) return;
    node.setPointerCapture(event.pointerId);
    start = [event.clientX, event.clientY];
    held = event.pointerType !== "touch" || Boolean(grip(event));
    if (event.pointerType !== "touch") onmove(event);
  });
  node.addEventListener("pointermove", (event) => {
    if (!start) return;
    const [across, along] = [Math.abs(event.clientX - start[0]), Math.abs(event.clientY - start[1])];
    held ||= across > SCROLL && across > along;
    if (held) onmove(event);
  });
  node.addEventListener("pointerup", (event) => {
    const still = start && Math.hypot(event.clientX - start[0], event.clientY - start[1]) <= SCROLL;
    if (held || still) onmove(event);
    [held, start] = [false, null];
  });
  node.addEventListener("pointercancel", () => ([held, start] = [false, null]));
}

// -- Plots, in true pixels so that text is as large on a phone as on a desk -------------------------------------------

export function ticks(low, high, most = 6) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n++) found.push(n * step);
  return found;
}

// `label` says in words what the picture shows now. Lines are lists of [x, y]; names are those of the style sheet.
export function plot({ width, height, x, y, xlabel, ylabel, label, left = 48 }) {
  const [right, top, bottom] = [12, 14, 40];
  const sx = (v) => left + ((v - x[0]) / (x[1] - x[0])) * (width - left - right);
  const sy = (v) => height - bottom - ((v - y[0]) / (y[1] - y[0])) * (height - top - bottom);
  const node = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const add = (tag, attributes, ...children) => node.appendChild(svg(tag, attributes, ...children));
  const path = (points) =>
    points.map(([a, b], i) => `${i ? "L" : "M"}${sx(a).toFixed(1)} ${sy(b).toFixed(1)}`).join("");
  for (const v of ticks(...x, Math.max(3, width / 70))) {
    add("line", { class: "vx-grid", x1: sx(v), x2: sx(v), y1: top, y2: height - bottom });
    add("text", { class: "vx-tick", x: sx(v), y: height - bottom + 16, "text-anchor": "middle" }, short(v));
  }
  for (const v of ticks(...y, Math.max(2, height / 45))) {
    add("line", { class: "vx-grid", x1: left, x2: width - right, y1: sy(v), y2: sy(v) });
    add("text", { class: "vx-tick", x: left - 6, y: sy(v) + 4, "text-anchor": "end" }, short(v));
  }
  if (xlabel) add("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, xlabel);
  if (ylabel)
    add(
      "text",
      { transform: `translate(13 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" },
      ylabel,
    );
  return {
    node,
    add,
    sx,
    sy,
    // The value of x and of y at a pointer.
    at: (event) => {
      const box = node.getBoundingClientRect();
      const share = [
        (event.clientX - box.left - left) / (width - left - right),
        (height - bottom - event.clientY + box.top) / (height - top - bottom),
      ];
      return [x[0] + share[0] * (x[1] - x[0]), y[0] + share[1] * (y[1] - y[0])];
    },
    line: (points, name) => add("path", { class: `vx-line vx-${name}`, d: path(points) }),
    area: (points, name, base = 0) =>
      add("path", {
        class: `vx-area vx-${name}`,
        d: `${path(points)}L${sx(points.at(-1)[0])} ${sy(base)}L${sx(points[0][0])} ${sy(base)}Z`,
      }),
    bar: (from, to, value, name, base = 0) =>
      add("rect", {
        class: `vx-bar vx-${name}`,
        x: sx(from),
        width: sx(to) - sx(from),
        y: Math.min(sy(value), sy(base)),
        height: Math.abs(sy(base) - sy(value)),
      }),
    dot: (a, b, name, r = 5) => add("circle", { class: `vx-dot vx-${name}`, cx: sx(a), cy: sy(b), r }),
    text: (a, b, text, attributes = {}) => add("text", { x: sx(a), y: sy(b), ...attributes }, text),
  };
}
const short = (v) => String(Number(v.toPrecision(6))).replace("-", "−");

// -- Arithmetic, in nats ----------------------------------------------------------------------------------------------

export const linspace = (low, high, points) =>
  Array.from({ length: points }, (_, i) => low + ((high - low) * i) / (points - 1));
export const logNormal = (x, mean, std) => -0.5 * ((x - mean) / std) ** 2 - Math.log(std) - 0.5 * Math.log(2 * Math.PI);
export const logSumExp = (values) => {
  const most = Math.max(...values);
  return most === -Infinity ? most : most + Math.log(values.reduce((sum, v) => sum + Math.exp(v - most), 0));
};
export const trapezoid = (values, spacing) =>
  spacing * (values.reduce((a, b) => a + b, 0) - 0.5 * (values[0] + values.at(-1)));
// 0 log 0 = 0; p log (p / q) is infinite where q is 0 and p is not.
export const xlogy = (x, y) => (x === 0 ? 0 : x * Math.log(y));
export const entropy = (p) => -p.reduce((sum, v) => sum + xlogy(v, v), 0);
export const kl = (p, q) => p.reduce((sum, v, i) => sum + (v === 0 ? 0 : v * Math.log(v / q[i])), 0);
// KL(N(mu, std^2) || N(mu2, std2^2))
export const gaussianKL = (mu, std, mu2 = 0, std2 = 1) =>
  Math.log(std2 / std) + (std ** 2 + (mu - mu2) ** 2) / (2 * std2 ** 2) - 0.5;

// The same numbers for the same seed on every machine (mulberry32), and normal ones from them (Box and Muller).
export function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
export function normals(count, seed) {
  const uniform = random(seed);
  return Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
