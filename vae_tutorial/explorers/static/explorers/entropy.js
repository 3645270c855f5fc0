import { button, draggable, entropy, explorer, fixed, frame, html, listen, plot, put, read, slider } from "./shared.js";

const OUTCOMES = [..."abcdef"];
const HIGHEST = 8; // bits that the lower picture has room for
const BIT = Math.log(2); // nats

export const probabilities = (weights) => {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
};

// Bits that Huffman's code gives each outcome: null where it never happens. Of equal weights the older is merged first.
export function huffmanLengths(p) {
  const lengths = p.map((v) => (v > 0 ? 0 : null));
  let heap = p.map((weight, k) => ({ weight, made: k, members: [k] })).filter(({ weight }) => weight > 0);
  for (let made = p.length; heap.length > 1; made++) {
    heap.sort((one, other) => one.weight - other.weight || one.made - other.made);
    const [a, b, ...rest] = heap;
    const members = [...a.members, ...b.members];
    for (const k of members) lengths[k]++; // one step further from the root
    heap = [...rest, { weight: a.weight + b.weight, made, members }];
  }
  return lengths;
}

// Words of these lengths, none the beginning of another: shortest first, each the next binary number.
export function wordsOf(lengths) {
  const words = lengths.map(() => null);
  const order = lengths
    .map((_, k) => k)
    .filter((k) => lengths[k] !== null)
    .sort((i, j) => lengths[i] - lengths[j] || i - j);
  let [code, last] = [0, 0];
  for (const k of order) {
    code *= 2 ** (lengths[k] - last);
    last = lengths[k];
    words[k] = last ? (code++).toString(2).padStart(last, "0") : "";
  }
  return words;
}

// For each outcome: probability, surprise in bits (Infinity where it never happens), length of its word in bits.
export function outcomes({ weights }) {
  const p = probabilities(weights);
  return { p, surprise: p.map((v) => -Math.log(v) / BIT + 0), lengths: huffmanLengths(p) };
}

export function numbers({ weights }) {
  const { p, lengths } = outcomes({ weights });
  const nats = entropy(p) + 0; // no -0
  const length = p.reduce((sum, v, k) => sum + v * (lengths[k] ?? 0), 0);
  return { nats, bits: nats / BIT, length, wasted: length - nats / BIT };
}

// Outcome k gets probability t. The others keep their ratios; if all of them are 0, they share what is left.
export function moved(weights, k, t) {
  const p = probabilities(weights);
  const others = p.reduce((sum, v, i) => sum + (i === k ? 0 : v), 0);
  return p.map((v, i) => (i === k ? t : others > 0 ? (v / others) * (1 - t) : (1 - t) / (p.length - 1)));
}

