"""The built book, as a reader's browser sees it: every page of _toc.yml, served as GitHub Pages serves it.

Sphinx says nothing when a formula stays TeX, a picture has no alternative text, or a page asks another host for a
script. Here such things fail. Run "make book" first; Chromium must be on the PATH.
"""

import gzip
import os
import re
import zipfile
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
import yaml
from browser import serve, set_system_theme, watched_page
from playwright.sync_api import TimeoutError

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
BASE, REPOSITORY = CONFIG["html"]["baseurl"], CONFIG["repository"]["url"]
PREFIX = "/" + BASE.split("/", 3)[3]  # "/vae-tutorial/"
MOST_BYTES = 760_000  # gzipped, for a first visit, explorers apart
MOST_FIRST_BYTES = 300_000  # gzipped, of the first page with its moving picture
MOST_EXPLORER_BYTES = 300_000  # gzipped, what an explorer adds to its page
MOST_OFFLINE_BYTES = 12_000_000  # the zip file
MOST_EXPLORER_MS = 1_000  # from asking for the page to an explorer that can be moved
WIDTHS = {1280: "light", 768: "dark", 360: "dark"}  # px, and the theme there
SMALLEST = 7.5  # px, of a letter in a figure on the narrowest phone; most are 10

pytestmark = pytest.mark.browser  # the built book, if not a browser


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


@pytest.fixture(scope="module")
def site(built):
    with serve(HTML, PREFIX) as url:
        yield url


@pytest.fixture
def browser(built, chromium):
    return chromium


# Fonts and pictures come after the load event.
SETTLE = """async () => {
  await document.fonts.ready;
  for (const image of document.images) { image.loading = "eager"; await image.decode().catch(() => 0); }
}"""

# Counted in the whole page, as a heading's formula is also in the list of contents. What KaTeX could not set, and a
# formula that Markdown did not recognise, stays in the text as TeX.
CONTENT = r"""() => {
  const wrong = [], all = selector => [...document.querySelectorAll(selector)];
  const [seen, spoken] = [".math .katex-html[aria-hidden]", ".math .katex-mathml > math"].map(s => all(s).length);
  const formulas = all(".math").length;
  if (formulas !== seen || formulas !== spoken) wrong.push(`${seen} of ${formulas} formulas are set, ${spoken} spoken`);
  for (const image of document.images) {
    const name = image.getAttribute("src").slice(0, 100);
    if (!image.naturalWidth) wrong.push(`picture does not load: ${name}`);
    // The logo stands beside the title in one link; an alternative text would have it read out twice.
    if (!image.alt.trim() && !image.matches(".logo__image")) wrong.push(`picture without alternative text: ${name}`);
  }
  const text = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (text.nextNode()) {
    const tex = /\$\$|\\(\(|\[|[a-zA-Z]{2,})/.exec(text.currentNode.data);
    if (tex && !text.currentNode.parentElement.closest("pre, code, script, style"))
      wrong.push(`TeX left in the text: ${text.currentNode.data.slice(tex.index, tex.index + 60)}`);
  }
  return wrong;
}"""

# Not only the page's own scroll bar: an article that scrolls sideways in its box, or a box that cuts off what is too
# wide for it, is as unreadable. What has a scroll bar of its own inside the article (tables, code, formulas) is fine.
LAYOUT = """() => {
  const wrong = [], article = document.querySelector("article, main"), limit = document.documentElement.clientWidth + 1;
  const name = e => e.tagName.toLowerCase() + [...e.classList].map(c => "." + c).join("");
  const overflow = e => getComputedStyle(e).overflowX, known = new Map([[article, false]]);
  const scrolls = e => {
    if (!known.has(e)) known.set(e, /auto|scroll/.test(overflow(e)) || scrolls(e.parentElement));
    return known.get(e);
  };
  const page = document.scrollingElement;
  if (page.scrollWidth > page.clientWidth) wrong.push(`the page is ${page.scrollWidth} px wide`);
  // A formula has MathML in a box of one pixel, and drawn braces that are cut to length.
  const all = [...article.querySelectorAll("*")].filter(e => !e.closest(".katex-mathml, .katex svg, .plot > *"));
  const wide = all.filter(e => e.getBoundingClientRect().right > limit && !scrolls(e));
  if (wide.length) wrong.push(`beyond the right edge: ${wide.slice(0, 3).map(name).join(", ")}`);
  for (const e of all.filter(e => !e.closest(".katex-html")))
    if (/hidden|clip/.test(overflow(e)) && e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1 && !scrolls(e))
      wrong.push(`${name(e)} cuts off ${e.scrollWidth - e.clientWidth} px`);
  return wrong;
}"""

