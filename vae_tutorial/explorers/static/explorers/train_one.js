import {
  bytes,
  button,
  explorer,
  fixed,
  frame,
  html,
  oneOf,
  options,
  paint,
  plot,
  put,
  read,
  slider,
  typeset,
  within,
} from "./shared.js";

const SIDE = 14; // pixels of a digit, each way
const BATCH = 50; // images of a step
const MOST = 4000; // steps, a hundred passes
const EDGE = 3; // the plane of codes is shown from -3 to 3, both ways
const COLUMNS = 6; // samples in a row
const nats = fixed(1);

// -- Training ---------------------------------------------------------------------------------------------------------

// All that a worker needs: its text is sent there, so it uses nothing from outside. _trainer.py computes the same.
export function core() {
  const [PIXELS, HIDDEN, LATENT, BATCH, LR, SAMPLES] = [196, 64, 2, 50, 0.003, 18];
  const SHAPES = [
    PIXELS * HIDDEN,
    HIDDEN,
    HIDDEN * 2 * LATENT,
    2 * LATENT,
    LATENT * HIDDEN,
    HIDDEN,
    HIDDEN * PIXELS,
    PIXELS,
  ];
  const INPUTS = [PIXELS, PIXELS, HIDDEN, HIDDEN, LATENT, LATENT, HIDDEN, HIDDEN];

  // mulberry32: uniform numbers in [0, 1) from a seed of 32 bits; normal ones in pairs, by Box and Muller's way.
  function random(seed) {
    let [a, kept] = [seed >>> 0, null];
    const uniform = () => {
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), 1 | a);
      t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const normal = () => {
      if (kept !== null) {
        const found = kept;
        kept = null;
        return found;
      }
      const [radius, angle] = [Math.sqrt(-2 * Math.log(1 - uniform())), 2 * Math.PI * uniform()];
      kept = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    };
    const normals = (count) => Float64Array.from({ length: count }, normal);
    return { uniform, normal, normals };
  }

  // An image is the list of its inked pixels too: one of paper adds nothing to the first layer's sums. The images to
  // learn from are unpacked when they are asked for: a page that has a worker never does.
  function unpack(view, train, test) {
    const bit = (i) => (view.getUint8(i >> 3) >> (7 - (i & 7))) & 1;
    const images = (from, count) =>
      Array.from({ length: count }, (_, n) => {
        const [x, inked] = [new Uint8Array(PIXELS), []];
        for (let i = 0; i < PIXELS; i++) if ((x[i] = bit((from + n) * PIXELS + i))) inked.push(i);
        return { x, inked };
      });
    let first = null;
    return {
      get train() {
        return (first ??= images(0, train));
      },
      test: images(train, test),
    };
  }

  // What multiplies reconstruction and KL in a loss, what the noise, and the log-variance in the exponent of its width.
  const weigh = (loss, beta) => ({
    pixels: loss === "pixels" ? 1 / PIXELS : 1,
    kl: { autoencoder: 0, batch: beta / (BATCH * LATENT) }[loss] ?? beta,
    noise: loss === "autoencoder" ? 0 : 1,
    width: loss === "width" ? 1 : 0.5,
  });

  class Trainer {
    constructor(data, { seed, beta, loss }) {
      const [weights, noise, prior] = [random(4 * seed + 1), random(7), random(8)];
      Object.assign(this, { data, beta, loss, steps: 0, order: [], next: random(4 * seed + 2) });
      const total = SHAPES.reduce((a, b) => a + b, 0);
      [this.values, this.gradient, this.first, this.second] = [0, 0, 0, 0].map(() => new Float64Array(total));
      // As torch.nn.Linear: uniform, up to 1 / sqrt(inputs).
      let at = 0;
      const parts = SHAPES.map((size, k) => {
        const most = 1 / Math.sqrt(INPUTS[k]);
        for (let i = at; i < at + size; i++) this.values[i] = most * (2 * weights.uniform() - 1);
        const part = [at, at + size];
        at += size;
        return part;
      });
      const cut = (array) => parts.map(([from, to]) => array.subarray(from, to));
      [this.p, this.g] = [cut(this.values), cut(this.gradient)];
      this.noise = noise.normals(LATENT * data.test.length);
      this.z = prior.normals(LATENT * SAMPLES);
      this.hidden = new Float64Array(HIDDEN);
      this.code = new Float64Array(2 * LATENT); // mu, then the log-variance
      this.inner = new Float64Array(HIDDEN);
      this.logits = new Float64Array(PIXELS);
    }

    encode({ inked }) {
      const [w1, b1, w2, b2] = this.p;
      const { hidden, code } = this;
      hidden.set(b1);
      for (const i of inked) for (let h = 0, row = i * HIDDEN; h < HIDDEN; h++) hidden[h] += w1[row + h];
      code.set(b2);
      for (let h = 0; h < HIDDEN; h++) {
        hidden[h] = Math.tanh(hidden[h]);
        for (let k = 0; k < 2 * LATENT; k++) code[k] += hidden[h] * w2[h * 2 * LATENT + k];
      }
      return code;
    }

    decode(z) {
      const [, , , , w3, b3, w4, b4] = this.p;
      const { inner, logits } = this;
      inner.set(b3);
      for (let j = 0; j < LATENT; j++) for (let h = 0; h < HIDDEN; h++) inner[h] += z[j] * w3[j * HIDDEN + h];
      logits.set(b4);
      for (let h = 0; h < HIDDEN; h++) {
        const [value, row] = [(inner[h] = Math.tanh(inner[h])), h * PIXELS];
        for (let o = 0; o < PIXELS; o++) logits[o] += value * w4[row + o];
      }
      return logits;
    }

    // Nats of an image's pixels under the last logits, and of its code.
    reconstruction({ x }) {
      let sum = 0;
      for (let o = 0; o < PIXELS; o++) {
        const l = this.logits[o];
        sum += Math.max(l, 0) - x[o] * l + Math.log1p(Math.exp(-Math.abs(l)));
      }
      return sum;
    }

    kl() {
      let sum = 0;
      for (let j = 0; j < LATENT; j++) {
        const [mu, logvar] = [this.code[j], this.code[LATENT + j]];
        sum += 0.5 * (mu * mu + Math.exp(logvar) - 1 - logvar);
      }
      return sum;
    }

    // z = mu + std * eps, where `width` times the log-variance is taken for the logarithm of std.
    draw(eps, at, noise, width) {
      return [0, 1].map((j) => this.code[j] + noise * Math.exp(width * this.code[LATENT + j]) * eps[at + j]);
    }

    // Adds an image's gradient, by the chain rule from the logits back.
    learn(image, eps) {
      const { pixels, kl, noise, width } = weigh(this.loss, this.beta);
      const [, , w2, , w3, , w4] = this.p;
      const [g1, d1, g2, d2, g3, d3, g4, d4] = this.g;
      const { hidden, inner, logits } = this;
      const code = this.encode(image);
      const z = this.draw(eps, 0, noise, width);
      this.decode(z);
      for (let o = 0; o < PIXELS; o++) {
        logits[o] = ((1 / (1 + Math.exp(-logits[o])) - image.x[o]) * pixels) / BATCH;
        d4[o] += logits[o];
      }
      const toZ = [0, 0];
      for (let h = 0; h < HIDDEN; h++) {
        const [value, row] = [inner[h], h * PIXELS];
        let sum = 0;
        for (let o = 0; o < PIXELS; o++) {
          sum += logits[o] * w4[row + o];
          g4[row + o] += logits[o] * value;
        }
        const back = sum * (1 - value * value);
        d3[h] += back;
        for (let j = 0; j < LATENT; j++) {
          g3[j * HIDDEN + h] += back * z[j];
          toZ[j] += back * w3[j * HIDDEN + h];
        }
      }
      const toCode = new Float64Array(2 * LATENT);
      for (let j = 0; j < LATENT; j++) {
        const logvar = code[LATENT + j];
        toCode[j] = toZ[j] + (kl / BATCH) * code[j];
        toCode[LATENT + j] =
          toZ[j] * noise * eps[j] * width * Math.exp(width * logvar) + ((0.5 * kl) / BATCH) * (Math.exp(logvar) - 1);
      }
      for (let k = 0; k < 2 * LATENT; k++) d2[k] += toCode[k];
      const toHidden = hidden.map((value, h) => {
        let sum = 0;
        for (let k = 0, row = h * 2 * LATENT; k < 2 * LATENT; k++) {
          sum += toCode[k] * w2[row + k];
          g2[row + k] += toCode[k] * value;
        }
        return sum * (1 - value * value);
      });
      for (let h = 0; h < HIDDEN; h++) d1[h] += toHidden[h];
      for (const i of image.inked) for (let h = 0, row = i * HIDDEN; h < HIDDEN; h++) g1[row + h] += toHidden[h];
    }

    // One step of Adam on the next 50 images; a pass is shuffled by Fisher and Yates's way.
    step() {
      const { train } = this.data;
      if (!this.order.length) {
        this.order = [...train.keys()];
        for (let i = train.length - 1; i > 0; i--) {
          const j = Math.floor(this.next.uniform() * (i + 1));
          [this.order[i], this.order[j]] = [this.order[j], this.order[i]];
        }
      }
      this.gradient.fill(0);
      for (const n of this.order.splice(0, BATCH)) this.learn(train[n], this.next.normals(LATENT));
      this.steps++;
      const [one, two] = [1 - 0.9 ** this.steps, 1 - 0.999 ** this.steps];
      for (let i = 0; i < this.values.length; i++) {
        const g = this.gradient[i];
        this.first[i] = 0.9 * this.first[i] + 0.1 * g;
        this.second[i] = 0.999 * this.second[i] + 0.001 * g * g;
        this.values[i] -= ((LR / one) * this.first[i]) / (Math.sqrt(this.second[i] / two) + 1e-8);
      }
    }

    // Means over the test images, nats; their codes; and what the decoder draws at points of the prior.
    look() {
      const { test } = this.data;
      const { pixels, kl: weight, noise, width } = weigh(this.loss, this.beta);
      const found = { steps: this.steps, reconstruction: 0, kl: 0, own: 0, codes: new Float32Array(2 * test.length) };
      test.forEach((image, n) => {
        this.encode(image);
        found.codes.set(this.code.subarray(0, LATENT), n * LATENT);
        const kl = this.kl() / test.length;
        this.decode(this.draw(this.noise, n * LATENT, 1, 0.5));
        const reconstruction = this.reconstruction(image) / test.length;
        let own = reconstruction;
        if (!noise || width !== 0.5) {
          this.decode(this.draw(this.noise, n * LATENT, noise, width));
          own = this.reconstruction(image) / test.length;
        }
        found.reconstruction += reconstruction;
        found.kl += kl;
        found.own += own;
      });
      found.total = found.reconstruction + found.kl;
      found.loss = pixels * found.own + weight * found.kl;
      found.samples = new Float32Array(SAMPLES * PIXELS);
      for (let n = 0; n < SAMPLES; n++)
        found.samples.set(
          this.decode(this.z.subarray(n * LATENT, (n + 1) * LATENT)).map((l) => 1 / (1 + Math.exp(-l))),
          n * PIXELS,
        );
      return found;
    }
  }

  // Obeys messages: `data`, `begin` with a run's settings, `beta`, and `goal`, up to which step to train: `slow`, or
  // `quiet`, without a word before. Tells what it sees at least ten steps apart, and lets other messages in after each
  // `slice` of milliseconds.
  function serve(tell, slice) {
    let [data, trainer, goal, slow, quiet, run, waiting] = [null, null, 0, false, false, 0, false];
    const work = () => {
      waiting = false;
      if (!trainer || trainer.steps >= goal) return;
      const end = Date.now() + slice;
      do trainer.step();
      while (!slow && trainer.steps < goal && (Date.now() < end || trainer.steps % 10));
      if (!quiet || trainer.steps >= goal) tell({ run, ...trainer.look() });
      later();
    };
    const later = () => {
      if (waiting) return;
      waiting = true;
      setTimeout(work, slow ? 150 : 0);
    };
    return (message) => {
      if (message.data) data = unpack(new DataView(message.data), message.train, message.test);
      if (message.begin) {
        [trainer, goal, run] = [new Trainer(data, message.begin), 0, message.run];
      }
      if (message.beta !== undefined && trainer) trainer.beta = message.beta;
      if (message.goal !== undefined) {
        [goal, slow, quiet] = [message.goal, Boolean(message.slow), Boolean(message.quiet)];
        later();
      }
    };
  }

  return { unpack, weigh, Trainer, serve };
}

