"""Figures and equations are numbered by chapter, and a chapter's number is the one in its file's name.

Sphinx can number by chapter, but counts the chapters in _toc.yml; while some are not written yet, chapter 8 would be 2.
"""

import re


def number_by_file(app, env):
    """After Sphinx has numbered a page's figures, equations, exercises... 1, 2, 3: make that 8.1, 8.2, 8.3."""
    for page, kinds in env.toc_fignumbers.items():
        chapter = re.search(r"/0*(\d+)_", page)
        for numbers in kinds.values():
            if chapter:
                in_order = sorted(numbers, key=numbers.get)
                numbers.update({name: (int(chapter[1]), i) for i, name in enumerate(in_order, 1)})
    return []


def setup(app):
    app.connect("env-get-updated", number_by_file, priority=900)  # Sphinx numbers at 500
    return {"parallel_read_safe": True}
