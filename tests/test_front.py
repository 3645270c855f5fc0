"""How the site presents itself: a line of version and date, the page at its root, the page for what is not there."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("sphinx")
SPEC = importlib.util.spec_from_file_location("front", ROOT / "book" / "_ext" / "front.py")
front = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(front)


def head(page, names):
    context = {"metatags": "", "docstitle": "the book"}
    app = SimpleNamespace(config=SimpleNamespace(course_names=names, root_doc="book/index"))
    front.add_names(app, page, "page.html", context, None)
    return context


def test_names_stand_where_there_are_names():
    assert "author" not in head("book/loss", [])["metatags"]
    assert '<meta name="author" content="A, &quot;B&quot; and C" />' in head("book/loss", ["A", '"B"', "C"])["metatags"]
    assert [front.joined(list(names)) for names in ("A", "AB")] == ["A", "A and B"]


def test_the_title_of_the_first_page_is_not_doubled():
    assert head("book/index", [])["docstitle"] == ""
    assert head("book/loss", [])["docstitle"] == "the book"


def test_the_date_is_that_of_the_build_or_of_the_last_commit(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1794700000")
    assert front.date() == "14 November 2026"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    monkeypatch.setattr(front.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="1700000000\n"))
    assert front.date() == "14 November 2023"


def test_the_version_is_the_package_s():
    assert re.fullmatch(r"\d+\.\d+\.\d+", front.version())
    assert f"version: {front.version()}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_the_first_page_says_who_and_when(built):
    page = (built / "book" / "index.html").read_text("utf-8")
    [line] = re.findall(r'<p class="identity">(.*?)</p>', page)
    for part in (f"Version {front.version()}", "checked on every change", "text CC BY 4.0, code MIT"):
        assert part in line
    assert re.search(r"\d{1,2} \w+ 20\d\d", line)


def test_the_root_is_the_first_page(built):
    root, first = ((built / name).read_text("utf-8") for name in ("index.html", "book/index.html"))
    assert '<base href="book/" />' in root
    assert "http-equiv" not in root
    assert 'href="#' not in root
    for tag in ("<title>", 'name="description"', 'property="og:image"', 'rel="canonical"'):
        assert root.count(tag) == first.count(tag) == 1
    assert "<title>Variational autoencoders, in nats</title>" in root


def test_the_root_works_without_scripts(built, chromium):
    from browser import serve

    context = chromium.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 800})
    with serve(built, "/vae-tutorial/") as site:
        page = context.new_page()
        page.goto(site)
        assert page.url == site
        assert page.locator("article h1").count() == 1
        page.locator(".bd-sidebar-primary a", has_text="5. The ELBO").click()
        page.wait_for_url("**/notebooks/05_elbo.html")
    context.close()


def test_the_page_for_what_is_not_there_helps_at_any_depth(built, chromium):
    from browser import serve, watched_page

    with serve(built, "/vae-tutorial/") as site, watched_page(chromium, site) as (page, wrong, _):
        page.goto(f"{site}notebooks/deep/05_posterior-collapse.html")
        assert page.locator("article h1").inner_text() == "There is no such page"
        box = page.get_by_role("searchbox", name="Search the course")
        assert box.input_value() == "posterior collapse"
        names = [*front.DOORS, "map of concepts"]
        links = [page.locator("article").get_by_role("link", name=name).get_attribute("href") for name in names]
        box.press("Enter")
        page.wait_for_url(f"{site}search.html?q=posterior+collapse")
        page.locator("#search-results a[href*='glossary.html#posterior-collapse']").first.wait_for()
        assert [page.goto(site.removesuffix("/vae-tutorial/") + link).status for link in links] == [200] * len(links)
        assert not wrong
