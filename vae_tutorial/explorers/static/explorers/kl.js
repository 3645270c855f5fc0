import {
  button,
  draggable,
  explorer,
  fixed,
  frame,
  html,
  linspace,
  logNormal,
  logSumExp,
  plot,
  put,
  ratios,
  read,
  slider,
  trapezoid,
  within,
} from "./shared.js";

const BUMPS = ["shares", "means", "stds"];
const WIDTHS = 10; // standard deviations that an integral reaches to both sides
const STEPS = 20; // steps of the quadrature in the narrowest width of all
const HEIGHTS = [0.75, 1.5, 3, 6]; // nats, of the picture of the integrands
const CUT = HEIGHTS.at(-1); // what is higher is not shown

const logBumps = (x, { shares, means, stds }) =>
  logSumExp(shares.map((share, k) => Math.log(share) + logNormal(x, means[k], stds[k])));

// The integral of f from WIDTHS widths below the lowest centre to as many above the highest, by the trapezoid rule. The
// integrands are smooth and vanish at both ends, where that is exact to rounding.
function integral(f, centres, widths, narrowest) {
  const low = Math.min(...centres.map((m, k) => m - WIDTHS * widths[k]));
  const high = Math.max(...centres.map((m, k) => m + WIDTHS * widths[k]));
  const steps = Math.ceil(((high - low) / narrowest) * STEPS);
  return trapezoid(linspace(low, high, steps + 1).map(f), (high - low) / steps);
}

// Both KLs between the bumps p and q = N(mean, std^2), nats.
export function numbers({ mean, std, ...p }) {
  const forward = (x) => {
    const logP = logBumps(x, p);
    return Math.exp(logP) * (logP - logNormal(x, mean, std));
  };
  const reverse = (x) => {
    const logQ = logNormal(x, mean, std);
    return Math.exp(logQ) * (logQ - logBumps(x, p));
  };
  return {
    forward: integral(forward, p.means, p.stds, Math.min(...p.stds)),
    reverse: integral(reverse, [mean], [std], Math.min(std, ...p.stds)),
  };
}