# Each display formula is broken or fits, or what is cut fades under a shadow. No line begins with what belongs to the
# formula before it. Both where everything is unfolded.
PHONE = r"""() => {
  const wrong = [], all = selector => [...document.querySelectorAll(selector)];
  for (const fold of all("details.room, .admonition details")) fold.open = true;
  const column = document.querySelector("article, main").getBoundingClientRect().right + 1;
  for (const formula of all("article div.math > .katex-display")) {
    const name = formula.parentElement.id || formula.textContent.slice(0, 60);
    if (formula.getBoundingClientRect().right > column) wrong.push(`a formula leaves the column: ${name}`);
    const { overflowX, backgroundImage } = getComputedStyle(formula);
    const fades = overflowX === "auto" && backgroundImage.split("linear-gradient").length > 4;
    if (formula.scrollWidth > formula.clientWidth + 1 && !fades) wrong.push(`a formula is cut: ${name}`);
    const number = formula.parentElement.querySelector(".eqno")?.getBoundingClientRect();
    if (number && number.top < formula.getBoundingClientRect().bottom - 1) wrong.push(`its number is beside: ${name}`);
  }
  for (const formula of all("article span.math")) {
    const last = [...formula.querySelectorAll(".katex-base")].at(-1)?.getBoundingClientRect();
    const text = formula.parentElement.textContent.slice(0, 60), held = formula.closest(".held");
    for (const next of [formula.nextSibling, held?.nextSibling]) {
      if (!last || next?.nodeType !== Node.TEXT_NODE || !/^[^\s\w(–—]/.test(next.data)) continue;
      const mark = document.createRange();
      mark.setStart(next, 0);
      mark.setEnd(next, 1);
      const begins = !held ? "may begin" : mark.getBoundingClientRect().left < last.right - 5 ? "begins" : "";
      if (begins) wrong.push(`a line ${begins} with ${next.data[0]}: ${text}`);
    }
  }
  return wrong;
}"""

# On a laptop no line of a chapter's code scrolls.
CODE = r"""() => {
  for (const fold of document.querySelectorAll("details.hide")) fold.open = true;
  const wide = [...document.querySelectorAll("div.cell_input pre")].filter(e => e.scrollWidth > e.clientWidth + 1);
  return wide.map(e => `code scrolls: ${e.textContent.split("\n").find(line => line.length > 90)}`);
}"""

# An icon that the shipped fonts lack is drawn by another font, with another width beside another fallback.
ICONS = """() => {
  const wrong = [], pen = document.createElement("canvas").getContext("2d");
  for (const icon of document.querySelectorAll(".fa-solid, .fa-brands")) {
    const { fontFamily, fontWeight, content } = getComputedStyle(icon, "::before"), sign = content.slice(1, -1);
    const width = other => {
      pen.font = `${fontWeight} 40px ${fontFamily}, ${other}`;
      return pen.measureText(sign + sign).width;
    };
    if (!sign || width("monospace") !== width("serif")) wrong.push(`no such icon: ${icon.className}`);
  }
  return wrong;
}"""

# The theme dims pictures in the dark, takes away a plot's white ground, and lays HTML outputs on a light panel.
# On the landing page ink and paper change places.
DARK = """() => [...document.querySelectorAll("article img, .cell_output .text_html")].filter(e => {
  if (e.matches(".door *")) return false;
  const { filter, backgroundColor } = getComputedStyle(e);
  return filter !== "none" || backgroundColor !== (e.matches("img") ? "rgb(255, 255, 255)" : "rgba(0, 0, 0, 0)");
}).map(e => `changed by the dark theme: ${e.alt ?? e.textContent.trim().slice(0, 60)}`)"""

