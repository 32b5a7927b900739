"""From a matplotlib figure to files and to the text of a page; the look that all figures share."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SchussError
from .palette import INK, MUTED, PAPER, RULE, with_variables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawing", "frame", "log_ticks", "look", "settle"]

#: Inches; figures stand beside each other in a wide page and fill a phone's.
WIDTH = 5.1
_FEW_DECADES = 10**3.6

_LOOK = {
    "font.family": "DejaVu Sans",  # comes with matplotlib; a page puts its own in the place of it
    "font.size": 9,
    "axes.labelsize": 8.5,
    "axes.edgecolor": RULE,
    "axes.facecolor": PAPER,
    "axes.labelcolor": MUTED,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "figure.facecolor": PAPER,
    "hatch.linewidth": 0.9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "text.parse_math": False,  # names are names, with whatever signs
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and set in the page's font
    "text.color": INK,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": INK,
}


@contextmanager
def look(name: str = "schuss") -> Iterator[None]:
    """Draw and save figures in the common look; the identifiers in an SVG follow from `name`."""
    try:
        import matplotlib
    except ImportError:
        raise SchussError("figures need matplotlib: pip install 'schuss[plot]'") from None
    settings: Any = _LOOK | {"svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        yield


@dataclass(frozen=True)
class Drawing:
    """A figure with what is said of it.

    Attributes
    ----------
    name : str
        Of its files, without ending.
    figure : matplotlib Figure
    title, caption : str
        A caption says what is drawn, its unit and how it was measured.
    alt : str
        What a reader who cannot see it is told, from the data.
    batches : int
        Number of batch sizes that have a colour.
    """

    name: str
    figure: Figure
    title: str
    caption: str
    alt: str
    batches: int

    def save(self, folder: Path) -> None:
        """Write NAME.svg and NAME.png, for light paper, into `folder`."""
        with look(self.name):
            self.figure.savefig(folder / f"{self.name}.svg", metadata={"Date": None, "Title": self.title})
            self.figure.savefig(folder / f"{self.name}.png", dpi=200, metadata={"Title": self.title})

    def inline(self) -> str:
        """The `svg` element for a page: the page's font and colours, no reference to anything outside."""
        text = io.StringIO()
        with look(self.name):
            self.figure.savefig(text, format="svg", transparent=True)
        svg = text.getvalue()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<title>.*?</title>", "", svg, flags=re.DOTALL)
        svg = _own_ids(svg, self.name).replace("xlink:href", "href")
        svg = re.sub(r"font: ([^;\"]*?[\d.]+px) [^;\"]*", r"font: \1 var(--sans)", svg)
        box = _attribute(svg, "viewBox")
        head = (
            f'<svg viewBox="{box}" role="img" aria-labelledby="{self.name}-title {self.name}-alt">'
            f'<title id="{self.name}-title">{html.escape(self.title)}</title>'
            f'<desc id="{self.name}-alt">{html.escape(self.alt)}</desc>'
        )
        body = svg[svg.index(">") + 1 :]
        return head + with_variables(re.sub(r"\n\s*", "\n", body).strip(), self.batches)


def _attribute(svg: str, name: str) -> str:
    found = re.search(rf'{name}="([^"]*)"', svg)
    assert found is not None
    return found[1]


def _own_ids(svg: str, name: str) -> str:
    """Identifiers that are used begin with the figure's name, so that figures in one page do not meet; others go."""
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))

    def renamed(found: re.Match[str]) -> str:
        return f' id="{name}-{found[1]}"' if found[1] in used else ""

    svg = re.sub(r' id="([^"]*)"', renamed, svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)


def frame(height: float) -> tuple[Figure, Any]:
    """A figure of the common width, `height` in inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def settle(figure: Figure) -> None:
    """Lay the figure out now and keep it so: drawn again it would move a little each time."""
    for _ in range(2):  # the second round knows the sizes of the first
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def log_ticks(axis: Any) -> None:
    """Ticks at 1, 2 and 5 of each decade where there are few decades, written as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < _FEW_DECADES else (1,), numticks=30))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
