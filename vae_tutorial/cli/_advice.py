"""The doctor's advice: commands to paste, in the form for a shell or for a notebook."""

import importlib.util
import os
import shutil
import sys
from importlib import metadata

from vae_tutorial import __version__


def place():
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return "Colab"
    kernel = sys.modules.get("ipykernel.kernelapp")  # which widgets may have imported without running one
    running = kernel and kernel.IPKernelApp.initialized()
    # The variable is also set in a process that a cell starts with "!".
    return "Jupyter" if running or "JPY_PARENT_PID" in os.environ else "a plain Python"


def shell(command):
    return command if place() == "a plain Python" else f"!{command}"


def python(arguments):
    return shell(f"{_program()} {arguments}")


def pip(arguments):
    if importlib.util.find_spec("pip") is None and shutil.which("uv"):  # as in a virtual environment that uv made
        action, rest = arguments.split(" ", 1)
        return shell(f"uv pip {action} --python {_program()} {rest.replace('-y ', '')}")
    return python(f"-m pip {arguments}")


def pair():
    # Uninstalled first: to pip, a torch for CUDA and one for the CPU alone are the same version.
    return f"{pip('uninstall -y torch torchvision')} && {pip('install torch torchvision').lstrip('!')}"


def reinstall(folder):
    if (folder.parent / ".git").exists():
        return shell(f'git -C "{folder.parent}" checkout -- vae_tutorial/weights')
    return pip(f'install --force-reinstall --no-deps "{address()}"')


def setting(name, value):
    if place() != "a plain Python":
        return f"%env {name}={value}"
    if os.name == "nt":
        return f"set {name}={value}"
    return f'export {name}="{value}"' if value else f"unset {name}"


def address():
    pages = dict(line.split(", ", 1) for line in metadata.metadata("vae-tutorial").get_all("Project-URL") or [])
    return f"vae-tutorial @ git+{pages['Repository']}@v{__version__}"


def _program():
    program = sys.executable or "python"  # the full path: the shell's "python" may be another
    return f'"{program}"' if " " in program else program
