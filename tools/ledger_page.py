"""Write the tables of book/ledger.md from the ledger, the shipped models' cards and the stored results.

    python tools/ledger_page.py     (part of `make figures`)

Each table stands between two comments that name it. Nothing in a table is written by hand, but for what others have
published, which is THEIRS below, or in `reproduce.ROWS`.
"""

import math
import re
from pathlib import Path

from vae_tutorial import ledger, pretrained, reproduce, stored

PAGE = Path(__file__).resolve().parents[1] / "book" / "ledger.md"
SHIPPED = {
    "mlp": "MLP VAE, 20 latent dimensions, 150 passes",
    "conv": "convolutional VAE, 20 latent dimensions, 60 passes",
    "burda2016-vae": "the VAE of {cite:t}`burda2016importance`, trained again, 3,000 passes",
    "pixel": "PixelVAE, pixels that look at their neighbours, 32 latent dimensions, 60 passes",
}
# nats, what, how they measured it: as published, not measured here.
THEIRS = [
    *(
        (
            f"{row.nats:.2f}",
            f"{row.title}, two layers of 200 {{cite:p}}`burda2016importance`",
            "5,000 draws of the encoder",
        )
        for row in reproduce.ROWS.values()
    ),
    ("78.01", "NVAE, a deep hierarchy {cite:p}`vahdat2020nvae`", "1,000 draws of the encoder"),
]


def table(head, rows):
    """Return a Markdown table; the first column is aligned to the right."""
    lines = [head, ["--:", *[":--"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def course():
    """Return the rows that the chapters compute."""
    rows = []
    for row in sorted([*ledger.rows(), ledger.floor()], key=lambda row: -row.nats):
        sign = {"exact": "", "bound": "≤ ", "floor": "≥ "}[row.kind]
        how = {"exact": "exact", "bound": "minus ELBO, one draw", "floor": "exact, for any model"}[row.kind]
        chapter = f"[{row.chapter}](../notebooks/{notebook(row.chapter)})"
        rows.append((f"{sign}{row.nats:.1f} ± {row.stderr:.1f}", row.model, how, chapter))
    return table(("nats per digit", "model", "measured", "ch."), rows)


def notebook(chapter):
    """Return a chapter's file name."""
    return next((PAGE.parents[1] / "notebooks").glob(f"{chapter:02d}_*.ipynb")).name


def shipped():
    """Return the rows of the shipped models, from their cards."""
    rows = []
    for name, what in SHIPPED.items():
        card = pretrained.card(name)
        bound, log_p = (f"{-mean.value:.1f} ± {mean.stderr:.1f}" for mean in (card.elbo, card.log_p))
        rows.append((log_p, f"≤ {bound}", what, f"`{card.command}`"))
    return table(("nats per digit", "minus ELBO", "model", "trained and measured by"), rows)


def files():
    """Return the rows of real files with all 10,000 digits in them."""
    found = stored.load("compression").values
    names = {"mlp": "`mlp`, bits-back", "conv": "`conv`, bits-back", "bz2": "bz2", "xz": "xz", "gzip": "gzip"}
    written = {name: found["black and white"][name]["bytes"] for name in ("mlp", "conv")}
    sizes = {**written, **found["rivals"]["black and white"]}
    rows = [
        (f"{sizes[name] * 8 * math.log(2) / 10_000:.1f}", f"{sizes[name]:,} bytes", what)
        for name, what in sorted(names.items(), key=lambda item: sizes[item[0]])
    ]
    return table(("nats per digit", "file", "written by"), rows)


def theirs():
    """Return what others have published."""
    return table(("nats per digit", "model", "measured"), THEIRS)


def text():
    """Return the page with its tables made anew."""
    found = PAGE.read_text("utf-8")
    for name, make in {"course": course, "shipped": shipped, "files": files, "theirs": theirs}.items():
        before, after = f"<!-- {name} -->\n", "\n<!-- end -->"
        found, count = re.subn(f"(?s){before}.*?{after}", (before + make() + after).replace("\\", r"\\"), found)
        if count != 1:
            raise SystemExit(f"{PAGE} must have one table between <!-- {name} --> and <!-- end -->; it has {count}")
    return found


if __name__ == "__main__":
    PAGE.write_text(text(), "utf-8")
