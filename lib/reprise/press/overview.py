"""The figure of the front page: every claim of the book as a note on a staff.

The five lines of the staff span what a claim's criterion accepts. A note on the staff is a claim reproduced; a cross
above or below it is a claim not reproduced, its value too large or too small. The figure is SVG that inherits the
page's colours, and each note links to its claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from reprise import cards
from reprise.cards import Criterion
from reprise.press.orders import write_whole

Record = dict[str, Any]

#: Widths, in pixels, of the two layouts: for a screen and for a telephone.
WIDTH, NARROW = 760, 380
#: Where a value that is no number is drawn: off the staff.
NOWHERE = 2.0


def draw(records: list[Record], path: Path, parts: Sequence[str] = ()) -> None:
    """Write the figure to ``path``, and its layout for narrow screens beside it (``claims-narrow.svg``).

    Args:
        records: what runs left behind (`reprise.claims.Paper.record`), in the order in which papers are to be drawn;
            the papers of a part are put together.
        path: an ``.svg`` file.
        parts: ids of parts in the order in which they are to be drawn; others follow as they come.
    """
    order = list(dict.fromkeys([*parts, *(record["part"] for record in records)]))
    records = sorted(records, key=lambda record: order.index(record["part"]))
    write_whole(path, figure(records, WIDTH))
    write_whole(path.with_stem(f"{path.stem}-narrow"), figure(records, NARROW))


def position(criterion: Criterion, value: float | bool, scale: float = 0.0) -> float:
    """Where a value stands with respect to its criterion: within [-1, 1] if it passes, beyond, within [-2, 2], if not.

    Increases with ``value``. An interval is mapped linearly onto [-1, 1]. A one-sided bound is the upper line (+1) or
    the lower one (-1), and a value is placed by its ratio to the bound, 0 being infinitely far on the good side. What
    fails is placed by the reciprocal of the same ratio, so that 2 is infinitely far off. A truth value is 0 or -2.

    Args:
        criterion: the criterion.
        value: a finite number, or a truth value.
        scale: what counts as one unit for a bound at zero, which has no scale of its own.
    """
    if criterion.name == "is_true":
        return 0.0 if value is True else -NOWHERE
    if math.isinf(criterion.low):
        return _ratio(float(value), criterion.high, scale)
    if math.isinf(criterion.high):
        return -_ratio(-float(value), -criterion.low, scale)
    middle, half = (criterion.low + criterion.high) / 2, (criterion.high - criterion.low) / 2
    offset = float(value) - middle
    if abs(offset) <= half:
        return offset / half if half else 0.0
    return math.copysign(2 - half / abs(offset), offset)


def _ratio(value: float, bound: float, scale: float) -> float:
    """`position` for "at most ``bound``": 0 far below it, 1 at it, 2 far above."""
    if bound > 0:
        value = max(value, 0.0)
        return value / bound if value <= bound else 2 - bound / value
    if bound < 0:
        return bound / value if value <= bound else 2 - max(value, bound) / bound if value < 0 else 2.0
    if value == 0:
        return 1.0
    near = scale / (scale + abs(value))
    return near if value < 0 else 2 - near


@dataclass(frozen=True)
class Note:
    """A claim in the figure: its position, the span of its samples' positions, and the record's entry."""

    at: float
    span: tuple[float, float] | None
    claim: dict[str, Any]


def note(claim: dict[str, Any]) -> Note:
    """The note of a claim, from a record's entry."""
    criterion = cards.parse_criterion(claim["criterion"])
    samples = [s for s in claim["samples"] if s is not None]
    numbers = [float(s) for s in samples]
    scale = max(numbers) - min(numbers) if numbers else 0.0
    at = NOWHERE if claim["value"] is None else position(criterion, claim["value"], scale)
    if len(samples) < 2:
        return Note(at, None, claim)
    places = [position(criterion, s, scale) for s in samples]
    return Note(at, (min(places), max(places)), claim)


