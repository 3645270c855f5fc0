// Makes the document of tools/pdf.py ready for paper, and says what is wrong with it.
async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  const all = (selector) => [...document.querySelectorAll(selector)];
  const wrong = [];
  const say = (node, what) => wrong.push(`${node.closest(".pdf-page")?.dataset.name ?? "contents"}: ${what}`);
  for (const math of all(".math"))
    if (!math.querySelector("mjx-container")) say(math, `a formula is not set: ${math.textContent.trim()}`);
  for (const error of all("mjx-merror"))
    say(error, `a formula is wrong: ${error.getAttribute("data-mjx-error") ?? error.textContent}`);
  for (const image of document.images) {
    await image.decode().catch(() => 0);
    if (!image.naturalWidth) say(image, `a picture does not load: ${image.src.slice(0, 200)}`);
  }
  // A line may end after a formula, but not before the comma that follows it.
  for (const math of all("span.math")) {
    const next = math.nextSibling;
    const mark = next?.nodeType === Node.TEXT_NODE && /^[^\s\w(]+/.exec(next.data)?.[0];
    if (!mark) continue;
    const both = document.createElement("span");
    both.style.whiteSpace = "nowrap";
    math.before(both);
    both.append(math, mark);
    next.data = next.data.slice(mark.length);
  }
  for (const cell of all("td")) if (cell.textContent.trim().length < 16) cell.style.whiteSpace = "nowrap";
  // Paper does not scroll: what is wider than its box becomes smaller.
  for (const box of all("span.math, div.math > mjx-container, :has(> table)")) {
    const inner = box.querySelector(":scope > :is(mjx-container, table)") ?? box;
    const narrow = box.clientWidth < 60; // a letter, whose accent may stand out
    if (!narrow && box.scrollWidth > box.clientWidth + 1) inner.style.zoom = box.clientWidth / box.scrollWidth;
  }
  return wrong;
};
