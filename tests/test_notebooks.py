"""The stored notebooks: their form, their equations' checks, and their definitions against the package's.

That the outputs are what the code says is nbval's work (tools/notebooks.py check); this reads what is stored.
"""

import ast
import base64
import hashlib
import heapq
import inspect
import io
import json
import math
import re
import statistics
from functools import cache
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image
from rerun import free
from scipy.spatial import geometric_slerp
from sklearn.mixture import GaussianMixture

from vae_tutorial import data, evaluation, exact, information, ledger, likelihoods, models, objectives, training

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIGURES = ROOT / "notebooks" / "figures"
IDS = [path.stem for path in NOTEBOOKS]
# What claims something, and ends the cell where it is not so.
CLAIM = re.compile(r"\b(assert |agree\(|below\(|ledger\.check\()")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)


@cache
def cells(path):
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in found]


def code_cells(path):
    return [cell for cell in cells(path) if cell["cell_type"] == "code"]


def prose(path):
    return "\n\n".join(cell["source"] for cell in cells(path) if cell["cell_type"] == "markdown")


def texts(output):
    """Every piece of text that a stored output shows."""
    found = [output.get("text", "")] + [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return ["".join(piece) for piece in found]


def python(cell):
    return TransformerManager().transform_cell(cell["source"])  # %pip is no Python


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 2


def strings(value):
    """All strings in what JSON holds."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part in parts for text in strings(part)]


@each_notebook
def test_no_backslash_was_eaten(path):
    """In a Python string that is not raw, backslash-alpha becomes a bell and "lpha", and backslash-theta a tab."""
    for cell in cells(path):
        for text in strings([cell["source"], cell["metadata"]]):
            assert not re.search(r"[^\n\x20-\U0010ffff]", text), f"{cell['id']}: {text[:200]!r}"


@each_notebook
def test_is_stored_as_executed_in_a_fresh_kernel(path):
    counts = [cell["execution_count"] for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))
    notebook = json.loads(path.read_text("utf-8"))
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}, "run make notebooks: it normalizes"
    assert "widgets" not in notebook["metadata"]


@each_notebook
def test_what_is_not_for_reading_is_folded(path):
    """A check with its output, the code of the set-up and of figures; in the page, in Colab and in JupyterLab.

    Not where a cell tells the ledger something: that is the chapter's answer.
    """
    for number, cell in enumerate(code_cells(path)):
        figure = "figure" in cell["metadata"].get("mystnb", {})
        check = cell["source"].startswith("# Check") and "ledger." not in cell["source"]
        tag = "hide-cell" if check else "hide-input" if figure or not number else None
        tags = set(cell["metadata"].get("tags", [])) & {"hide-cell", "hide-input"}
        assert tags == ({tag} if tag else set()), f"run make notebooks: {cell['id']}"
        assert ("cellView" in cell["metadata"]) == ("jupyter" in cell["metadata"]) == bool(tag)


@each_notebook
def test_outputs_are_clean(path):
    for number, cell in enumerate(code_cells(path), 1):
        for output in cell["outputs"]:
            where = f"code cell {number}"
            assert output["output_type"] != "error", f"{where}: a stored error"
            assert output.get("name") != "stderr", f"{where}: {output['text']}"
            for text in texts(output):
                bad = re.search(r"\bnan\b|Traceback|0x[0-9a-f]{6,}|/(?:home|root|tmp|work|usr)/|\d+%\|| Warning:", text)
                assert not bad, f"{where}: {bad[0]!r} in its output"


@each_notebook
def test_code_cells_are_short(path):
    """The limits count all lines. The median leaves out blank ones, of which two stand around each function."""
    cells = [cell["source"].splitlines() for cell in code_cells(path)]
    assert len(cells[0]) <= 16, "the first cell is the bootstrap and the imports"
    assert max(map(len, cells)) <= 25
    assert statistics.median(sum(bool(line.strip()) for line in cell) for cell in cells) <= 8


@each_notebook
def test_code_is_plain(path):
    """A function has a def, is given what it needs, and no rule is switched off."""
    for cell in code_cells(path):
        where = cell["id"]
        assert "noqa" not in cell["source"], f"{where}: a rule is switched off"
        for node in ast.walk(ast.parse(python(cell))):
            if isinstance(node, ast.Assign):
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                assert not any(isinstance(v, ast.Lambda) for v in values), f"{where}: a lambda with a name: use def"
            elif isinstance(node, ast.Lambda):
                assert not node.args.defaults, f"{where}: a default that fixes a variable: give it as an argument"
                steps = isinstance(node.body, ast.Tuple) or ":=" in ast.unparse(node.body)
                assert not steps, f"{where}: a lambda of several steps: use def"
            elif isinstance(node, ast.FunctionDef):
                fixed = [d.id for d in node.args.defaults if isinstance(d, ast.Name)]
                assert not fixed, f"{where}: a default that fixes {fixed}: give it as an argument"
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                text = ast.unparse(node)
                assert not re.fullmatch(r"torch\.(tensor|full|linspace|logspace)\(.*\)\.double\(\)", text), (
                    f"{where}: {text} rounds to float32 first: use dtype=torch.float64"
                )


@each_notebook
def test_the_first_cell_boots_colab_and_is_silent(path):
    first = code_cells(path)[0]
    assert '"google.colab" in sys.modules' in first["source"]
    assert first["outputs"] == []


@each_notebook
def test_every_figure_has_name_caption_and_alt_text_and_is_not_blank(path):
    names = []
    for number, cell in enumerate(code_cells(path), 1):
        pictures = [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
        figure = cell["metadata"].get("mystnb", {})
        assert len(pictures) <= 1, f"code cell {number}: one figure a cell"
        assert bool(pictures) == bool(figure), f"code cell {number}: a figure, or its caption, is missing"
        if pictures:
            names.append(figure["figure"]["name"])
            assert len(figure["figure"]["caption"]) > 20
            assert len(figure["image"]["alt"]) > 40
            assert figure["image"]["alt"] != figure["figure"]["caption"]
            stored = base64.b64decode("".join(pictures[0]))
            assert Image.open(io.BytesIO(stored)).mode == "P", "run make notebooks: it stores figures with a palette"
            pixels = matplotlib.image.imread(io.BytesIO(stored))
            assert pixels[..., :3].std() > 0.02, f"{names[-1]} is blank"
            assert pixels.shape[1] <= 900, f"{names[-1]} is wider than 5.5 inches: too small to read on a phone"
            drawing = (FIGURES / f"{names[-1]}.svg").read_text("utf-8")
            mark = hashlib.sha256(stored).hexdigest()[:16]
            assert f'data-of="{mark}"' in drawing, f"{names[-1]}.svg is of another run: make notebooks"
    assert len(set(names)) == len(names)


def test_every_drawing_belongs_to_a_figure():
    stored = "".join(path.read_text("utf-8") for path in NOTEBOOKS)
    for path in FIGURES.iterdir():
        assert f'"name": "{path.stem}"' in stored


@each_notebook
def test_uncompared_outputs_are_followed_by_an_asserting_cell(path):
    """A cell whose output may vary says nothing by itself; the next code that asserts must come soon."""
    listed = code_cells(path)
    for number, cell in enumerate(listed):
        if "nbval-ignore-output" in cell["metadata"].get("tags", []):
            near = "\n".join(other["source"] for other in listed[number : number + 3])
            assert CLAIM.search(near), f"code cell {number + 1}: no claim is asserted after it"


@each_notebook
def test_has_the_parts_of_a_chapter(path):
    text = prose(path)
    number = re.match(r"(?:appendix_)?0*([0-9a-z]+?)_", path.name)[1].upper()
    assert text.startswith(f"# {number}. "), "the title carries the chapter's number"
    assert text.split("\n\n")[1].startswith("**")
    assert text.split("\n\n")[1].endswith("?**"), "the question stands below the title"
    for part in ("**Afterwards you can**", "**It builds on**", ":class: predict", ":class: misunderstanding"):
        assert part in text, f"missing: {part}"
    headings = re.findall(r"^#{2,3} (.+)$", text, re.M)
    assert headings[-3:] == ["Exercises", "Summary", "References"] or headings[-1] == "References"
    exercises = re.findall(r"^```\{exercise\}.*\n:label: (\S+)", text, re.M)
    solutions = re.findall(r"^```\{solution(?:-start)?\} (\S+)\n:class: dropdown", text, re.M)
    assert 3 <= len(exercises) <= 6
    assert exercises == solutions, "every exercise has its solution, folded away"
    summary = text.split("## Summary\n\n")[1].split("\n\n")[0]
    assert len(summary.splitlines()) <= 6
    assert re.search(r"^\*\*Next:\*\*", text, re.M)


def labels(path):
    return re.findall(r"^\$\$ \((eq-[\w-]+)\)$", prose(path), re.M)


@each_notebook
def test_every_equation_has_a_checking_cell(path):
    """A check says which equations it is for, in its first lines: ``# Check (eq-name), (eq-other): ...``."""
    checked = set()
    for cell in code_cells(path):
        first = cell["source"].splitlines()[0]
        if first.startswith("# Check"):
            assert CLAIM.search(cell["source"]), f"a check that cannot fail: {first}"
            checked |= set(re.findall(r"\((eq-[\w-]+)\)", first))
    assert set(labels(path)) - checked == set(), "equations without a check"
    assert checked - set(labels(path)) == set(), "checks of equations that do not exist"
    assert len(re.findall(r"^\$\$$", prose(path), re.M)) == len(labels(path)), "an equation without a label"


def test_labels_are_unique_in_the_book():
    found = [label for path in NOTEBOOKS for label in re.findall(r"\((eq-[\w-]+)\)$|^:label: (\S+)", prose(path), re.M)]
    assert len(set(found)) == len(found)


@each_notebook
def test_an_assertion_can_fail_and_says_one_thing(path):
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(python(cell))):
            if isinstance(node, ast.Assert):
                assert not isinstance(node.test, ast.Constant | ast.Tuple), ast.unparse(node)
                assert node.msg is not None, f"say what is claimed: {ast.unparse(node)}"
                several = isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And)
                several |= isinstance(node.test, ast.Compare) and len(node.test.ops) > 1
                assert not several, f"one claim each: {ast.unparse(node)}"


