"""From a file to an image of one size, by Pillow: turned upright, on white, in bytes, resized and cropped."""

import functools

import numpy as np

# What can be said of an image, in the order in which a summary says it.
NOTES = (
    RESIZED := "resized",
    ENLARGED := "of them enlarged",
    CROPPED := "cropped to the centre",
    TURNED := "turned upright by EXIF",
    ON_WHITE := "transparent, put on white",
    DEEP := "of 16 bits, brought to 8",
    DARK := "of them nearly black",
    INKS := "in CMYK, without its colour profile",
    GREY := "grey, in three equal channels",
    COLOURS := "in colour, made grey",
    FIRST := "animated, first frame taken",
)
_LEAST = 32  # of 255, which some pixel of 16 bits should reach: 13 bits in 16 do not
_OVERSIZE = 3  # times the wanted size, to which a JPEG may be reduced while it is decoded: faster, and no worse to see
_DEEP = (";16L", ";16B", ";16N")  # how Pillow names what it brings to 8 bits itself, such as "RGB;16B"
_ORIENTATION = 0x0112  # EXIF's tag
# EPS is a program, which a file from anywhere must not run; of the others Pillow knows no more than the name.
_NEVER = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}


class LeftOut(Exception):
    """A file that gives no image; its text says why."""


def read(file, shape):
    """Return the image in an open file as uint8 ``(C, H, W)`` of a shape, and which of ``NOTES`` hold of it.

    The short side is resized, with antialiasing, and the long one cropped to its centre. Raises LeftOut for a picture
    that is too large or of an unknown range, and whatever Pillow raises for a file that is damaged or no picture.
    """
    from PIL import Image, ImageOps

    channels, height, width = shape
    try:
        picture = Image.open(file, formats=formats())
    except Image.DecompressionBombError:
        raise LeftOut("too large") from None
    size, kind = picture.size, picture.format
    notes = {DEEP} if any(mark in str(picture.tile) for mark in _DEEP) else set()
    if getattr(picture, "is_animated", False) and kind != "MPO":  # a telephone's MPO is one photograph with extras
        notes.add(FIRST)
        picture.seek(0)
    picture.draft(None, (_OVERSIZE * max(width, height),) * 2)
    if Image.MAX_IMAGE_PIXELS is not None and picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
        raise LeftOut("too large")
    orientation = picture.getexif().get(_ORIENTATION, 1)
    if orientation in range(2, 9):
        notes.add(TURNED)
        picture = ImageOps.exif_transpose(picture)
        size = size[::-1] if orientation >= 5 else size
    if picture.mode.startswith("I;16") or (picture.mode == "I" and kind == "PNG"):
        notes.add(DEEP)
        picture = Image.fromarray(((np.asarray(picture).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise LeftOut("of numbers without a known range")
    if DEEP in notes and np.asarray(picture.convert("RGB")).max() < _LEAST:
        notes.add(DARK)
    notes |= _kind(picture.mode, channels)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        notes.add(ON_WHITE)
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("L" if channels == 1 else "RGB")
    notes |= _done(*size, width, height)
    if picture.size != (width, height):
        box = _centre(*picture.size, width, height)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC, box, reducing_gap=_OVERSIZE)
    pixels = np.asarray(picture).reshape(height, width, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), notes


@functools.cache
def formats():
    """Return the names of the formats that are read: all of Pillow's but a few."""
    from PIL import Image

    Image.init()
    return tuple(name for name in Image.OPEN if name not in _NEVER)


def is_named_as_one(name):
    """Return whether a file's name ends as one of these formats' does."""
    from PIL import Image

    endings = Image.registered_extensions()
    return endings.get("." + name.rpartition(".")[2].lower()) in formats()


def _kind(mode, channels):
    """The notes of a picture of some mode that gets so many channels. A palette may be of greys or of colours."""
    grey = mode in ("1", "L", "LA")
    notes = {INKS} if mode == "CMYK" else set()
    if grey and channels == 3:
        notes.add(GREY)
    if not grey and channels == 1 and mode not in ("P", "PA"):
        notes.add(COLOURS)
    return notes


def _centre(w, h, width, height):
    """The largest box of the shape of width x height in the centre of w x h, as (left, upper, right, lower)."""
    scale = min(w / width, h / height)
    left, upper = max(0.0, (w - scale * width) / 2), max(0.0, (h - scale * height) / 2)
    return left, upper, w - left, h - upper


def _done(w, h, width, height):
    """The notes of a picture of w x h that becomes width x height."""
    notes, scale = set(), min(w / width, h / height)
    if scale != 1:
        notes |= {RESIZED, ENLARGED} if scale < 1 else {RESIZED}
    if w * height != h * width:
        notes.add(CROPPED)
    return notes
