"""A folder of pictures: what becomes of each, what is left out and named, and how they are split."""

import contextlib
import json
import os
import re
import struct
import warnings
import zlib
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
import torch
import torchvision.transforms.v2.functional as other

from vae_tutorial import _folder, _pictures, data, training

ROOT = Path(__file__).resolve().parents[1]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def save(path, colour=RED, size=(8, 8), mode="RGB", **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new(mode, size, colour).save(path, **more)
    return path


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height, width):
    """A picture in which nothing changes from one pixel to the next by much."""
    y, x = np.mgrid[:height, :width] / 40
    waves = [np.sin(x + 1), np.cos(y), np.sin(x + y)]
    return np.stack([127.5 + 120 * wave for wave in waves], -1).round().astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Forty different small pictures in two sub-folders."""
    for n in range(40):
        path = tmp_path / "photos" / ("cats", "dogs")[n % 2] / f"{n:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(noise(8, 8, 3, seed=n)).save(path)
    return tmp_path / "photos"


def only(path, **more):
    """All images of a folder, as a tensor."""
    return data.from_folder(path, **{"size": 8, "split": 0} | more)[0].images


def test_pictures_of_the_right_size_are_taken_byte_for_byte(folder, capsys):
    train, test = data.from_folder(folder, size=8, split=0.3)
    for part in (train, test):
        assert part.images.dtype == torch.uint8
        assert part.images.shape == (len(part), 3, 8, 8)
        assert part.labels.dtype == torch.int64
        assert part.classes == ("cats", "dogs")
        assert part.name == "photos"
        for image, label, file in zip(part.images, part.labels, part.files, strict=True):
            picture = np.array(PIL.Image.open(folder / file))
            assert torch.equal(image, torch.from_numpy(picture).permute(2, 0, 1))
            assert file.startswith(part.classes[label])
    assert [*train.files] == sorted(train.files)
    assert sorted(train.files + test.files) == sorted(
        f"{'cats' if n % 2 == 0 else 'dogs'}/{n:02}.png" for n in range(40)
    )
    assert (train.split, test.split) == ("train", "test")
    assert capsys.readouterr().out == (
        f"photos: 40 images of 3 x 8 x 8 (none had to be changed); {len(train)} to train on, {len(test)} to test on\n"
    )


def test_a_picture_stays_on_its_side_when_others_come_and_go(folder):
    before = data.from_folder(folder, size=8, split=0.3)
    for n in range(40, 60):
        PIL.Image.fromarray(noise(8, 8, 3, seed=n)).save(folder / f"{n}.png")
    os.rename(folder / before[0].files[0], folder / "renamed.png")
    os.unlink(folder / before[0].files[1])
    after = data.from_folder(folder, size=8, split=0.3)
    for old, new, gone in zip(before, after, (before[0].files[:2], ()), strict=True):
        assert {*old.files} - {*gone} <= {*new.files}
    assert "renamed.png" in after[0].files
    assert after[0].classes == (".", "cats", "dogs")
    assert after[0].labels[after[0].files.index("renamed.png")] == 0


def test_the_share_is_that_of_the_split_and_the_seed_chooses_anew():
    digests = [n.to_bytes(4, "big") for n in range(20_000)]
    first, same, second = ([_pairs_is_test(d, 0.3, seed) for d in digests] for seed in (0, 0, 1))
    assert first == same
    assert np.mean(first) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 20_000) ** 0.5)
    assert np.mean(np.array(first) & second) == pytest.approx(0.09, abs=0.01)  # independent
    larger = [_pairs_is_test(d, 0.5, 0) for d in digests]
    assert all(b or not a for a, b in zip(first, larger, strict=True))  # a larger share contains the smaller


def _pairs_is_test(digest, split, seed):
    from vae_tutorial import _pairs

    return _pairs._is_test(digest, split, seed)


def test_the_same_picture_twice_is_on_one_side(folder):
    for path in sorted(folder.rglob("*.png")):
        (folder / "again" / path.name).parent.mkdir(exist_ok=True)
        (folder / "again" / path.name).write_bytes(path.read_bytes())
    train, test = ({os.path.basename(file) for file in part.files} for part in data.from_folder(folder, 8, split=0.4))
    assert not train & test
    assert len(train | test) == 40


def test_without_a_split_there_are_no_test_images(folder):
    train, test = data.from_folder(folder, size=8, split=0)
    assert len(train) == 40
    assert test is None


def test_large_pictures_are_resized_and_cropped_to_the_centre(tmp_path, capsys):
    """As torchvision does it on tensors, whose code is another than Pillow's."""
    wide, high = smooth(60, 100), smooth(90, 48)
    for name, picture in (("wide.png", wide), ("high.png", high)):
        PIL.Image.fromarray(picture).save(tmp_path / name)
    found = only(tmp_path, size=24)
    assert "2 resized, 2 cropped to the centre" in capsys.readouterr().out
    for ours, picture in zip(found, (high, wide), strict=True):
        theirs = torch.from_numpy(picture).permute(2, 0, 1)
        theirs = other.resize(theirs, [24], other.InterpolationMode.BICUBIC, antialias=True)
        theirs = other.center_crop(theirs, [24, 24])
        assert (ours.int() - theirs.int()).abs().float().mean() < 2
    flat = only(tmp_path, size=(12, 24))
    assert flat.shape == (2, 3, 12, 24)


