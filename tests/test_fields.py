"""The answer fields, as readers use them: in the pages, in both themes, by keyboard and finger, and in notebooks.

What is right and wrong comes from the catalogue; here it goes through the browser's script.
"""

import gzip
import json
import math
import re
from pathlib import Path

import pytest
from browser import serve, watched_page

from vae_tutorial import exercises
from vae_tutorial.exercises import catalogue, page

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
STATIC = ROOT / "vae_tutorial" / "answers" / "static" / "answers"
NUMBERS = json.loads((ROOT / "vae_tutorial" / "answers" / "numbers.json").read_text("utf-8"))
FILES = [path for path in sorted((ROOT / "vae_tutorial" / "answers").glob("*.json")) if path.stem != "numbers"]
ASKED = [entry["exercise"] for path in FILES for entry in json.loads(path.read_text("utf-8"))]
FIELDS = {label: catalogue.fields(label) for label in dict.fromkeys([*NUMBERS.values(), *ASKED])}
MOST_BYTES = 15_000  # gzipped, that a chapter's page may gain

NONSENSE = {
    "": "Type a number.",
    "   ": "Type a number.",
    "abc": "That is no number. Write it as 0.5 or 3/4.",
    "1e999": "That is no finite number.",
    "1/0": "That is no finite number.",
    "0/0": "That is no finite number.",
    "1/2/3": "That is no number. Write it as 0.5 or 3/4.",
    "--1": "That is no number. Write it as 0.5 or 3/4.",
    "1,2,3": "That is no number. Write it as 0.5 or 3/4.",
    "<img src=x onerror=alert(1)>": "That is no number. Write it as 0.5 or 3/4.",
    "-0": "Not this number.",
    "9" * 10_000: "Not this number.",
}


