"""Build the book by plain Sphinx with the newest Sphinx, theme and MyST, and say what differs: "make newer" calls this.

    .venv-newest/bin/python tools/newer.py .venv/bin/python

Jupyter Book 1 stays at Sphinx 7. Here it only writes the configuration; of its own extension the book needs nothing.
_build/newest/html is compared with _build/html, which "make book" made: the same pages, and on each the same numbers,
labels, links and text, and as many of everything. Then Chromium opens each new page. What differs gives exit status 1.
"""

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import yaml
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from browser import FLAGS, find_chromium, serve, watched_page

ROOT = Path(__file__).resolve().parents[1]
PINNED, FOLDER = ROOT / "_build" / "html", ROOT / "_build" / "newest"
# Appended to conf.py, which lies in another folder than the book. What it leaves out does nothing for the pages.
CONF = f"""
import sys
sys.path.insert(0, "{ROOT}/book/_ext")
extensions = [e for e in extensions if e not in ("jupyter_book", "sphinx_comments", "sphinx_jupyterbook_latex")]
html_logo, html_favicon = "{ROOT}/" + html_logo, "{ROOT}/" + html_favicon
html_static_path = ["{ROOT}/" + path for path in html_static_path]
bibtex_bibfiles = ["{ROOT}/" + path for path in bibtex_bibfiles]
html_search_scorer = "{ROOT}/" + html_search_scorer
"""
# What is counted in an article, by its selector.
KINDS = {"sections": "section", "formulas": ".math", "figures": "figure", "pictures": "img", "tables": "table"}
KINDS |= {"exercises": ".exercise", "boxes": ".admonition", "folds": "details", "code cells": ".cell"}
KINDS |= {"outputs": ".cell_output", "side rooms": ".side-room", "explorers": "[data-explorer]"}
# Of an article as it was built, before any script. Spaces, and how a signature is written, change with the versions.
FACTS = r"""([text, kinds]) => {
  const article = new DOMParser().parseFromString(text, "text/html").querySelector("article");
  const all = selector => article ? [...article.querySelectorAll(selector)] : [];
  const counts = Object.fromEntries(Object.entries(kinds).map(([name, selector]) => [name, all(selector).length]));
  const numbers = all(".eqno, .caption-number").map(e => [e.closest("[id]")?.id, e.firstChild.textContent.trim()]);
  const kept = name => !/(^|#)id\d+$/.test(name);  // Docutils counts what has no name: id1, id2, ...
  const labels = all("[id]").map(e => e.id).filter(kept);
  const links = all("a[href]:not(.headerlink)").map(e => e.getAttribute("href")).filter(kept);
  all("script, style, .sig").forEach(e => e.remove());
  const words = article ? article.textContent.replace(/\s/g, "") : "";
  return { counts, numbers: Object.fromEntries(numbers), labels, links, words };
}"""
# Pictures come after the load event, and an explorer says itself that it is drawn.
BROKEN = r"""async () => {
  const all = selector => [...document.querySelectorAll(selector)], wrong = [];
  const [formulas, set] = [all(".math").length, all(".math .katex-html").length];
  if (formulas !== set) wrong.push(`${set} of ${formulas} formulas are set`);
  for (const e of document.images) {
    e.loading = "eager";
    await e.decode().catch(() => wrong.push(`a picture that does not load: ${e.getAttribute("src").slice(0, 100)}`));
  }
  const undrawn = () => all("[data-explorer]:not([data-ready])");
  for (let i = 0; i < 100 && undrawn().length; i++) await new Promise(done => setTimeout(done, 100));
  return wrong.concat(undrawn().map(e => `an explorer that is not drawn: ${e.dataset.explorer}`));
}"""


def versions(python):
    """Print the versions of what builds the book, in the environment of ``python`` and in this one."""
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True)
    pinned = {entry["name"].lower().replace("_", "-"): entry["version"] for entry in json.loads(listed.stdout)}
    newest = {found.name.lower().replace("_", "-"): found.version for found in metadata.distributions()}
    print(f"{'':32}{'pinned':14}newest")
    for name in sorted(pinned.keys() | newest.keys()):
        if re.search("sphinx|myst|jupyter-book|docutils|pygments", name):
            print(f"{name:32}{pinned.get(name, '-'):14}{newest.get(name, '-')}")


