"""The pictures of a results file, as SVG beside it: bars for seal, open and size; lines for cost against payload and ring size.

Text stays text, in the reader's own font, and each picture brings its ground and its colours for light and for dark pages.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.bodies import FULL, SIZES, TYPICAL
from benchmarks.codec import OPEN, SEAL, SEPARATOR, series
from benchmarks.measure import median, spread
from benchmarks.rivals import ENCRYPTED

WIDTH_INCHES: Final = 9.0  # 648 points: a column of text on a wide screen
BAR_INCHES: Final = 0.27
FONTS: Final = "system-ui, 'DejaVu Sans', sans-serif"
DIGITS: Final = 1  # decimals that are kept of a coordinate, in points: finer than a screen shows

# What matplotlib draws in, each replaced by a class with a colour for light and one for dark pages.
INK: Final = "#010101"
GRID: Final = "#020202"
GROUND: Final = "#030303"
OURS: Final = "#040404"
OTHERS: Final = "#050505"
SIGNED: Final = "#060606"
FLOOR: Final = "#070707"
LINES: Final = tuple(f"#0{number:x}0{number:x}0{number:x}" for number in range(8, 15))
COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    INK: ("#24292f", "#e6edf3"),
    GRID: ("#d5d9df", "#30363d"),
    GROUND: ("#ffffff", "#161b22"),
    OURS: ("#0969da", "#4493f8"),
    OTHERS: ("#8250df", "#ab7df8"),
    SIGNED: ("#9aa4af", "#6e7681"),
    FLOOR: ("#1a7f37", "#3fb950"),
    **dict(
        zip(
            LINES,
            (
                ("#8250df", "#ab7df8"),
                ("#bc4c00", "#f0883e"),
                ("#bf3989", "#db61a2"),
                ("#6e7781", "#9aa4af"),
                ("#9a6700", "#d29922"),
                ("#cf222e", "#f85149"),
                ("#1b7c83", "#39c5cf"),
            ),
            strict=True,
        )
    ),
}
STYLE: Final[Mapping[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "clientsession",  # the same picture for the same results
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "figure.facecolor": GROUND,
    "axes.facecolor": GROUND,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}


def draw(records: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw what the records hold the values for.

    Args:
        records: of a results file.
        folder: where the pictures go, as ``seal.svg``, ``open.svg``, ``size.svg``, ``payload.svg`` and ``ring.svg``.

    Returns:
        The files.
    """
    drawn = []
    for name, (question, picture) in PICTURES.items():
        if question in records:
            record = records[question]
            with mpl.rc_context({**STYLE}):
                figure = picture(record["result"])
                title = f"{figure.get_suptitle()} ({record['about']['python']})"
                figure.suptitle(title, x=0.01, ha="left", fontsize=11)
                path = folder / f"{name}.svg"
                path.write_text(_svg(figure, title), encoding="utf-8")
            drawn.append(path)
    return drawn


def _bars(
    axes: Axes, names: list[str], values: list[float], errors: list[float] | None, labels: Mapping[str, Any], form: str
) -> None:
    """Horizontal bars, the first at the top, each with its value."""
    colours = [_colour(name, labels) for name in names]
    axes.barh(names, values, color=colours, height=0.68)
    if errors is not None:
        axes.errorbar(values, names, xerr=errors, fmt="none", ecolor=INK, elinewidth=0.8)
    axes.invert_yaxis()
    most = max(values)
    for place, value in enumerate(values):
        axes.text(
            value + (0 if errors is None else errors[place]) + most * 0.012, place, form.format(value), va="center", fontsize=8
        )
    axes.set_xlim(0, most * 1.2)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)


def _colour(name: str, labels: Mapping[str, Any]) -> str:
    if name not in labels or name.startswith("clientsession"):
        return OURS
    if name == "floor":
        return FLOOR
    return OTHERS if labels[name]["kind"] == ENCRYPTED else SIGNED


def _bar_panels(
    title: str, panels: Sequence[tuple[str, dict[str, float], dict[str, float] | None]], result: Any, form: str
) -> Figure:
    """Panels side by side, each in its own order: lowest first."""
    bars = max(len(values) for _, values, _ in panels)
    figure = Figure(figsize=(WIDTH_INCHES, bars * BAR_INCHES + 1.15), layout="constrained")
    figure.suptitle(title)
    for axes, (heading, values, errors) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        names = sorted(values, key=values.__getitem__)
        _bars(
            axes, names, [values[n] for n in names], None if errors is None else [errors[n] for n in names], result["labels"], form
        )
        axes.set_title(heading)
    for place, (colour, meaning) in enumerate(
        ((OURS, "clientsession"), (OTHERS, "encrypted"), (SIGNED, "signed only"), (FLOOR, "the floor: json + AES-GCM + base64"))
    ):
        figure.text(0.01 + (0, 0.13, 0.23, 0.34)[place], 0.005, f"■ {meaning}", color=colour, fontsize=9, ha="left", va="bottom")
    figure.get_layout_engine().set(rect=(0, 0.3 / figure.get_figheight(), 1, 1 - 0.3 / figure.get_figheight()))
    return figure


def _codec_bars(work: str, title: str) -> Callable[[Any], Figure]:
    def picture(result: Any) -> Figure:
        panels = []
        for size in (TYPICAL, FULL):
            points = {name: result["values"][series(work, name)].get(str(size)) for name in result["labels"]}
            middles = {name: median(values) * 1e6 for name, values in points.items() if values}
            errors = {name: spread(values) * 1e6 for name, values in points.items() if values}
            panels.append((f"{size:,} bytes of JSON, µs", middles, errors))
        return _bar_panels(title, panels, result, "{:.1f}")

    return picture


