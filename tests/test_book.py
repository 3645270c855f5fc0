"""The built book, as a reader's browser sees it: every page of _toc.yml, served as GitHub Pages serves it.

Sphinx says nothing when MathJax is missing, a formula is wrong, a picture has no alternative text, or a page asks
another host for a script. Here such things fail. Run "make book" first; Chromium must be on the PATH.
"""

import gzip
import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
import yaml
from browser import FLAGS, find_chromium, serve, set_system_theme, watched_page
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
BASE, REPOSITORY = CONFIG["html"]["baseurl"], CONFIG["repository"]["url"]
PREFIX = "/" + BASE.split("/", 3)[3]  # "/vae-tutorial/"
MOST_BYTES = 1_200_000  # gzipped, for a first visit, explorers apart; the theme and MathJax are 800,000 of it
MOST_EXPLORER_BYTES = 300_000  # gzipped, what an explorer adds to its page
MOST_EXPLORER_MS = 1_000  # from asking for the page to an explorer that can be moved
WIDTHS = (1440, 768, 360)


def entries(node):
    """The file names in a table of contents, however deep."""
    if isinstance(node, list):
        return [name for child in node for name in entries(child)]
    if isinstance(node, dict):
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [name for child in node.values() for name in entries(child)]
    return []


# The table of contents, not the folder: a page that was renamed leaves its old HTML behind in _build.
PAGES = [f"{name}.html" for name in entries(TOC)] + ["search.html", "genindex.html", "404.html"]