def test_every_row_of_the_ledger_is_computed_in_its_chapter():
    computed = {}
    for path in NOTEBOOKS:
        for key in re.findall(r"ledger\.check\(\s*\"(\w+)\"", "\n".join(c["source"] for c in code_cells(path))):
            assert key not in computed, f"{key} is computed twice"
            computed[key] = int(path.name[:2])
    assert computed == {row.key: row.chapter for row in [*ledger.rows(), ledger.floor()]}


# What a notebook writes out for its reader is in the package too, and the two must not drift apart.


def definitions(path):
    """The functions of a notebook that can be run outside it, by name, made without running the rest.

    Not those of folded checks, and not those that look up what the chapter has made, as explain(z) does its images.
    A name that an exercise uses again, for a function of other arguments, stands with them.
    """
    scope = {"math": math, "torch": torch, "nn": torch.nn, "F": torch.nn.functional, "models": models, "D": 784}
    scope |= {"data": data, "information": information}
    made, functions = set(), []
    for cell in code_cells(path):
        for node in ast.parse(python(cell)).body:
            if isinstance(node, ast.FunctionDef):
                functions += [] if any("hide" in tag for tag in cell["metadata"].get("tags", [])) else [node]
            else:
                names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
                made |= {part.id for part in names if isinstance(part.ctx, ast.Store)} - set(scope)
            if isinstance(node, ast.Import) and node.names[0].name == "heapq":
                scope["heapq"] = heapq
    found = {}
    for node in functions:
        if free(node) & made:
            made.add(node.name)
            continue
        other = node.name in found and str(inspect.signature(found[node.name])) != f"({ast.unparse(node.args)})"
        here = dict(scope) if other else scope  # what stands above goes on calling its own
        exec(compile(ast.Module([node], []), path.name, "exec"), here)
        found[f"{node.name}({ast.unparse(node.args)})" if other else node.name] = here[node.name]
    return found


