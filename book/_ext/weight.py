"""A page is seen as soon as its text is there: what the theme asks for besides can wait.

The theme and its extensions link a dozen style sheets and as many scripts that block the first paint, and the index of
the search on every page. Here the style sheets of all pages become one, in their order, and each page has within it
the quarter of that which it can use (sheet.py); scripts wait for the text, in their order too; the search's own are
left to the page of the search.
"""

import hashlib
import re
from pathlib import Path

import sheet

STYLES = re.compile(
    r'^ *<link\b(?=[^>]* rel="stylesheet")[^>]* href="([^"]*?)_static/([^"?]*)[^"]*"[^>]*>\n', re.MULTILINE
)
SCRIPT = re.compile(r"<script (?![^>]*\b(?:async|defer|type)\b)(?=[^>]*\bsrc=)")
NEEDED_LATER = re.compile(r"<script>(?=\s*DOCUMENTATION_OPTIONS\.)")  # a module waits, as a deferred script does
SEARCH = re.compile(
    r'^ *<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>\n', re.MULTILINE
)
FORMULAS = "katex/katex.css"
# The theme asks early for what it runs late, and for icons as a script, which is empty (scripts/fontawesome.js).
NEEDLESS = re.compile(
    r'^ *(?:<link rel="preload" as="script"[^>]*>|<script[^>]*/fontawesome\.js[^>]*></script>)\n', re.MULTILINE
)


def bundled(folder, names):
    """The style sheets of these names in one text, with their addresses as seen from ``folder``."""
    texts = []
    for name in names:
        base = Path(name).parent

        def address(found, base=base):
            to = found[1].strip("\"'")
            return found[0] if re.match(r"data:|#|https?:", to) else f'url("{_relative(base, to)}")'

        text = Path(folder, name).read_text("utf-8").replace('@charset "UTF-8";', "")
        text = re.sub(r"url\(((?:\"[^\"]*\"|'[^']*'|[^)\"'])*)\)", address, text)
        for statement, to in re.findall(r'(@import "([^"]*)";)', text):  # which holds at the top of a file alone
            text = text.replace(statement, bundled(folder, [_relative(base, to)]))
        texts.append(text)
    return "\n".join(texts)


def _relative(base, to):
    """``to``, which is relative to the folder ``base``, without steps up and down again."""
    parts = []
    for part in (base / to).as_posix().split("/"):
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def without_needless(text, used):
    """A style sheet without comments, and without the names of icons that no page has: a fifth of it."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)

    def kept(found):
        return found[0] if used & set(re.findall(r"fa-[\w-]+", found[0])) else ""

    return re.sub(r'(?:\.fa-[\w-]+:before,?)+\{content:"[^"]*"\}', kept, text)


def in_order(lists):
    """All names of several lists, in an order that each list has. Raises ValueError if there is none."""
    longest = max(lists, key=len)
    order = list(longest)
    for names in lists:
        at = 0
        for name in names:
            if name not in order:
                order.insert(at, name)
            elif order.index(name) < at:
                raise ValueError(f"pages link their style sheets in different orders: {names}, {longest}")
            at = order.index(name) + 1
    return order


def lighten(text, name, style, rules, scripts):
    """The text of a page that waits for nothing: of the style sheet it has within it what it can use.

    ``style``: the whole sheet's name below _static; ``rules``: what is in it. ``scripts``: their words, by their names.
    """
    prefix = STYLES.findall(text)[0][0]
    text = NEEDLESS.sub("", STYLES.sub("", text))
    if name != "search.html":
        text = SEARCH.sub("", text)
    loaded = re.findall(r'<script[^>]* src="[^"]*?_static/([^"?]*)', text)
    if re.search("data-(?:explorer|scene)=", text):
        loaded += [script for script in scripts if script.startswith("explorers/")]
    by_script = set().union(*(scripts.get(script, ()) for script in loaded), sheet.of_script(inline(text)))
    by_script |= scripts.get(FORMULAS, set()) if 'class="katex' in text else set()
    own = sheet.written(sheet.kept(rules, sheet.of_page(text) | by_script))
    own = sheet.without_unnamed(own, by_script | set(re.findall(r"--[\w-]+", text)))
    own = re.sub(r'url\("(?!data:|#|https?:)', f'url("{prefix}_static/', own)
    # Before the preloaded faces: an old connection sends one thing after the other, and the first paint needs this one.
    tag = f'<style data-of="{prefix}_static/{style}">\n{own}</style>\n'
    text = text.replace('<meta charset="utf-8" />\n', f'<meta charset="utf-8" />\n{tag}', 1)
    return NEEDED_LATER.sub('<script type="module">', SCRIPT.sub("<script defer ", text))


def inline(text):
    return " ".join(re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*json)[^>]*>(.*?)</script>", text, re.DOTALL))


def finish(app, error):
    if error is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    pages = {path: path.read_text("utf-8") for path in site.rglob("*.html") if "_static" not in path.parts}
    pages = {path: text for path, text in pages.items() if STYLES.search(text)}
    lists = {tuple(name for _, name in STYLES.findall(text)) for text in pages.values()}
    static = site / "_static"
    scripts = {path.relative_to(static).as_posix(): path.read_text("utf-8") for path in static.rglob("*.js")}
    scripts = {name: text for name, text in scripts.items() if "/files/" not in name}  # which are packed numbers
    used = {name for text in [*pages.values(), *scripts.values()] for name in re.findall(r"\bfa-[\w-]+", text)}
    text = without_needless(bundled(static, in_order(sorted(lists, key=len))), used)
    style = f"book.{hashlib.sha256(text.encode()).hexdigest()[:12]}.css"  # another name when it changes
    for old in static.glob("book.*.css"):
        old.unlink()
    Path(static, style).write_text(text, "utf-8")  # for tools/pdf.py, which has all pages in one
    rules, words = sheet.parsed(text), {name: sheet.of_script(script) for name, script in scripts.items()}
    if Path(static, FORMULAS).is_file():  # as preview.js may show a formula of another page
        words[FORMULAS] = sheet.of_script(Path(static, FORMULAS).read_text("utf-8"))
    for path, page in pages.items():
        path.write_text(lighten(page, path.relative_to(site).as_posix(), style, rules, words), "utf-8")


def setup(app):
    app.connect("build-finished", finish, priority=850)  # before offline.py packs the site
    return {"parallel_read_safe": True}