def test_resizing_is_antialiased(tmp_path):
    """A chequered board becomes grey, not one of its colours."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    PIL.Image.fromarray(board).save(tmp_path / "board.png")
    found = only(tmp_path, channels=1)
    assert (found.float() - 127.5).abs().max() < 3


def test_small_pictures_are_enlarged_and_counted(tmp_path, capsys):
    save(tmp_path / "a.png", size=(4, 4))
    save(tmp_path / "b.png", size=(16, 8))
    assert only(tmp_path).shape == (2, 3, 8, 8)
    assert "(1 resized, 1 of them enlarged, 1 cropped to the centre)" in capsys.readouterr().out


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_upright(tmp_path, orientation, capsys):
    """Stored so that the tag brings it back, as the EXIF standard defines the eight values."""
    upright = smooth(24, 24)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),  # a camera that was turned clockwise sees the scene turned the other way
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(only(tmp_path, size=24)[0].permute(1, 2, 0), upright)
    assert ("1 turned upright by EXIF" in capsys.readouterr().out) == (orientation != 1)


def test_exif_of_an_oblong_picture_that_is_not_cropped_square(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    upright = smooth(40, 20)
    PIL.Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(only(tmp_path, size=(40, 20))[0].permute(1, 2, 0), upright)


def test_cmyk(tmp_path, capsys):
    save(tmp_path / "a.tif", colour=(0, 255, 128, 0), mode="CMYK")
    save(tmp_path / "b.tif", colour=(0, 0, 0, 51), mode="CMYK")
    found = only(tmp_path)[:, :, 0, 0]
    assert found.tolist() == [[255, 0, 127], [204, 204, 204]]  # (255 - ink) (255 - black) / 255
    assert "2 in CMYK, without its colour profile" in capsys.readouterr().out


@pytest.mark.parametrize("format_", ["png", "tif"])
def test_16_bits_become_8(tmp_path, format_, capsys):
    """Not by cutting off all above 255, as a plain conversion would: 65,535 is white, and 257 levels are one."""
    values = np.array([[0, 128, 129, 257, 32_768, 65_535, 65_407, 65_406]] * 8, dtype=np.uint16)
    PIL.Image.fromarray(values).save(tmp_path / f"a.{format_}")
    assert only(tmp_path, channels=1)[0, 0, 0].tolist() == [0, 0, 1, 1, 128, 255, 255, 254]
    assert only(tmp_path)[0, :, 0, 5].tolist() == [255, 255, 255]
    grey, colours = capsys.readouterr().out.splitlines()
    assert "(1 of 16 bits, brought to 8)" in grey
    assert "(1 of 16 bits, brought to 8, 1 grey, in three equal channels)" in colours


@pytest.mark.parametrize("colours", [False, True])
def test_12_bits_in_16_are_told(tmp_path, colours, capsys):
    values = np.full((8, 8), 4095, dtype=np.uint16)
    if colours:  # Pillow itself brings them to 8 bits
        rows = b"".join(b"\0" + row.astype(">u2").repeat(3).tobytes() for row in values)
        (tmp_path / "a.png").write_bytes(png(8, 8, 16, 2, rows))
    else:
        PIL.Image.fromarray(values).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match=r"of 16 bits \(1\) reaches 8,192 of 65,535, .* by 16 for 12"):
        assert only(tmp_path).unique().tolist() == [15 if colours else 16]
    assert "1 of 16 bits, brought to 8, 1 of them nearly black" in capsys.readouterr().out
    PIL.Image.fromarray(16 * values).save(tmp_path / "b.png")
    assert only(tmp_path).shape == (2, 3, 8, 8)  # one that is not dark: the range is the whole one


def test_colours_become_grey_by_their_brightness(tmp_path, capsys):
    save(tmp_path / "a.png", colour=GREEN)
    assert only(tmp_path, channels=1).unique().item() == round(0.587 * 255)  # of ITU-R recommendation 601
    assert "(1 in colour, made grey)" in capsys.readouterr().out


def test_palettes_with_and_without_transparency(tmp_path, capsys):
    picture = PIL.Image.new("P", (8, 8), 1)
    picture.putpalette([*RED, *GREEN, *BLUE])
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.png", transparency=1)
    assert only(tmp_path)[:, :, 0, 0].tolist() == [[*GREEN], [*WHITE]]
    assert "1 transparent, put on white" in capsys.readouterr().out


def test_transparency_is_put_on_white(tmp_path):
    save(tmp_path / "a.png", colour=(255, 0, 0, 0), mode="RGBA")
    save(tmp_path / "b.png", colour=(255, 0, 0, 102), mode="RGBA")  # 40 %
    save(tmp_path / "c.png", colour=(0, 102), mode="LA")
    found = only(tmp_path)[:, :, 0, 0]
    assert found.tolist() == [[255, 255, 255], [255, 153, 153], [153, 153, 153]]


@pytest.mark.parametrize(("mode", "colour", "expected"), [("1", 1, 255), ("L", 200, 200)])
def test_grey_pictures_have_three_equal_channels(tmp_path, mode, colour, expected, capsys):
    save(tmp_path / "a.png", colour=colour, mode=mode)
    assert only(tmp_path)[0, :, 0, 0].tolist() == [expected] * 3
    assert "(1 grey, in three equal channels)" in capsys.readouterr().out


def test_of_an_animation_the_first_frame(tmp_path, capsys):
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert only(tmp_path)[0, :, 0, 0].tolist() == [*RED]
    assert "1 animated, first frame taken" in capsys.readouterr().out


def png(width, height, depth=8, colour=0, rows=b"\0"):
    """A small file that claims to be a picture of that size."""

    def part(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


@pytest.mark.parametrize("side", [20_000, 10_000])  # above twice what Pillow allows, which is its error; above it once
def test_a_decompression_bomb_is_left_out_and_named(tmp_path, side, capsys):
    save(tmp_path / "good.png")
    (tmp_path / "bomb.png").write_bytes(png(side, side))
    assert len(only(tmp_path)) == 1
    assert "1 left out: 1 too large (bomb.png)" in capsys.readouterr().out


def test_a_large_photograph_is_read_reduced(tmp_path, monkeypatch):
    """Its JPEG is decoded at an eighth, so that less than the limit comes into memory."""
    save(tmp_path / "a.jpg", size=(800, 800))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 400_000)
    assert (only(tmp_path)[0, :, 0, 0].int() - torch.tensor(RED)).abs().max() < 4


def test_broken_and_foreign_files_are_named_and_counted(folder, capsys):
    (folder / "three.jpg").write_bytes(b"\xff\xd8\xff")
    whole = (folder / "cats" / "00.png").read_bytes()
    (folder / "half.png").write_bytes(whole[: len(whole) // 2])
    for n in range(5):
        (folder / f"notes{n}.txt").write_text("a text")
    (folder / "table.csv").write_text("1,2\n")
    PIL.Image.fromarray(np.zeros((8, 8), np.float32)).save(folder / "heights.tif")
    train, _ = data.from_folder(folder, size=8, split=0)
    assert len(train) == 40
    assert (
        "; 9 left out: 2 broken (half.png, three.jpg), 6 no image (notes0.txt, notes1.txt, notes2.txt, ...), "
        "1 of numbers without a known range (heights.tif); 40 to train on"
    ) in capsys.readouterr().out


def test_a_postscript_file_is_not_run(tmp_path, capsys):
    save(tmp_path / "good.png")
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    assert len(only(tmp_path)) == 1
    assert "1 no image (a.eps)" in capsys.readouterr().out


def test_names_in_unicode(tmp_path, capsys):
    names = ["Käse.png", "写真.png", "🙂.png"]
    for n, name in enumerate(names):
        save(tmp_path / "фото" / name, colour=(n, 0, 0))
    (tmp_path / "über.txt").write_text("")
    train, _ = data.from_folder(tmp_path, size=8, split=0)
    assert [*train.files] == sorted(f"фото/{name}" for name in names)
    assert train.classes == ("фото",)
    assert "1 no image (über.txt)" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_no_terminal_shows(tmp_path, capsys):
    save(tmp_path / "a.png")
    for name in (b"\xff.txt", b"two\nlines.txt"):
        with contextlib.suppress(OSError), open(os.path.join(os.fsencode(tmp_path), name), "wb"):
            pass  # macOS refuses the first
    data.from_folder(tmp_path, size=8, split=0, cache=tmp_path.with_name("cache"))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "two\\nlines.txt" in said


def test_hidden_files_and_folders_do_not_count(tmp_path, capsys):
    save(tmp_path / "a.png")
    save(tmp_path / ".trash" / "b.png")
    save(tmp_path / ".c.png")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert len(only(tmp_path)) == 1
    assert "left out" not in capsys.readouterr().out


@pytest.fixture
def links(tmp_path):
    if os.name == "nt":
        pytest.skip("Windows asks for a privilege")
    save(tmp_path / "elsewhere" / "out.png")
    inside = save(tmp_path / "photos" / "in.png")
    (tmp_path / "photos" / "again.png").symlink_to(inside)
    (tmp_path / "photos" / "out.png").symlink_to(tmp_path / "elsewhere" / "out.png")
    (tmp_path / "photos" / "outside").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "photos" / "circle").symlink_to(tmp_path / "photos")
    return tmp_path


def test_links_out_of_the_folder_are_left_out_and_named(links, capsys):
    train, _ = data.from_folder(links / "photos", size=8, split=0)
    assert train.files == ("again.png", "in.png")
    said = capsys.readouterr().out
    assert "2 linked from outside the folder (outside, out.png)" in said
    assert "1 unreadable (nowhere.png)" in said


def test_a_link_to_the_folder_itself_is_followed(links):
    (links / "link").symlink_to(links / "photos")
    assert data.from_folder(links / "link", size=8, split=0)[0].files == ("again.png", "in.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path, capsys):
    save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert len(only(tmp_path)) == 1
    assert "1 no ordinary file (pipe.png)" in capsys.readouterr().out


def test_files_and_folders_that_may_not_be_read(folder, capsys, monkeypatch):
    def refuse(path, *arguments, **named):
        if str(path).endswith("00.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, *arguments, **named)

    def scan(path):
        if str(path).endswith("dogs"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(_folder, "open", refuse, raising=False)  # root may read everything
    monkeypatch.setattr(os, "scandir", scan)
    assert len(only(folder)) == 19
    assert "2 left out: 2 unreadable (dogs, cats/00.png)" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["nothing", "texts", "hidden", "broken"])
def test_a_folder_without_images(tmp_path, what):
    if what == "texts":
        for n in range(4):
            (tmp_path / f"{n}.txt").write_text("hello")
    if what == "hidden":
        save(tmp_path / ".a.png")
    if what == "broken":
        (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    said = {
        "nothing": "it has no files",
        "hidden": "it has no files",
        "texts": r"4 left out: 4 no image \(0.txt, 1.txt, 2.txt, \.\.\.\)",
        "broken": r"1 left out: 1 broken \(a.jpg\)",
    }[what]
    with pytest.raises(data.DataError, match=f"holds no image that can be read; {said}"):
        data.from_folder(tmp_path)


def test_a_single_image_cannot_be_split(tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match=r"1 image of 3 x 64 x 64 .*a single one cannot be split. Give more, or split=0"
    ):
        data.from_folder(tmp_path)
    assert len(only(tmp_path)) == 1


def test_no_side_may_be_empty(folder):
    with pytest.raises(
        ValueError, match=r"left to test on with split=1e-09.*a larger split, split=0 for no test images"
    ):
        data.from_folder(folder, split=1e-9)
    with pytest.raises(ValueError, match=r"left to train on with split=0.999999999.*a smaller split, or another seed"):
        data.from_folder(folder, split=1 - 1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": 5}, "path must be the path of a file; got 5"),
        ({"size": 0}, "size must be made of whole numbers of at least 1; got 0"),
        ({"size": (8, 8, 8)}, r"size must be a number, or height and width; got \(8, 8, 8\)"),
        ({"size": 8.5}, "size must be made of whole numbers"),
        ({"channels": 4}, "channels must be 3 for colours, or 1 for grey; got 4"),
        ({"split": 1}, "split is the share of test images, from 0 to below 1, such as 0.1; got 1"),
        ({"split": -0.1}, "split must be a number of at least 0; got -0.1"),
        ({"seed": 0.5}, "seed must be a whole number"),
    ],
)
def test_bad_arguments(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.from_folder(**{"path": folder, "size": 8} | arguments)


@pytest.mark.parametrize(("name", "what"), [("no/such", "not there"), ("a.png", "a file")])
def test_a_path_that_is_no_folder(tmp_path, name, what):
    save(tmp_path / "a.png")
    with pytest.raises(data.DataError, match=rf"path must be a folder of images; .*{name} is {what}"):
        data.from_folder(tmp_path / name)


def test_pillows_warnings_are_not_the_readers(tmp_path, monkeypatch):
    """They are about the files, in words that help nobody; the filters are as before afterwards."""
    save(tmp_path / "a.png")
    read, before = _pictures.read, warnings.filters[:]

    def warned(*arguments):
        warnings.warn("Corrupt EXIF data", UserWarning, stacklevel=1)
        return read(*arguments)

    monkeypatch.setattr(_pictures, "read", warned)
    assert len(only(tmp_path)) == 1
    assert warnings.filters[:] == before


def test_the_bar_is_shown_only_where_it_may(folder, capfd):
    data.from_folder(folder, size=8)
    assert capfd.readouterr().err == ""


@pytest.mark.process
@pytest.mark.parametrize("kinds", [("",), ("cats", "dogs", "dogs")], ids=["no sub-folders", "sub-folders"])
def test_chapter_16_runs_on_a_readers_folder_with_one_line_changed(tmp_path, monkeypatch, kinds):
    """All code cells before the table, with one pass of training; photographs of several sizes, few of them."""
    for n in range(60):
        path = tmp_path / "my photos" / kinds[n % len(kinds)] / f"{n:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.roll(smooth(40 + n % 7, 50), 3 * n, (0, 1)) // (1 + n % 3)
        PIL.Image.fromarray(picture if n % 5 else picture[:, :, 0]).save(path)
    long = training.fit
    monkeypatch.setattr(training, "fit", lambda *given, **how: long(*given, **how | {"epochs": 1, "progress": False}))
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    notebook = json.loads((ROOT / "notebooks" / "16_your_own_images.ipynb").read_text("utf-8"))
    code = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"}
    line = 'folder = None  # yours: Path("photos")'
    assert code["own-03"].startswith(line)
    code["own-03"] = code["own-03"].replace(line, f"folder = Path({str(tmp_path / 'my photos')!r})")
    space = {}
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore")  # of few pictures much may be said
        for name, source in list(code.items())[: list(code).index("own-45")]:
            exec(compile(re.sub(r"^ *%pip .*$", "    pass", source, flags=re.MULTILINE), name, "exec"), space)
    assert not space["emoji"]
    assert len(space["test"]) < 20
    assert (tmp_path / "my photos.safetensors").exists()
