"""Give the course another address: ``python tools/address.py https://github.com/OWNER/NAME``.

The address stands in _config.yml. Badges, bootstrap cells, citations and links repeat it, as a page that is read
elsewhere must. This changes it in every text file of git, and the address of the published book with it.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GITHUB = "https://github.com/"
VENDORED = ("book/_static/katex/", "book/_ext/katex.min.js", "book/_static/fonts/", "tests/vendor/")


def read_address(root):
    """Return owner and name of the repository, from ``_config.yml``."""
    found = re.search(rf"^  url: {GITHUB}([\w-]+)/([\w.-]+)$", (root / "_config.yml").read_text("utf-8"), re.MULTILINE)
    if not found:
        sys.exit(f"_config.yml has no line '  url: {GITHUB}OWNER/NAME' below 'repository:'")
    return found.groups()


def replaced(text, old, new):
    """Return the text with one repository's addresses in place of another's; both as (owner, name)."""
    (owner, name), (new_owner, new_name) = old, new
    # On GitHub itself, in Colab ("/github/OWNER/NAME") and in Binder ("/gh/OWNER/NAME"); not within a longer name.
    slug = rf"(github\.com[/:]|githubusercontent\.com/|/github/|/gh/){re.escape(owner)}/{re.escape(name)}(?![\w-])"
    text = re.sub(slug, rf"\g<1>{new_owner}/{new_name}", text)
    text = text.replace(f"{owner}.github.io/{name}", f"{new_owner}.github.io/{new_name}")
    text = re.sub(rf"^(\s*cd ){re.escape(name)}$", rf"\g<1>{new_name}", text, flags=re.MULTILINE)
    return re.sub(rf"(notfound_urls_prefix: )/{re.escape(name)}/", rf"\g<1>/{new_name}/", text)


def main(address, root=ROOT):
    """Change the address in all text files of git below ``root``, and print which files changed."""
    given = re.fullmatch(rf"{GITHUB}([\w-]+)/([\w.-]*\w)", address.removesuffix(".git").rstrip("/"))
    if not given:
        sys.exit(f"the address must have the form {GITHUB}OWNER/NAME; got {address!r}")
    old, new = read_address(root), given.groups()
    names = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        path = root / name
        if name.startswith(VENDORED) or not path.is_file():
            continue
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue
        if (changed := replaced(text, old, new)) != text:
            path.write_bytes(changed.encode("utf-8"))
            print(name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python tools/address.py {GITHUB}OWNER/NAME")
    main(sys.argv[1])