function show({ model, el, start }) {
  const state = () => read(model, ["mean", "std", ...BUMPS]);
  const bounds = model.get("bounds");
  const xs = linspace(
    ...bounds.x,
    Math.min(2001, 1 + Math.ceil((4 * (bounds.x[1] - bounds.x[0])) / Math.min(0.16, ...model.get("stds")))),
  );
  let [top, last] = [null, {}];
  const now = () => {
    const { mean, std } = state();
    // Table, picture and sliders ask.
    if (last.mean !== mean || last.std !== std) last = { mean, std, ...numbers(state()) };
    return last;
  };
  const spoken = () => `forward KL ${fixed(2)(now().forward)}, reverse KL ${fixed(2)(now().reverse)} nats`;
  const go = ([mean, std]) => put(model, { mean, std });

  function drawDensities(width, logP, logQ) {
    const { mean, std } = now();
    const high = Math.max(0.5, 0.42 / std, ...logP.map((l) => 1.05 * Math.exp(l)));
    const bumps = model.get("means").length;
    const label = `Density p of ${bumps} bumps, and a normal density q at ${fixed(2)(mean)} of width ${fixed(2)(std)}.`;
    top = plot({ width, height: 180, x: bounds.x, y: [0, high], ylabel: "density", label, bottom: 24 });
    top.node.classList.add("vx-slides");
    top.area(
      xs.map((x, i) => [x, Math.exp(logP[i])]),
      "p",
    );
    top.line(
      xs.map((x, i) => [x, Math.exp(logQ[i])]),
      "q",
    );
    top.grip(mean, Math.exp(logNormal(mean, mean, std)), "q");
    return top.node;
  }

  function drawIntegrands(width, logP, logQ) {
    const sums = now();
    const points = {
      forward: xs.map((x, i) => [x, Math.exp(logP[i]) * (logP[i] - logQ[i])]),
      reverse: xs.map((x, i) => [x, Math.exp(logQ[i]) * (logQ[i] - logP[i])]),
    };
    const values = Object.values(points).flatMap((some) => some.map(([, v]) => v));
    const low = Math.max(-0.6, Math.min(-0.1, ...values));
    const most = Math.max(0.5, ...values);
    const high = HEIGHTS.find((one) => one >= most * 1.05) ?? CUT; // few, so that areas can be compared
    // What the picture has no room for is said in it: its areas would not be the sums.
    const notes = most * 1.05 > high ? [`cut at ${CUT}: the highest value is ${fixed(0)(most)}`] : [];
    for (const [name, some] of Object.entries(points)) {
      const shown = trapezoid(
        some.map(([, v]) => v),
        xs[1] - xs[0],
      );
      const beyond = sums[name] - shown;
      if (Math.abs(beyond) > 0.02) notes.push(`${fixed(2)(beyond)} nats of the ${name} KL lie further out`);
    }
    const areas = `${fixed(2)(sums.forward)} nats forward and ${fixed(2)(sums.reverse)} nats reverse`;
    const drawn = plot({
      width,
      height: 200,
      x: bounds.x,
      y: [low, high * (1 + 0.15 * notes.length)],
      xlabel: "*x*",
      ylabel: "integrand (nats)",
      label: ["The integrands of both KLs. Their areas are " + areas, ...notes].join(". ") + ".",
    });
    for (const [name, some] of Object.entries(points))
      drawn.line(
        some.map(([x, v]) => [x, Math.max(low, Math.min(high, v))]),
        name,
      );
    notes.forEach((text, n) =>
      drawn.add("text", { class: "vx-tick", x: width - 14, y: 25 + 15 * n, "text-anchor": "end" }, text),
    );
    return drawn.node;
  }

  // The least reverse KL that was found; a narrow q on another bump than the best one's is at a minimum as well.
  let least = Infinity;
  function evidence() {
    const { mean, std, reverse } = now();
    const [best] = model.get("best_reverse");
    least = Math.min(least, reverse);
    const done = reverse <= numbers({ ...state(), mean: best, std: model.get("best_reverse")[1] }).reverse + 0.1;
    const { shares, means, stds } = state();
    const on = means.findIndex((m, k) => Math.abs(m - mean) < stds[k] && std < 1.5 * stds[k]);
    const found = `The least you found is ${fixed(2)(least)} nats.`;
    if (done || on < 0 || Math.abs(means[on] - best) < stds[on]) return { done, say: done ? found : "" };
    const [share, price] = [shares[on], -Math.log(shares[on])].map(fixed(2));
    return { done, say: `${found} On this bump a *q* pays about −log ${share} = ${price} or more. Try elsewhere.` };
  }

  const best = (which) => button(`best ${which} *q*`, () => go(model.get(`best_${which}`)));
  const picture = frame({
    model,
    el,
    start,
    evidence,
    marks: ["reverse"],
    draw: (width) => {
      const { mean, std, ...p } = state();
      const [logP, logQ] = [xs.map((x) => logBumps(x, p)), xs.map((x) => logNormal(x, mean, std))];
      return [drawDensities(width, logP, logQ), drawIntegrands(width, logP, logQ)];
    },
    numbers: now,
    controls: [
      slider(model, "mean", { label: "mean of *q*", min: bounds.mean[0], max: bounds.mean[1], step: 0.05, spoken }),
      slider(model, "std", { label: "width of *q*", ...ratios(...bounds.std), spoken }),
      html("div", { class: "vx-buttons" }, best("forward"), best("reverse")),
    ],
    legend: [
      ["p vx-filled", "*p*"],
      ["q", "*q*, drag it"],
      ["forward", "*p* log (*p* / *q*), forward"],
      ["reverse", "*q* log (*q* / *p*), reverse"],
    ],
  });
  const inside = (v) => Math.max(bounds.mean[0], Math.min(bounds.mean[1], v));
  draggable(picture, { model, keys: ["mean"], onmove: (event) => put(model, { mean: inside(top.at(event)[0]) }) });
}

const bounded = (key) => (text, model) => within(...model.get("bounds")[key])(text);
export default explorer({ mean: bounded("mean"), std: bounded("std") }, [...BUMPS, "bounds"], show);