// What the numbers are after so many steps, at once: for tests.
export function numbers({ digits, train, test, seed, beta, loss, steps }) {
  const { unpack, Trainer } = core();
  const trainer = new Trainer(unpack(bytes(digits), train, test), { seed, beta, loss });
  while (trainer.steps < steps) trainer.step();
  const { reconstruction, kl, total, loss: own } = trainer.look();
  return { steps, reconstruction, kl, total, loss: own };
}

// The gradient of the first batch, in one list: for tests.
export function gradient({ digits, train, test, ...settings }) {
  const { unpack, Trainer } = core();
  const trainer = new Trainer(unpack(bytes(digits), train, test), settings);
  trainer.step();
  return [...trainer.gradient];
}

// A worker, which never makes the page wait; where none may be made, slices of the page's own time.
function helper(tell) {
  let [over, worker, obey] = [false, null, null];
  const sent = {}; // the last message of each kind, for who takes over
  const slices = () => {
    worker?.terminate();
    [worker, obey] = [null, core().serve((message) => over || tell(message), 5)];
    for (const kind of ["data", "begin", "beta", "goal"]) if (sent[kind]) obey(sent[kind]);
  };
  try {
    const text = `const { serve } = (${core})(); const obey = serve(postMessage.bind(self), 80);
onmessage = ({ data }) => obey(data);`;
    const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    worker = new Worker(address);
    worker.onmessage = ({ data }) => tell(data);
    worker.onerror = slices; // as where a page's policy forbids it
  } catch {
    slices();
  }
  return {
    send: (message) => {
      if (message.begin) delete sent.goal;
      for (const kind of ["data", "begin", "beta", "goal"]) if (message[kind] !== undefined) sent[kind] = message;
      if (worker) worker.postMessage(message);
      else if (!over) obey(message);
    },
    end: () => {
      over = true;
      worker?.terminate();
    },
  };
}

