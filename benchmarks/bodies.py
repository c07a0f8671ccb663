"""The sessions that are measured, by the length of their JSON in bytes."""

from __future__ import annotations

import json
from typing import Any, Final

SIZES: Final = (0, 50, 141, 400, 1855, 2900)
TYPICAL: Final = 141
FULL: Final = 1855

# A cart of different things: some of those who are measured compress, and a cart of one thing would be a present to them.
_PRODUCTS: Final = (
    "Notebook, ruled, A5", "Fountain pen, broad", "Blotting paper", "Desk lamp, brass", "Green tea, 250 g", "Bicycle bell",
    "Rain cape, yellow", "Wool socks, 41-43", "Enamel mug", "Folding ruler, 2 m", "Sketch pad, A3", "Charcoal, soft",
    "Kitchen scale", "Oven gloves", "Salt cellar", "Corkscrew, steel", "Hand cream, jasmine", "Travel adapter",
    "Reading glasses +2", "Jigsaw, 1000 pieces", "Harmonica in C", "Watering can, 5 l", "Seed mix, meadow", "Garden twine",
    "Doormat, coir", "Wall clock, quartz", "Coat hook, oak", "Candle, beeswax", "Umbrella, black", "Key ring, leather",
    "Picture frame", "Tape measure", "Chess set, travel", "Hot water bottle", "Bread knife", "Linen towel",
)  # fmt: skip
_NOTE: Final = (
    "please leave it with the neighbours on the second floor, they are at home until six; the bell at the gate does not work, "
    "so call before you come, and ring twice if nobody answers"
)


def body(size: int) -> dict[str, Any]:
    """A session whose compact JSON has exactly so many bytes; 0 is an empty one.

    50 is a user and a note; 141 a typical session; from there on it is a cart that gets fuller.

    Raises:
        ValueError: no such session is made here.
    """
    if size == 0:
        return {}
    session: dict[str, Any] = {"user": 7421}
    if size >= TYPICAL:
        session |= {"csrf": "q8Zt1mYw0sJd7rGk", "roles": ["editor", "billing"], "locale": "en-GB", "seen": 1790000000}
        session |= {"mfa": True, "cart_id": None}
    items: list[dict[str, Any]] = []
    for number, product in enumerate(_PRODUCTS):
        sku = f"{number * 7919 % 9973:04d}-{number * 104_729 % 99_991:05d}"
        item = {"sku": sku, "name": product, "quantity": number * 5 % 7 + 1, "price": round(1.95 + number * 37 % 89, 2)}
        if _length(session | {"cart": [*items, item]}) + len(',"note":""') > size:
            break
        items.append(item)
    if items:
        session["cart"] = items
    session["note"] = ""
    missing = size - _length(session)
    if not 0 <= missing <= len(_NOTE):
        raise ValueError(f"no session of {size} bytes is made here")
    session["note"] = _NOTE[:missing]
    return session


def _length(session: dict[str, Any]) -> int:
    return len(json.dumps(session, separators=(",", ":")))
