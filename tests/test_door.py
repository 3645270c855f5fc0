"""The front door draws what the decoder says, follows pointer, finger and keys, and without scripts is a picture."""

import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from vae_tutorial import data, evaluation, pretrained
from vae_tutorial.explorers import _packed

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "book" / "_ext")]
import door  # noqa: E402
import offline  # noqa: E402

PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Front door</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><style>html {{
--pst-color-text-base: #222; --pst-color-text-muted: #48566b; --pst-color-background: #fff;
--pst-color-border: #ccc; --pst-color-primary: #1d5c9e; }} html[data-theme=dark] {{ --pst-color-text-base: #ced6dd;
--pst-color-text-muted: #9ca4af; --pst-color-background: #14181e; background: #14181e; color: #ced6dd }}</style>
<link rel="stylesheet" href="landing.css"></head><body><main class="bd-content"><article class="bd-article">
<h1>Front door</h1>{door}<p style="height: 3000px">Below it</p></article></main>
<script async src="explorers/page.js"></script></body></html>"""
INK = """() => {
  const digit = document.querySelector("canvas.door-digit");
  return [...digit.getContext("2d").getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 3);
}"""
Z = """() => ["z1", "z2"].map((key) => document.querySelector("#door").explorer.get(key))"""


@pytest.fixture
def front(explorer):
    """The front door alone in a page that the reader wants still; its folder and address are the explorers'."""
    shutil.copy(door.STATIC / "landing.css", explorer.folder)
    shutil.copy(door.MAP, explorer.folder)
    markup = door.PAGE.read_text("utf-8").replace("../_static/", "")
    (explorer.folder / "door.html").write_text(PAGE.format(door=markup), "utf-8")
    explorer.page.emulate_media(reduced_motion="reduce")
    explorer.page.set_viewport_size({"width": 900, "height": 700})
    explorer.page.goto(explorer.url + "door.html")
    explorer.page.wait_for_selector("[data-ready] .door-point")
    return explorer


def drawn_right(page):
    """Whether each pixel of the canvas is what PyTorch's decoder, with the weights that are sent, says for this z."""
    z = page.evaluate(Z)
    with torch.no_grad():
        wanted = 255 * _packed.vae().decode(torch.tensor([z], dtype=torch.float64)).sigmoid().flatten()
    return (torch.tensor(page.evaluate(INK)) - wanted).abs().max() <= 0.5001


def test_a_pointer_moves_it(front):
    page = front.page
    assert page.evaluate(Z) == list(door.START)
    assert drawn_right(page)
    box = page.locator(".door-plane").bounding_box()
    for share in ((0.5, 0.5), (0.1, 0.8), (0.97, 0.04)):
        page.mouse.move(box["x"] + share[0] * box["width"], box["y"] + share[1] * box["height"])
        wanted = [door.EDGE * (2 * share[0] - 1), door.EDGE * (1 - 2 * share[1])]
        assert page.evaluate(Z) == pytest.approx(wanted, abs=0.02)
        assert drawn_right(page)
        point = page.locator(".door-point").bounding_box()
        assert point["x"] + point["width"] / 2 - box["x"] == pytest.approx(share[0] * box["width"], abs=2)
        assert point["y"] + point["height"] / 2 - box["y"] == pytest.approx(share[1] * box["height"], abs=2)
    page.mouse.move(box["x"] - 50, box["y"])
    assert page.evaluate(Z) == pytest.approx(wanted, abs=0.02), "outside nothing moves"


def test_keys_move_it(front):
    page = front.page
    page.keyboard.press("Tab")
    point = page.get_by_role("application")
    assert point.evaluate("e => e === document.activeElement")
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate(Z) == pytest.approx([door.START[0] - 0.1, door.START[1] + 0.6])
    assert drawn_right(page)
    assert point.get_attribute("aria-label").startswith("z = (1.60, 0.60).")
    assert page.locator(".door-place").inner_text().startswith("z = (1.60, 0.60)")
    for _ in range(12):
        page.keyboard.press("Shift+ArrowDown")
    assert page.evaluate(Z)[1] == -door.EDGE, "and no further"


def test_a_finger_that_scrolls_moves_nothing(front):
    page = front.page
    for place in (".door-paper", ".door-point"):  # a place of the plane near the paper, and the point itself
        box = page.locator(place).bounding_box()
        x = box["x"] - 60 if place == ".door-paper" else box["x"] + 22
        front.finger(x, box["y"] + 22, along=-15, end="touchCancel")
        assert page.evaluate(Z) == list(door.START)
    page.evaluate("() => scrollTo(0, 0)")
    box = page.locator(".door-plane").bounding_box()
    front.finger(box["x"] + 60, box["y"] + 250, across=10)
    wanted = [door.EDGE * (2 * 120 / box["width"] - 1), door.EDGE * (1 - 2 * 250 / box["width"])]
    assert page.evaluate(Z) == pytest.approx(wanted, abs=0.02)
    assert drawn_right(page)


def test_it_walks_until_the_reader_moves(front):
    page = front.page
    button = page.get_by_role("button")
    page.wait_for_timeout(200)
    assert page.evaluate(Z) == list(door.START), "no motion where none is wanted"
    assert button.inner_text() == "walk on"
    page.emulate_media(reduced_motion="no-preference")
    page.reload()
    page.wait_for_selector("[data-ready] .door-point")
    page.wait_for_function(f"() => ({Z})()[1] > 0.3")
    assert button.inner_text() == "stop"
    page.locator(".door-point").focus()
    there = page.evaluate(Z)
    page.wait_for_timeout(200)
    assert page.evaluate(Z) == there
    assert button.inner_text() == "walk on"
    button.click()
    page.wait_for_function(f"z => ({Z})()[1] !== z", arg=there[1])
    page.evaluate("() => scrollTo(0, 2000)")
    page.wait_for_timeout(150)
    there = page.evaluate(Z)
    page.wait_for_timeout(150)
    assert page.evaluate(Z) == there, "out of sight it rests"
    page.evaluate("() => scrollTo(0, 0)")
    page.wait_for_function(f"z => ({Z})()[1] !== z", arg=there[1])


def test_nothing_moves_on_the_page_when_it_comes_to_life(front):
    """Its parts are where the picture's were: no layout shift."""
    page = front.page
    page.emulate_media(reduced_motion="no-preference")
    page.add_init_script(
        """window.shift = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((one) => (window.shift += one.value)))
          .observe({ type: "layout-shift", buffered: true });"""
    )
    for width in (360, 700, 900):
        page.set_viewport_size({"width": width, "height": 700})
        page.reload()
        page.wait_for_function(f"() => document.querySelector('[data-ready]') && ({Z})()[1] > 0.1")
        assert page.evaluate("() => window.shift") < 0.005, width
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_without_scripts_it_is_a_picture(front, chromium):
    context = chromium.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(front.url + "door.html")
        assert page.locator(".door-map").bounding_box()["width"] > 300
        assert "map" in page.locator(".door-map").get_attribute("alt")
        assert page.locator("img.door-digit").is_visible()
        assert not page.locator(".door-said b").is_visible(), "nothing asks to be moved"
    finally:
        context.close()


def test_it_moves_in_a_folder(front, chromium):
    offline.write_modules(front.folder / "explorers")
    context = chromium.new_context(reduced_motion="reduce")
    try:
        page = context.new_page()
        page.goto((front.folder / "door.html").as_uri())
        page.wait_for_selector("[data-ready] .door-point")
        page.locator(".door-point").press("ArrowLeft")
        assert drawn_right(page)
    finally:
        context.close()


def test_accessibility(front):
    axe = Path(os.environ.get("AXE_CORE") or ROOT / "node_modules" / "axe-core" / "axe.min.js")
    if not axe.is_file():
        pytest.skip("axe-core not found: npm install axe-core, or set AXE_CORE to the path of axe.min.js")
    front.page.add_script_tag(path=axe)
    for theme in ("light", "dark"):
        front.page.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
        violations = front.page.evaluate("axe.run()")["violations"]
        assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in violations] == [], theme


def test_the_files_are_what_the_tool_makes():
    """`make figures` writes them. The classes by scikit-learn."""
    found = data.load("mnist", "test")
    if found.name != "mnist":
        pytest.skip("needs MNIST")
    codes, _ = evaluation.encode(pretrained.load("mlp-2d"), found.images)
    by_neighbours = KNeighborsClassifier(door.NEIGHBOURS).fit(codes, found.labels).predict(door.places())
    tiles = door.classes()
    assert np.mean(tiles.numpy() == by_neighbours) > 0.97  # ties
    assert re.sub(r"base64,[^\"]*", "", door.page()) == re.sub(r"base64,[^\"]*", "", door.PAGE.read_text("utf-8"))
    with Image.open(door.MAP) as stored:
        difference = np.abs(np.asarray(stored)[..., 3].astype(int) - np.asarray(door.draw_map(tiles))[..., 3])
    assert difference.mean() < 4
    assert door.MAP.stat().st_size <= 40_000
