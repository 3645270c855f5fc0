"""Figures and equations are numbered by chapter, and a chapter's number is the one in its file's name.

Sphinx can number by chapter, but counts the chapters in _toc.yml; while some are not written yet, chapter 8 would be 2.
In code, where a check names the equations that it checks by their labels, the page shows their numbers.
"""

import re

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode


def number_by_file(app, env):
    """After Sphinx has numbered a page's figures, equations, exercises... 1, 2, 3: make that 8.1, 8.2, 8.3."""
    for page, kinds in env.toc_fignumbers.items():
        chapter = re.search(r"/(?:0*(\d+)|appendix_([a-z]))_", page)
        for numbers in kinds.values():
            if chapter:
                own = chapter[1] or chapter[2].upper()
                in_order = sorted(numbers, key=numbers.get)
                numbers.update({name: (own, i) for i, name in enumerate(in_order, 1)})
    return []


def number_in_code(app, doctree, page):
    """Put (8.1) in place of (eq-name) in the code of a page, and in the title of a folded check."""
    equations = app.env.get_domain("math").equations

    def number(found):
        if found[1] not in equations:
            return found[0]
        home = equations[found[1]][0]
        return "({}.{})".format(*app.env.toc_fignumbers[home]["displaymath"][f"equation-{found[1]}"])

    for block in doctree.findall(nodes.literal_block):
        text = re.sub(r"\((eq-[\w-]+)\)", number, block.astext())
        if text != block.astext():
            block[:] = [nodes.Text(text)]
            block.rawsource = text  # otherwise it would no longer be coloured
    for cell in doctree.findall(HideCodeCellNode):
        for key in ("prompt_show", "prompt_hide"):
            cell[key] = re.sub(r"\(?\b(eq-[\w-]*\w)\)?", number, cell[key])


def setup(app):
    app.connect("env-get-updated", number_by_file, priority=900)  # Sphinx numbers at 500
    app.connect("doctree-resolved", number_in_code)
    return {"parallel_read_safe": True}