def _size_bars(result: Any) -> Figure:
    panels = []
    for size in (SIZES[0], TYPICAL):
        lengths = {name: float(points[str(size)]) for name, points in result["values"].items() if str(size) in points}
        panels.append(("an empty session" if not size else f"{size:,} bytes of JSON", lengths, None))
    return _bar_panels("Characters of the token", panels, result, "{:.0f}")


# Whom lines are drawn of: all would be a tangle.
PAYLOAD_LINES: Final = {
    "floor": FLOOR,
    "clientsession": OURS,
    "clientsession, Msgspec": OURS,
    "Litestar CookieBackend": LINES[0],
    "Fernet + json": LINES[1],
    "JWE dir/A256GCM (joserfc)": LINES[2],
    "pyramid_nacl_session": LINES[6],
    "aiohttp_session": LINES[4],
    "PASETO v4.local (pyseto)": LINES[5],
    "Starlette": LINES[3],
}


def _payload_lines(result: Any) -> Figure:
    figure = Figure(figsize=(WIDTH_INCHES, 4.4), layout="constrained")
    figure.suptitle("Cost against payload")
    for axes, work in zip(figure.subplots(1, 2), (SEAL, OPEN), strict=True):
        for name, colour in PAYLOAD_LINES.items():
            points = result["values"].get(series(work, name), {})
            if points:
                _line(axes, points, name, colour)
        axes.set_title(f"{work}, µs")
        axes.set_xlabel("bytes of JSON")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
    _legend(figure, 4)
    return figure


def _ring_lines(result: Any) -> Figure:
    figure = Figure(figsize=(WIDTH_INCHES, 4.0), layout="constrained")
    figure.suptitle(f"Cost against the number of keys, {result['body_bytes']} bytes of JSON")
    for axes, (work, heading) in zip(
        figure.subplots(1, 2), ((OPEN, "open what the last key sealed, µs"), ("refuse", "refuse an unknown key, µs")), strict=True
    ):
        names = [full.partition(SEPARATOR)[2] for full in result["values"] if full.partition(SEPARATOR)[0] == work]
        others = iter(LINES)
        for name in names:
            _line(axes, result["values"][series(work, name)], name, OURS if name.startswith("clientsession") else next(others))
        axes.set_title(heading)
        axes.set_xlabel("keys in the ring")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
    _legend(figure, 3)
    return figure


def _line(axes: Axes, points: Mapping[str, list[float]], name: str, colour: str) -> None:
    """One system; ours with another cipher or serializer is dashed."""
    style = "--" if name.startswith("clientsession,") else "-"
    middles = [median(values) * 1e6 for values in points.values()]
    axes.plot([int(point) for point in points], middles, style, marker="o", color=colour, label=name)


def _legend(figure: Figure, columns: int) -> None:
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=8.5, handlelength=2.2)


PICTURES: Final[Mapping[str, tuple[str, Callable[[Any], Figure]]]] = {
    "seal": ("codec", _codec_bars(SEAL, "Sealing a session")),
    "open": ("codec", _codec_bars(OPEN, "Opening a session")),
    "size": ("size", _size_bars),
    "payload": ("codec", _payload_lines),
    "ring": ("ring", _ring_lines),
}


def _svg(figure: Figure, title: str) -> str:
    """The picture as text: colours by class, coordinates short, a title for those who do not see it."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = re.sub(r"<\?xml.*?<svg ", "<svg ", text, flags=re.DOTALL)
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:d|x|y|transform|width|height)="[^"]*"', _shortened, text)
    text = re.sub(r' id="(?![mp][0-9a-f]{8,}")[^"]*"', "", text)  # only marks and clips are referred to
    text = re.sub(r'style="([^"]*)"', _styled, text)
    used = {mark: colours for mark, colours in COLOURS.items() if f'class="{_class(mark)}"' in text}
    light = " ".join(f".{_class(mark)} {{ color: {colour}; }}" for mark, (colour, _) in used.items())
    dark = " ".join(f".{_class(mark)} {{ color: {colour}; }}" for mark, (_, colour) in used.items())
    style = f"<style>text {{ font-family: {FONTS}; }} {light} @media (prefers-color-scheme: dark) {{ {dark} }}</style>"
    head = f'role="img" aria-label="{_escaped(title)}">\n<title>{_escaped(title)}</title>\n{style}'
    text = re.sub(r"(<svg [^>]*)>", lambda found: f"{found[1]} {head}", text, count=1)
    text = re.sub(r"\n\s*", "\n", text)
    while (emptied := re.sub(r"<g>\s*</g>\n|<g/>\n", "", text)) != text:
        text = emptied
    return text


def _shortened(found: re.Match[str]) -> str:
    """An attribute with short coordinates; nothing where it turns by nothing."""
    if "rotate(-0 " in found[0]:
        return ""
    short = re.sub(r"-?\d+\.\d{2,}", lambda number: f"{float(number[0]):.{DIGITS}f}".removesuffix(".0"), found[0])
    return re.sub(r" ?\n", " ", short)


def _styled(found: re.Match[str]) -> str:
    style = found[1]
    style = re.sub(r"font-family: [^;]*;? ?", "", style)
    # An element has one colour beside none: what it is filled or drawn with is the colour of its class.
    marks = [mark for mark in COLOURS if mark in style]
    for mark in marks:
        style = style.replace(mark, "currentColor")
    kept = f'style="{style}"'
    return f'{kept} class="{_class(marks[0])}"' if marks else kept


def _class(mark: str) -> str:
    return f"c{mark[2]}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