# A figure is drawn in the page: with a name, in its face and its colour of text, large enough to read on a phone.
FIGURES = """small => [...document.querySelectorAll("article figure")].flatMap(figure => {
  const wrong = [], name = figure.id, plot = figure.querySelector(".plot"), page = getComputedStyle(document.body);
  if (!plot) return /^fig-/.test(name) ? [`${name} is no drawing`] : [];
  if (!plot.ariaLabel || plot.getAttribute("role") !== "img") wrong.push(`${name} has no alternative text`);
  for (const text of plot.querySelectorAll("text:not(:empty)")) {
    if (!text.checkVisibility()) continue; // in a solution that is closed
    const look = getComputedStyle(text), letters = getComputedStyle(text.querySelector("tspan") ?? text).fontSize;
    const size = parseFloat(letters) * plot.getBoundingClientRect().width / plot.viewBox.baseVal.width;
    const said = `${name}, "${text.textContent.trim().slice(0, 20)}"`;
    if (size < small) wrong.push(`${said}: ${size.toFixed(1)} px`);
    if (look.fill === "rgb(0, 0, 0)" && !text.closest(".on-picture")) wrong.push(`${said} is black on every ground`);
    if (!/^"?(Course|KaTeX)/.test(look.fontFamily)) wrong.push(`${said} is set in ${look.fontFamily}`);
  }
  return wrong;
})"""


EXPLORER = re.compile(r'<div id="explorer-[\w-]+" data-explorer="(\w+)">.*?</div></div>', re.DOTALL)


def explorer_bytes(name):
    """What a page's explorers add to what is sent: their markup, their modules, the style sheet."""
    text = (HTML / name).read_text("utf-8")
    modules = EXPLORER.findall(text)
    if not modules:
        return 0
    markup = len(gzip.compress(text.encode())) - len(gzip.compress(EXPLORER.sub("", text).encode()))
    files = ["explorers.css", "page.js", "shared.js", *(f"{module}.js" for module in modules)]
    files += {f"files/{file}.js" for file in re.findall(r'\{"file":"([\w-]+)"\}', text)}
    return markup + sum(len(gzip.compress((HTML / "_static/explorers" / file).read_bytes())) for file in files)


def unmoved(page):
    """The explorers of the page that are not drawn, or whose numbers stay when their first slider moves."""
    wrong = []
    for host in page.locator("[data-explorer]").all():
        name = host.get_attribute("data-explorer")
        try:
            host.and_(page.locator("[data-ready]")).wait_for()
        except TimeoutError:
            wrong.append(f"explorer {name} is not drawn")
            continue
        numbers, slider = host.locator(".vx-numbers"), host.get_by_role("slider").first
        before = numbers.inner_text()
        slider.scroll_into_view_if_needed()
        slider.press("ArrowRight")
        if numbers.inner_text() == before:
            wrong.append(f"explorer {name}: a slider moves, its numbers do not")
    return wrong


@pytest.mark.parametrize("name", PAGES)
def test_page(browser, site, name):
    with watched_page(browser, site) as (page, wrong, sizes):
        # Pages sends 404.html from any address: at a depth of its own, its links must still be right.
        missing = name == "404.html"
        response = page.goto(site + ("no/such/" if missing else "") + name, wait_until="load")
        assert response.status == (404 if missing else 200), f"{name} is not in _build/html"
        page.evaluate(SETTLE)
        wrong += page.evaluate(CONTENT) + page.evaluate(ICONS)
        if sum(sizes) - explorer_bytes(name) > MOST_BYTES:
            wrong.append(f"{sum(sizes):,} bytes are sent, more than {MOST_BYTES:,}")
        if number := re.match(r"0*(\d+)_", Path(name).name):
            title = page.locator("h1").first.inner_text()
            if not re.match(rf"{number[1]}\b", title):
                wrong.append(f"the title {title!r} does not begin with the file's number {number[1]}")
        wrong += unmoved(page)
        page.evaluate("() => document.querySelectorAll('details.room').forEach(room => { room.open = true })")
        # One change of the theme, as it lays out all formulas anew: the themes differ in colours.
        for width, theme in WIDTHS.items():
            wrong += set_system_theme(page, theme)
            page.set_viewport_size({"width": width, "height": 900})
            wrong += [f"{theme}, {width} px: {problem}" for problem in page.evaluate(LAYOUT)]
            if width == 1280:
                wrong += page.evaluate(CODE)
        wrong += page.evaluate(PHONE) + page.evaluate(FIGURES, SMALLEST) + page.evaluate(DARK)
    assert not wrong, f"{name}:\n  " + "\n  ".join(dict.fromkeys(wrong))