def random_distributions(n):
    torch.manual_seed(0)
    p, q = torch.distributions.Dirichlet(torch.ones(9, dtype=torch.float64)).sample((2, n))
    p[::2, 0] = 0
    return p / p.sum(-1, keepdim=True), q


def same_information(name):
    def run(theirs, _):
        p, q = random_distributions(50)
        ours = getattr(information, name)
        if name == "huffman_lengths":
            assert all(torch.equal(theirs(row), ours(row)) for row in p)
        elif name == "cross_entropy":
            assert torch.allclose(theirs(p, q), ours(p, q))
        elif name == "gaussian_entropy":
            assert torch.allclose(theirs(q), ours(q))
        else:
            assert torch.allclose(theirs(p), ours(p))
            assert torch.allclose(theirs(p, "bits"), ours(p, unit="bits"))

    return run


def same_kl_divergence(theirs, _):
    p, q = random_distributions(50)  # half of the p have a zero
    assert torch.allclose(theirs(p, q), information.kl_divergence(p, q))
    assert torch.allclose(theirs(p, p), torch.zeros(50, dtype=p.dtype))
    assert theirs(q[0], p[0]) == math.inf == information.kl_divergence(q[0], p[0])
    assert torch.allclose(theirs(p[:, None], q), information.kl_divergence(p[:, None], q))  # all pairs


def same_gaussian_kl(theirs, _):
    mu, logvar, mu2, logvar2 = torch.randn(4, 10, 4)
    assert torch.allclose(theirs(mu, logvar), information.gaussian_kl(mu, logvar), atol=1e-5)
    if len(inspect.signature(theirs).parameters) == 4:  # chapter 8 needs the standard normal only
        ours = information.gaussian_kl(mu, logvar, mu2, logvar2)
        assert torch.allclose(theirs(mu, logvar, mu2, logvar2), ours, rtol=1e-4, atol=1e-5)


def same_bernoulli(theirs, _):
    x, logits = torch.rand(5, 1, 3, 3).round(), 5 * torch.randn(5, 1, 3, 3)
    assert torch.allclose(theirs(x, logits), likelihoods.Bernoulli().log_prob(x, logits), rtol=1e-5)


def same_reparameterize(theirs, _):
    mu, logvar = torch.randn(2, 10, 4)
    torch.manual_seed(1)
    first = theirs(mu, logvar)
    torch.manual_seed(1)
    assert torch.equal(first, models.reparameterize(mu, logvar)[0])


def same_elbo(theirs, scope):
    model, x = models.MLPVAE(latent_dim=3, hidden=(8,)), torch.rand(6, 1, 28, 28).round()
    torch.manual_seed(1)
    first = theirs(lambda x: model.encoder.layers(x.flatten(1)), model.decoder, x)
    torch.manual_seed(1)
    for one, other in zip(first, objectives.elbo(model, x), strict=True):
        assert torch.allclose(one, other, rtol=1e-4)


def same_gradient_estimate(name, **extra):
    """The notebook's estimator and the package's, from the same draws, on a batch (S, B, D)."""

    def run(theirs, _):
        mu, logvar = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).double()

        def f(z):
            return torch.sin(z).prod(-1) + z.square().sum(-1)  # couples the coordinates

        one, other = (
            estimate(f, mu, logvar, 7, generator=torch.Generator().manual_seed(1), **extra)
            for estimate in (theirs, getattr(objectives, name))
        )
        for mine, reference in zip(one, other, strict=True):
            assert mine.shape == (7, 5, 4)
            assert torch.allclose(mine, reference, rtol=1e-12)

    return run


