import { draggable, explorer, fixed, frame, html, linspace, oneOf, paint, plot, put, read, slider } from "./shared.js";

const SIDE = 28; // pixels of a digit
const ASLEEP = 0.01; // nats: a unit whose KL is below is marked

// What the cards say of the model at this beta; nats per test image.
export function numbers({ beta, betas, rates, distortions, active }) {
  const i = betas.indexOf(beta);
  const [rate, distortion] = [rates[i], distortions[i]];
  return { rate, distortion, elbo: -rate - distortion, objective: -distortion - beta * rate, active: active[i] };
}

// A canvas of digits, each pixel a sharp square. Digits are painted one at a time.
function sheet(columns, lines, scale) {
  const node = html("canvas", {
    class: "vx-pixels",
    role: "img",
    width: columns * (SIDE + 1) - 1,
    height: lines * (SIDE + 1) - 1,
  });
  node.style.width = `${scale * node.width}px`;
  const place = (bytes, digit, column, line) => {
    const values = Array.from({ length: SIDE ** 2 }, (_, i) => bytes.getUint8(digit * SIDE ** 2 + i) / 255);
    paint(node, values, column * (SIDE + 1), line * (SIDE + 1));
  };
  return { node, place };
}

function show({ model, el, start }) {
  const state = () => read(model, ["beta", "betas", "rates", "distortions", "active"]);
  const index = () => model.get("betas").indexOf(model.get("beta"));
  const caption = (text) => html("p", { class: "vx-caption" }, text);
  const { betas, rates, distortions } = state();
  const kls = html("div", { class: "vx-units" });
  let [sheets, plane] = [null, null];
  const evidence = () => ({
    done: model.get("beta") === betas[0],
    since: [`since *β*\u00a0=\u00a0${start.beta}`, numbers({ ...state(), ...start })],
  });

  // Ten digits, under each its reconstruction, and ten samples. Made anew for a new width only.
  function layout(width) {
    const scale = Math.min(2, width / (10 * (SIDE + 1)));
    const [pairs, samples] = [sheet(10, 2, scale), sheet(10, 1, scale)];
    for (let k = 0; k < 10; k++) pairs.place(model.get("originals"), k, k, 0);
    const told = [
      caption(`Ten test digits, and under each its reconstruction. ${model.get("note")}`),
      caption("Ten samples from the prior"),
    ];
    return { width, pairs, samples, nodes: [told[0], pairs.node, told[1], samples.node], painted: -1 };
  }

  function digits(width) {
    if (sheets?.width !== width) sheets = layout(width);
    if (sheets.painted !== index()) {
      sheets.painted = index();
      for (let k = 0; k < 10; k++) {
        sheets.pairs.place(model.get("images"), 20 * index() + k, k, 1);
        sheets.samples.place(model.get("images"), 20 * index() + 10 + k, k, 0);
      }
      const at = `at beta ${betas[index()]}, as probabilities of ink.`;
      sheets.pairs.node.setAttribute("aria-label", `Ten test digits, 0 to 9, and their reconstructions ${at}`);
      sheets.samples.node.setAttribute("aria-label", `Ten samples from the prior ${at}`);
    }
    return sheets.nodes;
  }

  // The lines of equal ELBO, each with its label where that is clear of the curve (points in pixels).
  function equals(x, y, points) {
    const labels = points.flatMap(([px, py]) => [16, 40].map((dx) => [px + dx, py - 12]));
    const between = points
      .slice(1)
      .flatMap(([px, py], i) =>
        linspace(0, 1, 9).map((t) => [px + t * (points[i][0] - px), py + t * (points[i][1] - py)]),
      );
    const clear = (px, py) => [...labels, ...between].every(([a, b]) => Math.hypot(a - px, b - py) > 24);
    const slope = Math.atan2(plane.sy(0) - plane.sy(1), plane.sx(1) - plane.sx(0));
    for (let sum = 20 * Math.ceil((y[0] + 8) / 20); sum < x[1] + y[1]; sum += 20) {
      const [from, to] = [Math.max(x[0], sum - y[1]), Math.min(x[1], sum - y[0])];
      const at = (rate) => [plane.sx(rate), plane.sy(sum - rate)];
      const look = { class: "vx-line vx-elbo vx-dashed vx-thin" };
      plane.add("path", { ...look, d: `M${at(from).join(" ")}L${at(to).join(" ")}` });
      const end = linspace(to, from, 9)
        .map(at)
        .find(([px, py]) => px - at(from)[0] > 50 && clear(px - 18, py - 12));
      if (end)
        plane.add(
          "text",
          {
            class: "vx-tick",
            "text-anchor": "end",
            transform: `translate(${end[0] - 3} ${end[1] - 4}) rotate(${(180 / Math.PI) * slope})`,
          },
          fixed(0)(-sum),
        );
    }
  }

  // The ten models in the plane of rate and distortion. Along a falling line the ELBO is the same.
  function curve(width, height) {
    const { rate, distortion, elbo } = numbers(state());
    const x = [0, 5 * Math.ceil((1.2 * Math.max(...rates)) / 5)]; // with room for a label at the right
    const y = [10 * Math.floor(Math.min(...distortions) / 10 - 1), 10 * Math.ceil(Math.max(...distortions) / 10 + 0.2)];
    plane = plot({
      width,
      height,
      x,
      y,
      left: 52,
      xlabel: "rate, nats",
      ylabel: "distortion, nats",
      label:
        `Rate-distortion curve of ten models. Beta ${betas[index()]}: rate ${fixed(1)(rate)}, ` +
        `distortion ${fixed(1)(distortion)}, ELBO ${fixed(1)(elbo)} nats.`,
    });
    plane.node.classList.add("vx-slides");
    equals(
      x,
      y,
      rates.map((r, i) => [plane.sx(r), plane.sy(distortions[i])]),
    );
    plane.line(
      rates.map((r, i) => [r, distortions[i]]),
      "p",
    );
    rates.forEach((r, i) => {
      plane.dot(r, distortions[i], "p", 4);
      // Below its point where the label of the chosen one lies.
      const [dx, dy] = [plane.sx(r) - plane.sx(rate), plane.sy(distortions[i]) - plane.sy(distortion)];
      const covered = dx > 0 && dx < 64 && Math.abs(dy) < 20;
      if (i !== index())
        plane.text(r, distortions[i], String(betas[i]), {
          class: "vx-tick",
          dx: covered ? 0 : 6,
          dy: covered ? 17 : -6,
        });
    });
    // Where it was at first, and the line of its ELBO there.
    const first = numbers({ ...state(), ...start });
    const at = (r) => [plane.sx(r), plane.sy(-first.elbo - r)].join(" ");
    const ends = [Math.max(x[0], -first.elbo - y[1]), Math.min(x[1], -first.elbo - y[0])];
    plane.add("path", { class: "vx-line vx-entropy", d: `M${at(ends[0])}L${at(ends[1])}` });
    plane.add("circle", { class: "vx-line vx-highlight", cx: plane.sx(rate), cy: plane.sy(distortion), r: 8 });
    plane.text(rate, distortion, `*β* = ${betas[index()]}`, { dx: 9, dy: -9, class: "vx-letter" });
    return plane.node;
  }

  // The KL of each unit, the busiest first. One that sleeps has a cross in place of its bar.
  function units(width, height) {
    const sizes = [...model.get("unit_kls")[index()]].sort((a, b) => b - a);
    const drawn = plot({
      width,
      height,
      x: [0.4, 10.6],
      y: [0, Math.ceil(Math.max(...model.get("unit_kls").flat()))],
      xlabel: "ten units, the busiest first",
      ylabel: "KL, nats",
      label:
        `KL of the ten units in nats, the busiest first: ${sizes.map(fixed(2)).join(", ")}. ` +
        `${sizes.filter((v) => v < ASLEEP).length} of them sleep.`,
    });
    sizes.forEach((value, j) => {
      if (value >= ASLEEP) drawn.bar(j + 0.62, j + 1.38, value, "kl");
      else drawn.text(j + 1, 0, "×", { "text-anchor": "middle", dy: -4 });
    });
    return drawn.node;
  }

  function draw(width) {
    kls.replaceChildren(units(kls.clientWidth, 140));
    return [...digits(width), curve(width, 236)];
  }

  const picture = frame({
    model,
    el,
    start,
    evidence,
    marks: ["distortion", "elbo"],
    draw,
    numbers: () => numbers(state()),
    controls: [
      slider(model, "beta", {
        label: "*β*",
        min: 0,
        max: betas.length - 1,
        step: 1,
        format: String,
        at: (beta) => betas.indexOf(beta),
        from: (i) => betas[i],
        spoken: () =>
          `rate ${fixed(1)(numbers(state()).rate)}, distortion ${fixed(1)(numbers(state()).distortion)} nats`,
      }),
    ],
    more: kls,
    legend: [
      ["p", "ten models, drag along them"],
      ["elbo vx-dashed", "along it the same ELBO"],
      ["entropy", `the ELBO of *β* = ${start.beta}`],
      ["kl vx-filled", `KL of a unit; ×: it sleeps, below ${ASLEEP} nats`],
    ],
  });
  const offset = (event) => {
    const box = plane.node.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top, box];
  };
  const inPlane = (event) => {
    const [px, py, box] = offset(event);
    return px >= 0 && px <= box.width && py >= 0 && py <= box.height;
  };
  // The nearest of the ten.
  const onmove = (event) => {
    const [px, py] = offset(event);
    const far = rates.map((rate, i) => Math.hypot(plane.sx(rate) - px, plane.sy(distortions[i]) - py));
    put(model, { beta: betas[far.indexOf(Math.min(...far))] });
  };
  draggable(picture, { model, keys: ["beta"], onmove, where: inPlane });
}

const beta = (text, model) => oneOf(model.get("betas"))(text);
export default explorer(
  { beta },
  ["betas", "rates", "distortions", "unit_kls", "active", "images", "originals", "note"],
  show,
);
