"""The book as one PDF: two of its pages are printed and read back; what is wrong leaves the old file as it was."""

import re
import sys
import unicodedata
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "book" / "_ext")]
import offline  # noqa: E402
import one_document  # noqa: E402
import pdf  # noqa: E402

HTML = ROOT / "_build" / "html"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
CHAPTER = "notebooks/06_reparameterization_trick"  # short, with an explorer
TOC = {"root": "book/index", "parts": [{"caption": "The only part", "chapters": [{"file": CHAPTER}]}]}

pytestmark = [pytest.mark.browser, pytest.mark.process]

PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"></head><body><article class="bd-article">
<section id="top"><h1>A page</h1>%s<section id="more"><h2>More</h2></section></section></article></body></html>"""


def letters(text):
    """A text without what a printer changes: spaces, the ends of lines, signs, letters joined into one."""
    return re.sub(r"[\W\d_]+", "", unicodedata.normalize("NFKC", text))


def longest_words(soup, selector):
    """The longest piece of text without a formula or a link in the paragraphs selected."""
    return max((words for p in soup.select(selector) for words in p.find_all(string=True, recursive=False)), key=len)


def walk(reader, items, level=0):
    """The outline of a file as (level, title, number of the page)."""
    for item in items:
        if isinstance(item, list):
            yield from walk(reader, item, level + 1)
        else:
            yield level, item.title, reader.get_destination_page_number(item) + 1


def own_site(folder, text):
    """A site of one page, which is its table of contents too."""
    (folder / "front.html").write_text(PAGE % text, "utf-8")
    return folder, {"root": "front", "parts": []}


def test_two_pages_are_printed(chromium, built, tmp_path):
    target = tmp_path / pdf.NAME
    text, outline = one_document.make(HTML, TOC, CONFIG, "1.2.3")
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids)) > 50
    pdf.print_pdf(chromium, text, outline, target)
    assert [path.name for path in tmp_path.iterdir()] == [pdf.NAME]
    reader = PdfReader(target)
    texts = [page.extract_text() for page in reader.pages]
    whole = letters("".join(texts))
    soup = BeautifulSoup((HTML / f"{CHAPTER}.html").read_text("utf-8"), "html.parser").select_one("article")

    # Text that is folded on the site is there; checks and the code of figures are not; formulas are set.
    for folded in (".room-inside p", ".solution section p", "details.sd-dropdown .sd-card-text"):
        assert letters(longest_words(soup, folded))[:40] in whole, folded
    for hidden in ("# Check", "plt.subplots"):
        assert hidden in soup.get_text()
        assert hidden.replace(" ", "") not in re.sub(r"\s", "", "".join(texts))
    assert not re.search(r"\\[(\[]|\\[a-z]{2,}|\$\$", "".join(texts))
    assert "Itmovesonitspage" in whole
    assert "Version1.2.3" in texts[0].replace(" ", "")

    # The outline has parts, chapters and sections, and says where they are; so do the contents, on the second page.
    outline = list(walk(reader, reader.outline))
    assert (0, "The only part") in [item[:2] for item in outline]
    title, *sections = [re.sub(r"#$", "", heading.get_text()) for heading in soup.select("h1, h2")]
    numbers = {name: number for level, name, number in outline if (level, name) != (0, "The only part")}
    assert [item[:2] for item in outline][-len(sections) - 1 :] == [(1, title), *((2, name) for name in sections)]
    for name in (title, *sections):
        assert letters(name) in letters(texts[numbers[name] - 1]), name
        assert f"{letters(name)}{numbers[name]}" in re.sub(r"[^\w]|_", "", texts[1]), name

    # A link leads to a place in the file, or to a published page.
    links = [link.get_object() for page in reader.pages for link in page.get("/Annots", [])]
    inside = [link["/Dest"] for link in links if "/Dest" in link]
    assert set(inside) <= set(reader.named_destinations)
    assert f"/{one_document.place(CHAPTER, 'exercises')}" in inside
    outside = [link["/A"]["/URI"] for link in links if "/A" in link]
    assert len(inside) + len(outside) == len(links)
    assert all(url.startswith("https://") for url in outside)
    assert CONFIG["html"]["baseurl"] + "notebooks/05_elbo.html" in outside


def test_what_is_too_wide_becomes_smaller(chromium):
    page = chromium.new_page(viewport=pdf.COLUMN)
    page.set_content("<div><table style='width: 3000px'><tr><td>a wide table</td></tr></table></div>")
    assert page.evaluate((ROOT / "tools" / "pdf.js").read_text("utf-8")) == []
    assert page.evaluate("document.scrollingElement.scrollWidth") <= pdf.COLUMN["width"]
    page.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<p><span class="math">z, as TeX</span></p>', "front: a formula is not set: z, as TeX"),
        ('<p><img src="no/such.png"></p>', r"front: a picture does not load: file:.*no/such\.png"),
    ],
)
def test_what_cannot_be_printed_leaves_the_old_file(chromium, tmp_path, text, message):
    target = tmp_path / pdf.NAME
    target.write_text("old")
    site, toc = own_site(tmp_path, text)
    with pytest.raises(SystemExit, match=message):
        pdf.print_pdf(chromium, *one_document.make(site, toc, CONFIG, "0"), target)
    assert target.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"front.html", pdf.NAME}


def test_a_missing_page_is_named(tmp_path):
    site, toc = own_site(tmp_path, "")
    toc["parts"] = [{"caption": "Part", "chapters": [{"file": "notebooks/77_none"}]}]
    with pytest.raises(SystemExit, match=r"77_none\.html is missing.*make book"):
        one_document.make(site, toc, CONFIG, "0")


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    site, toc = own_site(tmp_path, '<p><a href="#nowhere">a link</a></p>')
    with pytest.raises(SystemExit, match=r"lead nowhere: .*front--nowhere"):
        one_document.make(site, toc, CONFIG, "0")


def test_without_a_browser_nothing_begins(monkeypatch, tmp_path):
    monkeypatch.setattr(pdf, "find_chromium", lambda: None)
    with pytest.raises(SystemExit, match=r"no Chromium.*apt install chromium"):
        pdf.main(tmp_path)


def test_the_zip_file_leaves_the_pdf_out(tmp_path):
    """Or a book that is built again would carry the last one's PDF, twice as large."""
    for name in ("index.html", pdf.NAME):
        (tmp_path / name).write_text("text")
    packed = offline.zipfile.ZipFile(offline.pack(tmp_path))
    assert packed.namelist() == ["vae-tutorial/index.html"]
    packed.close()