@dataclass(frozen=True)
class Bar:
    """A paper in the figure: its notes, and the name of its part if it is the part's first paper."""

    slug: str
    title: str
    part: str | None
    notes: list[Note]


def bars(records: list[Record]) -> list[Bar]:
    """One bar a paper; the first of each run of papers of a part names the part."""
    found, before = [], None
    for record in records:
        part = record["part"] if record["part"] != before else None
        found.append(Bar(record["slug"], record["title"], part, [note(claim) for claim in record["claims"]]))
        before = record["part"]
    return found


@dataclass(frozen=True)
class Style:
    """Sizes in pixels: between lines of the staff, between notes, beside bar lines, and what is written."""

    gap: float
    pitch: float
    pad: float
    named: bool  # papers are named below their bars
    indent: float = 64.0  # room for the legend before the first staff

    @staticmethod
    def fitting(all_bars: list[Bar], width: int) -> Style:
        """Large notes for a small book, small ones for a large book."""
        count = sum(len(bar.notes) for bar in all_bars)
        crowded = min(1.0, max(0.0, (count - 60) / 240))
        return Style(9 - 4.5 * crowded, 21 - 13.5 * crowded, 9 - 5 * crowded, len(all_bars) <= 24, width / 12 + 20)

    def width(self, bar: Bar) -> float:
        """The least width of a bar: its notes, and the words written above and below it."""
        notes = self.pitch * len(bar.notes) + 2 * self.pad
        above = 6.6 * len(bar.part) + 14 if bar.part else 0.0
        below = 5.6 * max(map(len, _two_lines(bar.slug))) + 8 if self.named else 0.0
        return max(notes, above, below)

    def heights(self, line: list[Bar]) -> tuple[float, float, float]:
        """Of a line of bars: the names of parts above it, the staff with room for what falls off it, papers' names."""
        return (16.0 if any(bar.part for bar in line) else 2.0), 8 * self.gap + 14, (26.0 if self.named else 0.0)


def systems(all_bars: list[Bar], style: Style, width: float) -> list[list[Bar]]:
    """Bars broken into as few lines as fit, and those of as equal a length as may be."""
    lines = _broken(all_bars, style, width)
    for narrower in range(int(width), 0, -4):
        balanced = _broken(all_bars, style, narrower)
        if len(balanced) > len(lines):
            break
        lines = balanced
    return lines


def _broken(all_bars: list[Bar], style: Style, width: float) -> list[list[Bar]]:
    lines: list[list[Bar]] = [[]]
    room = width - style.indent
    for bar in all_bars:
        if lines[-1] and style.width(bar) > room:
            lines.append([])
            room = width
        lines[-1].append(bar)
        room -= style.width(bar)
    return lines


def figure(records: list[Record], width: int) -> str:
    """The whole figure as SVG text."""
    all_bars = bars(records)
    style = Style.fitting(all_bars, width)
    lines = systems(all_bars, style, width - 20)
    body, height = [], 0.0
    for i, line in enumerate(lines):
        left = 4 + (style.indent if i == 0 else 0)
        body += _system(line, style, left, height, width - 4, first=i == 0, last=i == len(lines) - 1)
        height += sum(style.heights(line))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="reprise-overview {"wide" if width == WIDTH else "narrow"}" '
        f'viewBox="0 0 {width} {height:.0f}" role="group" aria-label="{_summary(records)}">\n<style>{CSS}</style>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _summary(records: list[Record]) -> str:
    claims = [claim for record in records for claim in record["claims"]]
    held = sum(claim["verdict"] == "reproduced" for claim in claims)
    return f"{len(claims)} claims of {len(records)} papers: {held} reproduced, {len(claims) - held} not reproduced"


