"""Print the built book as one file, _build/html/vae-tutorial.pdf: ``make pdf``, after ``make book``; needs Chromium.

one_document.py beside this file puts all pages together; pdf.js waits for the pictures and makes small what is too
wide. Chromium prints twice: the first time only to learn the page numbers that the contents give. A page, a picture or
a formula that is missing ends the program, and leaves the file as it was.
"""

import sys
import tempfile
from pathlib import Path

import pikepdf
import yaml
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]
import one_document  # noqa: E402
from browser import FLAGS, find_chromium  # noqa: E402

SITE, NAME = ROOT / "_build" / "html", "vae-tutorial.pdf"
PATIENCE = 600_000  # milliseconds, to lay out all of the book on a slow machine
COLUMN = {"width": 664, "height": 970}  # pixels: A4 less the margins of pdf.css
NUMBER = "pages => document.querySelectorAll('b[data-of]').forEach(b => { b.textContent = pages[b.dataset.of]; })"


def print_pdf(browser, text, outline, target):
    """Print what ``one_document.make`` returns into the file ``target``."""
    part = target.with_name(f"{target.name}.part")
    with tempfile.TemporaryDirectory() as folder:
        source, draft = Path(folder, "book.html"), Path(folder, "draft.pdf")
        source.write_text(text, "utf-8")
        page = browser.new_page(color_scheme="light", viewport=COLUMN)
        page.set_default_timeout(PATIENCE)
        page.emulate_media(media="print")
        page.goto(source.as_uri(), wait_until="domcontentloaded")
        wrong = page.evaluate(Path(__file__).with_name("pdf.js").read_text("utf-8"))
        if wrong:
            page.close()
            sys.exit("the book cannot be printed:\n  " + "\n  ".join(wrong[:20]))
        for _ in ("to learn the page numbers", "with them"):
            page.pdf(path=draft, prefer_css_page_size=True, print_background=True, tagged=True)
            with pikepdf.open(draft) as pdf:
                numbers = {leaf.objgen: number for number, leaf in enumerate(pdf.pages, 1)}
                page.evaluate(NUMBER, {goal[1:]: numbers[to[0].objgen] for goal, to in pdf.Root.Dests.items()})
        page.close()
        with pikepdf.open(draft) as pdf:
            set_outline(pdf, outline)
            pdf.save(part, object_stream_mode=pikepdf.ObjectStreamMode.generate)  # 16 MB where there were 24
        part.replace(target)


def set_outline(pdf, outline):
    """Give a printed file its outline; Chromium's own has no parts and repeats each heading that begins a page."""
    pdf.Root.PageMode = pikepdf.Name.UseOutlines
    with pdf.open_outline() as made:
        above = {-1: made.root, 0: made.root}
        for level, title, goal in outline:
            item = pikepdf.OutlineItem(title, pikepdf.Name(f"/{goal}"))
            item.is_closed = level > 0
            above[level - 1].append(item)
            above[level] = item.children


def main(site=SITE):
    chromium = find_chromium()
    if chromium is None:
        sys.exit("no Chromium or Chrome is on the PATH (on Debian and Ubuntu: apt install chromium)")
    files = ("_toc.yml", "_config.yml", "CITATION.cff")
    toc, config, citation = (yaml.safe_load((ROOT / name).read_text("utf-8")) for name in files)
    text, outline = one_document.make(site, toc, config, citation["version"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        print_pdf(browser, text, outline, site / NAME)
        browser.close()
    print(f"The book as one file: {site / NAME}, {(site / NAME).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
