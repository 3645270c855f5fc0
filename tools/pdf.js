// Makes the document of tools/pdf.py ready for paper, and says what is wrong with it.
async () => {
  await document.fonts.ready;
  const all = (selector) => [...document.querySelectorAll(selector)];
  const wrong = [];
  const say = (node, what) => wrong.push(`${node.closest(".pdf-page")?.dataset.name ?? "contents"}: ${what}`);
  for (const math of all(".math"))
    if (!math.querySelector(".katex-html")) say(math, `a formula is not set: ${math.textContent.trim()}`);
  for (const image of document.images) {
    await image.decode().catch(() => 0);
    if (!image.naturalWidth) say(image, `a picture does not load: ${image.src.slice(0, 200)}`);
  }
  for (const cell of all("td")) if (cell.textContent.trim().length < 16) cell.style.whiteSpace = "nowrap";
  // Paper does not scroll: what is wider than its box becomes smaller.
  for (const box of all("div.math > .katex-display, :has(> table)")) {
    const inner = box.querySelector(":scope > :is(.katex, table)");
    if (box.scrollWidth > box.clientWidth + 1) inner.style.zoom = box.clientWidth / box.scrollWidth;
  }
  return wrong;
};
