"""SessionMetrics: what happens to sessions, counted for Prometheus.

It knows events alone: no session, key, cookie or request. It needs prometheus-client, which the extra ``prometheus`` brings.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

from clientsession import ConfigurationError, Event, EventKind, Reason

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
except ImportError as error:
    raise ImportError(
        "clientsession.metrics needs prometheus-client: pip install 'clientsession[prometheus]'", name="prometheus_client"
    ) from error

__all__ = ["SessionMetrics"]

# The bounds of the histogram, in bytes: an empty session has about 85, a browser takes 4,096, and close to that it matters most.
_SIZES: Final = (128, 256, 512, 1024, 1536, 2048, 2560, 3072, 3328, 3584, 3840, 4096)
_GOES_OUT: Final = frozenset({EventKind.SEALED, EventKind.MIGRATED, EventKind.EXTENDED, EventKind.RESEALED})

# All that can happen, without a key and with one. A series that began with its first event would show that one as no increase,
# and an alert would miss it: so each is there, at zero, from when its jar or key is first seen.
_WITHOUT_KEY: Final[tuple[tuple[EventKind, Reason | None], ...]] = (
    (EventKind.DELETED, None),
    (EventKind.REFUSED, Reason.MALFORMED),
    (EventKind.REFUSED, Reason.UNKNOWN_KEY),
    (EventKind.REFUSED, Reason.AMBIGUOUS),
)
_WITH_KEY: Final[tuple[tuple[EventKind, Reason | None], ...]] = (
    (EventKind.OPENED, None),
    (EventKind.SEALED, None),
    (EventKind.MIGRATED, None),
    (EventKind.EXTENDED, None),
    (EventKind.RESEALED, None),
    (EventKind.TOO_LARGE, None),
    (EventKind.REFUSED, Reason.MALFORMED),
    (EventKind.REFUSED, Reason.FORGED),
    (EventKind.REFUSED, Reason.EXPIRED),
    (EventKind.REFUSED, Reason.FUTURE),
)

_logger: Final = logging.getLogger("clientsession")


class SessionMetrics:
    """An observer that counts events for Prometheus: ``Jar("session", ring, observer=SessionMetrics())``.

    One instance serves all jars of a site. It exports the counter ``clientsession_events_total`` with the labels ``jar``,
    ``event``, ``reason`` (of a refusal, else empty) and ``key`` (the id of a key of the ring, else empty), and the histogram
    ``clientsession_cookie_bytes`` with the label ``jar``: name and value of each cookie that goes out. Nothing a client sends
    becomes a label: a jar has 4 series of the counter, 10 more for each key, and 15 of the histogram.

    In the multiprocess mode of prometheus-client make one instance in each process: there, registries do not keep two apart.

    Args:
        registry: where the metrics are registered.

    Raises:
        ConfigurationError: the registry has these metrics already, or is no ``CollectorRegistry``.
    """

    __slots__ = ("_cookie_bytes", "_events", "_is_off", "_seen")

    def __init__(self, *, registry: CollectorRegistry = REGISTRY) -> None:
        if not isinstance(registry, CollectorRegistry):
            raise ConfigurationError(f"registry must be a prometheus_client.CollectorRegistry, not {type(registry).__name__}")
        self._events = Counter(
            "clientsession_events_total",
            "What happened to sessions, by jar, event, reason of a refusal, and id of the key",
            ("jar", "event", "reason", "key"),
            registry=None,
        )
        self._cookie_bytes = Histogram(
            "clientsession_cookie_bytes",
            "Bytes of name and value of the session cookies that went out, by jar",
            ("jar",),
            registry=None,
            buckets=_SIZES,
        )
        self._seen: set[tuple[str, str]] = set()  # jars, with their keys
        self._is_off = False
        try:
            registry.register(self._events)
            registry.register(self._cookie_bytes)
        except ValueError:
            with contextlib.suppress(KeyError):  # the first of them may be in
                registry.unregister(self._events)
            raise ConfigurationError(
                "this registry has the metrics clientsession_… already: make one SessionMetrics and give it to all jars, or give "
                "each a registry of its own, SessionMetrics(registry=CollectorRegistry())"
            ) from None

    def __call__(self, event: Event) -> None:
        """Count an event; where a file cannot be made for that, say so once and count no more."""
        if self._is_off:
            return
        try:
            self._count(event)
        except OSError as error:  # in multiprocess mode, where a file cannot be made
            self._is_off = True  # sessions go on: no visitor is to be signed out for a number
            _logger.warning(
                "sessions are not counted in this process any more: %s. Make the folder of PROMETHEUS_MULTIPROC_DIR, let the "
                "workers write there, and restart them",
                error,
            )

    def _count(self, event: Event) -> None:
        key = event.key_id or ""
        if (event.jar, key) not in self._seen:
            self._begin(event.jar, key)
        self._events.labels(event.jar, event.kind, event.reason or "", key).inc()
        if event.kind in _GOES_OUT and event.size is not None:
            self._cookie_bytes.labels(event.jar).observe(event.size)

    def _begin(self, jar: str, key: str) -> None:
        """Make every series of a jar, and of one of its keys, at zero."""
        self._cookie_bytes.labels(jar)
        for kind, reason in _WITHOUT_KEY:
            self._events.labels(jar, kind, reason or "", "")
        for kind, reason in _WITH_KEY if key else ():
            self._events.labels(jar, kind, reason or "", key)
        self._seen.add((jar, key))
