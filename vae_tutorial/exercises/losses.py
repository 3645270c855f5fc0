"""Is my loss right? What the first loss of a training says, before anything is learned: its size tells sums from means.

Ranges, mistakes and words are data, ``first_loss.json``; the page "The loss that you have seen" reads the same file and
has the same arithmetic in ``book/_static/first_loss.js``. Needs neither PyTorch nor NumPy.

How the ranges were measured: for each likelihood 12 seeds, each a new network and 128 new training images, no step of
training. Networks: ``MLPVAE`` with hidden layers (400,) and (512, 256), ``ConvVAE``, 20 latent dimensions. Images:
MNIST, grey and drawn, Fashion-MNIST, 3 x 32 x 32 random colours, independent and smooth. Squared errors also through a
sigmoid or tanh, and on pixels in [-1, 1] and of variance 1. Over 256 levels: decoders alone, both data sets, 10
seeds. A range holds all that was seen, and a little more. Two sigmoids, other scales and bytes fed to the encoder were
measured too; the other mistakes follow from these by arithmetic.
"""

import json
import math
import numbers
from functools import cache
from importlib import resources
from itertools import combinations

__all__ = ["first_loss", "judge"]

DOUBLE = 2.5  # what two mistakes at once cost: more than a rare one


@cache
def _rules():
    return json.loads((resources.files("vae_tutorial") / "exercises" / "first_loss.json").read_text("utf-8"))


def first_loss(image_shape, likelihood: str, loss, *, batch_size: int = 128, latent_dim: int = 20) -> None:
    """Print what a first loss says: right, or which mistake gives such a number.

    ``image_shape``: (C, H, W), or (H, W) for one channel. ``likelihood``: a name of ``vae_tutorial.likelihoods``, or
    "bce", "mse", "cross_entropy" (over 256 levels). ``loss``: one number, before the first step.
    Raises ValueError or TypeError for anything else, and says what would do.
    """
    print(judge(image_shape, likelihood, loss, batch_size=batch_size, latent_dim=latent_dim)[1])


def judge(image_shape, likelihood: str, loss, *, batch_size: int = 128, latent_dim: int = 20) -> tuple[str, str]:
    """Return the verdict in a word, such as "right" or "mean_pixels or bits", and what to say; see ``first_loss``."""
    shape, name = _shape(image_shape), _likelihood(likelihood)
    setup = _Setup(shape, name, _whole("batch_size", batch_size), _whole("latent_dim", latent_dim))
    return setup.judge(_number(loss))


