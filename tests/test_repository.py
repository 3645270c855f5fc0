"""The repository's own consistency: addresses, versions, pins, and lists of notebooks that are kept in several places.

Addresses and versions are compared with their one source each: _config.yml and pyproject.toml.
"""

import json
import re
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
SLUG = CONFIG["repository"]["url"].removeprefix("https://github.com/")  # "owner/name"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MOST_BYTES = 3_000_000


def read(path):
    return (ROOT / path).read_text("utf-8")


@cache
def project():
    # Python 3.10 has no parser for TOML; the newer Pythons of the matrix make these checks.
    tomllib = pytest.importorskip("tomllib")
    return tomllib.loads(read("pyproject.toml"))["project"]


@cache
def files():
    """What is in git, or will be with the next commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    # A file that was just deleted is still listed.
    return sorted({ROOT / name for name in names if name and (ROOT / name).is_file()})


@cache
def texts():
    """The files of git that are text: from the name below the root to what is in it."""
    found = {}
    for path in files():
        try:
            found[path.relative_to(ROOT).as_posix()] = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
    return found


def cells(notebook, kind):
    """The sources of a notebook's cells of one kind."""
    content = json.loads(notebook.read_text("utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


# Addresses

# A repository on GitHub, directly or by way of Colab ("/github/owner/name/") or Binder ("/v2/gh/owner/name/").
ADDRESS = re.compile(
    r"(?:github\.com[/:]|raw\.githubusercontent\.com/|colab\.[\w.]+/github/|/v2/gh/)"
    r"([\w.-]+)/([\w.-]*\w)",
    re.IGNORECASE,
)
SITE = re.compile(r"https?://([\w-]+)\.github\.io/([\w.-]*)", re.IGNORECASE)


def addresses(text):
    """The repositories "owner/name" that a text mentions."""
    return {f"{owner}/{name.removesuffix('.git')}" for owner, name in ADDRESS.findall(text)}


def is_ours(slug):
    """Whether an address is meant to be ours, though it may be an old or a mistyped one."""
    parts = {part.lower().replace("_", "-") for part in slug.split("/")}
    return bool(parts & {part.lower() for part in SLUG.split("/")} or "vae-tutorial" in parts)


def test_repository_address_is_an_address():
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w.-]*\w", CONFIG["repository"]["url"])


@pytest.mark.parametrize("path", ["pyproject.toml", "CITATION.cff", "README.md"])
def test_repository_address_is_given(path):
    assert SLUG in addresses(read(path))


def test_our_addresses_agree():
    wrong = [
        f"{name}: {slug}"
        for name, text in texts().items()
        for slug in sorted(addresses(text))
        if is_ours(slug) and slug != SLUG
    ]
    assert not wrong, f"not {SLUG}:\n" + "\n".join(wrong)


def test_site_address_agrees():
    owner, name = SLUG.split("/")
    base = CONFIG["html"]["baseurl"]
    assert base == f"https://{owner}.github.io/{name}/"
    wrong = [
        f"{path}: {host}.github.io/{page}"
        for path, text in texts().items()
        for host, page in SITE.findall(text)
        if is_ours(f"{host}/{page}") and (host, page) != (owner, name)
    ]
    assert not wrong, f"not {base}:\n" + "\n".join(wrong)
    assert yaml.safe_load(read("CITATION.cff"))["url"] == base
    assert project()["urls"]["Book"] == base


# Versions


def test_version_is_the_same_everywhere():
    version = project()["version"]
    citation = yaml.safe_load(read("CITATION.cff"))
    assert str(citation["version"]) == version, "CITATION.cff"
    assert f'__version__ = "{version}"' in read("vae_tutorial/__init__.py"), "vae_tutorial/__init__.py"
    installs = re.compile(rf"{re.escape(SLUG)}(?:\.git)?@([\w.-]*\w)")
    wrong = [
        f"{name}: @{tag}" for name, text in texts().items() for tag in installs.findall(text) if tag != f"v{version}"
    ]
    assert not wrong, f"not @v{version}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_installs_the_package_of_its_version(notebook):
    install = f"git+https://github.com/{SLUG}@v{project()['version']}"
    assert any(install in cell for cell in cells(notebook, "code")), f"no cell installs {install} where it is missing"


# Lists of notebooks


def toc_files(node):
    """The file names in a table of contents, however deep."""
    if isinstance(node, list):
        return [name for child in node for name in toc_files(child)]
    if isinstance(node, dict):
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [name for child in node.values() for name in toc_files(child)]
    return []


def test_toc_lists_every_notebook_once_in_order():
    listed = [name for name in toc_files(yaml.safe_load(read("_toc.yml"))) if name.startswith("notebooks/")]
    assert listed == [f"notebooks/{path.stem}" for path in NOTEBOOKS]


def test_toc_has_nothing_missing():
    listed = toc_files(yaml.safe_load(read("_toc.yml")))
    missing = [name for name in listed if not any((ROOT / f"{name}{end}").is_file() for end in (".md", ".ipynb"))]
    assert listed
    assert not missing


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_readme_has_a_row_for_the_notebook(notebook):
    """The notebook is linked in a row of a table, and that row names no other notebook."""
    rows = [line for line in read("README.md").splitlines() if line.lstrip().startswith("|")]
    named = [set(re.findall(r"notebooks/([\w-]+)", row)) for row in rows]
    assert {notebook.stem} in named, f"no row of README.md's table links notebooks/{notebook.name} alone"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_opens_itself_in_colab(notebook):
    opened = re.findall(r"colab\.[\w.]+/github/([^\s)\"'>#]+)", "\n".join(cells(notebook, "markdown")))
    assert set(opened) <= {f"{SLUG}/blob/running/{notebook.name}"}


# Commands


def test_ci_calls_what_the_makefile_has():
    """And .ci/run, once, the two commands of the README."""
    targets = set(re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)[1].split())
    scripts = [read(".ci/run"), *(path.read_text("utf-8") for path in WORKFLOWS)]
    called = [re.findall(r"^(?: *- run: | *)make (.+)$", text, re.MULTILINE) for text in scripts]
    assert called[0] == ["book test"]
    words = {word for lines in called for line in lines for word in line.split() if "=" not in word}
    assert words <= targets | {".venv/.book", ".venv/.test"}
    assert {"book", "test", "check", "lowest"} <= words


