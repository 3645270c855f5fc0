"""What tests/test_book.py needs: a server that behaves like GitHub Pages, Chromium, and a page that is watched."""

import gzip
import mimetypes
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import TimeoutError

# Chromium talks to its maker at start-up unless told not to, and a root user in a container has no sandbox. The last
# flag makes any other host unreachable, so that a page that needs one fails here as it would on a plane.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]

PATIENCE = 30_000  # milliseconds; on a busy machine a long page takes seconds to lay out


# A shell without windows needs half the processor's time of a whole browser.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")


def find_chromium():
    """The path of an installed Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Pages(ThreadingHTTPServer):
    """Serves the folder `root` below `prefix`, with gzip, and with 404.html for what is not there."""

    daemon_threads = True
    request_queue_size = 128  # a page asks for dozens of files at once

    def __init__(self, root: Path, prefix: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.root, self.prefix, self.bodies = root.resolve(), prefix, {}
        self.url = f"http://127.0.0.1:{self.server_port}{prefix}"

    def handle_error(self, request, client_address):
        pass  # the browser hangs up when a page is closed; what a page lacks is seen in the browser


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path, site = unquote(urlsplit(self.path).path), self.server
        file = (site.root / path.removeprefix(site.prefix)).resolve()
        file = file / "index.html" if file.is_dir() else file
        found = path.startswith(site.prefix) and file.is_relative_to(site.root) and file.is_file()
        file = file if found else site.root / "404.html"
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        zipped = kind.startswith("text/") or kind.endswith(("javascript", "json", "xml"))
        if file not in site.bodies:  # compressed once, not at each of many page loads
            site.bodies[file] = gzip.compress(file.read_bytes()) if zipped else file.read_bytes()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(site.bodies[file])))
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(site.bodies[file])

    def log_message(self, *_):
        pass


@contextmanager
def serve(root: Path, prefix: str):
    with Pages(root, prefix) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        try:
            yield site.url
        finally:  # or the thread asks a closed socket, without end and without a pause
            site.shutdown()


@contextmanager
def watched_page(browser, site: str):
    """A page in a context of its own (so with a cold cache), the list of what went wrong in it, and its bytes."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page, wrong, sizes = context.new_page(), [], []
    page.set_default_timeout(PATIENCE)

    def on_request(request):
        if not request.url.startswith((site, "data:", "blob:")):
            wrong.append(f"asks another host: {request.url}")

    def on_response(response):
        # The page itself may be the 404 page; the test looks at its status.
        if response.status >= 400 and not response.request.is_navigation_request():
            wrong.append(f"status {response.status}: {response.url}")
        sizes.append(int(response.headers.get("content-length", 0)))

    def on_console(message):
        # The browser reports a failed load a second time on the console; on_response has seen it, with its address.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            wrong.append(f"console {message.type}: {message.text} ({message.location.get('url')})")

    page.on("request", on_request)
    page.on("response", on_response)
    page.on("console", on_console)
    page.on("pageerror", lambda error: wrong.append(f"uncaught error: {error}"))
    try:
        yield page, wrong, sizes
    finally:
        context.close()


def set_system_theme(page, theme):
    """Let the reader's system be light or dark; what is wrong if the page does not follow by itself, as a list."""
    page.emulate_media(color_scheme=theme)
    try:
        page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme, timeout=PATIENCE)
    except TimeoutError:
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        return [f"the page does not follow a {theme} system"]
    return []