function show({ model, el }) {
  const state = () => read(model, ["weights"]);
  const move = (k, t) => put(model, { weights: moved(model.get("weights"), k, t) });
  let [bars, held] = [null, -1];

  function drawBars(width, { p, surprise, lengths }) {
    const height = 226;
    const told = OUTCOMES.map((x, k) => `${x}: probability ${fixed(3)(p[k])}, surprise ${fixed(2)(surprise[k])} bits`);
    bars = plot({
      width,
      height,
      x: [0, 6],
      y: [0, 1.12],
      ylabel: "probability",
      left: 62,
      label: `Six outcomes. ${told.join("; ")}.`,
    });
    for (const node of bars.node.querySelectorAll(`line[y2="${height - 40}"], .vx-tick[text-anchor="middle"]`))
      node.remove(); // letters are no numbers
    bars.node.setAttribute("height", height + 34); // two more rows below
    bars.node.setAttribute("viewBox", `0 0 ${width} ${height + 34}`);
    const below = (text, x, dy, attributes = {}) =>
      bars.text(x, 0, text, { dy, class: "vx-tick", "text-anchor": "middle", ...attributes });
    const heading = { "text-anchor": "end", dx: -8 };
    below("surprise", 0, 38, heading);
    below("in bits", 0, 51, heading);
    below("word", 0, 69, heading);
    const words = wordsOf(lengths);
    OUTCOMES.forEach((x, k) => {
      const [left, right, top] = [bars.sx(k + 0.14), bars.sx(k + 0.86), bars.sy(p[k])];
      bars.bar(k + 0.14, k + 0.86, p[k], "p");
      bars.add("line", {
        x1: left,
        x2: right,
        y1: top,
        y2: top,
        stroke: "currentColor",
        "stroke-width": 3,
        "stroke-linecap": "round",
      });
      bars.text(k + 0.5, p[k], fixed(3)(p[k]), { dy: -7, class: "vx-tick", "text-anchor": "middle" });
      below(x, k + 0.5, 17, { class: "vx-letter" });
      below(fixed(2)(surprise[k]), k + 0.5, 44);
      below(words[k] || (p[k] ? "empty" : "none"), k + 0.5, 69, {
        class: words[k] ? "vx-tick vx-code" : "vx-tick vx-aside",
      });
      bars.add("rect", { x: left, width: right - left, y: top - 20, height: 40, fill: "transparent", "data-grip": k });
    });
    return bars.node;
  }

  // A column as wide as the probability and as high as the surprise: its area is what the outcome adds to the entropy.
  function drawAreas(width, { p, surprise, lengths }) {
    const { bits, length } = numbers(state());
    const areas = plot({
      width,
      height: 230,
      x: [0, 1],
      y: [0, HIGHEST + 1.4],
      xlabel: "probability, a to f side by side",
      ylabel: "bits",
      left: 62,
      label:
        `Columns as wide as the probabilities and as high as the surprises. ` +
        `Their area is the entropy, ${fixed(2)(bits)} bits. ` +
        `The area under Huffman's word lengths is ${fixed(2)(length)} bits.`,
    });
    const steps = [];
    let start = 0;
    p.forEach((v, k) => {
      if (!v) return;
      const high = Math.min(surprise[k], HIGHEST);
      areas.bar(start, start + v, high, "entropy vx-outlined");
      steps.push([start, lengths[k]], [start + v, lengths[k]]);
      if (v * (width - 74) > 11)
        areas.text(start + v / 2, Math.max(high, lengths[k]), OUTCOMES[k], {
          dy: -6,
          class: "vx-tick",
          "text-anchor": "middle",
        });
      start += v;
    });
    areas.line(steps, "q");
    const sums = `area: H = ${fixed(2)(bits)}, under the line: L = ${fixed(2)(length)}`;
    areas.text(0.5, HIGHEST + 0.55, sums, { class: "vx-tick", "text-anchor": "middle" });
    return areas.node;
  }

  const sliders = OUTCOMES.map((x, k) => {
    const one = {
      get: () => probabilities(model.get("weights"))[k],
      set: (_, t) => model.set("weights", moved(model.get("weights"), k, t)),
      on: (_, callback) => listen(model, ["weights"], callback),
      save_changes: () => model.save_changes(),
    };
    const spoken = () => {
      const { surprise, lengths } = outcomes(state());
      const [surprised, entropy] = [surprise[k], numbers(state()).bits].map(fixed(2));
      return `surprise ${surprised} bits, word of ${lengths[k] ?? "no"} bits, entropy ${entropy} bits`;
    };
    return slider(one, "p", { label: `p(${x})`, min: 0, max: 1, step: 0.01, format: fixed(3), spoken });
  });
  const presets = model
    .get("presets")
    .map(([label, weights]) => button(label, () => put(model, { weights: [...weights] })));
  const picture = frame({
    model,
    el,
    keys: ["weights"],
    draw: (width) => [drawBars(width, outcomes(state())), drawAreas(width, outcomes(state()))],
    numbers: () => numbers(state()),
    controls: [html("div", { class: "vx-sliders" }, sliders), html("div", { class: "vx-buttons" }, presets)],
    legend: [
      ["p", "probability p (drag the bars)"],
      ["entropy", "surprise −log₂ p"],
      ["q", "length of Huffman's word"],
    ],
  });
  const onBar = (event) => {
    const [x, y] = bars.at(event);
    held = Math.floor(x);
    return y >= -0.05 && y <= 1.12 && x >= 0 && x < 6;
  };
  draggable(
    picture,
    (event) => move(held, Math.round(1000 * Math.max(0, Math.min(1, bars.at(event)[1]))) / 1000),
    onBar,
  );
}

export default explorer(["presets"], show);