def same_noise(theirs, _):
    """The mean square about the truth of each draw, over coordinates, and the standard error of its mean."""
    gradient = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double()
    squares = ((gradient.numpy() - 0.3) ** 2).mean(1)
    assert np.allclose(theirs(gradient, 0.3), (squares.mean(), squares.std(ddof=1) / 40**0.5))


def same_bound_and_surrogate(theirs, _):
    """The package's bound from the same draws; and its slopes, or the score function's, by the encoder's means."""
    model, x = models.MLPVAE(latent_dim=3, hidden=(8,)), torch.rand(6, 1, 28, 28).round()
    for way, cut in (("pathwise", False), ("cut", True), ("score, own baseline", True), ("score, one baseline", True)):
        torch.manual_seed(1)
        bound, surrogate, log_p_x_given_z = theirs(way, model, x, -500.0)
        torch.manual_seed(1)
        ours = objectives.elbo(model, x)
        assert torch.allclose(bound, ours.elbo, rtol=1e-5)
        assert torch.allclose(log_p_x_given_z, ours.reconstruction)
        weight = model.encoder.layers[0].weight
        slopes = [torch.autograd.grad(s.sum(), weight, retain_graph=True)[0] for s in (surrogate, ours.elbo, -ours.kl)]
        assert torch.allclose(slopes[0], slopes[1]) == (not cut)
        assert torch.allclose(slopes[0], slopes[2]) == (way == "cut")


def same_train_vae(theirs, _):
    """It ends where the package's loop ends after as many steps, within the difference of their batches."""
    images = (255 * torch.rand(1, 1, 28, 28).round()).byte().expand(300, -1, -1, -1).contiguous()
    model, curve = theirs("pathwise", 1e-3, 0, images)
    torch.manual_seed(0)
    ours = models.MLPVAE(latent_dim=5, hidden=(100,))
    training.fit(ours, images, epochs=167, batch_size=100, progress=False)
    x = images[:50].float() / 255
    one, other = (objectives.elbo(m, x, generator=torch.Generator().manual_seed(0)).elbo.mean() for m in (model, ours))
    assert len(curve) == 500
    assert curve[0] < -450
    assert abs(one - other) < 2


def same_train_step(theirs, scope):
    """It is the step of the loop that ``same_train_vae`` runs; here the decoder learns, and the average moves."""
    model, x = models.MLPVAE(latent_dim=3, hidden=(8,)), torch.rand(6, 1, 28, 28).round()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    before = [parameter.clone() for parameter in model.parameters()]
    torch.manual_seed(1)
    bound, average = theirs("pathwise", model, optimizer, x, -500.0)
    after = [parameter.clone() for parameter in model.parameters()]
    for parameter, old in zip(model.parameters(), before, strict=True):
        parameter.data.copy_(old)
    torch.manual_seed(1)
    elbo = objectives.elbo(model, x)
    optimizer.zero_grad()
    (-elbo.elbo.mean()).backward()
    optimizer.step()
    assert abs(bound - elbo.elbo.mean().item()) < 1e-3
    assert abs(average - (0.9 * -500 + 0.1 * elbo.reconstruction.mean().item())) < 1e-3
    for parameter, theirs_after in zip(model.parameters(), after, strict=True):
        assert torch.allclose(parameter, theirs_after, atol=1e-5)


def same_floor(theirs, _):
    grey = torch.rand(5, 9, dtype=torch.float64)
    grey[0, :2] = torch.tensor([0.0, 1.0])
    assert torch.allclose(theirs(grey), information.entropy(torch.stack([grey, 1 - grey], -1)).sum(1).mean())


def same_nats_given_label(theirs, _):
    """No counterpart in the package: pixel by pixel, without arrays."""
    torch.manual_seed(0)
    images, labels, x, y = torch.rand(30, 5), torch.arange(30) % 3, torch.rand(9, 5).round(), torch.arange(9) % 3
    for image, label, found in zip(x.tolist(), y.tolist(), theirs(images, labels, x, y).tolist(), strict=True):
        nats = 0.0
        for i, on in enumerate(image):
            ink = [one[i].item() for one, its_label in zip(images, labels, strict=True) if its_label == label]
            theta = (sum(ink) + 0.5) / (len(ink) + 1)
            nats -= math.log(theta if on else 1 - theta)
        assert abs(nats - found) < 1e-6


def same_responsibilities(theirs, _):
    torch.manual_seed(0)
    x, weights, probs = torch.rand(7, 9).round(), torch.tensor([0.2, 0.3, 0.5]), torch.rand(3, 9)
    ours = exact.BernoulliMixture(weights, probs.view(3, 1, 1, 9)).responsibilities(x.view(7, 1, 1, 9))
    assert torch.allclose(theirs(x, weights, probs).double(), ours.double(), atol=1e-5)


def same_log_weights(theirs, _):
    """With an encoder that is the prior and a decoder that ignores z, every weight is p(x) itself."""
    model, x = models.MLPVAE(latent_dim=3, hidden=(8,)), torch.rand(6, 1, 28, 28).round()
    for parameter in model.parameters():
        parameter.data.zero_()
    assert torch.allclose(theirs(model, x, 4), torch.full((4, 6), -784 * math.log(2)), rtol=1e-4)


