"""The built book also works without a server, and packs itself for those who want to take it along.

A browser that opens a page from a folder refuses to load JavaScript modules. So the explorers' modules are written as
texts into one ordinary script, which explorers/page.js reads there. Then the whole site is packed into one file.
"""

import json
import re
import zipfile
from pathlib import Path

NAME = "vae-tutorial-offline.zip"
NOT_TAKEN = (".buildinfo", ".nojekyll", "vae-tutorial.pdf")  # the PDF is a file to take along by itself
PRELOADED = re.compile(rb'<link rel="preload"[^>]* as="font"[^>]*>\n?')
SAME_DAY = (2000, 1, 1, 0, 0, 0)  # so that the same book gives the same file


def write_modules(folder):
    """Write ``offline.js`` beside the explorers' modules: their texts, by file name."""
    modules = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.js"))}
    for name in ("page.js", "offline.js"):
        modules.pop(name, None)
    text = json.dumps(modules, ensure_ascii=False)
    (folder / "offline.js").write_text(f"window.explorerModules = {text};\n", "utf-8")


def pack(site):
    """Pack a built site into one zip file at its root, all below a folder of its own; return the file's path."""
    target, part = site / NAME, site / f"{NAME}.part"
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(site.rglob("*")):
            name = path.relative_to(site)
            if path.is_file() and path not in (target, part) and name.name not in NOT_TAKEN:
                entry = zipfile.ZipInfo(f"vae-tutorial/{name.as_posix()}", SAME_DAY)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                content = path.read_bytes()
                # From a folder a browser does not preload a font, and says so on the console.
                archive.writestr(entry, PRELOADED.sub(b"", content) if path.suffix == ".html" else content)
    part.replace(target)
    return target


def finish(app, error):
    """After a whole build as HTML: write the script, then the zip file."""
    if error is None and app.builder.name == "html":
        write_modules(Path(app.outdir, "_static", "explorers"))
        pack(Path(app.outdir))


def setup(app):
    app.connect("build-finished", finish, priority=900)  # after those that write the site map and copy pictures
    return {"parallel_read_safe": True}
