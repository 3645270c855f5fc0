"""Draw the pages' figures that no notebook draws: the map of concepts, and the self-tests' (``self_tests.py``).

``python tools/figures.py`` writes them. The map is inlined in book/concepts.md, so that its links work and it takes
the theme's colours. It is as wide as a phone; its text is at least 11 pixels there. Places and relations are below:
edit them here, never in the SVG.
"""

from html import escape
from pathlib import Path

import self_tests

ROOT = Path(__file__).resolve().parents[1]
MAP = ROOT / "book" / "_static" / "figures" / "concepts.svg"
WIDTH, HEIGHT = 344, 1178
LETTER = 6.5  # width of a letter at the map's size, rounded up; a line is 14 high

# Title, colour, top, bottom, x of the title
PARTS = [
    ("Part I. Information", "#009E73", 0, 222, 8),
    ("Part II. Latent variables", "#E69F00", 230, 806, 172),
    ("Part III. Building VAEs", "#0072B2", 814, HEIGHT, 8),
]

# Name ("|" is a line break): chapter, and x and y of its centre
CONCEPTS = {
    "Surprise": (1, 48, 46),
    "Entropy": (1, 286, 46),
    "KL|divergence": (2, 56, 114),
    "Cross-entropy": (1, 286, 114),
    "Mutual|information": (2, 56, 194),
    "Latent variable": (3, 172, 280),
    "Prior": (3, 52, 358),
    "Likelihood": (3, 288, 358),
    "Evidence": (3, 172, 420),
    "Posterior": (3, 52, 484),
    "Importance|sampling": (4, 300, 494),
    "EM": (3, 28, 582),
    "Gap": (5, 136, 582),
    "ELBO": (5, 260, 582),
    "Encoder": (5, 136, 648),
    "Amortization": (5, 58, 704),
    "Reparameterization": (6, 118, 776),
    "Aggregate|posterior": (7, 234, 850),
    "VAE": (7, 300, 888),
    "Autoencoder": (7, 90, 888),
    "Decoder": (7, 90, 958),
    "Distortion": (12, 194, 976),
    "Rate": (12, 300, 976),
    "Manifold": (11, 48, 1044),
    "Convolution": (9, 152, 1044),
    "β": (12, 300, 1036),
    "Gaussian|variance": (10, 184, 1090),
    "Active units": (12, 284, 1146),
    "Posterior|collapse": (12, 60, 1146),
}

# Source, label ("|" is a line break), target; position of the label along the line, from 0 to 1
RELATIONS = [
    ("Entropy", "is the mean of", "Surprise", 0.5),
    ("Cross-entropy", "is never below", "Entropy", 0.5),
    ("KL|divergence", "is the excess of", "Cross-entropy", 0.5),
    ("Mutual|information", "is a special", "KL|divergence", 0.5),
    ("Mutual|information", "is what x|tells about", "Latent variable", 0.45),
    ("Prior", "is the first|belief about", "Latent variable", 0.5),
    ("Likelihood", "is p(x),|given", "Latent variable", 0.5),
    ("Evidence", "is the mean of", "Likelihood", 0.5),
    ("Posterior", "updates", "Prior", 0.5),
    ("Posterior", "divides by", "Evidence", 0.4),
    ("Importance|sampling", "estimates", "Evidence", 0.4),
    ("ELBO", "is at most|the log of", "Evidence", 0.42),
    ("ELBO", "is one|draw of", "Importance|sampling", 0.5),
    ("Gap", "is missing|from", "ELBO", 0.5),
    ("Gap", "is the KL to", "Posterior", 0.5),
    ("EM", "closes", "Gap", 0.5),
    ("Encoder", "narrows", "Gap", 0.5),
    ("Amortization", "shares one", "Encoder", 0.4),
    ("Aggregate|posterior", "is the|mean|q of", "Encoder", 0.76),
    ("Reparameterization", "brings|gradients to", "Encoder", 0.3),
    ("VAE", "is trained on", "ELBO", 0.3),
    ("VAE", "adds noise|and a KL to", "Autoencoder", 0.5),
    ("Autoencoder", "ends in a", "Decoder", 0.5),
    ("Manifold", "is drawn|by", "Decoder", 0.4),
    ("Convolution", "can|build", "Decoder", 0.4),
    ("VAE", "pays|for x", "Distortion", 0.5),
    ("VAE", "pays for z", "Rate", 0.5),
    ("β", "multiplies", "Rate", 0.5),
    ("Gaussian|variance", "acts as", "β", 0.5),
    ("β", "can silence", "Active units", 0.5),
    ("Posterior|collapse", "silences", "Active units", 0.5),
]


def plain(name):
    return name.replace("|", " ")


