"""The recipes as commands: ``python -m vae_tutorial train --model conv --epochs 10 --checkpoint conv.pt``.

Each command is a file of ``vae_tutorial/cli``.
"""

import sys

from vae_tutorial.cli import main

if __name__ == "__main__":
    sys.exit(main())
