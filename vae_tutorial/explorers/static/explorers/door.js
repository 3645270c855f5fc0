// The front door: a point in the plane of a VAE, and what the decoder draws there. tools/door.py makes its page.

import { bytes, draggable, fixed, forward, html, listen, put, unpackLayers, within } from "./shared.js";

const SIDE = 28; // pixels of a digit, each way
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
const ROUND = 50_000; // milliseconds of one walk
const FRAME = 33; // and of one step
const two = fixed(2);

// Where a walk is after a share of its round: a closed curve through (`right`, 0), where it begins.
const walkAt = (share, right) => [right * Math.cos(4 * Math.PI * share), right * Math.sin(6 * Math.PI * share)];

// The probability of ink in each pixel at z, row by row.
export function decode(layers, z1, z2) {
  return forward(layers, [z1, z2]).map((logit) => 1 / (1 + Math.exp(-logit)));
}

export const pixels = ({ sizes, weights, z1, z2 }) => [...decode(unpackLayers(sizes, bytes(weights)), z1, z2)];

// Black, as transparent as there is no ink; the style sheet turns it white in the dark.
function ink(context, probabilities) {
  const image = new ImageData(SIDE, SIDE);
  probabilities.forEach((p, i) => (image.data[4 * i + 3] = Math.round(255 * p)));
  context.putImageData(image, 0, 0);
}

function render({ model, el, still }) {
  const edge = model.get("edge");
  const layers = unpackLayers(model.get("sizes"), model.get("weights"));
  const inside = (v) => Math.max(-edge, Math.min(edge, Math.round(100 * v) / 100));
  const go = ([z1, z2]) => put(model, { z1: inside(z1), z2: inside(z2) });
  const z = () => [model.get("z1"), model.get("z2")];

  const [plane, old, place] = [".door-plane", ".door-digit", ".door-place span"].map((name) =>
    still.querySelector(name),
  );
  const digit = html("canvas", {
    class: "door-digit",
    width: SIDE,
    height: SIDE,
    role: "img",
    "aria-label": "The digit that the decoder draws at the point.",
  });
  const point = html("div", {
    class: "door-point",
    tabindex: "0",
    role: "application",
    "aria-roledescription": "point in a plane",
  });
  const pen = digit.getContext("2d", { willReadFrequently: true }); // small, and written as numbers

  function draw() {
    const [z1, z2] = z();
    ink(pen, decode(layers, z1, z2));
    const at = `(${two(z1)}, ${two(z2)})`;
    place.childNodes[1].data = ` = ${at}`;
    if (!walking) point.setAttribute("aria-label", `z = ${at}. Arrow keys move it, with Shift further.`);
    // In parts of the plane's width: it stays in its place when the page becomes narrower.
    point.style.transform = `translate(${50 * (1 + z1 / edge)}cqw, ${50 * (1 - z2 / edge)}cqw)`;
  }

  // -- The walk: until the reader moves, and only where motion is welcome ---------------------------------------------
  let [walking, seen, share, last, next] = [false, true, 0, 0, 0];
  const right = model.get("z1");
  const button = html("button", { type: "button", class: "door-walk", onclick: () => walk(!walking) });
  function walk(on) {
    walking = on;
    place.setAttribute("aria-live", on ? "off" : "polite");
    button.textContent = on ? "stop" : "walk on";
    cancelAnimationFrame(next);
    if (on) next = requestAnimationFrame(step);
    else draw();
  }
  function step(now) {
    if (!seen) return;
    next = requestAnimationFrame(step);
    if (now - last < FRAME) return;
    share += Math.min(now - last, 2 * FRAME) / ROUND;
    last = now;
    go(walkAt(share, right));
  }
  const stop = () => walking && walk(false);

  listen(model, ["z1", "z2"], draw);
  const at = ({ clientX, clientY }) => {
    const { left, top, width } = plane.getBoundingClientRect();
    return [edge * ((2 * (clientX - left)) / width - 1), edge * (1 - (2 * (clientY - top)) / width)];
  };
  const move = (event) => {
    stop();
    go(at(event));
  };
  draggable(plane, { model, keys: ["z1", "z2"], onmove: move });
  plane.addEventListener("pointerdown", stop); // before it is known whether the finger scrolls
  plane.addEventListener("pointermove", (event) => event.pointerType === "mouse" && !event.buttons && move(event));
  point.addEventListener("focus", stop);
  point.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    const [z1, z2] = z();
    const [a, b] = STEPS[event.key].map((one) => one * (event.shiftKey ? 0.5 : 0.1));
    go([z1 + a, z2 + b]);
  });
  new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    if (walking && seen) walk(true);
  }).observe(plane);

  old.replaceWith(digit);
  plane.append(point);
  place.after(button);
  el.append(...still.childNodes);
  draw();
  walk(matchMedia("(prefers-reduced-motion: no-preference)").matches);
}

const inPlane = (text, model) => within(-model.get("edge"), model.get("edge"))(text);
export default { moves: { z1: inPlane, z2: inPlane }, render };