def with_explorers():
    """How many explorers stand in each page that has some."""
    found = {name: len(EXPLORER.findall((HTML / name).read_text("utf-8"))) for name in PAGES}
    return {name: count for name, count in found.items() if count}


def test_the_first_page_is_light_and_stands_still(browser, site):
    """With its moving picture; what comes to life stays where its picture was."""
    with watched_page(browser, site) as (page, wrong, sizes):
        page.add_init_script(
            """window.shift = 0;
            new PerformanceObserver((list) => list.getEntries().forEach((one) => (window.shift += one.value)))
              .observe({ type: "layout-shift", buffered: true });"""
        )
        page.goto(f"{site}{TOC['root']}.html", wait_until="load")
        page.wait_for_selector("[data-ready] .door-point")
        assert sum(sizes) <= MOST_FIRST_BYTES
        assert page.evaluate("() => window.shift") < 0.02
        page.mouse.move(*(page.locator(".door-plane").bounding_box()[key] + 30 for key in ("x", "y")))
        assert page.locator(".door-walk").inner_text() == "walk on"
        assert not wrong


@pytest.mark.timed
def test_explorers_are_ready_within_a_second(browser, site):
    """Where one comes for them; elsewhere they wait until the page has nothing else to do."""
    for name in with_explorers():
        for key in re.findall(r'<div id="(explorer-[\w-]+)" data-explorer', (HTML / name).read_text("utf-8")):
            with watched_page(browser, site) as (page, wrong, _):
                late = float("inf")  # of some loads: what else the machine does is not the page's fault
                for _ in range(8):
                    page.goto("about:blank")  # or only the address within the page would change
                    page.goto(f"{site}{name}#{key}", wait_until="load")
                    ready = page.locator(f"#{key}[data-ready]")
                    ready.wait_for()
                    parsed = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventStart")
                    # A slow machine, which needs long for the page itself, may need as long again for the explorer.
                    late = min(late, float(ready.get_attribute("data-ready")) - max(MOST_EXPLORER_MS, 2 * parsed))
                    if late <= 0:
                        break
                assert late <= 0, f"{key}: {late:.0f} ms late"
                assert not wrong


def test_explorers_are_small(built):
    for name, count in with_explorers().items():
        assert explorer_bytes(name) <= MOST_EXPLORER_BYTES * count, name


def test_each_explorer_stands_in_the_book_once(built):
    """Also that EXPLORER finds them all: a page in which it finds none passes the test above unseen."""
    texts = [(HTML / name).read_text("utf-8") for name in PAGES]
    found = [module for text in texts for module in EXPLORER.findall(text)]
    assert sorted(found) == [
        "elbo",
        "entropy",
        "kl",
        "latent",
        "own_digit",
        "reparameterization",
        "trade_off",
        "train_one",
    ]
    assert sum(text.count("data-explorer=") for text in texts) == len(found)


def test_front_door(browser, site):
    with watched_page(browser, site) as (page, wrong, _):
        page.goto(site)
        page.wait_for_url(f"{site}{TOC['root']}.html")
        assert not wrong


@pytest.mark.parametrize("words", ["entropy", "posterior collapse", "gaussian_kl"])
def test_search_finds(browser, site, words):
    with watched_page(browser, site) as (page, wrong, _):
        page.goto(site + "search.html")
        page.locator("main input[name=q]").fill(words)
        page.keyboard.press("Enter")
        hit = page.locator("#search-results li a").first
        hit.click()
        page.wait_for_load_state()
        assert words in page.locator("article").inner_text().lower()
        assert not wrong


