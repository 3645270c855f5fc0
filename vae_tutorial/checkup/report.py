"""What a check-up says: as text, as JSON, and as a picture."""

from __future__ import annotations

import io
import json
import os
import textwrap
from dataclasses import dataclass, field
from typing import Any

from vae_tutorial import _checks, _files
from vae_tutorial.checkup.gauge import CERTAIN, GAUGES, LIKELY, PERHAPS, Fault, Finding, faults

__all__ = ["BEYOND", "Found", "Report"]

# What no gauge here looks at. It is said each time, so that nobody takes silence for health.
BEYOND = (
    "overfitting: that needs images which were not trained on",
    "the training loop: zero_grad, which images it sees, when it stops",
    "how a reported mean is taken over batches, and your own estimators of log p(x)",
    "the images: duplicates, labels, test images among them",
    "how good samples look",
    "half precision and several devices",
)
_WIDTH = 100


@dataclass(frozen=True)
class Found:
    """A finding of one gauge: ``fault`` (a :class:`Fault`), what it ``says``, and how ``sure`` it is."""

    gauge: str
    fault: Fault
    says: str
    sure: str

    @classmethod
    def of(cls, gauge: str, finding: Finding) -> Found:
        """Return a gauge's finding with all that is known of the fault."""
        return cls(gauge, faults()[finding.fault], finding.says, finding.sure)

    def as_dict(self) -> dict:
        """Return it as JSON types."""
        told = ("name", "see", "mend", "chapter")
        return {"gauge": self.gauge, "fault": self.fault.key, "says": self.says, "sure": self.sure} | {
            key: getattr(self.fault, key) for key in told
        }


@dataclass(frozen=True)
class Report:
    """What was found by which gauges, and what was not tested.

    ``found``: faults, the surest first. ``notes``: what is worth knowing and often meant. ``silent``: the gauges that
    looked and found nothing. ``not_tested``: of each other gauge, why. ``facts``: how the VAE was read.
    """

    name: str
    facts: tuple[str, ...]
    found: tuple[Found, ...]
    notes: tuple[Found, ...]
    silent: tuple[str, ...]
    not_tested: dict[str, str]
    seconds: float
    seen: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # for the picture

    @property
    def faults(self) -> tuple[str, ...]:
        """The keys of the faults, without repetition, the surest first."""
        return tuple(dict.fromkeys(one.fault.key for one in self.found))

    def __str__(self):
        count = len(self.faults)
        head = (
            f"{count} fault{'s' * (count != 1)} found" if count else f"Nothing found by these {len(self.silent)} gauges"
        )
        looked = [gauge for gauge in GAUGES if gauge not in self.not_tested]
        lines = [f"{self.name}: {head}; {len(looked)} of {len(GAUGES)} gauges could look ({self.seconds:.0f} s)."]
        lines += [_wrapped(f"Read as: {'; '.join(self.facts)}.", "")]
        for title, several in (("", self.found), ("Worth knowing:", self.notes)):
            lines += ["", title] if title and several else []
            for key in dict.fromkeys(one.fault.key for one in several):
                lines += ["", *_told([one for one in several if one.fault.key == key])]
        if self.silent:
            lines += ["", _wrapped(f"Nothing found by: {', '.join(self.silent)}.", "")]
        lines += ["", "Not tested:"]
        lines += [_wrapped(f"{gauge}: {why}", "  ") for gauge, why in self.not_tested.items()]
        lines += [_wrapped(f"by no gauge: {'; '.join(BEYOND)}", "  ")]
        return "\n".join(lines)

    def as_dict(self) -> dict:
        """Return the report as JSON types."""
        return {
            "name": self.name,
            "status": "found" if self.found else "nothing found",
            "facts": list(self.facts),
            "found": [one.as_dict() for one in self.found],
            "notes": [one.as_dict() for one in self.notes],
            "silent": {gauge: GAUGES[gauge].title for gauge in self.silent},
            "not_tested": self.not_tested,
            "beyond": list(BEYOND),
            "seconds": round(self.seconds, 1),
        }

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def plot(self):
        """Draw the report, and return the matplotlib Figure: gauges, images beside reconstructions, the codes."""
        from vae_tutorial.checkup.picture import plot

        return plot(self)

    def save(self, path: str | os.PathLike) -> None:
        """Write the picture of the report to a file, in the format that its name says, atomically."""
        import matplotlib.pyplot as plt

        target, memory = _checks.path("path", path), io.BytesIO()
        with plt.rc_context({"text.parse_math": False}):
            figure = self.plot()
            figure.savefig(memory, format=target.suffix.lstrip(".") or "png", dpi=160)
            plt.close(figure)
        _files.write(target, memory.getvalue())


def sorted_by_sureness(found: list[Found]) -> tuple[Found, ...]:
    """The findings, the surest first, otherwise in the order of the gauges."""
    return tuple(sorted(found, key=lambda one: (CERTAIN, LIKELY, PERHAPS).index(one.sure)))


def _told(several):
    """The lines on one fault, which some gauges may have found together."""
    first = several[0]
    yield f"{first.fault.name} [{first.sure}; {', '.join(one.gauge for one in several)}]"
    for one in several:
        yield _wrapped(one.says, "  ")
    yield _wrapped(f"see:  {first.fault.see}", "  ", "        ")
    yield _wrapped(f"mend: {first.fault.mend}", "  ", "        ")
    if first.fault.chapter:
        yield f"  more: chapter {first.fault.chapter}"


def _wrapped(text, indent, rest=None):
    rest = indent + "  " if rest is None else rest
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=rest, break_on_hyphens=False)
