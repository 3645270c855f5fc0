import { button, draggable, fixed, frame, html, linspace, logNormal, logSumExp, plot, put, slider, trapezoid } from "./shared.js";

const LINE = linspace(-12, 12, 2401);
const SPACING = 0.01;
const SHOWN = [-8, 8];

const logBumps = (x, { shares, means, stds }) => logSumExp(shares.map((share, k) => Math.log(share) + logNormal(x, means[k], stds[k])));

// Both KLs between the bumps p and q = N(mean, std^2), nats, by the trapezoid rule.
export function numbers({ mean, std, ...p }) {
  const logP = LINE.map((x) => logBumps(x, p));
  const logQ = LINE.map((x) => logNormal(x, mean, std));
  const forward = trapezoid(logP.map((l, i) => Math.exp(l) * (l - logQ[i])), SPACING);
  const reverse = trapezoid(logQ.map((l, i) => Math.exp(l) * (l - logP[i])), SPACING);
  return { forward, reverse };
}

function render({ model, el }) {
  const state = () => Object.fromEntries(["mean", "std", "shares", "means", "stds"].map((key) => [key, model.get(key)]));
  const spoken = () => {
    const { forward, reverse } = numbers(state());
    return `forward KL ${fixed(2)(forward)}, reverse KL ${fixed(2)(reverse)} nats`;
  };
  const go = ([mean, std]) => put(model, { mean, std });
  let top = null;

  function draw(width) {
    const { mean, std, ...p } = state();
    const xs = LINE.filter((x) => x >= SHOWN[0] && x <= SHOWN[1]).filter((_, i) => i % 4 === 0);
    const [logP, logQ] = [xs.map((x) => logBumps(x, p)), xs.map((x) => logNormal(x, mean, std))];
    const densities = plot({
      width, height: 190, x: SHOWN, y: [0, Math.max(0.5, 0.42 / std)], ylabel: "density",
      label: `Two bumps p, and a normal density q at ${fixed(2)(mean)} of width ${fixed(2)(std)}.`,
    });
    densities.area(xs.map((x, i) => [x, Math.exp(logP[i])]), "p");
    densities.line(xs.map((x, i) => [x, Math.exp(logQ[i])]), "q");
    top = densities;
    const forward = xs.map((x, i) => [x, Math.exp(logP[i]) * (logP[i] - logQ[i])]);
    const reverse = xs.map((x, i) => [x, Math.exp(logQ[i]) * (logQ[i] - logP[i])]);
    const values = [...forward, ...reverse].map(([, v]) => v);
    const low = Math.max(-0.6, Math.min(-0.1, ...values));
    const high = Math.min(6, Math.max(0.5, ...values) * 1.05);
    const within = (points) => points.map(([x, v]) => [x, Math.max(low, Math.min(high, v))]);
    const { forward: f, reverse: r } = numbers(state());
    const integrands = plot({
      width, height: 210, x: SHOWN, y: [low, high], xlabel: "x", ylabel: "integrand (nats)",
      label: `The integrands of both KLs. Their areas are ${fixed(2)(f)} nats forward and ${fixed(2)(r)} nats reverse.`,
    });
    integrands.line(within(forward), "forward");
    integrands.line(within(reverse), "reverse");
    return [densities.node, integrands.node];
  }

  const stop = frame({
    model, el, draw,
    keys: ["mean", "std"],
    numbers: () => numbers(state()),
    controls: [
      slider(model, "mean", { label: "mean of q", min: -5, max: 5, step: 0.05, spoken }),
      slider(model, "std", { label: "width of q", min: Math.log(0.3), max: Math.log(5), step: 0.01, at: Math.log, from: Math.exp, spoken }),
      html("div", { class: "vx-buttons" }, button("best forward q", () => go(model.get("best_forward"))), button("best reverse q", () => go(model.get("best_reverse")))),
    ],
    legend: [["p", "p"], ["q", "q (drag it)"], ["forward", "p log (p / q), forward"], ["reverse", "q log (q / p), reverse"]],
  });
  draggable(el.querySelector(".vx-picture"), (event) => put(model, { mean: Math.max(-5, Math.min(5, top.at(event)[0])) }));
  return stop;
}

export default { render };
