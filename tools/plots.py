"""Draw a notebook's figures for the book's pages: SVG in the page's face, in colours that follow its theme.

``tools/notebooks.py run`` shows each figure to this module, in the kernel, where the figure is. A stored notebook holds
a PNG, which reads well on white wherever a notebook is opened. Beside it, ``notebooks/figures/<name>.svg`` is for the
page, which puts it into its text (book/_ext/plots.py). Text stays text. Black becomes the colour of the page's text,
white its ground, and a colour of the course is named, so that the style sheet can brighten it in the dark. What lies
on a picture keeps its colours, as the picture does.
"""

import base64
import hashlib
import io
import itertools
import math
import re
import tempfile
import warnings
from pathlib import Path

import cloudpickle
import numpy as np
from PIL import Image

FONTS = Path(__file__).resolve().parents[1] / "book" / "_static" / "fonts"
UNPACKED = tempfile.TemporaryDirectory()  # gone with the process
STATIC = "on-picture"  # the class of what keeps its colours
CLOUD = "cloud"  # the name of what draws many points
MANY = 400  # points of one artist: beyond, they are one path of dots, or a picture if they are no discs
LONG = 300  # points of a path: beyond, a tenth of a point is as exact as anybody sees
SMALL = 40_000  # bytes of a picture that keeps all its colours
FINE = 200  # dots per inch of what is drawn as a picture: fields of colour
# The course's colours (vae_tutorial.plotting) as custom properties: the style sheet has others for the dark.
NAMED = {
    "#000000": "currentColor",
    "#ffffff": "var(--plot-ground)",
    "#0072b2": "var(--plot-blue)",
    "#d55e00": "var(--plot-red)",
    "#009e73": "var(--plot-green)",
    "#e69f00": "var(--plot-orange)",
    "#cc79a7": "var(--plot-pink)",
    "#56b4e9": "var(--plot-light-blue)",
}
# Fonts that matplotlib measured with, and what the page has for them; its own text face is inherited.
FACES = {
    "Course Text": "",
    "Course Text Italic": "font-style: italic",
    "Inconsolata": "font-family: var(--plot-code)",
    "STIXGeneral": "font-family: KaTeX_Main, KaTeX_Math, serif",
}

# For Greek letters there is a second font.
FAMILIES = {"sans-serif": ["Course Text", "STIXGeneral"], "monospace": ["Inconsolata", "STIXGeneral"]}

# What the kernel runs before a figure, so that it shows it as SVG too. Before each: pyplot may undo it.
INSTALL = f"""
def _install():
    import sys

    import matplotlib_inline.backend_inline  # or it would be loaded with the first figure, and set its own formats
    from matplotlib.figure import Figure

    sys.path.append({str(Path(__file__).parent)!r})
    try:
        import plots
    finally:
        sys.path.pop()
    get_ipython().display_formatter.formatters["image/svg+xml"].for_type(Figure, plots.svg)

_install()
del _install
"""


def write(path, drawing, png=b""):
    """Write the drawing of a figure for the page: under the figure's own name, and with what tells its PNG."""
    drawing = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{path.stem}-", drawing)  # names are one for all of a page
    of = f' data-of="{hashlib.sha256(png).hexdigest()[:16]}"' if png else ""
    path.parent.mkdir(exist_ok=True)
    path.write_text(drawing.replace("<svg", f'<svg class="plot"{of}', 1) + "\n", encoding="utf-8")


def style():
    """Matplotlib's settings while a figure is drawn in the page's face; the fonts become known to matplotlib."""
    import matplotlib
    from matplotlib import font_manager

    if "Course Text" not in font_manager.get_font_names():
        for name, weight in (("text", 400), ("text", 700), ("text-italic", None), ("code", 400)):
            font_manager.fontManager.addfont(_unpacked(name, weight))
    face = "Course Text"
    return matplotlib.rc_context(
        {
            "font.family": FAMILIES["sans-serif"],
            "mathtext.rm": face,
            "mathtext.sf": face,
            "mathtext.bf": f"{face}:bold",
            "mathtext.bfit": f"{face}:bold",
            "mathtext.cal": face,
            "mathtext.tt": "Inconsolata",
            "mathtext.it": "Course Text Italic:italic",
            "mathtext.fallback": "stix",
            "svg.fonttype": "none",
            "svg.hashsalt": "figure",
        }
    )


def _unpacked(name, weight):
    """The path of a font of the page as a file that matplotlib reads; ``weight``: one of a variable font's."""
    from fontTools.ttLib import TTFont
    from fontTools.varLib.instancer import instantiateVariableFont

    font = TTFont(FONTS / f"{name}.woff2")
    font.flavor = None
    if weight:
        instantiateVariableFont(font, {"wght": weight}, inplace=True)
        font["OS/2"].usWeightClass = weight
        font["name"].setName("Bold" if weight > 400 else "Regular", 2, 3, 1, 0x409)
    path = Path(UNPACKED.name, f"{name}-{weight}.ttf")
    font.save(path)
    return path