def _system(
    line: list[Bar], style: Style, left: float, top: float, right: float, *, first: bool, last: bool
) -> Iterator[str]:
    """One line of the figure: the staff, its bars, and the repeat signs at the beginning and the end of the book."""
    above, staff, _ = style.heights(line)
    middle = top + above + staff / 2
    low, high = middle + 2 * style.gap, middle - 2 * style.gap
    natural = sum(style.width(bar) for bar in line)
    room = right - left - (16 if first else 0) - (16 if last else 0)
    # A line is stretched to the margin, unless it is the last and short.
    stretch = 1.0 if last and natural < 0.6 * room else room / natural if natural else 1.0
    end = left + (16 if first else 0) + natural * stretch + (16 if last else 0)
    yield f'<path class="accepted" d="M{left:.1f} {high:.1f}H{end:.1f}V{low:.1f}H{left:.1f}z"/>'
    for step in (-2, -1, 0, 1, 2):
        y = middle + step * style.gap
        yield f'<path class="line" d="M{left:.1f} {y:.1f}H{end:.1f}"/>'
    if first:
        yield from _legend(left - 8, middle, style)
        yield from _repeat(left, high, low, style, opening=True)
    x = left + (16 if first else 0)
    for i, bar in enumerate(line):
        wide = style.width(bar) * stretch
        if i > 0:
            yield f'<path class="bar" d="M{x:.1f} {high:.1f}V{low:.1f}"/>'
        if bar.part:
            yield f'<text class="part" x="{x + 2:.1f}" y="{top + 12:.1f}">{escape(bar.part.replace("-", " "))}</text>'
        yield from _bar(bar, style, x, middle, wide)
        x += wide
    if last:
        yield from _repeat(end, high, low, style, opening=False)


def _legend(x: float, middle: float, style: Style) -> Iterator[str]:
    for text, step in (("too large", -3.2), ("accepted", 0), ("too small", 3.2)):
        yield f'<text class="legend" x="{x:.1f}" y="{middle + step * style.gap + 3.5:.1f}">{text}</text>'


def _repeat(x: float, high: float, low: float, style: Style, *, opening: bool) -> Iterator[str]:
    """A repeat sign that begins or ends at ``x``."""
    way = 1 if opening else -1
    thick = x if opening else x - 4
    yield f'<path class="thick" d="M{thick:.1f} {high:.1f}h4V{low:.1f}h-4z"/>'
    yield f'<path class="bar" d="M{x + 7 * way:.1f} {high:.1f}V{low:.1f}"/>'
    for y in ((high + low - style.gap) / 2, (high + low + style.gap) / 2):
        yield f'<circle class="thick" cx="{x + 11.5 * way:.1f}" cy="{y:.1f}" r="1.7"/>'


def _bar(bar: Bar, style: Style, x: float, middle: float, width: float) -> Iterator[str]:
    pitch = min((width - 2 * style.pad) / max(len(bar.notes), 1), 1.6 * style.pitch)
    start = x + (width - pitch * len(bar.notes)) / 2 + pitch / 2
    for i, one in enumerate(bar.notes):
        yield _note(one, bar.slug, start + i * pitch, middle, style)
    if style.named:
        y = middle + 4 * style.gap + 14
        words = [
            f'<tspan x="{x + width / 2:.1f}" dy="{12 * i}">{w}</tspan>' for i, w in enumerate(_two_lines(bar.slug))
        ]
        yield (
            f'<a href="papers/{bar.slug}.html"><title>{escape(bar.title)}</title>'
            f'<text class="paper" y="{y:.1f}">{"".join(words)}</text></a>'
        )


