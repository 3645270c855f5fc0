import os

import pytest
import torch

os.environ["TQDM_DISABLE"] = "1"
torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
