// A citation, a word of the glossary, the number of an equation: the pointer on it, the keyboard's focus or a tap shows
// what it leads to. A second tap follows it. Escape closes the box. From a folder it shows what the page itself has.
{
  const LINKS = ["glossary.html#", "bibliography.html#id", "#equation-"]
    .map((part) => `article a[href*="${part}"]:not(.headerlink)`)
    .join();
  const here = location.href.split("#")[0];
  const pages = { [here]: document };
  const page = async (address) =>
    (pages[address] ??= new DOMParser().parseFromString(await (await fetch(address)).text(), "text/html"));
  const box = Object.assign(document.createElement("div"), { id: "preview", role: "tooltip", hidden: true });
  let [shown, touched, timer] = [null, false, 0];

  async function content(link) {
    if (link.title) {
      link.dataset.said = link.title;
      link.removeAttribute("title"); // the browser would show it, too
    }
    if (link.dataset.said) return [link.dataset.said];
    const [address, id] = link.href.split("#");
    const target = (await page(address)).getElementById(decodeURIComponent(id));
    const found = target.matches("section")
      ? target.querySelector(":scope > p")
      : target.querySelector(".katex-display");
    const copy = found.cloneNode(true);
    for (const inner of copy.querySelectorAll("a")) inner.replaceWith(...inner.childNodes); // they start elsewhere
    return [copy];
  }

  function close() {
    clearTimeout(timer);
    shown?.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  }

  async function show(link) {
    if (shown === link) return;
    close();
    shown = link;
    try {
      box.replaceChildren(...(await content(link)));
    } catch {
      return; // a folder, or no line: the link still leads there
    }
    if (shown !== link) return;
    document.body.append(box);
    box.hidden = false;
    link.setAttribute("aria-describedby", box.id);
    const [place, size] = [link.getClientRects()[0], box.getBoundingClientRect()];
    const below = place.bottom + size.height + 8 < innerHeight;
    box.style.left = `${Math.max(8, Math.min(place.left, document.documentElement.clientWidth - size.width - 8))}px`;
    box.style.top = `${scrollY + (below ? place.bottom + 4 : place.top - size.height - 4)}px`;
  }

  const later = (act, wait) => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
  addEventListener("pointerover", ({ target, pointerType }) => {
    const link = target.closest?.(LINKS);
    if (pointerType === "touch") return;
    if (link) later(() => show(link), 120);
    else if (shown && target.closest?.("#preview")) clearTimeout(timer);
    else later(close, 200);
  });
  addEventListener("pointerdown", ({ target, pointerType }) => {
    touched = pointerType === "touch";
    if (!target.closest?.(`#preview, ${LINKS}`)) close();
  });
  addEventListener("click", (event) => {
    const link = event.target.closest?.(LINKS);
    if (!link || !touched || shown === link) return;
    event.preventDefault();
    show(link);
  });
  addEventListener("focusin", ({ target }) => {
    if (touched) return;
    if (target.matches(LINKS)) show(target);
    else close();
  });
  addEventListener("keydown", ({ key }) => key === "Escape" && close());
}
