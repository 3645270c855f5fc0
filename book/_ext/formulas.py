"""Formulas are set when the book is built: KaTeX runs here, and a page has its HTML, its style sheet and its fonts.

So nobody sees TeX, no script runs for a formula and nothing moves when one is set. Beside what is seen stands MathML
for screen readers. A formula that cannot be set is a warning, with its page and line, and "make book" ends with it.
KaTeX itself lies beside this file; mini-racer is V8, the engine that runs it.
"""

import re
from functools import cache
from pathlib import Path

from docutils import nodes
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

KATEX = Path(__file__).with_name("katex.min.js")
NOBREAK = {r"\mid": r"\mathrel{\vert}\nobreak"}  # p(x | z) stays in one line
SHORT = 16  # signs; what has no more stays in one line
CLASSES = "math notranslate nohighlight"
# What belongs to a formula that stands before it or after it: "(p(x)", "p(x).", "z's", "k-th".
BEFORE = re.compile(r"[^\s\w]*[(\[“‘\"'][^\s\w]*$")
AFTER = re.compile(r"[^\s\w–—(\[]{1,3}(?:(?<=['’-])\w+[^\s\w–—]?)?")
log = logging.getLogger(__name__)


@cache
def katex():
    """The engine, with KaTeX in it: a function of a formula and its options, which returns HTML."""
    engine = MiniRacer()
    engine.eval(KATEX.read_text("utf-8"))
    engine.eval("""const set = (tex, display, macros) => katex.renderToString(
        tex, { displayMode: display, macros: { ...macros }, strict: "error", output: "htmlAndMathml" })""")
    return lambda *arguments: engine.call("set", *arguments)


@cache
def set_formula(tex, display, macros):
    """Return the HTML of a formula: what is seen, and MathML. ``macros`` are pairs. Raises ValueError for wrong TeX."""
    try:
        found = katex()(tex, display, {**NOBREAK, **{f"\\{name}": text for name, text in macros}})
    except JSEvalException as error:
        raise ValueError(str(error).rpartition("ParseError: ")[2].partition(" at position")[0]) from None
    # The source, which KaTeX adds as an annotation, would be a third of a page and is no text to find or to copy.
    return re.sub(r"<annotation.*?</annotation>|</?semantics>| xmlns=\"[^\"]*\"", "", found, flags=re.DOTALL)


def is_short(markup):
    return len(re.sub(r"<[^>]*>", "", markup[: markup.find("</math>")])) <= SHORT


def html(translator, node, display):
    """The HTML of a node; of one that cannot be set its TeX, and a warning."""
    macros = tuple(sorted(translator.config.formula_macros.items()))
    tex = node.astext().strip()
    if display and r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{split}}{tex}\end{{split}}"
    try:
        return set_formula(tex, display, macros)
    except ValueError as error:
        log.warning("the formula %r cannot be set: %s", tex, error, location=node, type="formulas")
        return f"<code>{translator.encode(tex)}</code>"


def visit_inline(self, node):
    found = html(self, node, display=False)
    self.body.append(self.starttag(node, "span", "", CLASS=CLASSES + (" short" if is_short(found) else "")))
    self.body.append(f"{found}</span>")
    raise nodes.SkipNode


def visit_display(self, node):
    self.body.append(self.starttag(node, "div", CLASS=CLASSES) + html(self, node, display=True))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def hold_together(app, document, page):
    """A line may end after a formula, but not before the comma that follows it, nor after a bracket before it."""
    for formula in list(document.findall(nodes.math)) if app.builder.format == "html" else ():
        parent, held = formula.parent, [formula]
        at = parent.index(formula)
        for there, pattern in ((at + 1, AFTER), (at - 1, BEFORE)):
            near = parent[there] if 0 <= there < len(parent) else None
            if isinstance(near, nodes.Text) and (mark := (pattern.match if there > at else pattern.search)(near)):
                parent[there] = nodes.Text(near[: mark.start()] + near[mark.end() :])
                held.insert(len(held) if there > at else 0, nodes.Text(mark[0]))
        if len(held) > 1:
            parent[at] = nodes.inline("", "", *held, classes=["held"])


def add_style(app, page, template, context, document):
    """A page without a formula, in its text or its list of contents, needs neither style sheet nor fonts.

    The two fonts that each formula has are asked for early: text moves when they come after the first paint.
    """
    if any('class="katex' in context.get(part, "") for part in ("body", "toc")):
        app.add_css_file("katex/katex.css", priority=700)
        for font in ("Main-Regular", "Math-Italic"):
            address = context["pathto"](f"_static/katex/fonts/KaTeX_{font}.woff2", resource=True)
            link = f'<link rel="preload" href="{address}" as="font" type="font/woff2" crossorigin />\n'
            context["metatags"] = context.get("metatags", "") + link


def setup(app):
    app.add_config_value("formula_macros", {}, "env", [dict])
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_display, None))
    app.connect("doctree-resolved", hold_together, priority=900)  # after what puts text into pages
    app.connect("html-page-context", add_style)
    return {"parallel_read_safe": True}
