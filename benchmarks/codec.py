"""What does it cost to seal a session, and to open one, beside everyone else?

For bodies of several sizes, every system seals and opens in turns. The base is the floor: the standard library's JSON, bare
AES-256-GCM and base64, which know no lifetime, no second key and no check of what goes in. Ours also opens tokens that come
each from another sealer with the same key, so that nothing it may hold of a sealer helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any, Final

from benchmarks.bodies import FULL, SIZES, TYPICAL, body
from benchmarks.measure import Effort, median, micro, time_in_turns, times
from benchmarks.rivals import ENCRYPTED, FLOOR, Body, field
from clientsession import Codec, Key, Keyring

NAME: Final = "codec"
SEAL: Final = "seal"
OPEN: Final = "open"
SEPARATOR: Final = " · "  # between what is done and who does it, in the name of a series
STRANGERS: Final = 1024  # tokens that are opened in turn, each from a sealer of its own: more than any small cache holds
SHOWN: Final = (TYPICAL, FULL)  # bytes of the bodies that the table is about


def _others() -> dict[str, tuple[Codec, Callable[[], Codec]]]:
    """Ours, and what makes a sealer with the same key that shares nothing else with it: as when other processes sealed."""
    text = Key.generate().export()
    serializers: dict[str, dict[str, Any]] = {"clientsession": {}}
    try:
        from clientsession.serializers import Msgspec  # type: ignore[import-not-found,unused-ignore]

        serializers["clientsession, Msgspec"] = {"serializer": Msgspec()}
    except ImportError:
        pass
    made: dict[str, tuple[Codec, Callable[[], Codec]]] = {}
    for name, options in serializers.items():

        def new(options: dict[str, Any] = options) -> Codec:
            return Codec(Keyring(Key.parse(text)), "session", **options)

        made[f"{name}, each from another sealer"] = new(), new
    return made


def _next_opened(codec: Codec, tokens: Iterator[str]) -> object:
    return codec.decode(next(tokens))


def series(work: str, name: str) -> str:
    """The name of a series: what is done, and who does it."""
    return f"{work}{SEPARATOR}{name}"


def run(effort: Effort) -> dict[str, Any]:
    """Seconds to seal and to open, by system and size."""
    here = field()
    others = _others()
    bodies = {size: body(size) for size in SIZES}
    tokens, cannot = here.tokens(bodies)
    values: dict[str, dict[str, list[float]]] = {}
    for size in SIZES:
        functions: dict[str, Callable[[], object]] = {}
        for name, own in tokens.items():
            if size in own:
                rival = here.rivals[name]
                functions[series(SEAL, name)] = partial(rival.seal, bodies[size])
                functions[series(OPEN, name)] = partial(rival.open, own[size])
        for name, (codec, new_sealer) in others.items():
            strangers = [new_sealer().encode(bodies[size]) for _ in range(1 if effort.is_smoke else STRANGERS)]
            functions[series(OPEN, name)] = partial(_next_opened, codec, cycle(strangers))
        for name, seconds in time_in_turns(functions, effort).items():
            values.setdefault(name, {})[str(size)] = seconds
        unchanged: Body = body(size)
        if bodies[size] != unchanged:
            raise AssertionError("a system changed the session that it was given to seal")
    return {
        "unit": "s",
        "base": FLOOR,
        "labels": here.labels(),
        "others_sealed": list(others),
        "absent": here.absent,
        "cannot": cannot,
        "values": values,
    }


def table(result: dict[str, Any]) -> str:
    """Markdown, for a typical and for a full session: median microseconds, and the ratio to the floor; fastest to seal first."""
    return "\n\n".join(_table(result, size) for size in SHOWN) + notes(result)


def _table(result: dict[str, Any], size: int) -> str:
    values, base, labels = result["values"], result["base"], result["labels"]
    point = str(size)
    head = [f"{size:,} bytes", "", "JSON", "lifetime", "seal, µs", f"× {base}", "open, µs", f"× {base}"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|---|--:|--:|--:|--:|"]
    here = [name for name in labels if point in values[series(SEAL, name)]]
    by_speed = sorted(here, key=lambda name: median(values[series(SEAL, name)][point]))
    for name in sorted(by_speed, key=lambda name: labels[name]["kind"] != ENCRYPTED):
        label = labels[name]
        json = label["json"] + (", deflated" if label["deflates"] else "")
        row = [f"**{name}**" if name.startswith("clientsession") else name, label["kind"], json, label["lifetime"]]
        for work in (SEAL, OPEN):
            measured = values[series(work, name)][point]
            row += [micro(measured), times(measured, values[series(work, base)][point])]
        lines.append("| " + " | ".join(row) + " |")
    for name in result["others_sealed"]:
        measured = values[series(OPEN, name)][point]
        row = [f"**{name}**", ENCRYPTED, "", "", "", "", micro(measured), times(measured, values[series(OPEN, base)][point])]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def notes(result: dict[str, Any]) -> str:
    """Who is not in the table, and what a system cannot do, as lines under it."""
    said = [f"{name}: {why}" for name, why in (result["absent"] | result["cannot"]).items()]
    return "".join(f"\n\n{line}." for line in ["; ".join(said)] if line)
