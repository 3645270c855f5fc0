import {
  button,
  draggable,
  entropy,
  explorer,
  fixed,
  frame,
  handle,
  html,
  listen,
  plot,
  put,
  read,
  slider,
  svg,
} from "./shared.js";

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

// Outcome k gets probability t. The others keep their ratios, or have those of `before` if all of them are 0, or else
// share what is left.
export function moved(weights, k, t, before = weights) {
  const ratios = [weights, before].map(probabilities).find((p) => p.some((v, i) => v > 0 && i !== k));
  const others = ratios?.reduce((sum, v, i) => sum + (i === k ? 0 : v), 0);
  return weights.map((_, i) =>
    i === k ? t : ratios ? (ratios[i] / others) * (1 - t) : (1 - t) / (weights.length - 1),
  );
}

function show({ model, el, start }) {
  const state = () => read(model, ["weights"]);
  let before = start.weights; // the last ones of which more than one was possible
  const carry = (k, t) => {
    const weights = model.get("weights");
    if (weights.filter((v) => v > 0).length > 1) before = weights;
    return { weights: moved(weights, k, t, before) };
  };
  let [bars, held, above] = [null, -1, 0]; // the handle is a little above the end of its bar

  // It is the probability of the second outcome that the question is about; the others must keep their ratios.
  function evidence() {
    const [p, first] = [model.get("weights"), start.weights].map(probabilities);
    const apart = p.some((v, i) => i !== 1 && Math.abs(v * (1 - first[1]) - first[i] * (1 - p[1])) > 1e-3);
    if (apart) return { say: "Other bars have moved as well. Press reset, then move b alone." };
    return { done: p[1] <= first[1] / 2, since: ["since the start", numbers(start)] };
  }

  function drawBars(width, { p, surprise, lengths }) {
    const height = 184;
    const told = OUTCOMES.map((x, k) => `${x}: probability ${fixed(3)(p[k])}, surprise ${fixed(2)(surprise[k])} bits`);
    bars = plot({
      width,
      height,
      x: [0, 6],
      y: [0, 1.16],
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
      bars.text(k + 0.5, p[k], fixed(3)(p[k]), { dy: -22, class: "vx-tick", "text-anchor": "middle" });
      below(x, k + 0.5, 17, { class: "vx-letter" });
      below(fixed(2)(surprise[k]), k + 0.5, 44);
      below(words[k] || (p[k] ? "empty" : "none"), k + 0.5, 69, {
        class: words[k] ? "vx-tick vx-code" : "vx-tick vx-aside",
      });
      const grip = bars.add("g", { "data-grip": k });
      grip.append(
        svg("rect", { x: left, width: right - left, y: top - 29, height: 40, fill: "transparent" }),
        handle((left + right) / 2, top - 9, "p", 90),
      );
    });
    return bars.node;
  }

  // A column as wide as the probability and as high as the surprise: its area is what the outcome adds to the entropy.
  function drawAreas(width, { p, surprise, lengths }) {
    const { bits, length } = numbers(state());
    const areas = plot({
      width,
      height: 206,
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
      set: (_, t) => model.set("weights", carry(k, t).weights),
      on: (_, callback) => listen(model, ["weights"], callback),
      save_changes: () => model.save_changes(),
    };
    const spoken = () => {
      const { surprise, lengths } = outcomes(state());
      const [surprised, entropy] = [surprise[k], numbers(state()).bits].map(fixed(2));
      return `surprise ${surprised} bits, word of ${lengths[k] ?? "no"} bits, entropy ${entropy} bits`;
    };
    return slider(one, "p", { label: `*p*(${x})`, min: 0, max: 1, step: 0.01, format: fixed(3), spoken });
  });
  const presets = model
    .get("presets")
    .map(([label, weights]) => button(label, () => put(model, { weights: [...weights] })));
  const picture = frame({
    model,
    el,
    start,
    evidence,
    marks: ["nats", "bits"],
    draw: (width) => [drawBars(width, outcomes(state())), drawAreas(width, outcomes(state()))],
    numbers: () => numbers(state()),
    controls: html("div", { class: "vx-sliders" }, sliders),
    below: html("div", { class: "vx-options vx-buttons" }, presets),
    legend: [
      ["p vx-filled", "probability *p*, drag it: the others share the rest"],
      ["entropy vx-filled", "surprise −log₂ *p*"],
      ["q", "length of Huffman's word"],
    ],
  });
  const onBar = (event) => {
    const [x, y] = bars.at(event);
    held = Math.floor(x);
    above = event.target.closest("[data-grip]") ? y - probabilities(model.get("weights"))[held] : 0;
    return y >= -0.05 && y <= 1.16 && x >= 0 && x < 6;
  };
  const onmove = (event) =>
    put(model, carry(held, Math.round(1000 * Math.max(0, Math.min(1, bars.at(event)[1] - above))) / 1000));
  draggable(picture, { model, keys: ["weights"], onmove, where: onBar });
}

// Six numbers with commas between them, none negative and not all 0.
const weights = (text) => {
  const found = text.split(",").map((one) => (one.trim() ? Number(one) : NaN));
  const total = found.reduce((sum, v) => sum + v, 0);
  return found.length === 6 && found.every((v) => v >= 0) && total > 0 && total < Infinity ? found : undefined;
};
export default explorer({ weights }, ["presets"], show);