def svg(figure):
    """A figure as SVG, to stand within a page. The figure stays as it is: what is drawn is a copy of it."""
    import matplotlib.pyplot as plt

    figure = cloudpickle.loads(cloudpickle.dumps(figure))  # also one that holds a lambda
    try:
        with style(), warnings.catch_warnings():
            warnings.simplefilter("error")  # of a letter that no font has
            _prepare(figure)
            drawn = io.StringIO()
            nothing = dict.fromkeys(["Date", "Creator", "Format", "Type"])
            figure.savefig(drawn, format="svg", bbox_inches="tight", pad_inches=0.02, dpi=FINE, metadata=nothing)
    finally:
        plt.close(figure)
    return cleaned(drawn.getvalue())


def _prepare(figure):
    """Take away grounds, let pictures keep their pixels, and mark what lies on a picture."""
    from matplotlib.collections import QuadMesh
    from matplotlib.contour import ContourSet
    from matplotlib.text import Text

    figure.patch.set_visible(False)
    for text in figure.findobj(Text):
        text.set_math_fontfamily("custom")
        [family] = text.get_fontfamily()
        text.set_fontfamily(FAMILIES[family])
    for axes in figure.axes:
        fields = [c for c in axes.collections if isinstance(c, QuadMesh) or (isinstance(c, ContourSet) and c.filled)]
        for field in fields:
            field.set_rasterized(True)
        for number, artist in enumerate((*axes.lines, *axes.collections)):
            points, diameter = _points(artist)
            if diameter and points > MANY:
                artist.set_gid(f"{CLOUD}-{diameter:.2f}-{number}")
            elif points > MANY:
                artist.set_rasterized(True)
        for image in axes.images:
            if image.get_interpolation() == "nearest":
                image.set_interpolation("none")  # its own pixels, which the page enlarges
        pictures = [*axes.images, *fields]
        if not pictures:
            axes.patch.set_visible(False)
            on_picture = _on_fills(axes)
        elif axes.axison:  # a picture, the lines on it, and its white ground
            on_picture = [axes.patch, *axes.lines, *axes.collections, *axes.patches, *axes.texts]
            legend = axes.get_legend()
            if legend and axes.bbox.contains(*legend.get_window_extent().get_points().mean(0)):
                on_picture.append(legend)
        else:
            edges = [picture.get_window_extent() for picture in pictures]
            middles = [(text, text.get_window_extent().get_points().mean(0)) for text in axes.texts]
            on_picture = [text for text, middle in middles if any(edge.contains(*middle) for edge in edges)]
            on_picture += _on_fills(axes)
        on_picture += [text.arrow_patch for text in on_picture if getattr(text, "arrow_patch", None)]
        for number, artist in enumerate(on_picture):
            if not (artist.get_gid() or "").startswith(CLOUD):
                artist.set_gid(f"{STATIC}-{number}")


def _on_fills(axes):
    """What lies within a patch of a bright colour: black is black there, in the dark too."""
    from matplotlib.patches import FancyArrowPatch

    fills = [patch for patch in axes.patches if patch.get_fill() and _bright(patch.get_facecolor())]
    fills += [disc for disc in axes.lines if disc.get_markersize() > 15 and _bright(disc.get_markerfacecolor())]
    fills = [fill.get_window_extent() for fill in fills]
    found = []
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    for artist in (*axes.texts, *axes.lines, *arrows):
        box = artist.get_window_extent()
        if any(fill.contains(*box.p0) and fill.contains(*box.p1) and fill.width > box.width for fill in fills):
            found.append(artist)
    return found


def _bright(color):
    from matplotlib.colors import to_rgba

    *color, opacity = to_rgba(color)
    return opacity > 0.8 and np.mean(color) > 0.3 and np.ptp(color) > 0.1


def _points(artist):
    """How many single points an artist draws, and their diameter in points if they are discs of one size, or 0."""
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D

    if isinstance(artist, PathCollection):
        [path, *others], sizes = artist.get_paths(), set(artist.get_sizes())
        disc = not others and len(path.vertices) == 26 and len(sizes) == 1
        return len(artist.get_offsets()), math.sqrt(sizes.pop()) + max(artist.get_linewidths()) if disc else 0
    if isinstance(artist, Line2D) and artist.get_linestyle() == "None":
        part = {".": 0.5, "o": 1}.get(artist.get_marker(), 0)
        return len(artist.get_xdata()), part and part * artist.get_markersize() + artist.get_markeredgewidth()
    return 0, 0