def test_what_the_search_says_is_text_to_read(browser, site):
    """By section, the glossary's word first; no TeX, no code, no two words run together."""
    with watched_page(browser, site) as (page, wrong, _):
        page.goto(site + "search.html?q=posterior+collapse")
        results = page.locator("#search-results > ul > li")
        page.wait_for_function(
            "() => [...document.querySelectorAll('#search-results > ul > li')].every(e => e.querySelector('.context'))"
            " && /finished/.test(document.querySelector('#search-results').innerText)"
        )
        assert results.first.locator("a").first.get_attribute("href") == "book/glossary.html#posterior-collapse"
        sections = page.locator("#search-results a[href*='#']")
        assert "Three things called collapse" in sections.all_inner_texts()
        said = page.locator("#search-results .context").all_inner_texts()
        assert sum("posterior collapse" in text.lower() for text in said) > 10
        for text in said:
            assert not re.search(r"\\\w|\$|torch\.|\w\(\w+=|[a-z]{2}[A-Z][a-z]{2}", text.replace("arXiv", "")), text
            assert len(text) < 500
        sections.last.click()
        page.wait_for_url("**.html*#*")
        assert page.locator(":target").count() == 1
        assert not wrong


def test_a_reader_walks_from_the_front_door_to_a_moved_explorer(browser, site):
    """By what is on the pages alone: the first button, then "next" until something can be moved."""
    with watched_page(browser, site) as (page, wrong, _):
        page.goto(site)
        page.wait_for_url(f"{site}{TOC['root']}.html")
        page.get_by_role("link", name="Train one now").click()
        page.wait_for_url("**/00_evening_zero.html")
        assert "550" in page.locator("article").inner_text()
        for chapter in [*TOC["parts"][0]["chapters"][1:], TOC["parts"][1]["chapters"][0]]:
            page.locator(".prev-next-area a.right-next").click()
            page.wait_for_url(f"{site}{chapter['file']}.html", wait_until="domcontentloaded")
        slider = page.locator("[data-ready]").get_by_role("slider").first
        slider.scroll_into_view_if_needed()
        numbers = page.locator("[data-ready] .vx-numbers")
        before, box = numbers.inner_text(), slider.bounding_box()
        page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
        assert numbers.inner_text() != before
        for chapter in TOC["parts"][1]["chapters"][1:] + TOC["parts"][2]["chapters"]:
            page.locator(".prev-next-area a.right-next").click()
            page.wait_for_url(f"{site}{chapter['file']}.html", wait_until="domcontentloaded")
        page.goto(site)
        page.locator("a[href$='#explorer-entropy']").first.click()
        page.wait_for_url("**/01_information_and_entropy.html#explorer-entropy")
        assert page.locator("[data-explorer]").bounding_box()["y"] < 3 * 900, "three screens below the heading"
        assert not wrong


def test_the_book_works_from_a_folder(browser, built, tmp_path):
    """Unpacked from the file that the setup page offers, with no server: formulas, fonts, search, explorers."""
    archive = HTML / "vae-tutorial-offline.zip"
    assert archive.stat().st_size < MOST_OFFLINE_BYTES
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    folder = (tmp_path / "vae-tutorial").as_uri() + "/"
    with watched_page(browser, folder) as (page, wrong, _):
        page.goto(folder + "index.html")  # which keeps its address there
        page.locator(".bd-sidebar-primary .logo").click()
        page.wait_for_url(f"{folder}{TOC['root']}.html")
        for name in PAGES:
            count = len(EXPLORER.findall((HTML / name).read_text("utf-8")))
            if not count or name == "404.html":
                continue
            page.goto(folder + name)
            page.evaluate(SETTLE)
            wrong += page.evaluate(CONTENT)
            page.wait_for_function("n => document.querySelectorAll('[data-ready]').length === n", arg=count)
            numbers = page.locator("[data-ready] .vx-numbers").first
            before = numbers.inner_text()
            page.locator("[data-ready]").get_by_role("slider").first.press("ArrowRight")
            assert numbers.inner_text() != before
        assert not wrong
        # The theme asks for each hit's page to quote from it, which a browser refuses in a folder; the hits are there.
        page.goto(folder + "search.html?q=posterior+collapse")
        page.locator("#search-results li a").first.wait_for()


