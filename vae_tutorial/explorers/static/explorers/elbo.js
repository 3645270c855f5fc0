import {
  button,
  draggable,
  explorer,
  fixed,
  frame,
  gaussianKL,
  html,
  linspace,
  logNormal,
  logSumExp,
  oneOf,
  options,
  plot,
  put,
  ratios,
  read,
  short,
  slider,
  svg,
  ticks,
  typeset,
  within,
} from "./shared.js";

const LINE = linspace(-8, 8, 3201); // z, for log p(x)
// z in standard deviations of q, for means under q: as exact for a narrow q as for a wide one
const STEPS = linspace(-9, 9, 361);
const WEIGHTS = STEPS.map((t) => Math.exp(logNormal(t, 0, 1)) * 0.05);
const SHOWN = [-4, 4];
const NATS = [-15, 2]; // of the bars: they stand still, so that log p(x) does
const VALUES = ["mean", "std", "decoder", "point", "weight", "bias", "noises", "points"];

const two = fixed(2);
const chosen = ({ decoder, point, points }) => points[decoder][point];
const decode = (z, { decoder, weight, bias }) => (decoder === "curved" ? [z / 2, z * z - 1] : [weight * z + bias]);
const logLikelihood = (z, state) => {
  const { x } = chosen(state);
  return decode(z, state).reduce((sum, mean, i) => sum + logNormal(x[i], mean, state.noises[state.decoder]), 0);
};
const logJoint = (z, state) => logLikelihood(z, state) + logNormal(z, 0, 1);
const underQ = ({ mean, std }, f) => STEPS.reduce((sum, t, i) => sum + WEIGHTS[i] * f(mean + std * t), 0);

// log p(x): closed for the straight decoder, a sum over a grid for the curved one.
function evidence(state) {
  const { decoder, weight, bias, noises } = state;
  if (decoder === "straight") return logNormal(chosen(state).x[0], bias, Math.hypot(weight, noises.straight));
  return logSumExp(LINE.map((z) => logJoint(z, state))) + Math.log(LINE[1] - LINE[0]);
}

// All in nats. Reconstruction and gap by sums over a grid; the KL between two normal densities is closed.
export function numbers(state) {
  const { mean, std } = state;
  const log_p = evidence(state);
  const reconstruction = underQ(state, (z) => logLikelihood(z, state));
  const gap = underQ(state, (z) => logNormal(z, mean, std) - (logJoint(z, state) - log_p));
  const price = gaussianKL(mean, std);
  return { reconstruction, price, elbo: reconstruction - price, gap, log_p };
}

