"""Draw the front door: the plane of a VAE with two latent dimensions, in which the reader moves (`make figures`).

``book/_static/door.webp`` is the map: decoded digits, each in the colour of the class round it. ``fragments/door.html``
is what book/index.md includes: the map and one digit, which explorers/door.js brings to life; ``fragments/train.html``
is the explorer of book/train.md. Needs MNIST.
"""

import base64
import html
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vae_tutorial import data, evaluation, pretrained
from vae_tutorial.explorers import TrainExplorer, _packed
from vae_tutorial.explorers.latent import COLORS

STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"
MAP, PAGE = STATIC / "door.webp", STATIC / "fragments" / "door.html"
EDGE = 2.6  # the plane is shown from -2.6 to 2.6, both ways
TILES, SIDE = 14, 28  # digits each way, and the pixels of one
NEIGHBOURS = 15  # a place is of the class that most of so many nearest codes have
START = (1.7, 0.0)  # explorers/door.js walks on from here
MAP_SAYS = (
    f"A map of {TILES} by {TILES} digits, each drawn by the decoder at its place in the plane. Neighbours look alike, "
    "and one class turns into the next: ones at the top, sevens at the left, zeros at the bottom, threes and fives at "
    "the right, the others in the middle."
)


def places():
    """The middles of the tiles, row by row from the top left, ``(TILES * TILES, 2)``."""
    middle = EDGE * ((2 * torch.arange(TILES, dtype=torch.float64) + 1) / TILES - 1)
    return torch.stack([middle.repeat(TILES), -middle.repeat_interleave(TILES)], dim=1)


def ink(z):
    """What the decoder draws at places ``(N, 2)``: the probability of ink from 0 to 255, uint8 ``(N, 28, 28)``."""
    with torch.no_grad():
        return (255 * _packed.vae().decode(z).sigmoid()).round().byte().reshape(-1, SIDE, SIDE)


def classes():
    """The class of each tile: that of most test images among the nearest codes."""
    found = data.load("mnist", "test", strict=True)
    codes, _ = evaluation.encode(pretrained.load("mlp-2d"), found.images)
    nearest = torch.cdist(places(), codes.double()).topk(NEIGHBOURS, largest=False).indices
    return found.labels[nearest].mode(dim=1).values


def picture(drawn, color):
    """Ink as a picture that is transparent where there is none; ``color``: (3,) or one for each pixel."""
    return Image.fromarray(np.dstack([np.broadcast_to(color, (*drawn.shape, 3)), drawn]).astype("u1"), "RGBA")


def draw_map(tiles):
    """The map, each tile in the colour of its class."""
    palette = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in COLORS])
    colors = palette[tiles.reshape(TILES, TILES).numpy()].repeat(SIDE, axis=0).repeat(SIDE, axis=1)
    drawn = ink(places()).reshape(TILES, TILES, SIDE, SIDE).permute(0, 2, 1, 3).reshape(TILES * SIDE, -1)
    return picture(drawn.numpy(), colors)


def page():
    """The HTML of the front door as it stands where no script runs."""
    layers = _packed.linear(_packed.vae().decoder)
    state = {
        "z1": START[0],
        "z2": START[1],
        "edge": EDGE,
        "sizes": _packed.sizes(layers),
        "weights": {"file": "mlp-2d-decoder"},
    }
    digit = io.BytesIO()
    picture(ink(torch.tensor([START], dtype=torch.float64))[0].numpy(), 0).save(digit, "png", optimize=True)
    width = TILES * SIDE
    return f"""<div id="door" class="door" data-scene="door">
<script type="application/json">{json.dumps(state)}</script>
<div class="vx-static"><div class="door-body">
<div class="door-plane"><img class="door-map" src="../_static/{MAP.name}" width="{width}" height="{width}"
draggable="false" alt="{html.escape(MAP_SAYS)}"></div>
<div class="door-side">
<div class="door-paper"><img class="door-digit" width="{SIDE}" height="{SIDE}" alt="A digit that the decoder draws."
src="data:image/png;base64,{base64.b64encode(digit.getvalue()).decode()}"></div>
<p class="door-place"><span><i>z</i> = ({START[0]:.2f}, {START[1]:.2f})</span></p>
<p class="door-said"><b>Move through the plane.</b> Each of its points is two numbers. From these alone, the decoder of
a small VAE draws a digit.</p>
</div></div></div>
</div>
"""


def main():
    tiles = classes()
    draw_map(tiles).save(MAP, "webp", quality=60, alpha_quality=60, method=6)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    (PAGE.parent / "train.html").write_text(TrainExplorer()._page() + "\n", encoding="utf-8", newline="\n")
    for name, text in _packed.files().items():
        (_packed.FILES / f"{name}.js").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