def cleaned(text):
    """What matplotlib wrote, without what a page does not need: a third of the bytes."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style .*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(rf'<g id="{CLOUD}-([\d.]+)-\d+">(.*?)</g>\s*</g>', _dots, text, flags=re.DOTALL)
    text = re.sub(rf'id="{STATIC}-\d+"', f'class="{STATIC}"', text)
    used = set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', text))
    used = {name for pair in used for name in pair}
    text = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", text)
    text = re.sub(r' xmlns:xlink="[^"]*"| version="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"data:image/png;base64,\s*([^\"]*)", lambda found: _small(found[1]), text)
    text = re.sub(r' d="([^"]*)"', lambda found: f' d="{_path(found[1])}"', text)
    text = re.sub(r' (?:x|y|width|height|viewBox|transform)="(?!matrix)[^"]*"', lambda found: _short(found[0]), text)
    text = re.sub(r'(?<=style=")[^"]*', lambda found: _style(found[0]), text).replace(' style=""', "")
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)
    while (shorter := re.sub(r"<(g|defs)>\s*</\1>", "", text)) != text:
        text = shorter
    return re.sub(r"\s*\n\s*", "\n", text)


def _dots(cloud):
    """Points as one path for each colour: lines of no length with round ends. A fifth of the bytes, and one element."""
    diameter, inside = cloud.groups()
    places = {}
    for x, y, style in re.findall(r'<use [^>]*?x="([^"]*)" y="([^"]*)" style="([^"]*)"', inside):
        color = re.search(r"fill: (#\w+)", style)
        opacity = re.search(r"fill-opacity: ([\d.]+)", style)
        look = f"stroke: {color[1] if color else '#000000'}" + (f"; stroke-opacity: {opacity[1]}" if opacity else "")
        places.setdefault(look, []).append((round(10 * float(x)), round(10 * float(y))))
    clip = re.search(r' clip-path="[^"]*"', inside)
    width = f"stroke-width: {10 * float(diameter):.0f}"
    paths = [
        f'<path d="{_steps(places[look])}" style="fill: none; stroke-linecap: round; {width}; {look}"/>'
        for look in places
    ]
    return f'<g{clip[0] if clip else ""}><g transform="scale(.1)">{"".join(paths)}</g></g>'


def _steps(places):
    """A path that touches all places, from left to right, in steps, which are short."""
    places = sorted(places)
    steps = ((x - u, y - v) for (u, v), (x, y) in itertools.pairwise([(0, 0), *places]))
    return "".join(f"m{x}{y:+}h0".replace("+", " ") for x, y in steps)


def _path(commands):
    """The same path in fewer letters."""
    digits = 1 if commands.count("L") > LONG else 2
    return _short(re.sub(r"\s*([MLHVCSQTAZz])\s*", r"\1", " ".join(commands.split())), digits)


def _short(numbers, digits=2):
    """Numbers to a hundredth of a point."""
    return re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.{digits}f}".rstrip("0").rstrip("."), numbers)


def _style(declarations):
    """A style with the page's fonts, and with the names of the course's colours."""
    kept = []
    for declaration in filter(None, map(str.strip, declarations.split(";"))):
        name, value = map(str.strip, declaration.split(":"))
        if name == "font-family":
            first = value.split(",")[0].strip("'")
            declaration = FACES[first]  # a KeyError: a glyph that the page's fonts lack
        elif name in ("fill", "stroke"):
            declaration = f"{name}: {NAMED.get(value) or _grey(value) or value}"
        if declaration:
            kept.append(declaration)
    return "; ".join(kept)


def _grey(color):
    """A grey as the share of the page's text in its ground, or None for another colour."""
    found = re.fullmatch(r"#(..)\1\1", color)
    share = 100 * (1 - int(found[1], 16) / 255) if found else 0
    return found and f"color-mix(in srgb, currentColor calc(var(--plot-lift) * {share:.0f}%), var(--plot-ground))"


def _small(coded):
    """A picture as an address: grey if it is grey, with a palette if that is smaller."""
    whole = base64.b64decode(coded)
    picture = Image.open(io.BytesIO(whole)).convert("RGBA")
    pixels = np.array(picture)
    colors, which = np.unique(pixels.reshape(-1, 4), axis=0, return_inverse=True)
    if (colors[:, :1] == colors[:, :3]).all() and (colors[:, 3] == 255).all():
        smaller = picture.convert("L")
    elif len(colors) <= 256:  # as those of a colour map
        smaller = Image.fromarray(which.reshape(pixels.shape[:2]).astype(np.uint8), "P")
        smaller.putpalette(colors.tobytes(), "RGBA")
    elif len(whole) < SMALL:
        return "data:image/png;base64," + base64.b64encode(whole).decode()
    else:
        smaller = picture.quantize(256, method=Image.Quantize.FASTOCTREE)
    file = io.BytesIO()
    smaller.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(min(whole, file.getvalue(), key=len)).decode()
