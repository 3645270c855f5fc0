"""Progress bars."""

import os

from tqdm.auto import tqdm


def bar(steps, unit, progress=True, **more):
    """Return the steps with a bar, where ``progress`` holds: in a terminal and in a notebook, none in a log file.

    None either where the environment sets TQDM_DISABLE. ``steps``: an iterable, or None where ``total=`` is given.
    """
    silent = None if progress and not os.environ.get("TQDM_DISABLE") else True  # None lets tqdm decide
    return tqdm(steps, unit=unit, leave=False, disable=silent, **more)