def _note(one: Note, slug: str, x: float, middle: float, style: Style) -> str:
    claim, gap = one.claim, style.gap
    held = claim["verdict"] == "reproduced"
    y = middle - one.at * 2 * gap
    size = min(0.62 * gap, 0.36 * style.pitch)
    parts = []
    for step in (1.5, 2.0):  # ledger lines, for notes off the staff
        if abs(one.at) >= step - 0.25:
            ledger = middle - math.copysign(step, one.at) * 2 * gap
            parts.append(f'<path class="line" d="M{x - 1.6 * size:.1f} {ledger:.1f}h{3.2 * size:.1f}"/>')
    if one.span:
        ends = [middle - end * 2 * gap for end in one.span]
        parts.append(f'<path class="stem" d="M{x:.1f} {ends[0]:.1f}V{ends[1]:.1f}"/>')
    if held:
        parts.append(
            f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{1.22 * size:.1f}" ry="{0.9 * size:.1f}" '
            f'transform="rotate(-20 {x:.1f} {y:.1f})"/>'
        )
    else:
        d, arm = f"M{x - size:.1f} {y - size:.1f}", 2 * size
        parts.append(f'<path class="cross" d="{d}l{arm:.1f} {arm:.1f}m0 {-arm:.1f}l{-arm:.1f} {arm:.1f}"/>')
    if not claim["as_expected"]:
        parts.append(f'<circle class="surprise" cx="{x:.1f}" cy="{y:.1f}" r="{2 * size:.1f}"/>')
    return (
        f'<a class="{claim["verdict"]}" href="papers/{slug}.html#claim-{claim["id"]}">'
        f"<title>{escape(_words(claim, slug))}</title>{''.join(parts)}</a>"
    )


def _words(claim: dict[str, Any], slug: str) -> str:
    value = claim["value"]
    measured = claim["problem"] if value is None else str(value).lower() if isinstance(value, bool) else f"{value:.4g}"
    verdict = claim["verdict"].replace("-", " ") + ("" if claim["as_expected"] else ", which was not expected")
    return f"{slug}: {claim['statement']}\nmeasured {measured}, criterion {claim['criterion_text']}: {verdict}"


def _two_lines(slug: str) -> list[str]:
    """A slug broken at the hyphen nearest to its middle, if it is long."""
    cuts = [i for i, letter in enumerate(slug) if letter == "-"]
    if len(slug) < 12 or not cuts:
        return [slug]
    cut = min(cuts, key=lambda i: abs(i - len(slug) / 2))
    return [slug[: cut + 1], slug[cut + 1 :]]


# The second value of each var() is for the file on its own, outside the book.
CSS = """
.reprise-overview{font-family:var(--pst-font-family-base,sans-serif)}
.reprise-overview a{text-decoration:none}
.reprise-overview .line{stroke:var(--reprise-soft,#5a626d);stroke-width:.6;opacity:.75}
.reprise-overview .accepted{fill:var(--reprise-yes-surface,#e8f2f9)}
.reprise-overview .bar{stroke:var(--reprise-soft,#5a626d);stroke-width:1.1}
.reprise-overview .thick{fill:var(--reprise-soft,#5a626d)}
.reprise-overview .part{font-size:12px;font-weight:600;fill:var(--pst-color-text-base,#222)}
.reprise-overview .paper{font-size:10px;text-anchor:middle;fill:var(--reprise-soft,#5a626d)}
.reprise-overview .legend{font-size:10px;text-anchor:end;fill:var(--reprise-soft,#5a626d)}
.reprise-overview .reproduced{fill:var(--reprise-yes,#0067a5);stroke:var(--reprise-yes,#0067a5)}
.reprise-overview .not-reproduced{fill:none;stroke:var(--reprise-no,#b84300)}
.reprise-overview ellipse{stroke:none}
.reprise-overview .stem{stroke-width:1.6;opacity:.55;stroke-linecap:round}
.reprise-overview .cross{stroke-width:2.2;stroke-linecap:round}
.reprise-overview .surprise{fill:none;stroke:var(--reprise-surprise,#a3005c);stroke-width:1.5}
.reprise-overview a:hover :is(ellipse,.cross){stroke:var(--pst-color-text-base,#222);stroke-width:2}
.reprise-overview a:hover .paper{text-decoration:underline}
""".strip()
