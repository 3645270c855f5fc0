import os

import pytest
import torch

os.environ["TQDM_DISABLE"] = "1"
torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def chromium():
    """A browser, for the tests of explorers."""
    from explorer_page import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def explorer(chromium, tmp_path):
    """A page in which one explorer can be opened and driven: see explorer_page.Page."""
    from explorer_page import explorer_page

    with explorer_page(chromium, tmp_path) as page:
        yield page