def test_on_a_phone_nothing_lies_over_an_explorer_s_controls(browser, site):
    with watched_page(browser, site) as (page, wrong, _):
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(site + "notebooks/12_kl_against_reconstruction.html")
        held = page.locator("[data-ready] .vx-held").first
        held.wait_for()
        button = page.locator("#pst-back-to-top")
        top = "document.querySelector('[data-ready] .vx-body').getBoundingClientRect().top"
        page.evaluate(f"scrollBy({{ top: {top} - 200, behavior: 'instant' }})")
        page.add_style_tag(content="#pst-back-to-top { display: block !important }")  # as after a scroll upwards
        assert held.bounding_box()["y"] > 600, "they are held at the lower edge"
        box, over = held.bounding_box(), button.bounding_box()
        assert over["y"] + over["height"] < box["y"]
        assert over["y"] > page.locator(".bd-header-article").bounding_box()["height"]
        assert not wrong


def test_each_page_says_what_it_is_about(built):
    said = {}
    for name in [f"{entry}.html" for entry in entries(TOC)]:
        text = (HTML / name).read_text("utf-8")
        found = re.findall(r'<meta (?:name|property)="(?:og:)?description" content="([^"]*)"', text)
        assert len(found) == 2, f"{name}: {found}"
        assert found[0] == found[1], f"{name}: {found}"
        assert 30 < len(found[0]) < 320, f"{name}: {found[0]}"
        assert not re.search(r"[\\$]|\.\.\.", found[0]), f"{name}: {found[0]}"
        assert found[0] not in said.values(), name
        said[name] = found[0]
        [card] = re.findall(r'<meta property="og:image" content="([^"]*)"', text)
        assert card.startswith(BASE), name
        assert (HTML / card.removeprefix(BASE)).is_file(), name
        assert 'name="twitter:card" content="summary_large_image"' in text
        assert f'<link rel="canonical" href="{BASE}{name}"' in text


def test_the_site_map_lists_each_page(built):
    listed = re.findall(r"<loc>([^<]*)</loc>", (HTML / "sitemap.xml").read_text("utf-8"))
    assert sorted(listed) == sorted(f"{BASE}{name}.html" for name in entries(TOC))


def test_each_page_has_its_source_or_its_edition(built):
    """A chapter's source is no text to read; tests/test_editions.py presses the chapters' buttons."""
    for name in entries(TOC):
        targets = links(HTML / f"{name}.html").targets
        if (ROOT / f"{name}.md").is_file():
            assert f"{REPOSITORY}/blob/main/{name}.md?plain=1" in targets
        else:
            assert not [url for url in targets if "/blob/main/" in url]
            assert f"../running/{name.removeprefix('notebooks/')}.ipynb" in targets


def test_other_sites_are_linked_once_in_the_bibliography(built):
    """So that a link that dies is mended in one place."""
    own = (BASE, REPOSITORY, "https://colab.research.google.com/github/", "https://mybinder.org/v2/gh/")
    for name in PAGES:
        found = [url for url in links(HTML / name).anchors if url.startswith("http") and not url.startswith(own)]
        if name == "book/bibliography.html":
            assert len(found) > 50
            assert len(set(found)) == len(found), "twice in the bibliography"
        else:
            assert not found, f"{name}: {found}"


def rooms(page):
    """Of each side room of the page, whether it is open."""
    return page.locator("details.room").evaluate_all("rooms => rooms.map(room => room.open)")


