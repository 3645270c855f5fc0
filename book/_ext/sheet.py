"""A style sheet without what a page cannot use: the rules whose classes, names or elements occur nowhere in it.

What a page has is read off its HTML and the scripts that it loads, as words: a class that a script sets stands in it as
text. A rule stays where each word of one of its selectors occurs; what stands in brackets, as in ``:not(.x)``, is not
asked for. So a rule too many may stay, and none too few.
"""

import re
from dataclasses import dataclass, field

SIGN = re.compile(r"""\\.|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|url\([^)"']*\)|/\*.*?\*/|[{};]""", re.DOTALL)
NAME = re.compile(r"(?:^|(?<=[\s>+~])|[.#])((?:[a-zA-Z_-]|\\.)(?:[\w-]|\\.)*)")
WORD = re.compile(r"[a-zA-Z_-][\w-]*")
GROUP = re.compile(r"@(?:media|supports|container|layer)\b")
# Parts of Bootstrap whose names stand in its script, while no page has one: their words in a script do not count.
ABSENT = re.compile(r"(?:carousel|offcanvas|modal|toast|popover|accordion|list-group|alert|spinner)\b")


@dataclass
class Rule:
    """``@media x {...}`` and the like have rules ``inside``, a statement such as ``@import`` has nothing."""

    head: str
    body: str = ""
    inside: list = field(default_factory=list)
    selectors: list = field(default_factory=list)  # each with its words


def parsed(text):
    """The rules of a style sheet. Raises ValueError where a bracket is not closed."""
    text = SIGN.sub(lambda found: "" if found[0].startswith("/*") else found[0], text)
    rules, at = [], 0
    while mark := next((mark for mark in SIGN.finditer(text, at) if mark[0] in "{;"), None):
        head = " ".join(text[at : mark.start()].split())
        at = mark.end()
        if mark[0] == "{":
            end = closing(text, at)
            rules.append(rule(head, text[at:end]))
            at = end + 1
        elif head:
            rules.append(Rule(head))
    return rules


def rule(head, body):
    if GROUP.match(head):
        return Rule(head, inside=parsed(body))
    selectors = [] if head.startswith("@") else [(one, words(one)) for one in split(head, ",")]
    return Rule(head, ";".join(" ".join(part.split()) for part in split(body, ";") if part), selectors=selectors)


def closing(text, at):
    """Where the bracket closes that opened before ``at``."""
    depth = 1
    for mark in SIGN.finditer(text, at):
        depth += {"{": 1, "}": -1}.get(mark[0], 0)
        if not depth:
            return mark.start()
    raise ValueError(f"a bracket is not closed: {text[at - 60 : at + 20]!r}")


def split(text, by):
    """Split at a sign that stands in no bracket and no string."""
    parts, depth, start = [], 0, 0
    for mark in re.finditer(rf"""\\.|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[()\[\]{{}}]|{by}""", text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(mark[0], 0)
        if mark[0] == by and not depth:
            parts.append(text[start : mark.start()].strip())
            start = mark.end()
    return [*parts, text[start:].strip()]


def words(selector):
    """The classes, names and elements without which a selector matches nothing."""
    selector = re.sub(r"\[(?:[^\]\"']|\"[^\"]*\"|'[^']*')*\]", "", selector)
    before = None
    while before != selector:  # innermost brackets first
        before, selector = selector, re.sub(r"::?[\w-]+\([^()]*\)", "", selector)
    selector = re.sub(r"(?<!\\)::?-?[\w-]+", "", selector)
    return frozenset(name.replace("\\", "") for name in NAME.findall(selector)) - {"html", "body"}


def of_page(text):
    """The words of a page: elements, classes, names."""
    found = set(re.findall(r"<([a-zA-Z][\w-]*)", text))
    for listed in re.findall(r"""\b(?:class|id)=(?:"([^"]*)"|'([^']*)')""", text):
        found |= set("".join(listed).split())
    return found


def of_script(text):
    return {word for word in WORD.findall(text) if not ABSENT.match(word)}


def kept(rules, used):
    """The rules that a page can use whose words are ``used``."""
    found = []
    for one in rules:
        if one.inside:
            if inside := kept(one.inside, used):
                found.append(Rule(one.head, inside=inside))
        elif one.selectors:
            if heads := [selector for selector, needed in one.selectors if needed <= used]:
                found.append(Rule(",".join(heads), one.body))
        else:
            found.append(one)
    return found


def written(rules):
    lines = []
    for one in rules:
        body = f"\n{written(one.inside)}" if one.inside else one.body
        if body:
            lines.append(f"{one.head}{{{body}}}\n")
        elif one.head.startswith("@import"):
            lines.append(f"{one.head};\n")
    return "".join(lines)


def without_unnamed(text, others):
    """Leave out variables, animations and typefaces that nothing names. ``others``: words that a script may name."""
    value = r"(?:[^;{}()\"']|\"[^\"]*\"|'[^']*'|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*"
    variable = re.compile(rf"(?<=[{{;])(--[\w-]+):{value}(?:;|(?=}}))")
    named = None
    while named != (named := set(re.findall(r"var\(\s*(--[\w-]+)", text)) | others):
        text = variable.sub(lambda found, named=named: found[0] if found[1] in named else "", text)
        text = re.sub(r"^[^@{}\n][^{}\n]*\{\}\n", "", text, flags=re.MULTILINE)
    faces = re.compile(r"^@font-face\{[^{}\n]*font-family:\s*[\"']?([^;\"'}]*)[^{}\n]*\}\n", re.MULTILINE)
    rest = faces.sub("", text)
    text = faces.sub(lambda found: found[0] if found[1].strip() in rest else "", text)
    moves = re.compile(r"^@(?:-\w+-)?keyframes ([\w-]+)\{[^\n]*\}\n", re.MULTILINE)
    rest = moves.sub("", text)
    return moves.sub(lambda found: found[0] if re.search(rf"\b{found[1]}\b", rest) or found[1] in others else "", text)
