"""Answer fields in each exercise and each named "Predict" of the catalogue, and ``{answer-field}`` elsewhere.

The catalogue is ``vae_tutorial/answers``. The script ``answers.js`` makes the fields; without it nothing is seen.
"""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from vae_tutorial.exercises import catalogue, page


def add_fields(app, document):
    for node in document.findall(lambda node: isinstance(node, exercise_node | exercise_enumerable_node)):
        label = node["label"]
        found = page.markup(label)
        for entry in catalogue.entries(label, "code"):
            call = f'check("{catalogue.number(label)}", {entry["name"]})'
            found += f'<p class="answer-check">In the notebook your code is checked: <code>{call}</code></p>'
        if found:
            node += nodes.raw("", found, format="html")
    for node in document.findall(nodes.admonition):
        for name in node["names"] if "predict" in node["classes"] else ():
            if found := page.markup(name):  # an error names a box that is not in the catalogue
                node += nodes.raw("", found, format="html")


def add_script(app, name, template, context, document):
    """One page has a field that needs the rules of first losses."""
    if name == "book/loss":
        app.add_js_file("first_loss.js", defer="defer")


class AnswerField(SphinxDirective):
    """The fields of a label of the catalogue that belongs to no exercise: a question of a self-test."""

    required_arguments = 1

    def run(self):
        try:
            found = page.markup(self.arguments[0])
        except ValueError as error:
            raise self.error(str(error)) from None
        if not found:
            raise self.error(f"the catalogue has no number and no choice for {self.arguments[0]!r}")
        return [nodes.raw("", found, format="html")]


def setup(app):
    app.add_directive("answer-field", AnswerField)
    app.connect("doctree-read", add_fields)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True}