function show({ model, el, start }) {
  const state = () => read(model, VALUES);
  const spoken = () => {
    const { elbo, gap } = numbers(state());
    return `ELBO ${two(elbo)}, gap ${two(gap)} nats`;
  };
  const go = ([mean, std]) => put(model, { mean, std });
  let top = null;

  // The question is about one observation: there the reader has to have been at the best q and at the prior.
  const seen = {};
  function evidence() {
    const now = state();
    if (now.decoder !== start.decoder || now.point !== start.point)
      return { say: "The question is about another observation: press reset to come back to it." };
    const near = ([mean, std]) => Math.abs(now.mean - mean) < 0.03 && Math.abs(now.std / std - 1) < 0.03;
    if (near(chosen(now).best)) seen.best = ["since best *q*", numbers(now)];
    if (near([0, 1])) seen.prior = ["since the prior", numbers(now)];
    const done = seen.best && seen.prior;
    const say = done ? "" : seen.best ? "Now press “the prior”." : seen.prior ? "Now press “best *q*”." : "";
    return { done, say, since: near([0, 1]) ? (seen.best ?? seen.prior) : (seen.prior ?? seen.best) };
  }

  function densities(width, now, log_p) {
    const { mean, std } = now;
    const { name, best } = chosen(now);
    const zs = linspace(...SHOWN, 401);
    const curve = (f) => zs.map((z) => [z, f(z)]);
    const posterior = curve((z) => Math.exp(logJoint(z, now) - log_p));
    const high = 1.1 * Math.max(0.4 / best[1], ...posterior.map(([, v]) => v)); // whatever q does
    const most = Math.max(...LINE.map((z) => logLikelihood(z, now)));
    top = plot({
      width,
      height: 216,
      x: SHOWN,
      y: [0, high],
      xlabel: "*z*",
      ylabel: "density",
      label:
        `Prior, likelihood and posterior over z for the ${now.decoder} decoder, ${name}; ` +
        `q lies at ${two(mean)} with width ${two(std)}.`,
    });
    top.area(posterior, "p");
    top.line(
      curve((z) => Math.exp(logNormal(z, 0, 1))),
      "prior vx-dotted",
    );
    top.line(
      curve((z) => 0.5 * high * Math.exp(logLikelihood(z, now) - most)),
      "data vx-dashed",
    );
    const near = linspace(mean - 5 * std, mean + 5 * std, 161).filter((z) => z > SHOWN[0] && z < SHOWN[1]);
    top.line(
      [SHOWN[0], ...near, SHOWN[1]].map((z) => [z, Math.exp(logNormal(z, mean, std))]),
      "q",
    );
    top.grip(mean, Math.exp(logNormal(mean, mean, std)), "q");
    top.node.classList.add("vx-slides");
    return top.node;
  }

  // As in the chapter, bars come from far below, out of the picture: it counts where they end.
  function bars(width, { reconstruction, price, elbo, gap, log_p }) {
    const [left, right, first, second, thick, bottom] = [10, 10, 60, 88, 20, 114];
    const sx = (v) => left + ((Math.max(NATS[0], v) - NATS[0]) / (NATS[1] - NATS[0])) * (width - left - right);
    const node = svg("svg", {
      width,
      height: 154,
      viewBox: `0 0 ${width} 154`,
      role: "img",
      "aria-label":
        `Reconstruction ${two(reconstruction)} less KL to the prior ${two(price)} is the ELBO, ${two(elbo)}. ` +
        `ELBO plus gap ${two(gap)} is log p(x), ${two(log_p)} nats.`,
    });
    const add = (tag, attributes, ...children) => node.appendChild(svg(tag, attributes, ...children));
    for (const v of ticks(...NATS, width / 70)) {
      add("line", { class: "vx-grid", x1: sx(v), x2: sx(v), y1: first - 6, y2: bottom });
      add("text", { class: "vx-tick", x: sx(v), y: bottom + 16, "text-anchor": "middle" }, fixed(0)(v));
    }
    add("text", { x: width / 2, y: bottom + 34, "text-anchor": "middle" }, "nats");
    // What both bars are made of, in the order of the bars; a phone has no room for the sums, which the table has.
    const inked = (name, text) => svg("tspan", { class: `vx-ink vx-${name}` }, typeset(text, svg));
    const sum = (text) => (width < 440 ? [] : typeset(` = ${text}`, svg));
    add(
      "text",
      { class: "vx-tick", x: left, y: 12 },
      inked("p", `reconstruction ${two(reconstruction)}`),
      " − ",
      inked("kl", `KL(*q* ‖ *p*(*z*)) ${two(price)}`),
      sum(`ELBO ${two(elbo)}`),
    );
    add(
      "text",
      { class: "vx-tick", x: left, y: 29 },
      inked("elbo", `ELBO ${two(elbo)}`),
      " + ",
      inked("highlight", `KL(*q* ‖ *p*(*z* | *x*)) ${two(gap)}`),
      sum(`log *p*(*x*) ${two(log_p)}`),
    );
    const bar = (from, to, y, name) =>
      add("rect", { class: `vx-${name}`, x: sx(from), width: Math.max(0, sx(to) - sx(from)), y, height: thick });
    bar(NATS[0], elbo, first, "bar vx-p");
    bar(elbo, reconstruction, first, "area vx-p");
    if (reconstruction > NATS[0]) bar(elbo, reconstruction, first, "line vx-dashed vx-kl");
    bar(NATS[0], elbo, second, "bar vx-elbo vx-soft");
    bar(elbo, log_p, second, "bar vx-highlight");
    if (elbo > NATS[0])
      add("line", {
        class: "vx-line vx-elbo vx-dotted vx-thin",
        x1: sx(elbo),
        x2: sx(elbo),
        y1: first + thick,
        y2: second,
      });
    [
      [reconstruction, first],
      [elbo, second],
    ].forEach(([v, y]) => v < NATS[0] && add("path", { d: `M1 ${y + thick / 2}l7 -7v14Z`, fill: "currentColor" }));
    add("line", { class: "vx-line vx-elbo", x1: sx(log_p), x2: sx(log_p), y1: first - 7, y2: bottom });
    add(
      "text",
      { class: "vx-tick", x: Math.min(sx(log_p), width - 48), y: first - 11, "text-anchor": "middle" },
      typeset(`log *p*(*x*) ${two(log_p)}`, svg),
    );
    return node;
  }

  const picture = frame({
    model,
    el,
    start,
    evidence,
    marks: ["elbo", "gap"],
    draw: (width) => {
      const now = state();
      const found = numbers(now);
      return [densities(width, now, found.log_p), bars(width, found)];
    },
    numbers: () => numbers(state()),
    controls: [
      slider(model, "mean", { label: "mean of *q*", min: -3, max: 3, step: 0.02, spoken }),
      slider(model, "std", { label: "width of *q*", ...ratios(0.02, 2, 460), format: fixed(3), spoken }),
      html(
        "div",
        { class: "vx-buttons" },
        button("best *q*", () => go(chosen(state()).best)),
        button("the prior", () => go([0, 1])),
      ),
    ],
    below: [
      options(model, "decoder", "decoder", () => [
        ["straight", `${short(model.get("weight"))}*z* + ${short(model.get("bias"))}`],
        ["curved", "(*z*/2, *z*² − 1)"],
      ]),
      options(model, "point", "data", () => model.get("points")[model.get("decoder")].map(({ name }, i) => [i, name]), [
        "decoder",
      ]),
    ],
    legend: [
      ["p vx-filled", "posterior *p*(*z* | *x*)"],
      ["q", "*q*(*z*), drag it"],
      ["prior vx-dashed vx-dotted", "prior *p*(*z*)"],
      ["data vx-dashed", "likelihood *p*(*x* | *z*), scaled"],
    ],
  });
  // Not in the lower picture, which has another axis.
  const inTop = (event) => event.clientY < top.node.getBoundingClientRect().bottom;
  const onmove = (event) => put(model, { mean: Math.max(-3, Math.min(3, top.at(event)[0])) });
  draggable(picture, { model, keys: ["mean"], onmove, where: inTop });
}

export default explorer(
  { mean: within(-3, 3), std: within(0.02, 2), decoder: oneOf(["straight", "curved"]), point: oneOf([0, 1, 2]) },
  ["weight", "bias", "noises", "points"],
  show,
);
