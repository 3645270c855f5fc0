// Side rooms: a link into one opens it, a button opens all of a page, and paper has them open.
{
  const rooms = () => [...document.querySelectorAll("details.room")];
  const KEY = "open-all-rooms"; // kept in this browser alone
  const remembered = () => {
    try {
      return localStorage.getItem(KEY) === "yes";
    } catch {
      return false; // a browser that keeps nothing
    }
  };
  const openWhatIsLinked = () => {
    const target = document.querySelector(":target"); // the browser reads the address, also one that is malformed
    if (!target) return;
    const own = target.matches(".side-room") ? target.querySelector(":scope > details.room") : null;
    const closed = [own, target.closest("details.room")].filter((room) => room && !room.open);
    for (const room of closed) room.open = true;
    if (closed.length) target.scrollIntoView();
  };
  addEventListener("hashchange", openWhatIsLinked);
  if (rooms().length) {
    const button = document.createElement("button");
    button.className = "all-rooms";
    button.type = "button";
    const show = (open) => {
      for (const room of rooms()) room.open = open;
      button.textContent = open ? "Close all side rooms" : "Open all side rooms";
      button.setAttribute("aria-pressed", open);
    };
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-pressed") !== "true";
      show(open);
      try {
        localStorage.setItem(KEY, open ? "yes" : "no");
      } catch {
        // it holds for this page then
      }
    });
    show(remembered());
    document.querySelector("article h2")?.before(button);
  }
  openWhatIsLinked();
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = rooms().filter((room) => !room.open);
    for (const room of closed) room.open = true;
  });
  addEventListener("afterprint", () => {
    for (const room of closed) room.open = false;
    closed = [];
  });
}

// A formula that is wider than the column scrolls by itself: then the keyboard can reach it.
{
  const look = (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  };
  const near = new IntersectionObserver(look, { rootMargin: "100%" });
  for (const formula of document.querySelectorAll("div.math > .katex-display")) near.observe(formula);
}