def chapter(number):
    """The name of a chapter's file, without the ending."""
    return next((ROOT / "notebooks").glob(f"{number:02d}_*.ipynb")).stem


def box(lines, x, y, pad=0):
    """The bounding box (left, top, right, bottom) of lines of text centred at (x, y)."""
    half = max(map(len, lines)) * LETTER / 2 + pad
    tall = 7 * len(lines) + pad
    return x - half, y - tall, x + half, y + tall


def node(name):
    """The box of a concept."""
    number, x, y = CONCEPTS[name]
    *above, last = name.split("|")
    return box([*above, f"{last} {number}"], x, y, 6)


def clip(start, end, rectangle, pad=0):
    """The part (t0, t1) of the way from start to end that lies in the rectangle, or None."""
    low, high = 0.0, 1.0
    for axis in (0, 1):
        step = end[axis] - start[axis]
        first, last = rectangle[axis] - pad, rectangle[axis + 2] + pad
        if step == 0:
            if not first <= start[axis] <= last:
                return None
            continue
        near, far = sorted(((first - start[axis]) / step, (last - start[axis]) / step))
        low, high = max(low, near), min(high, far)
    return (low, high) if low < high else None


def lay(relation):
    """The lines of a relation as pairs of points, in the arrow's direction, and its label's words with positions."""
    source, label, target, share = relation
    start, end = CONCEPTS[source][1:], CONCEPTS[target][1:]

    def at(t):
        return start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])

    begin, stop = clip(start, end, node(source), 1)[1], clip(start, end, node(target), 2)[0]
    words = label.split("|")
    x, y = at(begin + share * (stop - begin))
    if start[1] == end[1]:  # a horizontal line has its label above and below it
        return [(at(begin), at(stop))], [(word, x, y + (-8 if i == 0 else 9)) for i, word in enumerate(words)]
    hidden = clip(start, end, box(words, x, y), 1)
    lines = [(at(t0), at(t1)) for t0, t1 in ((begin, hidden[0]), (hidden[1], stop))]
    return lines, [(word, x, y + 14 * (i - (len(words) - 1) / 2)) for i, word in enumerate(words)]


def draw():
    """The map as the text of an SVG."""
    n = len(CONCEPTS)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="concepts" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" '
        f'aria-label="Map of {n} concepts; each is a link to its chapter. The list below says the same in words.">',
        "<style>",
        ".concepts { display: block; width: 100%; max-width: 30rem; height: auto; margin: 1.5rem auto; "
        "font: 12px system-ui, sans-serif; fill: currentColor; text-anchor: middle }",
        ".concepts a { color: inherit; text-decoration: none }",
        ".concepts a:is(:hover, :focus-visible) rect { stroke-width: 3 }",
        ".concepts a:focus-visible { outline: none }",
        "</style>",
        '<marker id="concepts-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker>',
    ]
    for title, color, top, bottom, left in PARTS:
        out.append(
            f'<rect y="{top}" width="{WIDTH}" height="{bottom - top}" rx="8" fill="{color}" fill-opacity="0.08"/>'
        )
        out.append(f'<text x="{left}" y="{top + 18}" font-weight="bold" text-anchor="start">{title}</text>')
    out.append('<g aria-hidden="true">')
    for relation in RELATIONS:
        lines, words = lay(relation)
        for i, ((x0, y0), (x1, y1)) in enumerate(lines):
            arrow = ' marker-end="url(#concepts-arrow)"' if i == len(lines) - 1 else ""
            path = f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"
            out.append(f'<path d="{path}" stroke="currentColor" stroke-opacity="0.6"{arrow}/>')
        for word, x, y in words:
            out.append(f'<text x="{x:.1f}" y="{y + 4:.1f}">{escape(word)}</text>')
    out.append("</g>")
    for name, (number, x, y) in CONCEPTS.items():
        left, top, right, bottom = node(name)
        color = next(color for _, color, first, last, _ in PARTS if first <= y < last)
        *above, last = name.split("|")
        rows = [*map(escape, above), f'{escape(last)} <tspan fill-opacity="0.75">{number}</tspan>']
        texts = "".join(
            f'<text x="{x}" y="{y + 4 + 14 * (i - (len(rows) - 1) / 2):.0f}">{row}</text>' for i, row in enumerate(rows)
        )
        out.append(
            f'<a href="../notebooks/{chapter(number)}.html" aria-label="{escape(plain(name))}, chapter {number}">'
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" rx="6" '
            f'fill="{color}" fill-opacity="0.15" stroke="{color}"/>{texts}</a>'
        )
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    MAP.parent.mkdir(exist_ok=True)
    for file, drawn in {MAP: draw(), **self_tests.draw()}.items():
        file.write_text(drawn, encoding="utf-8", newline="\n")
