"""Other serializers than the default one: Msgspec, the same strict JSON in less time.

It knows what the strict JSON is (``_json.py``), and nothing of sessions, times or tokens. It needs msgspec, which the extra
``speed`` brings.
"""

from __future__ import annotations

from typing import Any

from clientsession._json import StrictJSON

try:
    import msgspec
except ImportError as error:
    raise ImportError("clientsession.serializers needs msgspec: pip install 'clientsession[speed]'", name="msgspec") from error

__all__ = ["Msgspec"]


class Msgspec(StrictJSON):
    """The default serializer's JSON, written and read by msgspec, which is faster.

    It is as strict: what it would not read back as it is, it does not write. Tokens of the one open under the other, so that it can
    be taken or left at any time, server by server::

        Jar("session", ring, serializer=Msgspec())
    """

    __slots__ = ("_decode", "_encode_bytes")

    def __init__(self) -> None:
        super().__init__()
        self._encode_bytes = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder().decode

    def __repr__(self) -> str:
        return "Msgspec()"

    def _written(self, value: dict[str, Any]) -> bytes:
        return self._encode_bytes(value)

    def loads(self, body: bytes, /) -> dict[str, Any]:
        """As the default serializer: a JSON object that starts at the first byte; spaces may follow it.

        Raises:
            ValueError: not UTF-8, not JSON, not an object, something else before or after it; or, beyond what the default refuses,
                a number that no float holds, or half of a surrogate pair, which neither writes.
        """
        if body[:1] != b"{" or (body[-1:] != b"}" and body.rstrip(b" ")[-1:] != b"}"):
            raise ValueError("the body is not a JSON object")
        return self._decode(body)  # type: ignore[no-any-return]  # an object, as its first byte says
