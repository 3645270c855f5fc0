"""The page "What is wrong with my VAE?": each fault is on it, each link has its target, and the search finds it."""

import json
import re
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest
from browser import serve

from vae_tutorial import checkup

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import clock  # noqa: E402

PAGE = (ROOT / "book" / "symptoms.md").read_text("utf-8")
ASKED = [
    "VAE loss stuck above 200",
    "KL goes to zero",
    "all samples look the same",
    "good reconstructions, bad samples",
    "eval() ruins the pictures",
    "loss NaN after hours",
    "negative loss",
    "loss 0.0006",
    "test loss better than training loss",
    "warm-up never ends",
]


def anchors(path):
    """The addresses of the headings of a notebook or a page."""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text("utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    else:
        text = path.read_text("utf-8")
    return {clock.slug(heading) for heading in re.findall(r"^#{1,3} (.+)$", text, re.MULTILINE)}


def test_every_fault_of_the_check_up_is_on_the_page_and_no_other():
    rows = "\n".join(line.rsplit("|", 2)[1] for line in PAGE.splitlines() if line.startswith("| **"))
    assert set(re.findall(r"`(\w+)`", rows)) == set(checkup.faults())


def test_each_link_has_its_target():
    links = re.findall(r"\]\((\S+?)(?:#([^)]*))?\)", PAGE)
    assert len(links) > 30
    for file, anchor in links:
        assert (ROOT / "book" / file).exists(), file
        assert not anchor or anchor in anchors(ROOT / "book" / file), f"{file} has no {anchor}"


def test_each_case_of_the_chapter_is_reached():
    chapter = anchors(ROOT / "notebooks" / "14_repair_clinic.ipynb")
    reached = set(re.findall(r"14_repair_clinic\.ipynb#([^)]*)\)", PAGE))
    others = {"a-sound-vae", "the-first-number-is-strange", "it-trains-and-learns-nothing", "summary", "references"}
    others |= {"14-the-repair-clinic", "the-check-up-all-of-it-in-a-second", "how-good-is-the-check-up"}
    assert chapter - reached == others


def test_each_row_is_short():
    rows = [line for line in PAGE.splitlines() if line.startswith("| **")]
    assert len(rows) > 25
    for row in rows:
        assert len(re.sub(r"\]\([^)]*\)", "]", row).split()) <= 60, row


@pytest.fixture(scope="module")
def site(built):
    with serve(built, "/") as url:
        yield url


def test_the_search_finds_what_people_ask(chromium, site):
    """The first result of each question is the page, by its index, or the chapter with the case."""
    tab = chromium.new_page()
    tab.add_init_script("window.fetch = () => new Promise(() => {})")  # not the pages that it would quote
    for words in ASKED:
        tab.goto(f"{site}search.html?{urlencode({'q': words})}")
        first = tab.locator("#search-results li > a").first.get_attribute("href")
        assert "symptoms.html" in first or "14_repair_clinic.html" in first, (words, first)
    tab.close()