def build(python):
    """Build the book with the Sphinx of this environment, and return what is wrong with that, as a list."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):  # Jupyter Book writes conf.py beside them, which is no file for the root
        shutil.copy(ROOT / name, FOLDER)
    subprocess.run([Path(python).parent / "jupyter-book", "config", "sphinx", FOLDER], check=True)
    with (FOLDER / "conf.py").open("a", encoding="utf-8") as conf:
        conf.write(CONF)
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "--keep-going"]
    ended = subprocess.run([*sphinx, "-c", FOLDER, "-d", FOLDER / "doctrees", ROOT, FOLDER / "html"]).returncode
    return [f"Sphinx ended with status {ended}: see its warnings above"] if ended else []


def files(site):
    """The names of a site's files, without those whose names are up to Sphinx, the theme and MyST-NB."""
    names = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(("_", ".")) and name != "vae-tutorial.pdf"}


def changes(was, now):
    """What differs between the FACTS of two builds of a page, as a list."""
    found = [f"{n} {kind}, not {was['counts'][kind]}" for kind, n in now["counts"].items() if n != was["counts"][kind]]
    for kind, name in (("labels", "label"), ("links", "link to")):
        found += [f"the {name} {lost} is lost" for lost in sorted({*was[kind]} - {*now[kind]})]
    for label in sorted(was["numbers"].keys() | now["numbers"].keys()):
        before, after = (facts["numbers"].get(label, "no number") for facts in (was, now))
        found += [f"{label} has {after}, not {before}"] if before != after else []
    if (before := was["words"]) != (after := now["words"]):
        at = next(
            (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
        )
        start = max(0, at - 20)
        found.append(f"the text has {after[start : at + 40]!r}, not {before[start : at + 40]!r}")
    return found


def differences(browser, pinned, newest):
    """What differs between two built sites, as a list of lines that begin with a page's name."""
    old, new, page = files(pinned), files(newest), browser.new_page()
    found = [f"{name}: is missing" for name in sorted(old - new)] + [f"{name}: is new" for name in sorted(new - old)]
    # The notebooks to run, and the site map, are the same to the byte.
    same = sorted(name for name in old & new if name.endswith((".ipynb", ".xml")))
    found += [f"{n}: has other bytes" for n in same if (pinned / n).read_bytes() != (newest / n).read_bytes()]
    for name in sorted(name for name in old & new if name.endswith(".html")):
        both = [page.evaluate(FACTS, [(site / name).read_text("utf-8"), KINDS]) for site in (pinned, newest)]
        found += [f"{name}: {change}" for change in changes(*both)]
    page.close()
    return found


def broken(browser, site, prefix):
    """What goes wrong in Chromium when each page of a site is opened, as ``differences`` lists it."""
    found = []
    with serve(site, prefix) as url:
        # index.html only leads to the first page.
        for name in sorted(name for name in files(site) - {"index.html"} if name.endswith(".html")):
            with watched_page(browser, url) as (page, wrong, _):
                page.goto(url + ("no/such/" if name == "404.html" else "") + name, wait_until="load")
                wrong += page.evaluate(BROKEN)
                found += [f"{name}: {line}" for line in dict.fromkeys(wrong)]
    return found


def main(python):
    if not (PINNED / "index.html").is_file():
        sys.exit(f"there is no book to compare with in {PINNED}: run 'make book' first")
    if not (chromium := find_chromium()):
        sys.exit("no Chromium or Chrome on the PATH (on Debian and Ubuntu: apt install chromium)")
    prefix = "/" + yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["html"]["baseurl"].split("/", 3)[3]
    versions(python)
    found = build(python)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        found += differences(browser, PINNED, FOLDER / "html") + broken(browser, FOLDER / "html", prefix)
        browser.close()
    count = sum(name.endswith(".html") for name in files(PINNED))
    print(*found, f"{count} pages compared, {len(found) or 'no'} differences", sep="\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: .venv-newest/bin/python tools/newer.py .venv/bin/python   (that is: make newer)")
    main(sys.argv[1])
