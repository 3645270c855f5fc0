"""The emoji that come with the package: one large picture, and a name for each small one on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.Image

FOLDER = Path(__file__).parent / "emoji"


def emoji_sheet() -> tuple[PIL.Image.Image, list[str]]:
    """Return 1,911 emoji on one sheet of 44 in a row, 64 x 64 pixels each, and their names, such as food-drink/bread.

    A picture of Pillow, RGB on white, and the names in the sheet's order, row by row. They are Noto Emoji, copyright
    Google LLC, under the Apache License 2.0 (vae_tutorial/emoji/README.md).
    """
    import PIL.Image  # here: the reference of the book is built without it

    with PIL.Image.open(FOLDER / "sheet.webp") as sheet:
        names = (FOLDER / "names.txt").read_text("utf-8").split()
        return sheet.convert("RGB"), names
