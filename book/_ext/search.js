// The page of the search: each result says what its section says, in plain words, and a word of the glossary comes
// first. Sphinx's searchtools.js finds the pages and asks for each; here is what it shows of them. Sphinx reads this
// file after it, as html_search_scorer of _config.yml.
{
  // What is no text to read in a line: code and outputs, pictures, explorers, fields, formulas in a line of their own.
  const PASSED_OVER =
    "script, style, svg, pre, form, button, .headerlink, .eqno, .katex-html, div.math, div.cell_input," +
    "details.hide, [data-explorer], .answer-check, .prev-next-area, .toctree-wrapper, h1, h2, h3, h4, h5, h6";
  const BLOCKS = "p, li, td, th, dt, dd, div, figcaption, section, summary, br";
  const AROUND = 110; // signs before and after what was looked for

  // The text of a section without that of the sections in it.
  const plain = (section) => {
    const copy = section.cloneNode(true);
    for (const other of copy.querySelectorAll(`section, ${PASSED_OVER}`)) other.remove();
    for (const block of copy.querySelectorAll(BLOCKS)) block.append(" "); // or the last word joins the next
    return copy.textContent.replace(/\s+/g, " ").trim();
  };
  const heading = (section) => {
    const copy = section.querySelector("h1, h2, h3, h4, h5, h6")?.cloneNode(true);
    for (const other of copy?.querySelectorAll(".headerlink, .katex-html") ?? []) other.remove();
    return copy?.textContent.trim() ?? "";
  };
  // Begins and ends with whole words, around the first place where something is found.
  const excerpt = (text, found) => {
    let [start, end] = [Math.max(found - AROUND, 0), Math.min(found + 2 * AROUND, text.length)];
    if (start) start = text.indexOf(" ", start) + 1 || start;
    if (end < text.length) end = text.lastIndexOf(" ", end);
    return (start ? "… " : "") + text.slice(start, end) + (end < text.length ? " …" : "");
  };
  const said = (text) => Object.assign(document.createElement("p"), { className: "context", textContent: text });

  // The first of these, in order of wish, that stands in a text; its beginning where none does.
  const place = (text, wanted) => wanted.map((word) => text.toLowerCase().indexOf(word)).find((at) => at >= 0) ?? 0;

  // The best sections of a page for these words: those with the words together come first.
  const best = (page, words, phrase) => {
    const found = [];
    for (const section of page.querySelectorAll("article section[id]")) {
      const [title, text] = [heading(section), plain(section)];
      const low = `${title} ${text}`.toLowerCase();
      if (!title || !words.every((word) => low.includes(word))) continue;
      found.push({ section, whole: low.includes(phrase), excerpt: excerpt(text, place(text, [phrase, ...words])) });
    }
    return found.sort((a, b) => b.whole - a.whole).slice(0, 3);
  };

  const query = () => (new URLSearchParams(location.search).get("q") ?? "").trim().toLowerCase();

  // A link to each of the page's best sections; for a result that is a section, its own text.
  const summary = (html, words, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const phrase = query();
    const own = anchor && page.getElementById(anchor.slice(1));
    if (own) {
      const section = own.closest("section") ?? own;
      const text = plain(section);
      const named = heading(section).toLowerCase().includes(phrase); // then all of it is about that
      return said(excerpt(text, named ? 0 : place(text, [phrase, ...words])));
    }
    const [, name] = /pagename = '([^']*)'/.exec(html) ?? [];
    const list = document.createElement("ul");
    for (const { section, excerpt } of best(page, [...words], phrase)) {
      const item = document.createElement("li");
      if (section.parentElement.closest("section")) {
        const link = document.createElement("a");
        link.href = `${document.documentElement.dataset.content_root}${name}.html#${section.id}`;
        link.textContent = heading(section);
        item.append(link);
      }
      item.append(said(excerpt));
      list.append(item);
    }
    if (list.childElementCount) return list;
    return said(excerpt([...page.querySelectorAll("article section")].map(plain).find((text) => text) ?? "", 0));
  };

  Search.makeSearchSummary = summary;
  // Its results: [page, title, anchor, description, score, file].
  Scorer.score = ([name, title, anchor, , score]) => {
    const word = title.split(" > ").pop().toLowerCase();
    return score + (name === "book/glossary" && anchor && [word, `${word}s`].includes(query()) ? 1000 : 0);
  };
  const perform = Search._performSearch;
  Search._performSearch = (...all) =>
    perform(...all)
      .filter(([, title]) => !/> (?:\(|Solution to)/.test(title)) // it is in its exercise's section
      .map(([name, title, ...rest]) => [name, title.replace(/\\(\w+)/g, "$1"), ...rest]);
}
