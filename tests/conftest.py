"""What all tests share: one thread, the tiers that pytest's ``-m`` chooses from, a browser."""

import os
import sys
from pathlib import Path

# Before torch is imported, and in the environment, so that the processes which tests start have it too: with several
# OpenMP threads on busy cores, each small tensor operation spins until the other threads are scheduled.
os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}

import pytest
import torch

BROWSER = {"browser", "chromium", "explorer"}  # the fixtures that open one
BUILT = Path(__file__).resolve().parents[1] / "_build" / "html"
_started = []  # the Python processes that were started since the last look

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))  # for checkup_cases

sys.addaudithook(lambda event, args: _started.append(args[1]) if event == "subprocess.Popen" else None)


def pytest_collection_modifyitems(items):
    for item in items:
        if BROWSER & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.browser)
        if "built" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.book)


@pytest.fixture(autouse=True)
def python_only_where_it_is_marked(request):
    """``make check`` stays quick only if every test that starts another Python, with its imports, says so."""
    _started.clear()
    yield
    marked = {mark.name for mark in request.node.iter_markers()} & {"process", "timed"}
    assert marked or not any(map(_is_python, _started)), "it starts a Python process: mark it with pytest.mark.process"


def _is_python(command):
    first = command if isinstance(command, str | bytes | os.PathLike) else command[0]
    return os.fsdecode(first) == sys.executable


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def built():
    """The folder of the built book. Where it is missing, a newcomer's tests are skipped, and CI's fail."""
    if not (BUILT / "index.html").is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("_build/html is missing: run 'make book' first")
    return BUILT


@pytest.fixture(scope="session")
def chromium():
    """A browser, for the tests of explorers and of the book."""
    from explorer_page import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def explorer(chromium, tmp_path_factory):
    """A page in which one explorer after the other can be opened and driven: see explorer_page.Page."""
    from explorer_page import explorer_page

    with explorer_page(chromium, tmp_path_factory.mktemp("explorer")) as page:
        yield page