class _Setup:
    """The ranges of one likelihood for one shape of image."""

    def __init__(self, shape, name, batch_size, latent_dim):
        rules = _rules()
        own = rules["likelihoods"][name]
        self.rules, self.name, self.shape, self.words = rules, name, shape, rules["words"]
        self.spec = {**rules["likelihoods"][own["same"]], **own} if "same" in own else own
        self.signed = self.spec.get("signed", False)
        channels, height, width = shape
        self.D, self.B, self.C, self.Z = channels * height * width, batch_size, channels, latent_dim
        self.kl = [self.Z * part for part in rules["kl"]["grey" if channels == 1 else "colour"]]
        self.right = self.per_image(self.spec["right"])
        wide = self.spec.get("convolution") if channels == 1 else None
        self.wide = self.per_image(wide) if wide else self.right
        bit = math.log(2)
        self.factors = {"1/D": 1 / self.D, "B": self.B, "1/B": 1 / self.B, "1/C": 1 / self.C}
        self.factors |= {"1/HW": 1 / (height * width), "1/log2": 1 / bit, "1/(D log2)": 1 / self.D / bit}

    def per_image(self, pixel):
        """The range of a whole loss, from that of one pixel: with the KL of an untrained encoder."""
        return [pixel[0] * self.D + self.kl[0], math.inf if pixel[1] is None else pixel[1] * self.D + self.kl[1]]

    def judge(self, loss):
        if math.isnan(loss) or math.isinf(loss):
            verdict = "nan" if math.isnan(loss) else "infinite"
            return verdict, self.say(self.words[verdict], self.words["expect"])
        if loss == 0 and not self.signed:
            return "zero", self.say(self.words["zero"], self.words["expect"])
        if loss < 0 and not self.signed:
            verdict, message = self.positive(-loss, most=1)
            double = self.words["both"] in message  # three things at once are a guess
            known = not double and verdict not in ("right", "higher", "lower", "little", "later", "impossible")
            extra = message if known else self.say(self.words["expect"], *self.unsure())
            return (f"sign and {verdict}" if known else "sign"), f"{self.words['sign']} {extra}"
        return self.positive(loss)

    def positive(self, loss, most=2):
        """The verdict on a number whose sign is as it should be: right, or the likeliest mistakes, ``most`` of them."""
        found = [mistake for mistake in self.mistakes() if mistake[1] <= loss <= mistake[2]]
        least = min((mistake[0] for mistake in found), default=None)
        named = [(verdict, says) for cost, _, _, verdict, says in found if cost == least]
        named = named[: 1 if least == DOUBLE else most]
        if least == 0:
            return self.name_all(named, loss)
        if _within(loss, self.right):
            return "right", self.say(
                self.words["right"], *self.praise(), *self.otherwise(named[:1] if least == 1 else [])
            )
        if least == 1:
            return self.name_all(named, loss)
        if _within(loss, self.wide):
            head = "convolution" if not self.signed else "right"
            return "right", self.say(self.words[head], self.spec["note"])
        if named:
            return self.name_all(named, loss)
        return self.unknown(loss)

    def praise(self):
        return self.words["expect"], self.spec["colour"] if self.C > 1 and "colour" in self.spec else self.spec["note"]

    def otherwise(self, named):
        return [self.words["fits"], *(says for _, says in named)] if named else []

    def name_all(self, named, loss):
        says = f" {self.words['or']} ".join(says for _, says in named)
        head = [self.words["either"]] if len(named) > 1 else []
        later = ("later", "mean_pixels and later", "mean_pixels and impossible")
        tail = [] if all(verdict.startswith(later) for verdict, _ in named) else [self.words["expect"]]
        message = self.say(*head, says, *tail).replace("{product}", _shown(loss * self.D))
        return " or ".join(verdict for verdict, _ in named), message

    def mistakes(self):
        """Every mistake as (cost, low, high, verdict, words), the likelier first among those of one cost.

        Cost 0 is a number that tells more than the range of right ones, 1 is one step, 2 a rare one, then two at once.
        """
        reductions = [rule for rule in self.rules["reductions"] if self.may_be(rule)]
        wrong = [
            {**rule, "range": rule.get("grey", rule["range"]) if self.C == 1 else rule["range"]}
            for rule in self.spec["wrong"]
        ]
        for rule in wrong:
            if "mean" not in rule:
                yield rule.get("cost", 1), *self.per_image(rule["range"]), rule["verdict"], rule["says"]
            elif self.D > 1:  # the number itself is a mean over the pixels
                yield rule["cost"], *rule["range"], rule["verdict"], rule["says"]
        for rule in reductions:
            yield (2 if self.signed else 1), *self.scaled(self.right, rule), rule["verdict"], rule["says"]
        yield from self.landmarks()
        if self.signed:
            return
        if self.D > 1:
            high, verdict = self.spec["right"][1], "mean_pixels_sum_kl"  # below it, the KL is too small to be seen
            yield 1, high + self.kl[1] / self.D, high + self.kl[1], verdict, self.rules[verdict]
        for rule in reductions:
            yield 1.5, *self.scaled(self.wide, rule), rule["verdict"], rule["says"]
            for other in wrong:
                if "cost" not in other:
                    yield self.two(self.scaled(self.per_image(other["range"]), rule), other, rule)
        for rule, other in combinations(reductions, 2):
            if not set(rule["of"]) & set(other["of"]):
                yield self.two(self.scaled(self.scaled(self.right, rule), other), rule, other)

    def may_be(self, rule):
        """Whether a reduction changes anything here, and is one that people make with this likelihood."""
        odd = rule["verdict"] in self.spec.get("without", ()) or ("colours" in rule and self.C == 1)
        return self.factors[rule["factor"]] != 1 and not odd

    def scaled(self, limits, rule):
        return [limit * self.factors[rule["factor"]] for limit in limits]

    def two(self, limits, one, other):
        says = f"{self.words['both']} {one['says']} {other['says']}"
        return DOUBLE, *limits, f"{one['verdict']} and {other['verdict']}", says

    def landmarks(self):
        """What a later loss says, of MNIST's digits: the ledger's rows, and the floor of chapter 2; also per pixel."""
        marks = self.rules["landmarks"]
        if self.name != marks["likelihood"] or list(self.shape) != marks["shape"]:
            return
        rows = [
            (1, row["range"], f"later_{row['key']}", f"{self.words['later']} {row['says']}") for row in marks["rows"]
        ]
        rows.append((3, [marks["floor"], self.wide[0]], "later", marks["later"]))
        for cost, limits, verdict, says in [*rows, (3, [0, marks["floor"]], "impossible", marks["impossible"])]:
            yield cost, *limits, verdict, says
            low, high = max(limits[0], marks["least"]) / self.D, limits[1] / self.D
            yield min(cost, 1.5), low, high, f"mean_pixels and {verdict}", f"{self.words['per_pixel']} {says}"

    def unknown(self, loss):
        middle = (self.right[0] + self.right[1]) / 2
        ratio = 1 if self.signed else max(loss / middle, middle / loss)
        verdict = "little" if ratio < 1.5 else "higher" if loss > middle else "lower"
        words = "off" if self.signed else verdict
        message = self.say(self.words[words], self.words["expect"], *self.unsure())
        return verdict, message.replace("{ratio}", _shown(ratio))

    def unsure(self):
        return [self.spec["unknown"]] if "unknown" in self.spec else []

    def say(self, *parts):
        """The parts as one text, with this setup's numbers."""
        center = self.rules["center"].get(self.spec.get("same", self.name), 0) * self.D
        values = {"D": self.D, "B": self.B, "C": self.C, "lo": self.right[0], "hi": self.right[1], "center": center}
        text = " ".join(parts)
        for key, value in values.items():
            text = text.replace("{" + key + "}", _shown(value))
        return text