# Pins


def used_actions(node):
    """Every value of "uses" in a workflow."""
    if isinstance(node, list):
        return [action for child in node for action in used_actions(child)]
    if isinstance(node, dict):
        own = [node["uses"]] if isinstance(node.get("uses"), str) else []
        return own + [action for child in node.values() for action in used_actions(child)]
    return []


def test_actions_are_pinned_to_commits():
    # A tag can be moved to other code later; a commit cannot. The comment tells people which release it is.
    line = re.compile(r"^ *(?:- )?uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+(?:\.\d+)+)$", re.MULTILINE)
    versions, wrong = {}, []
    for path in WORKFLOWS:
        text = path.read_text("utf-8")
        pinned = line.findall(text)
        for action, commit, version in pinned:
            versions.setdefault(action, set()).add((commit, version))
        # What YAML reads must be what the pattern finds, so that no other way of writing it slips through.
        if sorted(used_actions(yaml.safe_load(text))) != sorted(f"{action}@{commit}" for action, commit, _ in pinned):
            wrong.append(path.name)
    assert versions
    assert not wrong, f"not every action is written as owner/name@commit # version: {wrong}"
    assert not {action for action, found in versions.items() if len(found) > 1}, "one action at two versions"


def constraints():
    lines = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    return [Requirement(line) for line in lines]


