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

// Text as nodes: *x* is a letter of mathematics, ~q~ a subscript. `make`: html, or svg within a picture.
export const typeset = (text, make = html) =>
  text
    .split(/(~[^~]+~|\*[^*]+\*)/)
    .filter(Boolean)
    .map((piece) => {
      const inner = piece.slice(1, -1);
      if (piece[0] === "~") return make("sub", {}, typeset(inner, make));
      if (piece[0] === "*") return make === svg ? svg("tspan", { class: "vx-i" }, inner) : make("i", {}, inner);
      return piece;
    });

export const unmarked = (text) => text.replace(/[*~]/g, "");

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

// Calls back once, after all that happens now: several values often change together.
function soon(callback) {
  let waiting = false;
  return () => {
    if (!waiting)
      queueMicrotask(() => {
        waiting = false;
        callback();
      });
    waiting = true;
  };
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

const WORDS = ["title", "question", "choices", "task", "unit", "rows"];

// What a module exports. `moves`: the values that a reader moves, each with what makes it of a text of the address, or
// undefined of a text that it cannot be. `show({ model, el, start })` draws the explorer; it is drawn anew when Python
// sets its words, or one of the `fixed` values. `start`: the values as they were at first.
export function explorer(moves, fixed, show) {
  return {
    moves,
    render({ model, el }) {
      const start = read(model, Object.keys(moves));
      let [shown, over] = [null, false];
      const draw = () => {
        if (over) return;
        shown?.stop();
        shown = ending(model);
        show({ model: shown, el, start });
      };
      const outer = ending(model);
      listen(outer, [...WORDS, ...fixed], soon(draw));
      draw();
      return () => {
        over = true;
        shown.stop();
        outer.stop();
      };
    },
  };
}

// For `moves`: a number within bounds, one of some.
export function within(low, high) {
  return (text) => {
    const value = text.trim() === "" ? NaN : Number(text);
    return value >= low && value <= high ? value : undefined;
  };
}
export const oneOf = (options) => (text) => options.find((option) => String(option) === text);

// -- The frame: title, prediction, picture at the left; controls, reply and numbers at the right ----------------------

const REST = 300; // milliseconds after which a hand rests, and what it shows is judged

// `draw(width)`: a node or several, anew at each change of what a reader moves. `controls`: nodes, on a phone always in
// sight; `more`: further ones; `above` and `below`: nodes over and under the picture. `numbers()`: what the table
// shows, by the keys of the model's `rows`. `evidence()`: after a prediction, what the reader's own moves have shown.
// Is it the answer (`done`)? What is there to say until then, or besides (`say`)? Since which numbers does the table
// show the changes (`since`: a label and numbers)? `still()`: is the answer about what is shown now? Where not, it
// goes, and comes back with it. `marks`: the rows to look at then. Returns the node of the picture; its `news()` shows
// what has changed without a move, and its `judge()` does not wait for a hand to rest.
export function frame({
  model,
  el,
  start,
  controls,
  more = [],
  above = [],
  below = [],
  legend = [],
  draw,
  numbers,
  evidence,
  still = () => true,
  marks = [],
}) {
  const picture = html("div", { class: "vx-picture" });
  const rows = model.get("rows").map(([key, label]) => ({
    key,
    value: html("td"),
    change: html("td"),
    head: html("th", { scope: "row" }, typeset(label)),
  }));
  const heads = [html("th", { scope: "col" }, "now"), html("th", { scope: "col" })];
  const table = html(
    "table",
    { class: "vx-numbers" },
    html("thead", {}, html("tr", {}, html("td", {}, model.get("unit")), heads)),
    html(
      "tbody",
      {},
      rows.map(({ key, value, change, head }) =>
        html("tr", { class: marks.includes(key) && "vx-mark" }, head, value, change),
      ),
    ),
  );
  const guess = prediction(model, evidence, still);
  const tools = html(
    "div",
    { class: "vx-tools" },
    button("reset", () => put(model, start)),
    link(model, el, start),
  );
  el.replaceChildren(
    html(
      "section",
      // JupyterLab would take the arrow keys, and letters, as commands of its own.
      {
        class: "vx",
        "aria-label": `Explorer: ${unmarked(model.get("title"))}`,
        onkeydown: (event) => plain(event) && event.stopPropagation(),
      },
      html("p", { class: "vx-title", role: "heading", "aria-level": "3" }, typeset(model.get("title"))),
      guess.node,
      html(
        "div",
        { class: "vx-body" },
        html(
          "div",
          { class: "vx-left" },
          above,
          picture,
          legend.length
            ? html(
                "ul",
                { class: "vx-legend" },
                legend.map(([name, text]) => html("li", { class: `vx-${name}` }, typeset(text))),
              )
            : [],
          below,
        ),
        html("div", { class: "vx-side" }, html("div", { class: "vx-held" }, controls, guess.reply), more, table, tools),
      ),
    ),
  );
  let found = {};
  const update = () => {
    const width = Math.round(picture.clientWidth);
    if (!width) return; // not on the page yet: the observer calls again
    const drawn = [draw(width)].flat();
    // What stays is not put in anew: it would lose the focus.
    if (drawn.length !== picture.childNodes.length || drawn.some((node, i) => node !== picture.childNodes[i]))
      picture.replaceChildren(...drawn);
    found = numbers();
    model.get("rows").forEach(([key, , digits = 3], i) => {
      const value = found[key];
      rows[i].value.textContent = typeof value === "number" ? fixed(digits)(value) : value;
      rows[i].value.dataset.exact = value;
    });
    compare();
  };
  // The change of each number, once there is something to compare with.
  function compare() {
    const { since, done } = guess.shown();
    table.classList.toggle("vx-compared", Boolean(since));
    table.classList.toggle("vx-done", Boolean(done));
    heads[1].replaceChildren(...typeset(since?.[0] ?? ""));
    model.get("rows").forEach(([key, , digits = 3], i) => {
      const change = since ? found[key] - since[1][key] : NaN;
      const shown = Number.isFinite(change) ? fixed(digits)(change) : "";
      rows[i].change.textContent = /[1-9]/.test(shown) && change > 0 ? `+${shown}` : shown;
    });
  }
  listen(model, Object.keys(start), soon(update));
  listen(model, Object.keys(start), guess.moved);
  guess.judged(compare);
  picture.judge = guess.judge;
  picture.news = () => {
    update();
    guess.moved();
  };
  const observer = new ResizeObserver(update);
  observer.observe(picture);
  model.end(() => observer.disconnect());
  update();
  return picture;
}

const plain = (event) => !event.ctrlKey && !event.metaKey && !event.altKey && event.key !== "Escape";

// Copies the address of the page with the explorer's state, and shows it in the address bar; only where there is one.
function link(model, el, start) {
  const { id } = el.closest("[data-explorer]") ?? {};
  if (!id) return [];
  const short = (value) => (typeof value === "number" ? Number(value.toPrecision(5)) : value);
  const copy = button("copy link", () => {
    const moved = Object.keys(start).filter((key) => String(model.get(key)) !== String(start[key]));
    const state = moved.map((key) => `${key}=${[model.get(key)].flat().map(short)}`).join("&");
    history.replaceState(null, "", `#${id}${state && "?"}${state}`);
    copy.textContent = "it is in the address bar";
    navigator.clipboard?.writeText(location.href).then(
      () => (copy.textContent = "copied"),
      () => {},
    );
  });
  listen(model, Object.keys(start), () => (copy.textContent = "copy link"));
  return copy;
}

// A question before the first move. It folds to a line when the reader has chosen; the answer comes when what was moved
// since has shown it, and the hand rests.
function prediction(model, evidence, still) {
  const reply = html("p", { class: "vx-reply", role: "status" });
  let [chosen, shown, gone, told, timer, then] = [null, {}, false, "", null, () => {}];
  const said = html("summary", {}, "Predict first");
  // What is said already is not said again, aloud.
  const tell = (text) => text !== told && reply.replaceChildren(...typeset((told = text)));
  const answer = () => [shown.done && chosen, shown.say].filter(Boolean).join(" ") || model.get("task");
  const away = () => Boolean(shown.done) && !still();
  const judge = () => {
    if (!shown.done || (gone && still())) [shown, gone] = [evidence(), false];
    tell(away() ? "" : answer());
    reply.classList.toggle("vx-done", Boolean(shown.done));
    then();
  };
  const choices = model.get("choices").map(([label, text]) =>
    button(label, (event) => {
      chosen = text;
      for (const one of choices) one.setAttribute("aria-pressed", one === event.currentTarget);
      said.replaceChildren("You predicted: ", html("b", {}, typeset(label)));
      node.open = false;
      said.focus();
      tell(shown.done ? answer() : model.get("task"));
    }),
  );
  const node = html(
    "details",
    { class: "vx-predict", open: true },
    said,
    html("p", {}, typeset(model.get("question"))),
    html("div", { class: "vx-buttons", role: "group", "aria-label": "Your prediction" }, choices),
  );
  model.end(() => clearTimeout(timer));
  return {
    node,
    reply,
    shown: () => (away() ? {} : shown),
    judge: () => chosen && judge(),
    judged: (callback) => (then = callback),
    moved: () => {
      clearTimeout(timer);
      if (away()) {
        gone = true;
        tell("");
      }
      if (chosen) timer = setTimeout(judge, REST);
    },
  };
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
  let pending = false; // the browser moves the slider under a finger that may be about to scroll
  const input = html("input", { type: "range", min, max, step, oninput: () => (pending = undecided()) || move() });
  const shown = html("span", { class: "vx-value", "aria-hidden": "true" }); // the slider itself says it
  const show = () => {
    input.value = at(model.get(key));
    shown.textContent = format(model.get(key));
    input.setAttribute("aria-valuetext", spoken ? `${shown.textContent}, ${spoken()}` : shown.textContent);
  };
  const undecided = draggable(input, {
    model,
    keys: [key],
    onmove: () => pending && move(),
    oncancel: show,
    native: true,
  });
  listen(model, [key], soon(show));
  show();
  return html("label", { class: "vx-slider" }, html("span", {}, typeset(label)), input, shown);
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
  return html("button", { type: "button", class: "vx-button", onclick }, typeset(label));
}

// Buttons in a row, one of which is pressed: `options()` gives the value and the label of each, and is asked again when
// one of `again` changes.
export function options(model, key, label, options, again = []) {
  const row = html("div", { class: "vx-options vx-buttons", role: "group", "aria-label": label });
  let shown = "";
  const show = () => {
    const wanted = options();
    if (shown !== String(wanted))
      row.replaceChildren(...wanted.map(([value, text]) => button(text, () => put(model, { [key]: value }))));
    shown = String(wanted);
    wanted.forEach(([value], i) => row.children[i].setAttribute("aria-pressed", model.get(key) === value));
  };
  listen(model, [key, ...again], show);
  show();
  return row;
}

const SCROLL = 8; // pixels after which a finger shows whether it scrolls the page

// Lets a pointer drag over a picture that is drawn anew at each move: listens on what stays. `where(event)`: whether a
// drag may begin there. A finger that comes down may be about to scroll the page: it counts when it moves sideways, or
// when it is lifted where it came down; on what is marked as `data-grip`, at once and in all directions. What the
// browser takes back (`pointercancel`) was no move: the values of `keys` are again as they were. `native`: the node
// follows a pointer by itself. Returns what says whether a finger is undecided.
export function draggable(node, { model, keys, onmove, where = () => true, oncancel = () => {}, native = false }) {
  let [held, start, before] = [false, null, null];
  const grip = (event) => event.target.closest("[data-grip]");
  node.addEventListener("touchstart", (event) => grip(event) && event.preventDefault(), { passive: false });
  node.addEventListener("pointerdown", (event) => {
    [held, start] = [false, null];
    if (event.button || !where(event) || (native && event.pointerType !== "touch")) return;
    [start, before] = [[event.clientX, event.clientY], read(model, keys)];
    held = event.pointerType !== "touch" || Boolean(grip(event));
    if (native) return;
    node.setPointerCapture(event.pointerId);
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
  node.addEventListener("pointercancel", () => {
    if (held) put(model, before);
    [held, start] = [false, null];
    oncancel();
  });
  return () => Boolean(start) && !held;
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

// `label` says in words what the picture shows now. `most`: so many places of x are marked. Lines are lists of [x, y];
// names are those of the style sheet.
export function plot({ width, height, x, y, xlabel, ylabel, label, left = 48, bottom = 40, most = width / 70 }) {
  const [right, top] = [12, 14];
  const sx = (v) => left + ((v - x[0]) / (x[1] - x[0])) * (width - left - right);
  const sy = (v) => height - bottom - ((v - y[0]) / (y[1] - y[0])) * (height - top - bottom);
  const node = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const add = (tag, attributes, ...children) => node.appendChild(svg(tag, attributes, ...children));
  const path = (points) =>
    points.map(([a, b], i) => `${i ? "L" : "M"}${sx(a).toFixed(1)} ${sy(b).toFixed(1)}`).join("");
  for (const v of ticks(...x, Math.max(3, most))) {
    add("line", { class: "vx-grid", x1: sx(v), x2: sx(v), y1: top, y2: height - bottom });
    add("text", { class: "vx-tick", x: sx(v), y: height - bottom + 16, "text-anchor": "middle" }, short(v));
  }
  for (const v of ticks(...y, Math.max(2, height / 45))) {
    add("line", { class: "vx-grid", x1: left, x2: width - right, y1: sy(v), y2: sy(v) });
    add("text", { class: "vx-tick", x: left - 6, y: sy(v) + 4, "text-anchor": "end" }, short(v));
  }
  if (xlabel)
    add("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, typeset(xlabel, svg));
  if (ylabel)
    add(
      "text",
      { transform: `translate(13 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" },
      typeset(ylabel, svg),
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
    text: (a, b, text, attributes = {}) => add("text", { x: sx(a), y: sy(b), ...attributes }, typeset(text, svg)),
    // Something to take hold of, that moves along one axis; within the picture.
    grip: (a, b, name, turn = 0) => node.append(handle(sx(a), Math.max(top, sy(b)), name, turn)),
  };
}
// A round handle with an arrow to both sides.
export const handle = (x, y, name, turn = 0) =>
  svg(
    "g",
    { class: `vx-handle vx-${name}`, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) rotate(${turn})` },
    svg("circle", { r: 9 }),
    svg("path", { d: "M-3 -3l-3 3l3 3M3 -3l3 3l-3 3" }),
  );
export const short = (v) => String(Number(v.toPrecision(6))).replace("-", "−");

// -- Pixels -----------------------------------------------------------------------------------------------------------

// Paints an image, row by row from 0, paper, to 1, ink: black, as transparent as there is none. The page is the paper,
// and in the dark the style sheet makes ink light (`vx-pixels`).
export function paint(canvas, values, x = 0, y = 0) {
  const side = Math.sqrt(values.length);
  const image = new ImageData(side, side);
  for (let i = 0; i < values.length; i++) image.data[4 * i + 3] = Math.round(255 * values[i]);
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(image, x, y); // few, as numbers
}

// -- Networks ---------------------------------------------------------------------------------------------------------

// A DataView, from a kernel and from page.js; base64 where a state is plain JSON.
export const bytes = (value) =>
  value.base64 ? new DataView(Uint8Array.from(atob(value.base64), (c) => c.charCodeAt(0)).buffer) : value;

// The linear layers that vae_tutorial/explorers/_packed.py has rounded: `sizes`, how many numbers go into the first one
// and come out of each; `bits`, of each one's weights, where some have more than 8. A layer computes with whole numbers
// and scales last. Weights come as (out, in); as (in, out), an input that is 0 after the ReLU can be passed over.
export function unpackLayers(sizes, packed, bits = []) {
  const view = bytes(packed);
  let at = 0;
  const floats = (count) => {
    const found = new Float64Array(count);
    for (let i = 0; i < count; i++, at += 4) found[i] = view.getFloat32(at, true);
    return found;
  };
  return sizes.slice(1).map((outputs, k) => {
    const [inputs, wide] = [sizes[k], bits[k] > 8];
    const scale = floats(outputs);
    const weight = new Float32Array(inputs * outputs); // whole numbers all the same, and a third faster
    for (let o = 0; o < outputs; o++)
      for (let i = 0; i < inputs; i++, at += wide ? 2 : 1)
        weight[i * outputs + o] = wide ? view.getInt16(at, true) : view.getInt8(at);
    return { scale, weight, bias: floats(outputs), output: new Float64Array(outputs) };
  });
}

// What the layers make of a list of numbers, with a ReLU after each but the last. The array that comes back is the last
// layer's own: the next call overwrites it.
export function forward(layers, input) {
  for (const { scale, weight, bias, output } of layers) {
    const [outputs, last] = [output.length, output === layers.at(-1).output];
    output.fill(0);
    for (let i = 0; i < input.length; i++) {
      const [x, row] = [input[i], i * outputs];
      if (x) for (let o = 0; o < outputs; o++) output[o] += x * weight[row + o];
    }
    for (let o = 0; o < outputs; o++) {
      const value = scale[o] * output[o] + bias[o];
      output[o] = last ? value : Math.max(0, value);
    }
    input = output;
  }
  return input;
}

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
// 0 log 0 = 0
export const xlogy = (x, y) => (x === 0 ? 0 : x * Math.log(y));
export const entropy = (p) => -p.reduce((sum, v) => sum + xlogy(v, v), 0);
// KL(N(mu, std^2) || N(mu2, std2^2))
export const gaussianKL = (mu, std, mu2 = 0, std2 = 1) =>
  Math.log(std2 / std) + (std ** 2 + (mu - mu2) ** 2) / (2 * std2 ** 2) - 0.5;