def test_side_rooms_open_by_their_links_by_a_button_and_on_paper(browser, site):
    """They are closed otherwise, and the browser remembers the button."""
    name = "notebooks/02_kl_divergence.html"
    with watched_page(browser, site) as (page, wrong, _):
        page.goto(site + name)
        page.evaluate(SETTLE)
        count = len(rooms(page))
        assert count > 2
        assert not any(rooms(page))
        page.evaluate("() => { location.hash = '%' }")  # an address that is none
        promise = page.locator("details.room > summary").first
        promise.focus()
        page.keyboard.press("Enter")
        assert rooms(page) == [True] + (count - 1) * [False]
        promise.click()
        room = page.locator("section.side-room").last.get_attribute("id")
        page.evaluate("id => { location.hash = id }", room)
        page.wait_for_function("() => [...document.querySelectorAll('details.room')].at(-1).open")
        assert rooms(page) == (count - 1) * [False] + [True]
        equation = page.locator("details.room div.math[id]").first.get_attribute("id")
        page.goto("about:blank")
        page.goto(f"{site}{name}#{equation}")
        page.wait_for_function("() => document.querySelector('details.room:has(div.math[id])').open")
        button = page.get_by_role("button", name="Open all side rooms")
        button.click()
        assert all(rooms(page))
        page.goto(site + "notebooks/05_elbo.html")
        assert all(rooms(page)), "it is remembered, on another page too"
        page.get_by_role("button", name="Close all side rooms").click()
        assert not any(rooms(page))
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert all(rooms(page))
        page.evaluate("() => dispatchEvent(new Event('afterprint'))")
        assert not any(rooms(page))
        assert not wrong


def test_a_question_has_a_reply_to_each_choice(browser, site):
    """One is right; a key opens them, and no script is needed."""
    with watched_page(browser, site) as (page, wrong, _):
        page.goto(site + "notebooks/00_evening_zero.html")
        choices = page.locator(".admonition.predict").first.locator("details")
        assert choices.count() == 3
        for i in range(3):
            reply = choices.nth(i).locator(".sd-card-body")
            assert not reply.is_visible()
            choices.nth(i).locator("summary").press("Enter")
            assert reply.is_visible()
        assert not wrong


def test_a_room_is_listed_with_what_it_promises(built):
    """On the page of all rooms, as often as there are rooms; a check's title has its equations' numbers."""
    page = (HTML / "book" / "rooms.html").read_text("utf-8")
    headings = [
        len(re.findall(r'class="[^"]*side-room', (HTML / name).read_text("utf-8")))
        for name in PAGES
        if "notebooks" in name
    ]
    assert page.count("#for-the-curious") == sum(headings) > 20
    checks = re.findall(r"<summary[^>]*>\s*<p[^>]*>(Check[^<]*)", (HTML / "notebooks/05_elbo.html").read_text("utf-8"))
    assert any(re.match(r"Check \(5\.\d+\)", title) for title in checks)
    assert not any("eq-" in title for title in checks)


def test_print_has_the_article_alone(browser, site):
    with watched_page(browser, site) as (page, wrong, _):
        page.goto(f"{site}notebooks/08_mlp_vae.html")
        page.evaluate(SETTLE)
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 718, "height": 1047})  # A4 less its margins
        wrong += page.evaluate(LAYOUT)
        for gone in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article", ".prev-next-footer"):
            assert not page.locator(gone).first.is_visible(), gone
        assert not page.locator("details.hide").first.is_visible(), "a fold that paper cannot open"
        cut = "[...document.querySelectorAll('div.cell pre')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
        assert page.evaluate(cut) == 0, "code that paper cuts off"
        wrong += set_system_theme(page, "dark")
        theme = "event => (dispatchEvent(new Event(event)), document.documentElement.dataset.theme)"
        assert [page.evaluate(theme, event) for event in ("beforeprint", "afterprint")] == ["light", "dark"]
        assert not wrong