// -- Pictures ---------------------------------------------------------------------------------------------------------

const NAMES = {
  right: "right",
  autoencoder: "no noise, no KL",
  pixels: "pixels averaged",
  batch: "KL averaged",
  width: "log *σ*² as log *σ*",
};

function show({ model, el, start }) {
  const { colors, landmarks, train, test } = read(model, ["colors", "landmarks", "train", "test"]);
  const view = bytes(model.get("digits"));
  const packed = Math.ceil((train * SIDE * SIDE) / 8) + Math.ceil((test * SIDE * SIDE) / 8);
  const labels = Array.from({ length: test }, (_, n) => view.getUint8(packed + n));
  const settings = () => read(model, ["seed", "beta", "loss"]);
  // `seen`: what the trainer told, in the order of steps; `before`: the run before this one, for comparison.
  let [seen, before, run, running, slow, over, wanted] = [[], [], 0, false, false, false, 0];
  let said = ""; // the settings of this run
  const { unpack, Trainer, weigh } = core();
  const data = unpack(view, train, test);
  const last = () => seen.at(-1);
  const now = () => {
    const { steps, reconstruction, kl, total, own } = last();
    const weights = weigh(model.get("loss"), model.get("beta"));
    return { steps, reconstruction, kl, total, loss: weights.pixels * own + weights.kl * kl };
  };

  const trainer = helper((found) => {
    if (over || found.run !== run) return;
    seen.push(found);
    if (found.steps >= wanted && running) pause();
    if (model.get("steps") === found.steps) picture.news();
    else put(model, { steps: found.steps });
    if (collapsed()) picture.judge(); // while it goes on
  });
  model.end(() => {
    over = true;
    trainer.end();
  });
  const buffer = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  trainer.send({ data: buffer, train, test });

  function begin() {
    if (seen.length > 1) before = seen;
    [seen, said] = [[new Trainer(data, settings()).look()], JSON.stringify([model.get("seed"), model.get("loss")])];
    trainer.send({ begin: settings(), run: ++run });
  }
  function go(goal, quiet = false) {
    wanted = Math.min(MOST, goal);
    trainer.send({ goal: wanted, slow: slow && !quiet, quiet });
  }
  function play() {
    running = true;
    if (last().steps >= MOST) restart();
    go(MOST);
    shown();
  }
  function pause() {
    running = false;
    trainer.send({ goal: 0 });
    shown();
  }
  function restart() {
    begin();
    put(model, { steps: 0 });
    shown();
  }
  // Another seed or loss begins anew; another beta goes on. Steps that were set from outside are trained at once.
  model.on("change:beta", () => trainer.send({ beta: model.get("beta") }));
  for (const key of ["seed", "loss"])
    model.on(`change:${key}`, () => {
      if (said === JSON.stringify([model.get("seed"), model.get("loss")])) return;
      restart();
      if (running) go(MOST);
    });
  model.on("change:steps", () => {
    const steps = model.get("steps");
    if (steps === last().steps) return;
    if (steps < last().steps) begin();
    if (running) pause();
    go(steps, true);
    shown();
  });

  const start_ = button("start", () => (running ? pause() : play()));
  start_.classList.add("vx-main");
  const once = button("one step", () => {
    if (running) pause();
    go(last().steps + 1);
  });
  const pace = button("slow", () => {
    slow = !slow;
    if (running) go(MOST);
    shown();
  });
  const weight = slider(model, "beta", { label: "*β*", min: 0, max: 5, step: 0.1, format: fixed(1) });
  function shown() {
    start_.textContent = running ? "pause" : last().steps ? "go on" : "start";
    pace.setAttribute("aria-pressed", slow);
    weight.querySelector("input").disabled = model.get("loss") === "autoencoder"; // there is no KL to weigh
  }

  // The codes of the test images, and what the decoder draws at points of the prior.
  const plane = html("canvas", { role: "img" });
  const drawn = html("canvas", { class: "vx-pixels", role: "img" });
  const curve = html("div");
  const captioned = (node, text) => html("div", {}, node, html("p", { class: "vx-caption" }, typeset(text)));
  const above = html(
    "div",
    { class: "vx-desk" },
    captioned(plane, "test codes *z*"),
    captioned(drawn, "drawn from random *z*"),
  );

  function drawCodes(size) {
    const dense = Math.max(2, window.devicePixelRatio || 1);
    Object.assign(plane, { width: size * dense, height: size * dense });
    plane.style.width = plane.style.height = `${size}px`;
    const context = plane.getContext("2d");
    context.scale(dense, dense);
    context.strokeStyle = "#888"; // in both themes
    const at = (v) => (size / 2) * (1 + v / EDGE);
    for (const radius of [1, 2]) {
      context.beginPath();
      context.arc(size / 2, size / 2, (radius * size) / 2 / EDGE, 0, 7);
      context.stroke();
    }
    context.globalAlpha = 0.85;
    const { codes } = last();
    let out = 0;
    labels.forEach((label, n) => {
      const [a, b] = [codes[2 * n], codes[2 * n + 1]];
      if (Math.max(Math.abs(a), Math.abs(b)) > EDGE) out++;
      context.fillStyle = colors[label];
      context.fillRect(
        at(Math.max(-EDGE, Math.min(EDGE, a))) - 1.5,
        at(Math.max(-EDGE, Math.min(EDGE, -b))) - 1.5,
        3,
        3,
      );
    });
    plane.setAttribute(
      "aria-label",
      `The codes of ${test} test images from −3 to 3, a colour for each class, on circles at 1 and 2 deviations of ` +
        `the prior. ${out ? `${out} lie outside, and are drawn at the edge.` : "All lie within."}`,
    );
  }

  function drawSamples(size) {
    const { samples } = last();
    const rows = samples.length / SIDE ** 2 / COLUMNS;
    const step = SIDE + 1;
    Object.assign(drawn, { width: COLUMNS * step, height: rows * step });
    drawn.style.width = `${size}px`;
    for (let n = 0; n < COLUMNS * rows; n++) {
      const values = samples.subarray(n * SIDE ** 2, (n + 1) * SIDE ** 2);
      paint(drawn, values, (n % COLUMNS) * step, Math.floor(n / COLUMNS) * step);
    }
    drawn.setAttribute(
      "aria-label",
      `What the decoder draws at ${COLUMNS * rows} points of the prior: in each pixel the probability of ink.`,
    );
  }

  function drawCurve(width) {
    const most = Math.max(200, last().steps ?? 0, before.at(-1)?.steps ?? 0);
    const { reconstruction, kl, total } = now();
    const found = plot({
      width,
      height: width < 400 ? 150 : 190,
      x: [0, most],
      y: [0, 140],
      xlabel: "steps of 50 images",
      ylabel: "nats an image",
      label:
        `Test nats against steps. After ${now().steps} steps reconstruction ${nats(reconstruction)}, KL ${nats(kl)}, ` +
        `sum ${nats(total)}; landmarks: ${landmarks.map(([what, v]) => `${what} ${nats(v)}`).join(", ")}.`,
    });
    const inside = (v) => Math.min(140, v);
    const line = (runs, key, name) =>
      found.line(
        runs.map((one) => [one.steps, inside(one[key])]),
        name,
      );
    for (const [what, value] of landmarks) {
      found.add("line", {
        class: "vx-line vx-dashed vx-thin vx-prior",
        x1: found.sx(0),
        x2: found.sx(most),
        y1: found.sy(value),
        y2: found.sy(value),
      });
      found.text(most, value, `${what}, ${nats(value)}`, {
        "text-anchor": "end",
        dy: value > 100 ? 14 : -5,
        class: "vx-tick",
      });
    }
    if (before.length > 1) line(before, "total", "entropy");
    if (seen.length > 1) {
      line(seen, "kl", "kl");
      line(seen, "reconstruction", "data");
      line(seen, "total", "elbo");
    }
    found.dot(now().steps, inside(total), "elbo", 4);
    return found.node;
  }

  function draw(width) {
    const size = Math.round((width - 8) / 3); // both are as high
    drawCodes(size);
    drawSamples(width - size - 8);
    curve.replaceChildren(drawCurve(width));
    const beside = el.querySelector(".vx-legend .vx-entropy");
    if (beside) beside.hidden = before.length < 2;
    return [above, curve];
  }

  const collapsed = () => model.get("loss") === "pixels" && now().steps >= 200 && now().kl < 0.05;
  function evidence() {
    if (!collapsed()) return { done: false };
    const { steps, kl, total } = now();
    return { done: true, say: `You saw, after ${steps} steps: KL ${fixed(2)(kl)}, minus ELBO ${nats(total)} nats.` };
  }

  begin();
  const picture = frame({
    model,
    el,
    start,
    evidence,
    still: collapsed,
    marks: ["kl", "total"],
    draw,
    numbers: now,
    controls: [html("div", { class: "vx-buttons" }, start_, once, pace), weight],
    above: options(model, "loss", "the loss", () => Object.entries(NAMES)),
    more: options(model, "seed", "seed", () => [0, 1, 2, 3, 4].map((seed) => [seed, String(seed)])),
    legend: [
      ["elbo", "minus ELBO"],
      ["data", "reconstruction"],
      ["kl", "KL"],
      ["entropy", "the run before"],
    ],
  });
  shown();
  if (model.get("steps")) go(model.get("steps"), true);
}

export default explorer(
  {
    seed: oneOf([0, 1, 2, 3, 4]),
    loss: oneOf(Object.keys(NAMES)),
    beta: within(0, 5),
    steps: (text) => (/^\d+$/.test(text) && Number(text) <= MOST ? Number(text) : undefined),
  },
  ["digits", "train", "test", "colors", "landmarks"],
  show,
);
