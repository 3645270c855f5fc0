"""The record of a training, one row for each epoch."""

from dataclasses import dataclass, field

__all__ = ["History"]


@dataclass
class History:
    """What happened in each epoch: ``rows``, one dict an epoch, means in nats per image.

    Keys: epoch (from 1), elbo, reconstruction, kl, seconds (training alone), and with test images test_elbo,
    test_reconstruction, test_kl. The training numbers are means over the epoch, while the weights changed; the test
    numbers are taken at its end. ``elbo`` is reconstruction - kl, whatever beta was.
    """

    rows: list = field(default_factory=list)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key: str) -> list:
        """Return one column as a list: ``history["elbo"]``. Raises KeyError for a column that no epoch has."""
        if self.rows and not any(key in row for row in self.rows):
            raise KeyError(f"no column {key!r}; there are {', '.join(self.rows[0])}")
        return [row.get(key, float("nan")) for row in self.rows]

    def to_frame(self):
        """Return the history as a pandas DataFrame, one row an epoch."""
        import pandas as pd

        columns = ["epoch", "elbo", "reconstruction", "kl", "seconds"]
        return pd.DataFrame(self.rows, columns=None if self.rows else columns).set_index("epoch")

    def plot(self, ax=None):
        """Draw ELBO, reconstruction and KL over the epochs, those on test images dashed; return the Axes.

        For an autoencoder, the reconstruction alone.
        """
        from vae_tutorial.plotting import curves

        names = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
        if not any(self["kl"]):  # an autoencoder has none, and its objective is the reconstruction
            names = {"reconstruction": "reconstruction"}
        lines = {names[key]: self[key] for key in names}
        if any("test_elbo" in row for row in self.rows):
            lines |= {f"{names[key]} (test)": self[f"test_{key}"] for key in names}
        return curves(self["epoch"], lines, ax)
