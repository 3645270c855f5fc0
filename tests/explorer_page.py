"""An explorer alone in a page without a kernel, in Chromium: what the tests of explorers drive."""

import json
import os
import shutil
from contextlib import contextmanager

import pytest
from browser import FLAGS, find_chromium, serve, watched_page
from playwright.sync_api import sync_playwright

from vae_tutorial.explorers import _base

PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>One explorer</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<link rel="stylesheet" href="explorers/explorers.css">
<style>.output {{ overflow: auto }}</style></head>
<body style="margin: 12px; font-family: sans-serif; {style}"><main><h1>One explorer</h1><h2>It</h2>
<div class="cell_output"><div class="output text_html">{explorer}</div></div></main>
<script async src="explorers/page.js"></script></body></html>"""
STYLES = {"light": "background: #fff; color: #222", "dark": "background: #121212; color: #eee"}


@contextmanager
def chromium():
    """A browser; the test is skipped where there is none, and fails on CI."""
    found = find_chromium()
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "no Chromium (on Debian and Ubuntu: apt install chromium)"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


class Page:
    """``open(explorer)`` shows one; ``numbers()`` reads its table; ``call(...)`` calls a function of its module."""

    def __init__(self, page, wrong, folder, url):
        self.page, self.wrong, self.folder, self.url, self.opened, self.touch = page, wrong, folder, url, 0, None

    def open(self, explorer, width=760, theme="light", address=""):
        assert not self.wrong, self.wrong
        markup = explorer._repr_mimebundle_()[0]["text/html"]
        self.opened += 1  # a name of its own: the server remembers what it has sent
        name = f"{self.opened}.html"
        content = PAGE.format(theme=theme, style=STYLES[theme], explorer=markup)
        (self.folder / name).write_text(content, encoding="utf-8")
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.goto(self.url + name + address)
        self.page.wait_for_selector("[data-ready] .vx-numbers")
        return self.page

    def numbers(self):
        """What the table shows, by label, unrounded: floats where they are numbers."""
        rows = self.page.evaluate(
            """() => [...document.querySelectorAll('.vx-numbers tbody tr')]
            .map(row => [row.cells[0].textContent, row.cells[1].dataset.exact])"""
        )
        return {label: _number(value) for label, value in rows}

    def get(self, key):
        """A value of the explorer's model, as a kernel would see it."""
        return self.page.evaluate("key => document.querySelector('[data-explorer]').explorer.get(key)", key)

    def set(self, **values):
        """Set values of the model, as a kernel would."""
        self.page.evaluate(
            """values => {
              const { explorer } = document.querySelector('[data-explorer]');
              for (const [key, value] of Object.entries(values)) explorer.set(key, value);
            }""",
            values,
        )

    def call(self, module, function, *arguments):
        """Call an exported function of a module with arguments that JSON knows; return what it returns."""
        return self.page.evaluate(
            f"async a => (await import('./explorers/{module}.js')).{function}(...a)", json.loads(json.dumps(arguments))
        )

    def calls(self, module, function, common, states):
        """Call a function of a module with each of the states, to which ``common`` is added, in one go."""
        return self.page.evaluate(
            f"""async ([common, states]) => {{
              const module = await import('./explorers/{module}.js');
              return states.map(state => module.{function}({{ ...common, ...state }}));
            }}""",
            json.loads(json.dumps([common, states])),
        )

    def rest(self, **values):
        """Set values, as a kernel would, and wait until the explorer has judged them."""
        self.set(**values)
        # In the page's own time, behind the explorer's timer: a busy machine lets both wait.
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 350)))")

    def finger(self, x, y, across=0, along=0, steps=6, end="touchEnd"):
        """Put a finger down, move it in steps of so many pixels, and lift it, or let the browser take it away."""
        self.touch = self.touch or self.page.context.new_cdp_session(self.page)

        def send(kind, points):
            self.touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        send("touchStart", [{"x": x, "y": y}])
        for step in range(1, steps + 1):
            send("touchMove", [{"x": x + across * step, "y": y + along * step}])
        send(end, [])


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


@contextmanager
def explorer_page(browser, folder):
    """A :class:`Page` served from ``folder``; at its end, whatever went wrong in it fails the test."""
    shutil.copytree(_base.STATIC, folder / "explorers", dirs_exist_ok=True)
    (folder / "index.html").write_text("<!doctype html><title>empty</title>", encoding="utf-8")
    with serve(folder, "/") as url, watched_page(browser, url) as (page, wrong, _):
        page.goto(url)
        yield Page(page, wrong, folder, url)
        assert not wrong, wrong
