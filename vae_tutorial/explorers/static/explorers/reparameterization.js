import {
  button,
  draggable,
  explorer,
  fixed,
  frame,
  handle,
  html,
  put,
  ratios,
  read,
  slider,
  svg,
  ticks,
  typeset,
  unmarked,
  within,
} from "./shared.js";

const MU = [-2, 2];
const SIGMA = [0.1, 1.5];
const SAMPLES = [2, 200];
const SHOWN = [-6, 6]; // of the noise and of z
const SIDE = 14; // pixels left free at both sides
const ANSWER = 0.12; // the sigma from which on the picture shows the answer

const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
const variance = (values, m = mean(values)) => values.reduce((sum, v) => sum + (v - m) ** 2, 0) / (values.length - 1);

// What each draw says of the gradient of E[z^2] by mu: z^2 times the slope of log q; the slope of z^2 along the path.
export function estimates({ mu, sigma, samples, noise }) {
  const eps = noise.slice(0, samples);
  const z = eps.map((e) => mu + sigma * e);
  return { eps, z, score: eps.map((e, i) => (z[i] ** 2 * e) / sigma), path: z.map((v) => 2 * v) };
}

export function numbers(state) {
  const { score, path } = estimates(state);
  return {
    truth: 2 * state.mu,
    score_mean: mean(score),
    score_std: Math.sqrt(variance(score)),
    path_mean: mean(path),
    path_std: Math.sqrt(variance(path)),
    ratio: variance(score) / variance(path),
  };
}

// How far the lower picture reaches to both sides: by what the draws should do, not by what these draws do, at the
// sigma where they spread most. So it holds while sigma moves, and lengths can be compared.
export function reach({ mu }) {
  const spread = (sigma) => Math.sqrt(mu ** 4 / sigma ** 2 + 14 * mu ** 2 + 15 * sigma ** 2); // of z^2 eps / sigma
  return [20, 50, 200].find((limit) => limit >= 2 * Math.abs(mu) + 3 * Math.max(...SIGMA.map(spread))) ?? 200;
}

