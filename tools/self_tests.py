"""The pictures of the self-tests' questions, as SVG that takes the theme's colours. ``tools/figures.py`` writes them.

What a picture shows stands in a constant above its function, and tests/test_self_tests.py computes the answers from it.
"""

import json
import math
import random
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "book" / "_static" / "figures"
BLUE, ORANGE = "#0072B2", "#E69F00"
WIDTH = 344  # of a phone's column, as the map of concepts

# Four models of 6 x 6 independent pixels: how many pixels are on with which probability
MAPS = {"A": {0.5: 12, 0.0: 24}, "B": {0.1: 36}, "C": {1.0: 18, 0.0: 18}, "D": {0.95: 14, 0.0: 22}}
RING = {i for i in range(30) if i % 6 in (1, 4) or (i // 6 in (0, 4) and 1 <= i % 6 <= 4)}  # the pixels of D

# Shares, means and standard deviation of three bumps, and four Gaussians that stand in for them: mean, deviation
BUMPS = ((0.3, 0.4, 0.3), (-3.0, 0.0, 3.0), 0.4)
STAND_INS = {"A": (0.0, 0.4), "B": (0.0, 1.0), "C": (0.0, 5.0), "D": (0.0, 2.4)}

# z is standard normal, x is z plus noise of this variance, and q is a Gaussian: x, noise, mean and deviation of q
BILL = (1.5, 0.25, 0.75, 0.3)

# Twelve codes in the plane for each of three encoders, and the standard deviation of each code's q
ANGLES = [math.pi * (0.08 + i / 6) for i in range(12)]
ENCODERS = {
    "A": (
        [
            ((1.3 + 0.22 * i) * math.cos(ANGLES[i % 3 * 4] + 0.05 * i), (1.3 + 0.22 * i) * math.sin(ANGLES[i % 3 * 4]))
            for i in range(12)
        ],
        0.05,
    ),
    "B": ([(0.03 * math.cos(4 * t), 0.03 * math.sin(4 * t)) for t in ANGLES], 1.0),
    "C": ([((0.65, 1.45)[i % 2] * math.cos(t), (0.65, 1.45)[i % 2] * math.sin(t)) for i, t in enumerate(ANGLES)], 0.42),
}

# Four of chapter 12's models, by the price at which they were trained
PRICES = {"A": "3", "B": "0.1", "C": "1", "D": "5"}


def svg(height, label, body):
    """A picture with an alternative text, as wide as the text on a phone."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="self-test" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-label="{escape(label)}" style="display: block; width: 100%; max-width: 30rem; height: auto; '
            'margin: 1.5rem auto; font: 12px system-ui, sans-serif; fill: currentColor; text-anchor: middle">',
            *body,
            "</svg>",
            "",
        ]
    )


def text(x, y, words, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{words}</text>'


def path(points, more):
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{steps}" {more}/>'


def maps():
    """Four models of 36 pixels, each pixel as dark as it is often on."""
    cell, body = 11, []
    for n, (name, pixels) in enumerate(MAPS.items()):
        left, values = 4 + n * 86 + 6, [p for p, count in pixels.items() for _ in range(count)]
        if name == "A":
            rows = [i for i in range(36) if 1 <= i // 6 <= 4 and 1 <= i % 6 <= 3]
            values = [0.5 if i in rows else 0.0 for i in range(36)]
        elif name == "C":
            random.Random(12).shuffle(values)
        elif name == "D":
            values = [0.95 if i in RING else 0.0 for i in range(36)]
        body.append(text(left + 33, 14, name, ' font-weight="bold"'))
        body.append(f'<rect x="{left}" y="22" width="66" height="66" fill="#fff" stroke="#888"/>')
        for i, value in enumerate(values):
            if value:
                x, y = left + cell * (i % 6), 22 + cell * (i // 6)
                shade = f'fill="#000" fill-opacity="{value:g}"'
                body.append(f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" {shade}/>')
        for line, (value, count) in enumerate(pixels.items()):
            body.append(text(left + 33, 104 + 15 * line, f"{count} at {value:g}"))
    said = "; ".join(
        f"{name}, {' and '.join(f'{count} pixels at {p:g}' for p, count in pixels.items())}"
        for name, pixels in MAPS.items()
    )
    looks = "A is a grey block, B an even pale grey, C a wild pattern in black and white, D a dark ring."
    return svg(124, f"Four squares of 36 pixels. {said}. {looks}", body)


def normal(x, mean, deviation):
    return math.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))


def stand_ins():
    """Three bumps, four times, each with another Gaussian."""
    shares, means, deviation = BUMPS
    line = [-7 + 0.05 * i for i in range(281)]
    body = []
    for n, (name, (mean, width)) in enumerate(STAND_INS.items()):
        left, bottom = 4 + n % 2 * 172, 112 + n // 2 * 126

        def place(x, y, left=left, bottom=bottom):
            return left + 164 * (x + 7) / 14, bottom - 100 * y

        bumps = [sum(s * normal(x, m, deviation) for s, m in zip(shares, means, strict=True)) for x in line]
        area = [place(-7, 0), *(place(x, y) for x, y in zip(line, bumps, strict=True)), place(7, 0)]
        body.append(path(area, f'fill="{BLUE}" fill-opacity="0.35" stroke="none"'))
        curve = [place(x, normal(x, mean, width)) for x in line]
        body.append(path(curve, f'fill="none" stroke="{ORANGE}" stroke-width="2.5"'))
        body.append(path([place(-7, 0), place(7, 0)], 'fill="none" stroke="currentColor" stroke-opacity="0.5"'))
        body.append(text(left + 14, bottom - 78, name, ' font-weight="bold"'))
    label = (
        "Four panels with the same filled density p of three bumps, the middle one a little higher, and a curve q. "
        "A: q fits the middle bump alone. B: q stands on the middle bump, twice as wide, and ends before the others. "
        "C: q is low and reaches far beyond all three bumps. D: q is a broad bell over all three, ending with them."
    )
    return svg(246, label, body)


def bill_parts():
    """-log p(x), gap, -reconstruction and KL to the prior of the linear Gaussian model, in nats."""
    x, noise, mean, deviation = BILL
    evidence = 0.5 * math.log(2 * math.pi * (1 + noise)) + x**2 / (2 * (1 + noise))
    center, spread = x / (1 + noise), noise / (1 + noise)
    ratio = deviation**2 / spread
    gap = 0.5 * (ratio + (mean - center) ** 2 / spread - 1 - math.log(ratio))
    pixels = 0.5 * math.log(2 * math.pi * noise) + ((x - mean) ** 2 + deviation**2) / (2 * noise)
    price = 0.5 * (mean**2 + deviation**2 - 1 - math.log(deviation**2))
    return evidence, gap, pixels, price


def bill():
    """One bill, cut in two ways; the parts have numbers and no names."""
    evidence, gap, pixels, price = bill_parts()
    unit, body = 324 / (evidence + gap), []
    for y, (first, second), names in ((34, (evidence, gap), "ab"), (102, (pixels, price), "cd")):
        edge = 10 + unit * first
        for left, size, color, name in (
            (10, first, BLUE, names[0]),
            (edge, second, ORANGE, names[1]),
        ):
            wide = unit * size
            shape = f'x="{left:.1f}" y="{y}" width="{wide:.1f}" height="34"'
            body.append(f'<rect {shape} fill="{color}" fill-opacity="0.3" stroke="currentColor"/>')
            body.append(text(left + wide / 2, y + 22, f"{name}: {size:.2f}"))
        upper = y == 34
        words = "stays, whatever q is" if upper else "moves with q"
        body.append(text(edge - 6, y - 10 if upper else y + 52, words, ' text-anchor="end"'))
        body.append(
            path([(edge, y - 20 if upper else y + 34), (edge, y if upper else y + 56)], 'stroke="currentColor"')
        )
    label = (
        f"Two bars of equal length, each cut in two. Upper bar: a, {evidence:.2f}, and b, {gap:.2f}; the edge between "
        f"them stays, whatever q is. Lower bar: c, {pixels:.2f}, and d, {price:.2f}; the edge in it moves with q."
    )
    return svg(164, label, body)


def planes():
    """The codes of three encoders on the plane, and the prior's circles."""
    body = []
    for n, (name, (means, deviation)) in enumerate(ENCODERS.items()):
        middle, scale = 58 + n * 114, 13.5
        body.append(text(middle, 14, name, ' font-weight="bold"'))
        for mx, my in means:
            at = f'cx="{middle + scale * mx:.1f}" cy="{74 - scale * my:.1f}"'
            size = max(1.3, 2 * deviation * scale)
            shade = {0.05: 0.9, 0.42: 0.15}.get(deviation, 0.03)
            body.append(
                f'<circle {at} r="{size:.1f}" fill="{ORANGE}" fill-opacity="{shade}" stroke="{ORANGE}" '
                'stroke-opacity="0.8"/>'
            )
        for radius in (1, 2):
            body.append(
                f'<circle cx="{middle}" cy="74" r="{radius * scale:.1f}" fill="none" stroke="currentColor" '
                'stroke-width="1.5" stroke-dasharray="2 3"/>'
            )
    label = (
        "Three planes, each with two dashed circles, the prior at one and two standard deviations, and twelve codes. "
        "A: twelve dots on three arms that run far outside the circles. B: twelve discs on top of each other, "
        "all as large as the outer circle. C: twelve smaller discs side by side that together fill the circles."
    )
    return svg(150, label, body)


def points():
    """Rate and distortion of four models, from their cards."""
    folder = ROOT / "vae_tutorial" / "weights"
    cards = {name: json.loads((folder / f"beta-{price}.json").read_text("utf-8")) for name, price in PRICES.items()}
    return {name: (card["rate"][0], card["distortion"][0]) for name, card in cards.items()}


def curve():
    """Four models as points of rate and distortion, with lines of equal sum."""

    def place(rate, distortion):
        return 56 + 6.9 * rate, 226 - 4 * (distortion - 76)

    body, found = [], points()
    frame = [place(0, 126), place(0, 76), place(40, 76)]
    body.append(path(frame, 'fill="none" stroke="currentColor"'))
    for total in (86, 96, 106, 116, 126):
        ends = [place(0, total), place(min(40, total - 76), max(76, total - 40))]
        body.append(path(ends, 'stroke="currentColor" stroke-opacity="0.45" stroke-dasharray="5 4"'))
    for tick in (0, 10, 20, 30, 40):
        body.append(text(place(tick, 76)[0], 242, tick))
    for tick in (80, 100, 120):
        body.append(text(50, place(0, tick)[1] + 4, tick, ' text-anchor="end"'))
    for name, (rate, distortion) in found.items():
        x, y = place(rate, distortion)
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{BLUE}" stroke="currentColor"/>')
        body.append(text(x + 12, y - 6, name, ' font-weight="bold"'))
    body.append(text(194, 260, "rate, nats"))
    body.append(text(14, 124, "distortion, nats", ' transform="rotate(-90 14 124)"'))
    said = ", ".join(f"{name} at rate {rate:.0f} and distortion {d:.0f}" for name, (rate, d) in found.items())
    label = f"Distortion over rate, four points: {said}. Dashed lines fall by one nat for each nat to the right."
    return svg(268, label, body)


PICTURES = {
    "self_1_maps": maps,
    "self_1_stand_ins": stand_ins,
    "self_2_bill": bill,
    "self_3_planes": planes,
    "self_3_curve": curve,
}


def draw():
    """All pictures, as the text of each file."""
    return {FOLDER / f"{name}.svg": picture() for name, picture in PICTURES.items()}
