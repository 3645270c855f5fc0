// Draws the explorers of a page that has no kernel: the state stands in the page, the model is this small one.
// An ordinary script and no module: from the file system a browser would refuse a module.

{
  class Model {
    #state;
    #listeners = new Map();
    constructor(state) {
      this.#state = state;
    }
    get(key) {
      return this.#state[key];
    }
    set(key, value) {
      if (Object.is(this.#state[key], value)) return;
      this.#state[key] = value;
      for (const callback of [...(this.#listeners.get(`change:${key}`) ?? [])]) callback();
    }
    on(event, callback) {
      this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), callback]);
    }
    off(event, callback) {
      this.#listeners.set(
        event,
        (this.#listeners.get(event) ?? []).filter((c) => c !== callback),
      );
    }
    save_changes() {}
  }

  // Bytes travel as base64; explorers get them as a DataView, as from a kernel.
  const read = (_, value) =>
    value && typeof value === "object" && "base64" in value
      ? new DataView(Uint8Array.from(atob(value.base64), (c) => c.charCodeAt(0)).buffer)
      : value;

  // Bytes that several pages share stand in a script of their own, which a browser keeps.
  const files = new Map();

  function load(name) {
    const found = files.get(name) ?? script(`files/${name}.js`).then(() => window.explorerFiles[name]);
    files.set(name, found);
    return found.then(({ buffer }) => new DataView(buffer));
  }

  async function complete(state) {
    const named = Object.entries(state).filter(([, value]) => value?.file);
    const loaded = await Promise.all(named.map(([, { file }]) => load(file)));
    return { ...state, ...Object.fromEntries(named.map(([key], i) => [key, loaded[i]])) };
  }

  // Opened from a folder or a USB stick, a page may not import its neighbours. There the modules stand as texts in one
  // ordinary script, which book/_ext/offline.py writes, and become addresses that may be imported.
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  let texts = null;

  const address = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));

  function script(name) {
    const node = Object.assign(document.createElement("script"), { src: folder + name });
    const loaded = new Promise((resolve, reject) => Object.assign(node, { onload: resolve, onerror: reject }));
    document.head.append(node);
    return loaded;
  }

  function unpack() {
    return script("offline.js").then(() => {
      const { "shared.js": shared, ...modules } = window.explorerModules;
      const common = address(shared);
      return (name) => address(modules[`${name}.js`].replaceAll('"./shared.js"', `"${common}"`));
    });
  }

  async function module(name) {
    if (location.protocol !== "file:") return import(`./${name}.js`);
    texts ??= unpack();
    return import((await texts)(name));
  }

  // The address may name an explorer and its state, as "copy link" writes it: #explorer-kl?mean=0.5. What it does not
  // name is as it was at first, and what cannot be is passed over.
  function follow(host, moves, start) {
    const [id, query] = location.hash.slice(1).split("?");
    if (id !== host.id || query === undefined) return;
    const state = { ...start };
    for (const [key, text] of new URLSearchParams(query)) {
      const value = Object.hasOwn(moves, key) ? moves[key](text, host.explorer) : undefined;
      if (value !== undefined) state[key] = value;
    }
    for (const [key, value] of Object.entries(state)) host.explorer.set(key, value);
    host.scrollIntoView();
  }

  // A scene is no explorer: it has a picture, and waits until the page has all that it shows at first and nothing else
  // to do, or until the reader comes.
  function idle(host) {
    const rest = (done) => (window.requestIdleCallback ?? setTimeout)(done, { timeout: 1000 });
    return new Promise((done) => {
      for (const kind of ["pointerover", "focusin"]) host.addEventListener(kind, done, { once: true });
      if (document.readyState === "complete") rest(done);
      else addEventListener("load", () => rest(done), { once: true });
    });
  }

  // An explorer is drawn as soon as it is near what the reader sees, or named by the address, or when the page rests.
  function turn(host) {
    if (host.dataset.scene) return idle(host);
    if (location.hash.slice(1).split("?")[0] === host.id) return null;
    return new Promise((done) => {
      const near = new IntersectionObserver((seen) => seen.at(-1).isIntersecting && come(), { rootMargin: "100%" });
      const come = () => {
        near.disconnect();
        done();
      };
      near.observe(host);
      idle(host).then(come);
    });
  }

  async function draw(host) {
    const [still, name] = [host.querySelector(".vx-static"), host.dataset.explorer ?? host.dataset.scene];
    const el = document.createElement("div");
    try {
      await turn(host);
      const state = JSON.parse(host.querySelector("script").textContent, read);
      const [values, { default: explorer }] = await Promise.all([complete(state), module(name)]);
      const model = new Model(values);
      still.replaceWith(el); // first: an explorer asks how wide it is
      host.explorer = model; // for the curious, and for tests
      const start = Object.fromEntries(Object.keys(explorer.moves).map((key) => [key, model.get(key)]));
      await explorer.render({ model, el, still });
      const above = host.closest("section")?.querySelector("h1, h2, h3");
      if (above) el.querySelector(".vx-title")?.setAttribute("aria-level", Number(above.tagName[1]) + 1);
      addEventListener("hashchange", () => follow(host, explorer.moves, start));
      follow(host, explorer.moves, start);
      host.dataset.ready = Math.round(performance.now()); // milliseconds since the page was asked for
    } catch (error) {
      if (el.isConnected) el.replaceWith(still);
      console.error(`The explorer ${name} could not be drawn`, error);
    }
  }

  // This script may come before the end of the page. It waits for that, but not for the scripts that the page defers.
  async function drawAll() {
    if (document.readyState === "loading")
      await new Promise((resolve) => document.addEventListener("readystatechange", resolve, { once: true }));
    const hosts = [...document.querySelectorAll("[data-explorer], [data-scene]")];
    // Each module asks for it, but only once it has come itself.
    if (hosts.some((host) => host.dataset.explorer) && location.protocol !== "file:") import("./shared.js");
    await Promise.all(hosts.map(draw));
  }

  drawAll();
}