def direct_dependencies():
    names = ("book/requirements.txt", "book/pdf-requirements.txt", "tests/requirements.txt")
    lists = [read(name).splitlines() for name in names]
    lines = [line.split(" #")[0].strip() for lines in [*lists, project()["dependencies"]] for line in lines]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_constraints_are_exact_versions():
    # pip refuses extras and files in a constraints file, but only when somebody installs.
    wrong = [
        str(pin) for pin in constraints() if pin.extras or pin.url or not re.fullmatch("==[^*,]+", str(pin.specifier))
    ]
    assert not wrong


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_pin_every_direct_dependency(python):
    environment = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "implementation_name": "cpython",
        "platform_machine": "x86_64",
        "sys_platform": "linux",
    }
    pins = {}
    for pin in constraints():
        if pin.marker is None or pin.marker.evaluate(environment):
            pins.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    assert not {name: versions for name, versions in pins.items() if len(versions) > 1}, "two versions for one Python"
    wanted = direct_dependencies()
    assert wanted
    missing = [str(need) for need in wanted if canonicalize_name(need.name) not in pins]
    assert not missing, f"constraints.txt lacks {missing} for Python {python}: run 'make constraints'"
    outside = [str(need) for need in wanted if not need.specifier.contains(pins[canonicalize_name(need.name)][0])]
    assert not outside, f"the versions in constraints.txt do not meet {outside}: run 'make constraints'"


# What must not be committed

# Put together from parts, so that this file does not contain what it looks for.
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in [
            ("py" + "pi", "org"),
            ("python" + "hosted", "org"),
            ("npm" + "js", "org"),
            ("npm" + "js", "com"),
            ("deb", "debian", "org"),
            ("archive", "ubuntu", "com"),
            ("ana" + "conda", "org"),
            ("crates", "io"),
        ]
    ),
    re.IGNORECASE,
)
# Not within a web address or a longer path, where the same letters are harmless.
MACHINE_PATHS = re.compile(
    r"(?:(?<![\w.:/+=-])|(?<=file://))(?:/(?:w[o]rk|r[o]ot|h[o]me|U[s]ers|tmp/ipykernel\w*)/|[A-Z]:\\+U[s]ers\\)"
)
VENDORED = ("book/_static/katex/", "book/_ext/katex.min.js", "book/_static/fonts/", "tests/vendor/")


@pytest.mark.parametrize("pattern", [REGISTRIES, MACHINE_PATHS], ids=["registry", "path"])
def test_nothing_of_one_machine_is_committed(pattern):
    found = [
        f"{name}: {text[max(match.start() - 30, 0) : match.end() + 30]!r}"
        for name, text in texts().items()
        if not name.startswith(VENDORED)
        for match in pattern.finditer(text)
    ]
    assert texts()
    assert not found, "a registry's host or a path of one machine:\n" + "\n".join(found)


def test_files_are_small():
    large = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in files()}
    large = {name: size for name, size in large.items() if size > MOST_BYTES}
    assert not large, f"more than {MOST_BYTES:,} bytes: {large}"


# One command gives the course another address


@pytest.mark.process
def test_one_command_changes_the_address_everywhere(tmp_path):
    """In a copy: afterwards the old address is nowhere, and this file's other tests hold there."""
    owner, name = "Some-One", "nats.course"  # apart, or the way back would change them in this file
    for path, text in texts().items():
        if not path.startswith(VENDORED):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, "utf-8")

    def run(*command):
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    run("git", "init", "--quiet")
    run("git", "add", "--all")
    run(sys.executable, "tools/address.py", f"https://github.com/{owner}/{name}")
    after = {path: (tmp_path / path).read_text("utf-8") for path in texts() if (tmp_path / path).is_file()}
    assert not [path for path, text in after.items() if SLUG in addresses(text)]
    assert f"{owner}/{name}" in addresses(after["README.md"])
    assert f"https://{owner}.github.io/{name}/" in after["CITATION.cff"]
    quick = ["-q", "-p", "no:cacheprovider", "--noconftest"]  # without torch, which they do not need
    run(sys.executable, "-m", "pytest", *quick, "tests/test_repository.py", "-k", "not command")

    run(sys.executable, "tools/address.py", CONFIG["repository"]["url"])
    assert not [path for path in after if (tmp_path / path).read_text("utf-8") != texts()[path]]


@pytest.mark.parametrize(
    "wrong", ["vae-tutorial", "https://gitlab.com/a/b", "https://github.com/a", "https://github.com/a/b/c"]
)
def test_an_address_of_another_form_is_refused(wrong):
    """Before anything is read: there is nothing in the folder."""
    with pytest.raises(SystemExit, match=r"https://github\.com/OWNER/NAME; got"):
        runpy.run_path(str(ROOT / "tools" / "address.py"))["main"](wrong, Path("/nowhere"))
