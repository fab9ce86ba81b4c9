"""What a reproduced row may say of the published one: how near its runs are to the experiment.

A verdict on a claim has two parts: the direction of our differences (`mer.study.claims`), and the
grade of the runs behind them. Only grade A can contradict a paper.

- A: published size, training and corpus.
- B: the same on another corpus, or on sound that was rendered.
- C: a smaller network, less training, or a part that stands in for the published one.
- D: no verdict. In most runs the best epoch is the last one or all predictions are of one class, or
  the row is not better than the constant prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mer.study.text import number

GRADES = {
    "A": "published size, training and corpus",
    "B": "as published, on another corpus or on rendered sound",
    "C": "smaller network, less training or a stand-in for a part",
    "D": "no verdict: not trained well enough",
}


@dataclass(frozen=True)
class Standing:
    """How near the runs of a row on one task are to the published experiment.

    Attributes
    ----------
    system : str
    size : float
        Parameters of the network over those of the published one; NaN without a network.
    epochs, published_epochs : int
        At most; 0 without a network.
    best : float
        Median of the best epoch of the runs, counted from 1; NaN without epochs.
    differing : tuple of str
        Names of hyper-parameters that are not the published ones.
    stand_in : str
        What takes the place of a part of the published system; empty for nothing.
    elsewhere : str
        Where it was tested, if that is not the published data: "on Emotify"; else empty.
    failure : str
        Why it is not trained well enough; empty for nothing.
    """

    system: str
    size: float = np.nan
    epochs: int = 0
    published_epochs: int = 0
    best: float = np.nan
    differing: tuple[str, ...] = ()
    stand_in: str = ""
    elsewhere: str = ""
    failure: str = ""

    @property
    def grade(self) -> str:
        """A letter of `GRADES`."""
        if self.failure:
            return "D"
        return "C" if self.differing or self.stand_in else "B" if self.elsewhere else "A"

    @property
    def text(self) -> str:
        """The row and the reasons: "SSSL (1/214 of the published parameters)"."""
        facts = [self.failure, self._size, self._epochs, self.stand_in]
        if self.grade == "C" and not (self._size or self._epochs or self.stand_in):
            facts.append(f"other {', '.join(self.differing)}")
        if self.grade == "B":
            facts.append(self.elsewhere)
        known = ", ".join(fact for fact in facts if fact)
        return self.system + (f" ({known})" if known else "")

    @property
    def _size(self) -> str:
        if not self.size < 0.95:
            return ""
        share = f"1/{1 / self.size:.0f}" if self.size < 0.4 else number(self.size, percent=True)
        return f"{share} of the published parameters"

    @property
    def _epochs(self) -> str:
        if not self.epochs:
            return ""
        best = f", best epoch {self.best:g}"
        if self.epochs == self.published_epochs:
            return f"{self.epochs} epochs{best}"
        return f"{self.epochs} of {self.published_epochs} epochs{best}"
