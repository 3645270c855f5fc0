"""A page to draw on, and what MNIST's recipe makes of it: the arithmetic behind the explorer of one's own digit.

A page is ``(56, 56)`` of 0 and 1, two points for each pixel of an MNIST image, each way. ``own_digit.js`` computes the
same. Nothing here depends on a rounding error: where a number is rounded to a whole one, ties go up.
"""

import numpy as np

SIDE, POINTS, BOX = 28, 56, 20  # pixels of an image, points of a page, pixels of the box that holds a digit, each way
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"  # an address carries each as it is
_TIE = 1e-9


def encode(page):
    """Return a page as text: lengths of its runs, white and black in turn, row by row; the last white one is left out.

    Of a length the digits to base 32, the lowest first; all but the last one are counted from the 33rd letter.
    """
    bits = np.concatenate([[0], np.asarray(page, bool).ravel(), [0]]).astype("i1")
    runs = np.diff(np.flatnonzero(np.diff(bits)), prepend=0)
    text = ""
    for run in runs.tolist():
        while run >= 32:
            text += LETTERS[32 + run % 32]
            run //= 32
        text += LETTERS[run]
    return text


def decode(text):
    """Return the page that :func:`encode` made the text of. Raises ValueError for another text."""
    runs, run, unit = [], 0, 1
    for letter in text:
        value = LETTERS.find(letter)
        run += (value % 32) * unit
        unit *= 32
        if value < 0 or run > POINTS**2:
            raise ValueError(f"a drawing is the lengths of runs in the letters A-Z, a-z, 0-9, - and _; got {letter!r}")
        if value < 32:
            runs.append(run)
            run, unit = 0, 1
    if unit > 1 or len(runs) % 2 or sum(runs) > POINTS**2:
        raise ValueError(f"a drawing ends with a run of black, at most {POINTS**2} points in all; got {text[-20:]!r}")
    bits = np.zeros(POINTS**2)
    bits[: sum(runs)] = np.repeat(np.arange(len(runs)) % 2, runs)
    return bits.reshape(POINTS, POINTS)


def moved(page, turn=0.0, size=1.0, right=0.0, up=0.0, stroke=0):
    """Return a page with thicker strokes, then turned (degrees, to the left), larger and shifted (pixels).

    ``stroke``: points by which the strokes grow at each side; below 0, shrink. Each point then is what the nearest
    point of the former page was.
    """
    page = _grown(page, stroke)
    across, down = _grid() - (POINTS - 1) / 2
    across, down = across - 2 * right, down + 2 * up
    c, s = np.cos(np.deg2rad(turn)) / size, np.sin(np.deg2rad(turn)) / size
    middle = POINTS / 2 + _TIE  # of the page, from its corner
    column, row = np.floor(c * across - s * down + middle), np.floor(s * across + c * down + middle)
    inside = (column >= 0) & (column < POINTS) & (row >= 0) & (row < POINTS)
    return np.where(inside, page[np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)], 0.0)


def grey(page):
    """Return a page as an image, ``(28, 28)``: of each pixel the share that is ink."""
    share = _shares(0, POINTS, SIDE)
    return share @ page @ share.T


def centred(page):
    """Return a page as MNIST's images were made of pages, ``(28, 28)``, from 0 to 1; a blank page as it is.

    What is inked is scaled to fit a box of 20 x 20 pixels, its proportions kept; a pixel is as dark as the share of it
    that is ink. The image is shifted by whole pixels, to where the ink's centre of mass is nearest to the middle of
    pixel 14, counted from 0: so it lies in MNIST's files. Source: LeCun et al. (1998), section III.A.
    """
    rows, columns = np.flatnonzero(page.any(1)), np.flatnonzero(page.any(0))
    image = np.zeros((SIDE, SIDE))
    if not len(rows):
        return image
    spans = [(int(found[0]), int(found[-1]) + 1) for found in (rows, columns)]
    longest = max(b - a for a, b in spans)
    height, width = (max(1, _whole(BOX * (b - a) / longest)) for a, b in spans)
    small = _shares(*spans[0], height) @ page @ _shares(*spans[1], width).T
    top, left = (
        min(max(_whole(SIDE / 2 - np.arange(len(mass)) @ mass / mass.sum()), 0), SIDE - len(mass))
        for mass in (small.sum(1), small.sum(0))
    )
    image[top : top + height, left : left + width] = small
    return image


def from_image(image):
    """Return a page that shows a grey image ``(28, 28)``: 1 where what lies between its pixels is at least half ink."""
    between = _between()
    return (between @ np.asarray(image, float) @ between.T >= 0.5).astype(float)


def _whole(value):
    return int(np.floor(value + 0.5 + _TIE))


def _grid():
    return np.stack(np.meshgrid(np.arange(POINTS), np.arange(POINTS), indexing="xy")).astype(float)


def _shares(start, stop, pixels):
    """Row i: of the i-th of so many equal pieces of the points from start to stop, the share of each point."""
    edges = start + (stop - start) * np.arange(pixels + 1) / pixels
    points = np.arange(POINTS)
    overlap = np.minimum(edges[1:, None], points + 1) - np.maximum(edges[:-1, None], points)
    return overlap.clip(0) * pixels / (stop - start)


def _between():
    """Linear between the middles of the pixels: each point lies a quarter of a pixel from the middle of its own."""
    weights = np.zeros((POINTS, SIDE))
    for point in range(POINTS):
        pixel, side = point // 2, 2 * (point % 2) - 1
        weights[point, pixel] += 0.75
        weights[point, min(max(pixel + side, 0), SIDE - 1)] += 0.25
    return weights


def _grown(page, by):
    """Ink wherever ink is at most ``by`` points away; below 0, paper wherever paper is."""
    if by < 0:
        return 1 - _grown(1 - page, -by)
    result = page.copy()
    for a in range(-by, by + 1):
        for b in range(-by, by + 1):
            if 0 < a * a + b * b <= by * by:
                result = np.maximum(result, _shifted(page, a, b))
    return result


def _shifted(page, a, b):
    result = np.zeros_like(page)
    inner = page[max(0, -a) : POINTS - max(0, a), max(0, -b) : POINTS - max(0, b)]
    result[max(0, a) : POINTS + min(0, a), max(0, b) : POINTS + min(0, b)] = inner
    return result