def notebook_labels():
    """The labels of all exercises by their number, from the notebooks."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        chapter = re.match(r"0*(\d+)|appendix_([a-z])", path.name)
        cells = json.loads(path.read_text("utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        labels = re.findall(r"^```+\{exercise\}.*\n:label: ([\w-]+)$", text, re.MULTILINE)
        found |= {f"{chapter[1] or chapter[2].upper()}.{i}": label for i, label in enumerate(labels, 1)}
    return found


def test_the_numbers_are_those_of_the_notebooks():
    right = notebook_labels()
    assert right == NUMBERS, f"vae_tutorial/answers/numbers.json must be\n{json.dumps(right, indent=1)}"


def test_an_exercise_is_found_by_number_or_label_and_else_named():
    assert catalogue.label("8.1") == catalogue.label(" ex-count ") == "ex-count"
    assert catalogue.label("a.1") == catalogue.label("A.1")
    assert catalogue.number("ex-count") == "8.1"
    for wrong, near in (("8.99", "8.1"), ("ex-cuont", "ex-count"), ("", "8.1"), (8, "8.1"), (None, "8.1")):
        with pytest.raises(ValueError, match=f"there is no exercise {re.escape(repr(wrong))}; try one of .*{near}"):
            exercises.ask(wrong)
    without = next(label for label in NUMBERS.values() if not FIELDS[label])
    with pytest.raises(ValueError, match="has no answer to type"):
        exercises.ask(without)
    catalogue.fields("8.1")[0]["wrong"].clear()
    assert catalogue.fields("8.1")[0]["wrong"], "the catalogue was changed from outside"


# A blank page with fields. The script is the one of the book.


@pytest.fixture(scope="module")
def opened(chromium):
    """A page, what it shows next, and what went wrong in it."""
    content, wrong = [], []
    page = chromium.new_page()
    page.route("https://fields.test/*", lambda route: route.fulfill(body=content[-1], content_type="text/html"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield page, content, wrong
    page.close()


@pytest.fixture
def tab(opened):
    """A function that shows fields and returns the page; a second call keeps what was stored."""
    page, content, wrong = opened

    def show(*markups, before=""):
        script = (STATIC / "answers.js").read_text("utf-8")
        content.append(f"<!doctype html><meta charset=utf-8>{before}{''.join(markups)}<script>{script}</script>")
        page.goto("https://fields.test/page.html")
        return page

    yield show
    page.evaluate("localStorage.clear()")
    assert not wrong, wrong


def typed(field, text):
    """Type a number, press Enter, and return whether it was right, and the reply."""
    field.locator("input").fill(text)
    field.locator("input").press("Enter")
    reply = field.locator("output").inner_text()
    assert field.get_attribute("data-state") == ("right" if reply[0] == "✓" else "wrong")
    return reply[0] == "✓", reply[2:].removesuffix(" The solution is folded below.")


# Types into, or presses, everything at once, as asking for each reply from outside takes a minute. A type of the third
# miss adds a sentence, which is taken off.
ALL = r"""inputs => [...document.querySelectorAll(".answer")].map((box, i) => inputs[i].map((given) => {
  if (box.matches("form")) {
    box.querySelector("input").value = given;
    box.requestSubmit();
  } else box.querySelectorAll("button")[given].click();
  const reply = box.querySelector("output").textContent;
  const said = reply.slice(2).replace(/ (The solution is folded below|The text below shows it)\.$/, "");
  const pressed = [...box.querySelectorAll("[aria-pressed=true]")].map((button) => button.textContent);
  return [box.dataset.state, reply[0], said, pressed.join()];
}))"""


def test_right_and_wrong_answers_of_all_chapters_are_told(tab):
    inputs, wanted = [], []
    for entry in [entry for fields in FIELDS.values() for entry in fields]:
        if "choices" in entry:
            inputs.append(list(range(len(entry["choices"]))))
            wanted.append([(right, reply, says) for says, right, reply in entry["choices"]])
        else:
            answers = [entry["answer"], f"{entry['answer']:,}".replace("-", "−")]
            inputs.append([repr(value) for value, _ in entry["wrong"]] + [str(answer) for answer in answers])
            wanted.append([(False, reply, "") for _, reply in entry["wrong"]] + [(True, "Right.", "")] * 2)
    told = tab(*[page.markup(label) for label in FIELDS]).evaluate(ALL, inputs)
    said = [[("right", "✓", *rest) if right else ("wrong", "✗", *rest) for right, *rest in entry] for entry in wanted]
    assert [list(map(tuple, entry)) for entry in told] == said
    assert sum(map(len, told)) > 500


def field_of(answer, unit="nats", wrong=()):
    data = [{"ask": "How many?", "unit": unit, "answer": answer, "wrong": list(wrong)}]
    return f'<div class="answers" data-answers="ex"><script type="application/json">{json.dumps(data)}</script></div>'


@pytest.mark.parametrize(
    ("answer", "unit", "text", "right", "reply"),
    [
        (81.5, "nats", "81.5", True, "Right."),
        (81.5, "nats", "81.5 nats", True, "Right."),
        (81.5, "nats", "82", True, "Right."),  # within one in a hundred
        (0.174, "nats", "0.17", True, "Right, to the digits that you gave."),
        (0.174, "nats", "0.2", False, "Not this number."),  # one digit is not enough
        (0.5, "", "½", True, "Right."),
        (0.75, "", "3/4", True, "Right."),
        (0.75, "", "75 %", True, "Right."),
        (0.75, "", "75", False, "That is in percent. Give it as a share, or add the % sign."),
        (81.5, "nats", "8,15", False, "Not this number."),
        (0.75, "", ".75", True, "Right."),
        (0.75, "", "0,75", True, "Right."),
        (0.223, "nats", "0,223", True, "Right."),
        (-102.241, "nats", "-102,241", True, "Right."),
        (2250, "nats", "2,250", True, "Right."),
        (2.25, "bits", "2,250", True, "Right."),
        (2.25, "bits", "2 1/4", True, "Right."),
        (2.25, "bits", "2¼", True, "Right."),
        (2.25, "bits", "2.25 bits/word", True, "Right."),
        (21, "throws", "21 throws", True, "Right."),
        (21.64, "kB", "21.64 kB", True, "Right."),
        (652824, "", "652824 weights", True, "Right."),
        (81.5, "nats", "≈ 81.5", True, "Right."),
        (0.125, "", "12,5 %", True, "Right."),
        (0.25, "bits", "25%", False, "Give it in bits, not in percent."),
        (3344, "nats", "3300", True, "Right, to the digits that you gave."),
        (3344, "nats", "3000", False, "Not this number."),
        (0.223, "nats", "0.097", False, "That is a logarithm to base 10. Nats take the natural one."),
        (-5344, "nats", "−5344", True, "Right."),
        (-5344, "nats", "5344", False, "The size is right. Look at the sign."),
        (1149989, "", "1,149,989", True, "Right."),
        (1149989, "", "1 149 989", True, "Right."),
        (1149989, "", "1149988", False, "Close, but this is a count: something was left out or added."),
        (81.5, "nats", "117.6", False, "Those are bits. A bit is 0.693 nats."),
        (81.5, "nats", "117.6 bits", False, "Give it in nats. A bit is 0.693 nats."),
        (81.5, "nats", "0.104", False, "That is for one pixel. An image has 784."),
        (81.5, "nats", "163", False, "Twice what is asked. Is there a ½ missing?"),
        (81.5, "nats", "40.75", False, "Half of what is asked. Is there a ½ too many, or one of two parts missing?"),
        (81.5, "nats", "83.5", False, "Close, but more than one in a hundred off."),
        (3.5, "bits", "2.426", False, "Those are nats. A nat is 1.44 bits."),
        (81.5, "nats", "8e1", False, "Close, but more than one in a hundred off."),
        (81.5, "nats", "8.15e1", True, "Right."),
    ],
)
def test_a_number_is_read_as_people_write_it(tab, answer, unit, text, right, reply):
    assert typed(tab(field_of(answer, unit)).locator(".answer"), text) == (right, reply)


def test_nonsense_is_told_and_breaks_nothing(tab):
    field = tab(field_of(81.5)).locator(".answer")
    for text, reply in NONSENSE.items():
        assert typed(field, text) == (False, reply), text[:20]
    assert typed(field, "81.5") == (True, "Right.")


def test_a_third_miss_points_to_the_solution_and_a_right_answer_forgets_the_misses(tab):
    field = tab(field_of(81.5)).locator(".answer")
    for ends in ("Not this number.", "Not this number.", "The solution is folded below."):
        typed(field, "what?")  # counts as no answer
        typed(field, "7")
        assert field.locator("output").inner_text().endswith(ends)
    typed(field, "81.5")
    typed(field, "7")
    assert field.locator("output").inner_text() == "✗ Not this number."


def test_an_answer_is_remembered_in_the_browser_and_can_be_forgotten(tab):
    markup = page.markup("ex-count")
    article = "<article><section id=exercises><h2>Exercises</h2>"
    opened = tab(markup, before=article)
    typed(opened.locator(".answer").nth(0), "652,824")
    opened.locator(".answer").nth(2).locator("button").first.click()
    assert opened.locator(".answers-done").inner_text().startswith("1 of 3 answers on this page are right.")
    again = tab(markup, before=article)
    assert again.locator(".answer").nth(0).get_attribute("data-state") == "right"
    assert again.locator(".answer").nth(0).locator("input").input_value() == "652,824"
    assert again.locator(".answer").nth(1).get_attribute("data-state") is None
    assert again.locator(".answer").nth(2).locator("[aria-pressed=true]").count() == 1
    again.get_by_text("Forget my answers").click()
    again.wait_for_load_state()
    assert again.locator(".answers-done").inner_text().startswith("0 of 3")
    assert again.evaluate("localStorage.getItem('vae-tutorial-answers')") == "{}"
    for broken in ("[1]", "nonsense", '{"ex-count/0": 7, "ex-count/2": {"given": 9}}'):
        again.evaluate("text => localStorage.setItem('vae-tutorial-answers', text)", broken)
        assert tab(markup, before=article).locator(".answer").count() == 3


def test_markup_holds_what_a_browser_would_take_for_a_tag():
    assert "</script" not in page.markup("ex-count").replace("</script></div>", "")
    assert math.isclose(catalogue.fields("ex-zero-first")[0]["answer"], 1024 * math.log(2))


def test_a_notebook_gets_the_same_fields(tab):
    shown = exercises.ask("8.1")
    assert "8.1" in repr(shown)
    opened = tab(shown._repr_html_())
    assert opened.locator(".answer").count() == len(
        FIELDS["ex-count"]
    )  # the script ran twice: the cell's, and the page's
    assert typed(opened.locator(".answer").nth(0), "652824") == (True, "Right.")


# The pages


@pytest.fixture(scope="module")
def site(built):
    with serve(built, "/") as url:
        yield url


@pytest.mark.usefixtures("built")
def test_each_exercise_of_a_page_has_its_fields():
    for path in sorted((HTML / "notebooks").glob("*.html")):
        text = path.read_text("utf-8")
        chapter = re.match(r"0*(\d+)|appendix_([a-z])", path.name)
        own = [label for key, label in NUMBERS.items() if key.split(".")[0] == (chapter[1] or chapter[2].upper())]
        there = re.findall(r'<div class="answers" data-answers="([\w-]+)">', text)
        assert [name for name in there if not name.startswith("predict-")] == [name for name in own if FIELDS[name]]


def test_the_fields_of_a_chapter_weigh_little():
    script = sum(len(gzip.compress(path.read_bytes())) for path in STATIC.iterdir())
    for key in [path.stem for path in FILES]:
        labels = {
            entry["exercise"] for path in FILES if path.stem == key for entry in json.loads(path.read_text("utf-8"))
        }
        data = gzip.compress("".join(map(page.markup, labels)).encode())
        assert script + len(data) < MOST_BYTES, key


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_a_reader_answers_in_the_page(chromium, site, width, theme):
    with watched_page(chromium, site) as (opened, wrong, _):
        opened.set_viewport_size({"width": width, "height": 900})
        opened.emulate_media(color_scheme=theme)
        opened.goto(f"{site}notebooks/08_mlp_vae.html")
        field = opened.locator("#ex-count .answer").first
        field.locator("input").focus()
        opened.keyboard.type("652824")
        opened.keyboard.press("Tab")
        assert opened.evaluate("document.activeElement.textContent") == "Check"
        opened.keyboard.press("Enter")
        assert field.locator("output").inner_text() == "✓ Right."
        choice = opened.locator("#ex-start .answer").first.locator("button").nth(1)
        choice.focus()
        opened.keyboard.press("Space")
        assert choice.get_attribute("aria-pressed") == "true"
        for box in opened.locator(".answers").all():
            assert box.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
        assert opened.locator(".answers-done").inner_text().startswith("1 of ")
        question = opened.locator(".predict details").first
        question.locator("summary").click()
        opened.wait_for_function("document.querySelector('.predict details').dataset.state === 'wrong'")
        opened.reload()
        assert opened.locator(".predict details").first.get_attribute("data-state") == "wrong"
        assert opened.locator("#ex-count .answer").first.get_attribute("data-state") == "right"
        assert not wrong


def test_without_scripts_nothing_of_the_fields_is_seen(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(f"{site}notebooks/08_mlp_vae.html")
    assert opened.locator(".answers").first.is_hidden()
    assert opened.locator("#ex-count").is_visible()
    context.close()