def absent(reason):
    """Skip on a newcomer's machine; on CI a check that cannot run is a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def built():
    if not (HTML / "index.html").is_file():
        absent("_build/html/index.html is missing: run 'make book' first")


@pytest.fixture(scope="module")
def site(built):
    with serve(HTML, PREFIX) as url:
        yield url


@pytest.fixture(scope="module")
def browser(built):
    chromium = find_chromium()
    if chromium is None:
        absent("no Chromium on the PATH (on Debian and Ubuntu: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


# Formulas, fonts and pictures come after the load event. MathJax may be missing: then the count below says so.
SETTLE = """async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  for (const image of document.images) { image.loading = "eager"; await image.decode().catch(() => 0); }
}"""

# Counted in the whole page, as a heading's formula is also in the list of contents. MathJax without "noundefined"
# marks what it cannot read as an error, and a formula that Markdown did not recognise stays in the text as TeX.
CONTENT = r"""() => {
  const wrong = [], all = selector => [...document.querySelectorAll(selector)];
  const [formulas, rendered] = [all(".math").length, all("mjx-container").length];
  if (formulas !== rendered) wrong.push(`${rendered} of ${formulas} formulas are rendered`);
  for (const error of all("mjx-merror, merror"))
    wrong.push(`TeX error: ${error.getAttribute("data-mjx-error") ?? error.textContent}`);
  for (const image of document.images) {
    const name = image.getAttribute("src").slice(0, 100);
    if (!image.naturalWidth) wrong.push(`picture does not load: ${name}`);
    // The logo stands beside the title in one link; an alternative text would have it read out twice.
    if (!image.alt.trim() && !image.matches(".logo__image")) wrong.push(`picture without alternative text: ${name}`);
  }
  const text = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (text.nextNode()) {
    const tex = /\$\$|\\(\(|\[|[a-zA-Z]{2,})/.exec(text.currentNode.data);
    if (tex && !text.currentNode.parentElement.closest("pre, code, script, style, mjx-container"))
      wrong.push(`TeX left in the text: ${text.currentNode.data.slice(tex.index, tex.index + 60)}`);
  }
  return wrong;
}"""

# Not only the page's own scroll bar: an article that scrolls sideways in its box, or a box that cuts off what is too
# wide for it, is as unreadable. What has a scroll bar of its own inside the article (tables, code, formulas) is fine.
LAYOUT = """() => {
  const wrong = [], article = document.querySelector("article, main"), limit = document.documentElement.clientWidth + 1;
  const name = e => e.tagName.toLowerCase() + [...e.classList].map(c => "." + c).join("");
  const overflow = e => getComputedStyle(e).overflowX;
  const scrolls = e => e !== article && (/auto|scroll/.test(overflow(e)) || scrolls(e.parentElement));
  const page = document.scrollingElement;
  if (page.scrollWidth > page.clientWidth) wrong.push(`the page is ${page.scrollWidth} px wide`);
  const wide = [...article.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > limit && !scrolls(e));
  if (wide.length) wrong.push(`beyond the right edge: ${wide.slice(0, 3).map(name).join(", ")}`);
  for (const e of article.querySelectorAll("*"))
    if (/hidden|clip/.test(overflow(e)) && e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1 && !scrolls(e))
      wrong.push(`${name(e)} cuts off ${e.scrollWidth - e.clientWidth} px`);
  return wrong;
}"""

# The theme dims pictures in the dark, takes away a plot's white ground, and lays HTML outputs on a light panel.
DARK = """() => [...document.querySelectorAll("article img, .cell_output .text_html")].filter(e => {
  const { filter, backgroundColor } = getComputedStyle(e);
  return filter !== "none" || backgroundColor !== (e.matches("img") ? "rgb(255, 255, 255)" : "rgba(0, 0, 0, 0)");
}).map(e => `changed by the dark theme: ${e.alt ?? e.textContent.trim().slice(0, 60)}`)"""


EXPLORER = re.compile(r'<div data-explorer="(\w+)">.*?</div></div>', re.DOTALL)


def explorer_bytes(name):
    """What a page's explorers add to what is sent: their markup, their modules, the style sheet."""
    text = (HTML / name).read_text("utf-8")
    modules = EXPLORER.findall(text)
    if not modules:
        return 0
    markup = len(gzip.compress(text.encode())) - len(gzip.compress(EXPLORER.sub("", text).encode()))
    files = ["explorers.css", "page.js", "shared.js", *(f"{module}.js" for module in modules)]
    return markup + sum(len(gzip.compress((HTML / "_static/explorers" / file).read_bytes())) for file in files)


@pytest.mark.parametrize("name", PAGES)
def test_page(browser, site, name):
    with watched_page(browser, site) as (page, wrong, sizes):
        # Pages sends 404.html from any address: at a depth of its own, its links must still be right.
        missing = name == "404.html"
        response = page.goto(site + ("no/such/" if missing else "") + name, wait_until="load")
        assert response.status == (404 if missing else 200), f"{name} is not in _build/html"
        page.evaluate(SETTLE)
        wrong += page.evaluate(CONTENT)
        if sum(sizes) - explorer_bytes(name) > MOST_BYTES:
            wrong.append(f"{sum(sizes):,} bytes are sent, more than {MOST_BYTES:,}")
        if number := re.match(r"0*(\d+)_", Path(name).name):
            title = page.locator("h1").first.inner_text()
            if not re.match(rf"{number[1]}\b", title):
                wrong.append(f"the title {title!r} does not begin with the file's number {number[1]}")
        for theme in ("light", "dark"):
            wrong += set_system_theme(page, theme)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                wrong += [f"{theme}, {width} px: {problem}" for problem in page.evaluate(LAYOUT)]
        wrong += page.evaluate(DARK)
    assert not wrong, f"{name}:\n  " + "\n  ".join(dict.fromkeys(wrong))


@pytest.mark.parametrize("name", PAGES)
def test_explorers_of_a_page(browser, site, name):
    count = len(EXPLORER.findall((HTML / name).read_text("utf-8")))
    if not count:
        return
    assert explorer_bytes(name) <= MOST_EXPLORER_BYTES * count
    with watched_page(browser, site) as (page, wrong, _):
        best = float("inf")  # of some loads: what else the machine does is not the page's fault
        for _ in range(8):
            page.goto(site + name, wait_until="load")
            page.wait_for_function("n => document.querySelectorAll('[data-ready]').length === n", arg=count)
            times = "[...document.querySelectorAll('[data-ready]')].map(e => Number(e.dataset.ready))"
            best = min(best, max(page.evaluate(times)))
            if best <= MOST_EXPLORER_MS:
                break
        assert best <= MOST_EXPLORER_MS
        for host in page.locator("[data-explorer]").all():
            numbers = host.locator(".vx-numbers")
            before = numbers.inner_text()
            slider = host.get_by_role("slider").first
            slider.scroll_into_view_if_needed()
            slider.press("ArrowRight")
            assert numbers.inner_text() != before
        assert not wrong


def test_each_explorer_stands_in_the_book_once(built):
    """Also that EXPLORER finds them all: a page in which it finds none passes the test above unseen."""
    texts = [(HTML / name).read_text("utf-8") for name in PAGES]
    found = [module for text in texts for module in EXPLORER.findall(text)]
    assert sorted(found) == ["elbo", "entropy", "kl", "latent", "reparameterization", "trade_off"]
    assert sum(text.count("data-explorer=") for text in texts) == len(found)


def test_front_door(browser, site):
    with watched_page(browser, site) as (page, wrong, _):
        page.goto(site)
        page.wait_for_url(f"{site}{TOC['root']}.html")
        assert not wrong


def test_search_finds_entropy(browser, site):
    with watched_page(browser, site) as (page, wrong, _):
        page.goto(site + "search.html")
        page.locator("main input[name=q]").fill("entropy")
        page.keyboard.press("Enter")
        hit = page.locator("#search-results li a").first
        hit.click()
        page.wait_for_load_state()
        assert "entropy" in page.locator("article").inner_text().lower()
        assert not wrong


class Links(HTMLParser):
    """The ids of a page, and what it points to."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.targets |= {attrs[key] for key in ("href", "src") if attrs.get(key)}


@cache
def links(path):
    return Links(path.read_text("utf-8"))


@pytest.mark.parametrize("name", PAGES)
def test_links(built, name):
    broken = []
    for target in sorted(links(HTML / name).targets):
        url, anchor = urldefrag(urljoin(BASE + name, target))
        if url.startswith(BASE):
            file = HTML / unquote(url.removeprefix(BASE).split("?")[0])
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file():
                broken.append(f"{target}: no such file")
            elif anchor and file.suffix == ".html" and unquote(anchor) not in links(file).ids:
                broken.append(f"{target}: no such anchor")
        # The repository, Colab and Binder, at a path of this repository.
        elif in_repository := re.search(r"(?:/blob/main/|/tree/main/|lab/tree/|/edit/main/)([^?&]+)", url):
            own = REPOSITORY.removeprefix("https://github.com/") in url
            if own and not (ROOT / unquote(in_repository[1])).exists():
                broken.append(f"{target}: the repository has no {in_repository[1]}")
    assert not broken, f"{name}:\n  " + "\n  ".join(broken)


# Of the theme's header, of docutils' bibliography, and of the corner of a pandas table; everything else is ours.
NOT_OURS = {"label-content-name-mismatch", "region"}
NOT_OURS |= {"aria-required-children", "aria-deprecated-role", "aria-allowed-role", "empty-table-header"}


def test_accessibility(browser, site):
    """axe-core is an npm package and no requirement: it runs where it lies."""
    axe = Path(os.environ.get("AXE_CORE") or ROOT / "node_modules" / "axe-core" / "axe.min.js")
    if not axe.is_file():
        pytest.skip("axe-core not found: npm install axe-core, or set AXE_CORE to the path of axe.min.js")
    wrong = []
    for name in PAGES:
        with watched_page(browser, site) as (page, _, _):
            page.goto(site + name, wait_until="load")
            page.evaluate(SETTLE)
            page.add_script_tag(path=axe)
            # In the middle of a change of theme, axe would measure a colour that nobody gets to read.
            page.add_style_tag(content="*, ::before, ::after { transition: none !important }")
            for theme in ("light", "dark"):
                set_system_theme(page, theme)
                for violation in page.evaluate("axe.run()")["violations"]:
                    if violation["id"] not in NOT_OURS:
                        where = [node["html"][:150] for node in violation["nodes"][:3]]
                        wrong.append(f"{name}, {theme}: {violation['id']}: {where}")
    assert not wrong, "\n".join(wrong)