class Links(HTMLParser):
    """The ids of a page, and what it points to."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets, self.anchors = set(), set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.targets |= {attrs[key] for key in ("href", "src") if attrs.get(key)}
        if tag == "a" and attrs.get("href"):
            self.anchors.append(attrs["href"])


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
            if not file.is_file() and file.name != "vae-tutorial.pdf":  # which "make pdf" prints before it is published
                broken.append(f"{target}: no such file")
            elif anchor and file.suffix == ".html" and unquote(anchor) not in links(file).ids:
                broken.append(f"{target}: no such anchor")
        # The repository, and its branch "running" in Colab and Binder.
        elif at := re.search(r"/(main|running)(?:/|\?urlpath=lab/tree/)([^?&]+)", url):
            folder = HTML / "running" if at[1] == "running" else ROOT
            if REPOSITORY.removeprefix("https://github.com/") in url and not (folder / unquote(at[2])).exists():
                broken.append(f"{target}: the branch {at[1]} has no {at[2]}")
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


def shown(page, link):
    """What the box beside a link says, once it is there."""
    page.locator("#preview:not([hidden])").wait_for()
    assert link.get_attribute("aria-describedby") == "preview"
    return page.locator("#preview").inner_text()


def test_what_a_link_leads_to_is_shown_by_pointer_focus_and_tap(browser, site):
    with watched_page(browser, site) as (page, wrong, _):
        page.goto(site + "notebooks/05_elbo.html")
        first = {part: page.locator(f"article p a[href*='{part}']").first for part in ("glossary.html#", "y.html#id")}
        word, citation = first.values()
        word.hover()
        definition = shown(page, word)
        assert len(definition) > 40
        goal = page.evaluate("a => fetch(a.href).then(r => r.text())", word.element_handle())
        assert definition.split()[0] in goal
        page.keyboard.press("Escape")
        assert page.locator("#preview").is_hidden()
        citation.focus()
        assert re.search(r"\d{4}\.", shown(page, citation))
        equation = page.locator("article p a[href^='#equation-']:not(.headerlink):visible").first
        equation.focus()
        page.locator("#preview .katex").wait_for()
        page.locator("article h1").hover()
        page.locator("#preview").wait_for(state="hidden")
        assert not wrong
    touched = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = touched.new_page()
    page.goto(site + "notebooks/05_elbo.html")
    word = page.locator("article p a[href*='glossary.html#']").first
    word.tap()
    assert shown(page, word) == definition
    box = page.locator("#preview").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    word.tap()
    page.wait_for_url("**/glossary.html#*")
    touched.close()


# Rules that no page seems to use are left out of it (book/_ext/sheet.py). So each element must look as with all rules;
# how large it is follows from that, and fonts that come late would change it.
SAME = r"""async () => {
  const own = document.querySelector("style[data-of]"), all = [...document.querySelectorAll("body *")], seen = {};
  const named = e => `${e.tagName}.${e.getAttribute("class")}`;
  const kind = e => [named(e), named(e.parentElement), named(e.parentElement.parentElement),
    e.previousElementSibling === null, e.nextElementSibling === null].join();
  const few = e => (seen[kind(e)] = (seen[kind(e)] ?? 0) + 1) <= 3;  // of a kind: they match the same rules
  const elements = all.filter(e => !e.closest(".katex-mathml, script, style") && few(e));
  const passed = /^--|size$|^height|^width|origin|^margin|^inset|^top|^left|^right|^bottom|^grid-template|^transform/;
  const styles = (e, part) => {
    const style = getComputedStyle(e, part);
    if (part && style.content === "none") return "";
    return [...style].filter(name => !passed.test(name)).map(name => `${name}: ${style.getPropertyValue(name)}`);
  };
  const look = () => elements.map(e => ["", "::before", "::after"].flatMap(part => styles(e, part)));
  const before = look(), base = new URL(".", new URL(own.dataset.of, document.baseURI)).href;
  const text = await (await fetch(own.dataset.of)).text();
  own.textContent = text.replaceAll(/url\("(?!data:|#|http)/g, start => start + base);
  return look().flatMap((found, i) => {
    const other = found.filter((line, j) => line !== before[i][j]);
    return other.length ? [`${elements[i].tagName}.${elements[i].className}: ${other.slice(0, 2)}`] : [];
  }).slice(0, 5);
}"""


@pytest.mark.parametrize(
    "name", ["book/index", "search", "404", "book/glossary", "book/symptoms", "notebooks/00_evening_zero"]
)
def test_a_page_looks_as_with_the_whole_style_sheet(browser, site, name):
    with watched_page(browser, site) as (page, wrong, _):
        page.emulate_media(reduced_motion="reduce")
        page.goto(site + f"{name}.html")
        page.evaluate(SETTLE)
        page.wait_for_timeout(500)
        page.add_style_tag(content="*, ::before, ::after { animation: none !important; transition: none !important }")
        assert page.evaluate(SAME) == []
        assert not wrong