def _within(value, limits):
    return limits[0] <= value <= limits[1]


def _shown(value):
    """A number for people: three digits and no more below 100, whole above, with commas."""
    if abs(value) >= 1e12:
        return "more than a million million"
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    rounded = math.floor(abs(value) * 10**digits + 0.5)
    whole, rest = divmod(rounded, 10**digits)
    sign = "−" if value < 0 and rounded else ""
    return f"{sign}{whole:,}" + (f".{rest:0{digits}d}" if digits else "")


# What was given


def _shape(given):
    wanted = "image_shape must be (C, H, W), whole numbers of at least 1, such as (1, 28, 28)"
    try:
        if isinstance(given, str | bytes):
            raise TypeError
        sizes = [_whole("image_shape", size) for size in given]
    except (TypeError, ValueError):
        raise ValueError(f"{wanted}; got {_short(given)}") from None
    if len(sizes) == 4:
        raise ValueError(f"{wanted}: one image, without the batch; got {_short(given)}")
    if len(sizes) not in (2, 3):
        raise ValueError(f"{wanted}; got {_short(given)}")
    if len(sizes) == 3 and sizes[2] <= 4 < min(sizes[:2]):
        height, width, channels = sizes
        raise ValueError(
            f"image_shape must have the channels first: ({channels}, {height}, {width}); got {_short(given)}"
        )
    return tuple(sizes) if len(sizes) == 3 else (1, *sizes)


def _likelihood(given):
    rules = _rules()
    known = [*rules["likelihoods"], *rules["same"]]
    if not isinstance(given, str) or given not in known:
        raise ValueError(f"likelihood must be one of {', '.join(map(repr, known))}; got {_short(given)}")
    return rules["same"].get(given, given)


def _whole(name, given):
    number = isinstance(given, numbers.Real) and not isinstance(given, bool)
    if not number or not math.isfinite(given) or not given == int(given) >= 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {_short(given)}")
    return int(given)


def _number(given):
    """The loss as a float: Python's, NumPy's, or a tensor that holds one number."""
    shape = getattr(given, "shape", ())
    if math.prod(shape) != 1:
        advice = "take its mean over the batch, loss.mean(), if it is one number for each image"
        raise ValueError(f"loss must be one number; got shape {tuple(shape)}: {advice}")
    if hasattr(given, "item"):
        given = given.item()
    if isinstance(given, bool) or not isinstance(given, numbers.Real):
        raise TypeError(f"loss must be one number, such as 543.4 or loss.item(); got {_short(given)}")
    try:
        return float(given)
    except OverflowError:
        return math.inf if given > 0 else -math.inf


def _short(given):
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "..."