// An empty picture with a horizontal scale.
function canvas(width, height, [low, high], label) {
  const sx = (v) => SIDE + ((v - low) / (high - low)) * (width - 2 * SIDE);
  const node = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const add = (tag, attributes, ...children) => node.appendChild(svg(tag, attributes, ...children));
  const text = (x, y, words, attributes = {}) =>
    add("text", { x, y, "text-anchor": "middle", ...attributes }, typeset(words, svg));
  const axis = (y, dy) => {
    add("line", { x1: SIDE, x2: width - SIDE, y1: y, y2: y, stroke: "currentColor", "stroke-opacity": 0.6 });
    for (const v of ticks(low, high, Math.max(4, width / 50))) {
      add("line", {
        x1: sx(v),
        x2: sx(v),
        y1: y,
        y2: y + Math.sign(dy) * 5,
        stroke: "currentColor",
        "stroke-opacity": 0.6,
      });
      text(sx(v), y + dy, String(v).replace("-", "−"), { class: "vx-tick" });
    }
  };
  // Many strokes as few nodes; in three layers, so that one sees where they lie upon each other.
  const strokes = (pieces, attributes) =>
    [0, 1, 2].forEach((layer) =>
      add("path", {
        d: pieces.filter((_, i) => i % 3 === layer).join(""),
        fill: "none",
        "stroke-linecap": "round",
        ...attributes,
      }),
    );
  const dots = (points, name, size, opacity = 1) =>
    strokes(
      points.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`),
      { class: `vx-${name}`, stroke: "var(--vx)", "stroke-width": size, "stroke-opacity": opacity },
    );
  const at = (event) => {
    const box = node.getBoundingClientRect();
    return [low + ((event.clientX - box.left - SIDE) / (width - 2 * SIDE)) * (high - low), event.clientY - box.top];
  };
  return { node, add, text, axis, strokes, dots, sx, at };
}

function show({ model, el, start }) {
  const state = () => read(model, ["mu", "sigma", "samples", "noise"]);
  let carried = null;

  function evidence() {
    const { mu, sigma, samples } = state();
    const since = [`since *σ*\u00a0=\u00a0${start.sigma}`, numbers({ ...state(), ...start, samples })];
    if (Math.abs(mu - start.mu) > 0.05) return { say: `The question is about *μ* = ${start.mu}: bring it back there.` };
    return { done: sigma <= ANSWER, since };
  }

  function drawCarried(width, { mu, sigma, samples }, { eps, z }) {
    const [top, bottom] = [46, 128];
    const label =
      `${samples} values of the noise on the upper line, carried to z on the lower one: ` +
      `centre ${fixed(2)(mu)}, width ${fixed(2)(sigma)}.`;
    carried = canvas(width, 184, SHOWN, label);
    carried.node.classList.add("vx-slides");
    const { add, text, axis, strokes, dots, sx } = carried;
    text(SIDE, 14, "noise *ε*, always the same", { "text-anchor": "start" });
    axis(top, -10);
    axis(bottom, 18);
    const faint = Math.max(0.2, Math.min(0.6, 10 / samples));
    strokes(
      z.map((v, i) => `M${sx(eps[i]).toFixed(1)} ${top}L${sx(v).toFixed(1)} ${bottom}`),
      { stroke: "currentColor", "stroke-opacity": faint },
    );
    dots(
      eps.map((e) => [sx(e), top]),
      "elbo",
      5,
    );
    dots(
      z.map((v) => [sx(v), bottom]),
      "q",
      7,
    );
    // Where noise 0 goes, and noise 1.
    add("line", { x1: sx(0), y1: top, x2: sx(mu), y2: bottom, stroke: "currentColor", "stroke-width": 2.2 });
    add("path", {
      class: "vx-line vx-q",
      d: `M${sx(mu)} ${bottom + 24}V${bottom + 32}H${sx(mu + sigma)}V${bottom + 24}`,
    });
    text(sx(mu), bottom + 48, "*μ*");
    text(Math.max(sx(mu + sigma), sx(mu) + 34), bottom + 48, "*μ* + *σ*");
    text(width - SIDE, 14, `*z* = ${fixed(2)(mu)} + ${fixed(2)(sigma)} *ε*`, { "text-anchor": "end" });
    carried.node.append(handle(sx(mu), bottom, "q"));
    return carried.node;
  }

  function drawStrips(width, { mu, sigma }, found) {
    const limit = reach({ mu, sigma });
    const [shown, first] = [numbers(state()), numbers({ ...state(), ...start, samples: state().samples })];
    const rows = [
      ["score", "score function, *z*² *ε* / *σ*", "highlight", 40],
      ["path", "pathwise, 2*z*", "data", 124],
    ];
    const words = rows.map(([key, name]) => {
      const [m, spread] = ["mean", "std"].map((what) => fixed(2)(shown[`${key}_${what}`]));
      return `${unmarked(name)}: mean ${m}, standard deviation ${spread}`;
    });
    const truth = fixed(2)(2 * mu);
    const label = `Estimates of the gradient, one dot for each draw. ${words.join(". ")}. The truth is ${truth}.`;
    const { node, add, text, axis, dots, sx } = canvas(width, 244, [-limit, limit], label);
    const bottom = 202;
    axis(bottom, 18);
    text(width / 2, bottom + 37, "what one draw says of the gradient by *μ*");
    for (const [key, name, colour, top] of rows) {
      text(SIDE, top - 8, name, { "text-anchor": "start" });
      // Apart from each other, each always at the same height.
      const places = found[key].map((v, i) => [v, top + 4 + 36 * ((i * 0.618034) % 1)]);
      dots(
        places.filter(([v]) => Math.abs(v) <= limit).map(([v, y]) => [sx(v), y]),
        colour,
        6,
        0.7,
      );
      for (const [v, y] of places.filter(([v]) => Math.abs(v) > limit)) {
        add("path", {
          class: `vx-dot vx-${colour}`,
          d: `M${sx(limit * Math.sign(v))} ${y - 5}l${10 * Math.sign(v)} 5l${-10 * Math.sign(v)} 5z`,
        }); // further out
      }
      const bar = ({ [`${key}_mean`]: m, [`${key}_std`]: s }, y, look) =>
        add("path", { d: `M${sx(m - s)} ${y - 4}v8m0 -4H${sx(m + s)}m0 -4v8`, fill: "none", ...look });
      const [m, y] = [shown[`${key}_mean`], top + 48];
      // As it was at first, below.
      bar(first, y + 9, { stroke: "currentColor", "stroke-width": 1.2, "stroke-opacity": 0.55 });
      bar(shown, y, { stroke: "currentColor", "stroke-width": 1.8 });
      add("path", { d: `M${sx(m)} ${y - 6}l6 6l-6 6l-6 -6z`, fill: "currentColor" });
      add("path", {
        d: `M${sx(2 * mu)} ${top - 4}v66`,
        stroke: "currentColor",
        "stroke-width": 1.6,
        "stroke-dasharray": "5 4",
      });
    }
    text(width - SIDE, 14, `dashed: the truth, 2*μ* = ${fixed(2)(2 * mu)}`, { "text-anchor": "end" });
    return node;
  }

  const spoken = () => {
    const { score_std, path_std } = numbers(state());
    return `standard deviations ${fixed(2)(score_std)} score function, ${fixed(2)(path_std)} pathwise`;
  };
  const picture = frame({
    model,
    el,
    start,
    evidence,
    marks: ["score_std", "path_std"],
    draw: (width) => {
      const found = estimates(state());
      return [drawCarried(width, state(), found), drawStrips(width, state(), found)];
    },
    numbers: () => numbers(state()),
    controls: [
      slider(model, "mu", { label: "*μ*, mean of *q*", min: MU[0], max: MU[1], step: 0.05, spoken }),
      slider(model, "sigma", { label: "*σ*, width of *q*", ...ratios(...SIGMA, 270), spoken }),
      slider(model, "samples", {
        label: "draws",
        min: SAMPLES[0],
        max: SAMPLES[1],
        step: 1,
        format: String,
        spoken,
      }),
      html(
        "div",
        { class: "vx-buttons" },
        button("*σ* = 0.1", () => put(model, { sigma: 0.1 })),
        button("*z* = *ε*", () => put(model, { mu: 0, sigma: 1 })),
      ),
    ],
    legend: [
      ["q", "*z*, drag it"],
      ["elbo", "mean ± standard deviation; the thin one: at first"],
    ],
  });
  const inside = (v) => Math.max(MU[0], Math.min(MU[1], Math.round(100 * v) / 100));
  const inUpper = (event) => carried.node.contains(event.target); // the lower picture has another axis
  const onmove = (event) => put(model, { mu: inside(carried.at(event)[0]) });
  draggable(picture, { model, keys: ["mu"], onmove, where: inUpper });
}

const samples = (text) => (/^\d+$/.test(text) ? within(...SAMPLES)(text) : undefined);
export default explorer({ mu: within(...MU), sigma: within(...SIGMA), samples }, ["noise"], show);