def same_conv_matrix(theirs, _):
    """The matrix of the package's first convolution, and its transpose in the decoder's last layer."""
    torch.manual_seed(0)
    for size in (8, 9):
        model = models.ConvVAE(latent_dim=3, channels=(5, 4), image_shape=(2, size, size)).double()
        first, last = model.encoder.layers[0], model.decoder.layers[-1]
        x, y = torch.randn(6, 2, size, size).double(), torch.randn(6, 5, size // 2, size // 2).double()
        A = theirs(first.weight.detach(), size, 2, 1)
        ours = first(x) - first.bias.view(-1, 1, 1)
        assert torch.allclose(x.flatten(1) @ A.T, ours.flatten(1), atol=1e-10)
        A = theirs(last.weight.detach(), size, 2, 1)
        ours = last(y) - last.bias.view(-1, 1, 1)
        assert torch.allclose(y.flatten(1) @ A, ours.flatten(1), atol=1e-10)


def same_new_vae(theirs, _):
    ours = (torch.manual_seed(0), models.MLPVAE(latent_dim=20, hidden=(200,)))[1]
    for one, other in zip(theirs("bernoulli").parameters(), ours.parameters(), strict=True):
        assert torch.equal(one, other)


def same_measure(theirs, _):
    model, x = models.MLPVAE(latent_dim=3, hidden=(8,), likelihood="gaussian"), torch.rand(6, 1, 28, 28)
    mean, reconstruction, kl = theirs(model, x)
    ours = objectives.elbo(model, x, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(reconstruction, ours.reconstruction)
    assert torch.allclose(kl, ours.kl, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(mean, model.likelihood.mean(model(x, 1, torch.Generator().manual_seed(0))[0][0]))


def same_train_by_hand(theirs, _):
    """With minus the ELBO as the loss it is training.fit, seeds and all."""
    x, gaussian = torch.rand(300, 1, 28, 28), likelihoods.Gaussian()
    by_hand, by_fit = (
        (torch.manual_seed(0), models.MLPVAE(latent_dim=3, hidden=(8,), likelihood=gaussian))[1] for _ in range(2)
    )
    theirs(by_hand, x, lambda x, p, kl: (kl - gaussian.log_prob(x, p)).mean(), 2)
    training.fit(by_fit, x, epochs=2, progress=False)
    for one, other in zip(by_hand.parameters(), by_fit.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def same_log_mass(theirs, _):
    levels = torch.arange(256).double()[:, None, None, None] / 255
    mean, raw = torch.tensor([[0.3, -1.5], [0.98, -3.0], [-0.1, -6.0]]).double().T.reshape(2, 3, 1, 1, 1, 1)
    parameters = torch.cat([mean, raw], -3).expand(3, 256, 2, 1, 1)
    scale = raw.exp() + math.exp(-8)
    ours = likelihoods.DiscretizedLogistic().log_prob(levels, parameters)
    found = theirs(torch.nn.functional.logsigmoid, levels, mean, scale).sum((-3, -2, -1))
    assert torch.allclose(found, ours, rtol=1e-9)


def same_continuous_bernoulli_log_mass(theirs, _):
    """The mass of a level's bin, by quadrature over the package's density on the part of it in [0, 1]."""
    density = likelihoods.ContinuousBernoulli()
    for logit in (-30.0, 0.0, 0.7, 9.0):
        logits = torch.full((1, 1, 1), logit, dtype=torch.float64)
        for k in (0, 1, 100, 255):
            fine = torch.linspace(max(k - 0.5, 0) / 255, min(k + 0.5, 255) / 255, 2001, dtype=torch.float64)
            mass = torch.trapezoid(density.log_prob(fine[:, None, None, None], logits).exp(), fine)
            assert abs(theirs(torch.tensor(k / 255, dtype=torch.float64), logits).exp().item() / mass - 1) < 1e-5


def same_slerp(theirs, _):
    """No counterpart in the package: SciPy's, on the sphere; and the ends."""
    torch.manual_seed(0)
    a, b = torch.nn.functional.normalize(torch.randn(2, 20, 6).double(), dim=-1)
    for t in (0.0, 0.3, 1.0):
        path = [geometric_slerp(u.numpy(), v.numpy(), [t])[0] for u, v in zip(a, b, strict=True)]
        assert np.allclose(3 * np.stack(path), theirs(3 * a, 3 * b, t))


def same_slant(theirs, _):
    """No counterpart in the package: the slope of a weighted regression of the column on the height."""
    x = torch.rand(5, 1, 9, 7, generator=torch.Generator().manual_seed(0))
    height, column = -np.arange(9.0)[:, None] * np.ones(7), np.ones((9, 1)) * np.arange(7.0)
    for image, found in zip(x, theirs(x), strict=True):
        slope = np.polyfit(height.ravel(), column.ravel(), 1, w=image.double().sqrt().numpy().ravel())[0]
        assert abs(slope - found) < 1e-4


def same_log_mean(theirs, _):
    weights = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(theirs(weights.log()), weights.mean(0).log())


def same_nll(theirs, _):
    weights = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(theirs(weights.log()), -weights.mean(0).log().mean())


def same_forger(theirs, _):
    """Of 3 images and 784 pixels, by the binomial formula without logarithms."""
    d = torch.tensor([[0.0, 2.0, 5.0], [1.0, 1.0, 3.0]]).double()
    assert torch.allclose(theirs(d, 0.1), (0.1**d * 0.9 ** (784 - d)).mean(1).log())


def same_own_units(theirs, _):
    """No counterpart in the package: a Gaussian of the standardized row, and of the row itself."""
    x, mean, scale = torch.randn(6, 4).double(), torch.randn(4).double(), 0.1 + 5 * torch.rand(4).double()
    standard, itself = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(mean, scale)
    assert torch.allclose(theirs(-standard.log_prob((x - mean) / scale).sum(1), scale), -itself.log_prob(x).sum(1))


def same_ess(theirs, _):
    weights = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(theirs(weights.log() - 700), weights.sum(0) ** 2 / weights.square().sum(0))


def same_sum_of_squares(theirs, _):
    z = torch.randn(7, 5, 3)
    assert torch.allclose(theirs(z), torch.linalg.vector_norm(z, dim=-1) ** 2)


def same_steps(theirs, scope):
    """The smoothed step against the logistic function of NumPy; where it is narrow, against the step itself."""
    z = torch.linspace(-2, 2, 40, dtype=torch.float64)[:, None]
    assert np.allclose(scope["soft_step"](0.3)(z), 1 / (1 + np.exp(-z[:, 0].numpy() / 0.3)))
    assert torch.allclose(scope["soft_step"](1e-3)(z), scope["step"](z))


def same_pixels(theirs, _):
    model, x = models.MLPVAE(latent_dim=3, hidden=(8,)), torch.rand(6, 1, 28, 28).round()
    mu, logvar = model.encode(x)
    torch.manual_seed(1)
    at = models.reparameterize(mu, logvar)[0]
    torch.manual_seed(1)
    assert torch.allclose(theirs(model, x, at).float(), objectives.elbo(model, x).reconstruction)


def same_log_g(theirs, _):
    """scikit-learn's mixture of one Gaussian against torch's Gaussian."""
    codes = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    fitted = GaussianMixture(1, reg_covar=0).fit(codes.double().numpy())
    one = torch.distributions.MultivariateNormal(*map(torch.tensor, (fitted.means_[0], fitted.covariances_[0])))
    assert torch.allclose(theirs(fitted, codes), one.log_prob(codes.double()))


# The solutions of exercises, each by another way.


def same_bill(theirs, _):
    """By torch.distributions, state by state."""
    torch.manual_seed(0)
    q, prior, likelihood = torch.rand(5, 3).softmax(-1), torch.rand(3).softmax(-1), torch.rand(5, 3)
    q[0] = torch.tensor([0.0, 1.0, 0.0])
    reconstruction, kl = theirs(prior, likelihood, q)
    by_hand = [sum(q[n, k] * math.log(likelihood[n, k]) for k in range(3)) for n in range(5)]
    assert torch.allclose(reconstruction, torch.stack(by_hand))
    categorical = torch.distributions.Categorical
    assert torch.allclose(kl, torch.distributions.kl_divergence(categorical(q), categorical(prior)), atol=1e-6)


def same_gap(theirs, _):
    """The KL from the posterior of a mixture; far below 0 too, where a joint is 0 for a computer."""
    torch.manual_seed(0)
    log_joint, q = torch.randn(5, 3).double(), torch.rand(5, 3).double().softmax(-1)
    ours = information.kl_divergence(q, log_joint.softmax(-1))
    assert torch.allclose(theirs(log_joint, q), ours)
    assert torch.allclose(theirs(log_joint - 800, q), ours)


def same_reparameterize_given_noise(theirs, _):
    mu, logvar = torch.randn(2, 10, 4)
    torch.manual_seed(1)
    ours = models.reparameterize(mu, logvar, 3)
    torch.manual_seed(1)
    assert torch.allclose(theirs(mu, logvar, torch.randn(3, 10, 4)), ours)


def same_backward(theirs, scope):
    leaves, eps, weight = torch.randn(2, 5, 3).requires_grad_(), torch.randn(4, 5, 3), torch.randn(4, 5, 3)
    z = leaves[0] + torch.exp(leaves[1] / 2) * eps
    (ours,) = torch.autograd.grad((weight * z).sum(), leaves)
    assert torch.allclose(torch.stack(theirs(weight, leaves[1].detach(), eps)), ours, atol=1e-5)


def same_score(theirs, _):
    mu, logvar = torch.randn(2, 3).double()

    def f(z):
        return torch.sin(z).prod(-1) + z.square().sum(-1)

    seed = torch.Generator().manual_seed(1)
    ours, _ = objectives.score_function_gradient(f, mu, logvar, 7, generator=seed)
    eps = torch.randn(7, 3, generator=seed.manual_seed(1), dtype=torch.float64)
    assert torch.allclose(theirs(f, mu, logvar, eps), ours)


def same_unit_kl(theirs, _):
    mu, logvar = torch.randn(2, 10, 4)
    assert torch.allclose(theirs(mu, logvar), evaluation.unit_kl(mu, logvar), atol=1e-6)


def same_active(theirs, _):
    mu = torch.randn(50, 6) * torch.tensor([1.0, 0.2, 0.12, 0.07, 0.01, 0.0]) + 1
    assert theirs(mu, torch.zeros(50, 6)) == evaluation.active_units(mu).sum()


def same_elbo_from_logits(theirs, _):
    torch.manual_seed(0)
    x, logits, mu, logvar = torch.rand(5, 1, 3, 3).round(), torch.randn(5, 1, 3, 3), *torch.randn(2, 5, 4)
    ours = likelihoods.Bernoulli().log_prob(x, logits) - information.gaussian_kl(mu, logvar)
    assert torch.allclose(theirs(x, logits, mu, logvar), ours, rtol=1e-5)


def same_loss(theirs, _):
    """Chapter 7's is minus the package's ELBO, chapter 10's minus a Gaussian's at its best variance and a constant."""
    x = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    if "encoder" in inspect.signature(theirs).parameters:
        model, x = models.MLPVAE(latent_dim=3, hidden=(8,)), x.round()
        torch.manual_seed(1)
        found = theirs(lambda x: model.encoder.layers(x), lambda z: model.decode(z).flatten(1), x.flatten(1))
        torch.manual_seed(1)
        assert torch.allclose(found, -objectives.elbo(model, x).elbo.mean(), rtol=1e-4)
    else:
        mean, kl = x.roll(1, 0), torch.rand(6)
        best = likelihoods.Gaussian(variance=(x - mean).square().mean().item())
        ours = (kl - best.log_prob(x, mean)).mean() - 392 * math.log(2 * math.pi * math.e)
        assert torch.allclose(theirs(x, mean, kl), ours, rtol=1e-4)


def owned(symbol, edges):
    """The numbers that belong to a symbol, by counting: those whose last digit, in base edges[-1], is its own."""
    return [n for n in range(2000) if edges[symbol] <= n % edges[-1] < edges[symbol + 1]]


class Stranger(torch.nn.Module):
    """A VAE of the package with the calls of chapter 14."""

    def __init__(self, model, cut=False):
        super().__init__()
        self.model, self.cut = model, cut

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.model.decode(z.detach() if self.cut else z), mu, logvar

    def encode(self, x):
        return self.model.encode(x)

    def decode(self, z):
        return self.model.decode(z)

    def pixels(self, logits, x):
        return -likelihoods.Bernoulli().log_prob(x, logits)

    def kl(self, mu, logvar):
        return information.gaussian_kl(mu, logvar)

    def reparameterize(self, mu, logvar):
        return torch.distributions.Normal(mu, torch.exp(0.5 * logvar)).rsample()

    def loss(self, logits, x, mu, logvar):
        return (self.pixels(logits, x) + self.kl(mu, logvar)).mean()


def same_price(theirs, _):
    """Minus the package's ELBO, with the same noise or over many images."""
    torch.manual_seed(0)
    model, x = models.MLPVAE(latent_dim=3, hidden=(8,)), torch.rand(2000, 1, 28, 28).round()
    theirs.__globals__["Sound"] = Stranger
    torch.manual_seed(1)
    found = torch.as_tensor(theirs(Stranger(model), x)).item()
    torch.manual_seed(1)
    assert abs(found + objectives.elbo(model, x).elbo.mean().item()) < 1e-2


def same_training(theirs, _):
    x = (255 * torch.rand(1, 1, 28, 28).round()).byte().expand(300, -1, -1, -1).contiguous()
    model, losses = theirs(lambda: Stranger(models.MLPVAE(latent_dim=3, hidden=(20,))), x / 255, epochs=9, lr=1e-2)
    torch.manual_seed(0)
    ours = models.MLPVAE(latent_dim=3, hidden=(20,))
    training.fit(ours, x, epochs=9, batch_size=100, lr=1e-2, progress=False)
    ends = [objectives.elbo(one, x / 255).elbo.mean() for one in (model.model, ours)]
    assert len(losses) == 27
    assert losses[0] > 500
    assert abs(ends[0] - ends[1]) < 25


def same_reaches(theirs, _):
    model, x = models.MLPVAE(latent_dim=3, hidden=(8,)), torch.rand(4, 1, 28, 28).round()
    assert theirs(Stranger(model), x)
    assert not theirs(Stranger(model, cut=True), x)


def same_width(theirs, _):
    for factor, logvar in ((1, -3), (0.3, 2)):
        found = theirs(lambda mu, v, s=factor: torch.distributions.Normal(mu, s * torch.exp(v / 2)).sample(), logvar)
        assert abs(found - factor) < 0.02


def same_own_bce(theirs, _):
    for logit, x in ((-3, 1), (2, 0), (5, 1)):
        ours = -torch.distributions.Bernoulli(logits=torch.tensor(float(logit))).log_prob(torch.tensor(float(x)))
        assert abs(theirs(logit, x) - ours) < 1e-4


EDGES = ([0, 5, 8, 10], [0, 1, 16], [0, 3, 3, 7])


def same_push(theirs, _):
    for edges in EDGES:
        for k in range(len(edges) - 1):
            assert [theirs(s, k, edges) for s in range(len(owned(k, edges)))] == owned(k, edges)


def same_pop(theirs, _):
    """From edges, or from the list of shares."""
    for edges in EDGES:
        shares = np.diff(edges).tolist()
        told = edges if "edges" in inspect.signature(theirs).parameters else shares
        for k in range(len(shares)):
            assert [theirs(n, told) for n in owned(k, edges)] == [(s, k) for s in range(len(owned(k, edges)))]


def same_coder(theirs, scope):
    """What one puts on the stack the other takes off, one symbol after the other, last in, first out."""
    tables, symbols = [*EDGES, [0, 2, 3]], [2, 1, 0, 1]
    one_by_one = 5
    for symbol, edges in zip(reversed(symbols), reversed(tables), strict=True):
        one_by_one = owned(symbol, edges)[one_by_one] if one_by_one < 100 else scope["push"](one_by_one, symbol, edges)
    assert scope["push_all"](5, symbols, tables) == one_by_one
    assert scope["pop_all"](one_by_one, tables) == (5, symbols)


def same_bits_back(theirs, scope):
    """Any z that the posterior's table may choose: the stack is longer by its bill, and comes back whole."""
    prior, pixels, q = [[0, 2, 5]], [[[0, 1, 4]], [[0, 3, 4]]], {0: [[0, 3, 7]], 1: [[0, 5, 6]]}
    bill = {}
    for x in (0, 1):
        for z in (0, 1):
            below = scope["push"](10**40, z, q[x][0])  # a stack that gives this z
            above = scope["send"](below, [x], lambda x: q[x[0]], lambda z: pixels[z[0]], prior)
            assert scope["receive"](above, lambda x: q[x[0]], lambda z: pixels[z[0]], prior) == (below, [x])
            p_z, p_x, q_z = (
                np.diff(table)[k] / table[-1] for table, k in ((prior[0], z), (pixels[z][0], x), (q[x][0], z))
            )
            bill[x, z] = math.log(above) - math.log(below), math.log(q_z / p_z / p_x)
    assert np.allclose(*zip(*bill.values(), strict=True), atol=1e-9)


COUNTERPARTS = {
    **{
        n: same_information(n) for n in ("surprisal", "entropy", "cross_entropy", "huffman_lengths", "gaussian_entropy")
    },
    "kl_divergence": same_kl_divergence,
    "gaussian_kl": same_gaussian_kl,
    "bernoulli_log_prob": same_bernoulli,
    "reparameterize": same_reparameterize,
    "elbo": same_elbo,
    "log_weights": same_log_weights,
    "score_function_gradient": same_gradient_estimate("score_function_gradient", baseline=0.7),
    "pathwise_gradient": same_gradient_estimate("pathwise_gradient"),
    "noise": same_noise,
    "bound_and_surrogate": same_bound_and_surrogate,
    "train_vae": same_train_vae,
    "train_step": same_train_step,
    "kl": same_kl_divergence,
    "floor_of": same_floor,
    "nats_given_label": same_nats_given_label,
    "responsibilities": same_responsibilities,
    "conv_matrix": same_conv_matrix,
    "new_vae": same_new_vae,
    "measure": same_measure,
    "train_by_hand": same_train_by_hand,
    "log_mass": same_log_mass,
    "slerp": same_slerp,
    "slant": same_slant,
    "continuous_bernoulli_log_mass": same_continuous_bernoulli_log_mass,
    "log_mean": same_log_mean,
    "nll": same_nll,
    "forger": same_forger,
    "ess": same_ess,
    "own_units": same_own_units,
    "sum_of_squares": same_sum_of_squares,
    "step": same_steps,
    "soft_step": same_steps,
    "pixels": same_pixels,
    "log_g": same_log_g,
    "bill": same_bill,
    "gap": same_gap,
    "reparameterize(mu, logvar, eps)": same_reparameterize_given_noise,
    "backward": same_backward,
    "score": same_score,
    "unit_kl": same_unit_kl,
    "active": same_active,
    "log_prob": same_bernoulli,
    "elbo(x, logits, mu, logvar)": same_elbo_from_logits,
    "loss": same_loss,
    "cost": same_price,
    "reported": same_price,
    "audited": same_price,
    "train": same_training,
    "reaches": same_reaches,
    "width": same_width,
    "own_bce": same_own_bce,
    "push": same_push,
    "pop": same_pop,
    "take": same_pop,
    "push_all": same_coder,
    "pop_all": same_coder,
    "send": same_bits_back,
    "receive": same_bits_back,
}


@each_notebook
def test_definitions_agree_with_the_package(path):
    defined = definitions(path)
    assert set(defined) <= set(COUNTERPARTS), "a new definition needs its counterpart here"
    for name, function in defined.items():
        COUNTERPARTS[name](function, defined)


def test_every_counterpart_has_its_definition():
    assert {name for path in NOTEBOOKS for name in definitions(path)} == set(COUNTERPARTS)


def test_the_stand_in_can_run_what_the_notebooks_load():
    """All claims hold on both data sets; this guards the names that the chapters load."""
    for split in data.SPLITS:
        loaded = data.load("digits", split)
        assert loaded.images.shape[1:] == (1, 28, 28)
        assert np.bincount(loaded.labels.numpy(), minlength=10).min() > 0
