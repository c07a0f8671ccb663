"""Metrics for Prometheus: what is counted, that no client makes a series, and that the guide's set-up and queries are real."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.values import MultiProcessValue

from clientsession import ConfigurationError, Event, EventKind, Jar, Key, Keyring, Reason, Sessions
from clientsession.metrics import SessionMetrics
from tests.conftest import Client, Clock
from tests.test_concurrency import ROOT, in_threads, run_script
from tests.test_events import CONTENT, GUIDE, NAMES, NEW, OLD, SHOWN, Site, needles_of
from tests.test_secrets import Needles

KEY = "1a2b3c4d"
WITHOUT_KEY = {("deleted", ""), ("refused", "malformed"), ("refused", "unknown_key"), ("refused", "ambiguous")}
WITH_KEY = {
    *((event, "") for event in ("opened", "sealed", "migrated", "extended", "resealed", "too_large")),
    *(("refused", reason) for reason in ("malformed", "forged", "expired", "future")),
}
BUCKETS = 13  # with the last one, +Inf
DEADLINE_SECONDS = 20.0  # for a server to start and to answer


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> SessionMetrics:
    return SessionMetrics(registry=registry)


def counted(registry: CollectorRegistry) -> dict[tuple[str, str, str, str], float]:
    """The counter's numbers, those above zero, by jar, event, reason and key."""
    return {labels: value for labels, value in series(registry).items() if value}


def series(registry: CollectorRegistry) -> dict[tuple[str, str, str, str], float]:
    return {
        tuple(sample.labels[name] for name in ("jar", "event", "reason", "key")): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "clientsession_events_total"
    }


def names_and_numbers(registry: CollectorRegistry) -> Counter[str]:
    return Counter(sample.name for metric in registry.collect() for sample in metric.samples)


# What is counted


@pytest.mark.parametrize("kind", EventKind)
def test_an_event_is_counted_by_jar_and_kind_and_key(kind: EventKind, metrics: SessionMetrics, registry: CollectorRegistry) -> None:
    for _ in range(3):
        metrics(Event(kind, "session", None, KEY, 100))
    assert counted(registry) == {("session", kind.value, "", KEY): 3}


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_is_counted_by_reason(reason: Reason, metrics: SessionMetrics, registry: CollectorRegistry) -> None:
    metrics(Event(EventKind.REFUSED, "session", reason, None, 11))
    assert counted(registry) == {("session", "refused", reason.value, ""): 1}


def test_what_happens_to_sessions_is_what_is_counted(metrics: SessionMetrics, registry: CollectorRegistry, clock: Clock) -> None:
    """Every kind of event from real requests, by a ring in the middle of a rotation."""
    old = Client(Jar("session", Keyring(OLD), clock=clock))
    with old.visit() as sessions:
        sessions["session"]["user"] = 7
    client = Client(Jar("session", Keyring(NEW, retiring=[OLD]), clock=clock, observer=metrics))
    client.cookies = dict(old.cookies)
    for _ in range(3):
        with client.visit() as sessions:
            sessions["session"].get("user")
    with client.visit() as sessions:
        sessions["session"].destroy()
    for token in ("junk", NEW.export()):
        client.cookies["session"] = token
        with client.visit() as sessions:
            sessions["session"].get("user")
    assert counted(registry) == {
        ("session", "opened", "", OLD.id): 1,
        ("session", "resealed", "", NEW.id): 1,
        ("session", "opened", "", NEW.id): 3,
        ("session", "deleted", "", ""): 1,
        ("session", "refused", "malformed", ""): 2,
    }


def test_one_instance_serves_several_jars(metrics: SessionMetrics, registry: CollectorRegistry, ring: Keyring) -> None:
    sessions = Sessions([Jar(name, ring, observer=metrics) for name in NAMES], None)
    for name in NAMES:
        sessions[name]["a"] = 1
    sessions.commit()
    assert counted(registry) == {(name, "sealed", "", ring.sealing.id): 1 for name in NAMES}


def test_the_sizes_of_cookies_that_go_out_are_in_the_histogram_and_no_others(
    metrics: SessionMetrics, registry: CollectorRegistry
) -> None:
    for size, kind in enumerate(EventKind, 200):
        metrics(Event(kind, "session", None, KEY, size))
    went_out = [
        200 + list(EventKind).index(kind) for kind in (EventKind.SEALED, EventKind.EXTENDED, EventKind.RESEALED, EventKind.MIGRATED)
    ]
    labels = {"jar": "session"}
    assert registry.get_sample_value("clientsession_cookie_bytes_count", labels) == len(went_out)
    assert registry.get_sample_value("clientsession_cookie_bytes_sum", labels) == sum(went_out)


def test_the_largest_cookie_is_in_the_last_bucket_and_an_empty_one_in_the_first(
    registry: CollectorRegistry, metrics: SessionMetrics, ring: Keyring
) -> None:
    jar = Jar("session", ring, observer=metrics)
    sessions = Sessions([jar], None)
    assert len(sessions["session"].id) == 32
    sessions.commit()
    sessions = Sessions([jar], None)
    sessions["session"]["text"] = ""
    sessions["session"]["text"] = "x" * (sessions["session"].size_left * 3 // 4)
    assert sessions["session"].size_left in {0, 1}
    sessions.commit()
    found = {
        bound: registry.get_sample_value("clientsession_cookie_bytes_bucket", {"jar": "session", "le": bound})
        for bound in ("128.0", "3840.0", "4096.0", "+Inf")
    }
    assert found == {"128.0": 1, "3840.0": 1, "4096.0": 2, "+Inf": 2}


def test_an_event_without_a_size_is_counted_and_not_measured(metrics: SessionMetrics, registry: CollectorRegistry) -> None:
    metrics(Event(EventKind.SEALED, "session"))
    assert counted(registry) == {("session", "sealed", "", ""): 1}
    assert registry.get_sample_value("clientsession_cookie_bytes_count", {"jar": "session"}) == 0


def test_every_series_of_a_jar_is_there_at_zero_from_its_first_event(metrics: SessionMetrics, registry: CollectorRegistry) -> None:
    """So that the first one of a kind is an increase that an alert sees."""
    assert series(registry) == {}
    metrics(Event(EventKind.DELETED, "session"))
    assert {labels[1:3] for labels in series(registry)} == WITHOUT_KEY
    assert sum(series(registry).values()) == 1
    metrics(Event(EventKind.OPENED, "session", None, KEY, 100))
    assert {labels[1:3] for labels in series(registry) if labels[3] == KEY} == WITH_KEY
    assert sum(series(registry).values()) == 2
    assert len(series(registry)) == len(WITHOUT_KEY) + len(WITH_KEY)


def test_threads_lose_no_count(metrics: SessionMetrics, registry: CollectorRegistry) -> None:
    def work(_: int) -> None:
        for _ in range(1_000):
            metrics(Event(EventKind.SEALED, "session", None, KEY, 100))

    in_threads(8, work)
    assert counted(registry) == {("session", "sealed", "", KEY): 8_000}
    assert registry.get_sample_value("clientsession_cookie_bytes_count", {"jar": "session"}) == 8_000


# Set up wrongly


def test_a_second_instance_of_one_registry_is_refused_and_the_message_says_what_to_do(
    metrics: SessionMetrics, registry: CollectorRegistry
) -> None:
    with pytest.raises(ConfigurationError, match=r"make one SessionMetrics and give it to all jars, or give each a registry"):
        SessionMetrics(registry=registry)
    metrics(Event(EventKind.DELETED, "session"))
    assert counted(registry) == {("session", "deleted", "", ""): 1}


def test_instances_of_two_registries_count_apart(metrics: SessionMetrics, registry: CollectorRegistry) -> None:
    other = CollectorRegistry()
    SessionMetrics(registry=other)(Event(EventKind.DELETED, "cart"))
    metrics(Event(EventKind.DELETED, "session"))
    assert counted(registry) == {("session", "deleted", "", ""): 1}
    assert counted(other) == {("cart", "deleted", "", ""): 1}


@pytest.mark.parametrize("registry", [None, CollectorRegistry, "default", object()], ids=repr)
def test_what_is_no_registry_is_refused(registry: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"must be a prometheus_client.CollectorRegistry, not \w+"):
        SessionMetrics(registry=registry)


def test_the_registry_is_prometheus_client_s_own_unless_it_is_told() -> None:
    default = SessionMetrics.__init__.__kwdefaults__["registry"]
    assert default is prometheus_client.REGISTRY


def test_without_prometheus_client_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "clientsession.metrics")
    with pytest.raises(ImportError, match=r"pip install 'clientsession\[prometheus\]'") as caught:
        import_module("clientsession.metrics")
    assert caught.value.name == "prometheus_client"
    assert isinstance(caught.value.__cause__, ImportError)


def test_the_package_itself_does_not_import_prometheus_client() -> None:
    assert run_script("import sys, clientsession, clientsession.wsgi; print('prometheus_client' in sys.modules)") == "False\n"


# An attacker with time


def test_100_000_bad_cookies_make_no_series_that_was_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """Labels are the site's jars, the events, the reasons and the ids of its keys; what a client sends is none of these."""
    caplog.set_level(logging.CRITICAL)
    registry = CollectorRegistry()
    metrics = SessionMetrics(registry=registry)
    events: list[Event] = []

    def observe(event: Event) -> None:
        events.append(event)
        metrics(event)

    site = Site(observe)
    site.besiege()
    told = Counter((event.jar, event.kind.value, event.reason or "", event.key_id or "") for event in events)
    assert counted(registry) == told
    assert sum(count for (_, event, _, _), count in told.items() if event == "refused") >= 100_000
    assert set(series(registry)) == {
        (jar, *cause, key)
        for jar in NAMES
        for key, causes in (("", WITHOUT_KEY), (NEW.id, WITH_KEY), (OLD.id, WITH_KEY))
        for cause in causes
    }
    assert names_and_numbers(registry) == {
        "clientsession_events_total": 2 * (4 + 2 * 10),
        "clientsession_events_created": 2 * (4 + 2 * 10),
        "clientsession_cookie_bytes_bucket": 2 * BUCKETS,
        "clientsession_cookie_bytes_count": 2,
        "clientsession_cookie_bytes_sum": 2,
        "clientsession_cookie_bytes_created": 2,
    }
    shown = f"{prometheus_client.generate_latest(registry)!r} {generate_openmetrics(registry)!r}"
    assert NEW.id in shown
    assert needles_of(site).found_in(shown) == []


def test_no_metric_shows_content_or_a_secret(metrics: SessionMetrics, registry: CollectorRegistry, clock: Clock) -> None:
    client = Client(Jar("session", Keyring(OLD), clock=clock, observer=metrics))
    with client.visit() as sessions:
        sessions["session"][CONTENT] = CONTENT
    tokens = [client.cookies["session"]]
    with client.visit() as sessions:
        sessions["session"][CONTENT] = sessions["session"].id
    shown = f"{prometheus_client.generate_latest(registry)!r} {metrics!r} {metrics._events!r}"
    assert Needles(CONTENT, OLD.export(), *tokens, client.cookies["session"]).found_in(shown) == []


# Several processes


def test_where_no_file_can_be_made_sessions_go_on_and_one_line_says_so(
    metrics: SessionMetrics, ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "metrics"  # which is not there
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    monkeypatch.setattr(prometheus_client.values, "ValueClass", MultiProcessValue())
    jar = Jar("session", ring, observer=metrics)
    for _ in range(3):
        sessions = Sessions([jar], None)
        sessions["session"]["a"] = 1
        assert len(sessions.commit()) == 1
    (record,) = caplog.records
    line = f"{record.levelname} {record.getMessage()}"
    assert line.replace(str(folder), "/run/shop/metrics").replace(f"_{os.getpid()}.db", "_4711.db") == SHOWN[-1]


FORKED = """
import os, sys
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from clientsession import Jar, Key, Keyring, Sessions
from clientsession.metrics import SessionMetrics

jar = Jar("session", Keyring(Key.generate()), observer=SessionMetrics())

def visit():
    sessions = Sessions([jar], None)
    sessions["session"]["a"] = 1
    sessions.commit()

visit()  # before the fork too, as a master that loads the application does
for count in (20, 300):
    if os.fork() == 0:
        for _ in range(count):
            visit()
        os._exit(0)
statuses = [os.wait()[1] for _ in range(2)]
registry = CollectorRegistry()
MultiProcessCollector(registry)
text = generate_latest(registry).decode()
print(statuses, len(os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"])))
print([line.rpartition(" ")[2] for line in text.splitlines() if 'event="sealed"' in line or "bytes_count" in line])
print(text.count("clientsession_events_total{"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_what_two_forked_processes_counted_is_summed(tmp_path: Path) -> None:
    # prometheus-client leaves its files to the end of the process, which some builds of Python tell of.
    printed = run_script(FORKED, switches=("-W", "ignore::ResourceWarning"), PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert printed.splitlines() == ["[0, 0] 6", "['321.0', '321.0']", str(len(WITHOUT_KEY) + len(WITH_KEY))]


# What docs/guide/watching.md says of it


BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.M | re.S)
SHOP = next(code for language, code in BLOCKS if language == "python" and "def app(" in code)
RULES = next(code for language, code in BLOCKS if language == "yaml")
QUERIES = [code for language, code in BLOCKS if language == "promql"]
CONDITIONS = [" ".join(text.split()) for text in re.findall(r"expr: (?:>\n)?((?:.*\n)+?)(?= +(?:for|labels): )", RULES)]
OF_PROMETHEUS = {"instance"}  # labels that come with the scrape

RUN_THE_GUIDE = """
import sys
import clientsession.wsgi  # which keeps WebOb's own warning quiet
from webob import Request
from clientsession import Event, EventKind

names = {}
for number, code in enumerate(sys.argv[1:]):
    exec(compile(code, f"block {number}", "exec"), names)
print("=== the shop")
cookies = {}
for visit in range(3):
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    request = Request.blank("/", base_url="https://shop.example", headers={"Cookie": header} if header else {})
    response = request.get_response(names["app"])
    name, _, value = response.headers["Set-Cookie"].partition(";")[0].partition("=")
    cookies[name] = value
    print(response.text)
names["both"](Event(EventKind.REFUSED, "session", "malformed"))
print("=== the metrics")
print(Request.blank("/metrics").get_response(names["app"]).text)
"""


@pytest.fixture(scope="module")
def guide() -> dict[str, str]:
    """What the guide's code prints, run block by block in one interpreter, and what its shop answers then."""
    code = [code for language, code in BLOCKS if language == "python"]
    printed = run_script(RUN_THE_GUIDE, *code, CLIENTSESSION_KEY=NEW.export())
    blocks, _, rest = printed.partition("=== the shop\n")
    shop, _, metrics = rest.partition("=== the metrics\n")
    return {"blocks": blocks, "shop": shop, "metrics": metrics}


def test_the_guide_s_code_prints_what_the_guide_shows(guide: dict[str, str]) -> None:
    shown = [code for language, code in BLOCKS if language == "text" and code.splitlines() != SHOWN]
    assert len(shown) == 2
    assert guide["blocks"].startswith("".join(shown))


def test_the_guide_s_shop_counts_its_visits(guide: dict[str, str]) -> None:
    assert guide["shop"].startswith("Visit number 1\nVisit number 2\nVisit number 3\nEvent(")
    assert f'clientsession_events_total{{event="sealed",jar="session",key="{NEW.id}",reason=""}} 3.0' in guide["metrics"]
    assert 'clientsession_events_total{event="refused",jar="session",key="",reason="malformed"} 1.0' in guide["metrics"]


def samples_of(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels


def test_every_metric_and_label_of_the_guide_s_queries_is_in_the_exposition(guide: dict[str, str]) -> None:
    samples = list(samples_of(guide["metrics"]))
    assert (len(QUERIES), len(CONDITIONS)) == (14, 5)
    for query in QUERIES + CONDITIONS:
        selectors = re.findall(r"(clientsession_\w+)(?:\{(.*?)\})?\[", query)
        assert selectors
        for name, matchers in selectors:
            wanted = dict(re.findall(r'(\w+)=~?"(.*?)"', matchers))
            assert matchers == "" or len(wanted) == matchers.count("=")
            of_name = [labels for sample, labels in samples if sample == name]
            assert of_name, name
            for label, values in wanted.items():
                assert set(values.split("|")) <= {labels.get(label) for labels in of_name}, query
            assert [labels for labels in of_name if all(labels[label] in wanted[label].split("|") for label in wanted)], query
            grouped = {label for names in re.findall(r"(?:by|ignoring) \((.*?)\)", query) for label in names.split(", ")}
            assert grouped - OF_PROMETHEUS <= set().union(*of_name), query


def test_every_metric_the_guide_names_is_in_the_exposition_and_the_other_way_round(guide: dict[str, str]) -> None:
    exported = {name for name, _ in samples_of(guide["metrics"]) if name.startswith("clientsession_")}
    named = set(re.findall(r"clientsession_(?:events|cookie)\w*\b", GUIDE)) - {"clientsession_event"}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in named} == {
        re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exported
    } - {"clientsession_events"}


def test_the_switch_the_guide_names_leaves_out_when_a_series_was_made() -> None:
    script = (
        "from prometheus_client import REGISTRY, generate_latest\n"
        "from clientsession import Event, EventKind\n"
        "from clientsession.metrics import SessionMetrics\n"
        "SessionMetrics()(Event(EventKind.DELETED, 'session'))\n"
        "print(generate_latest(REGISTRY).count(b'_created{'))\n"
    )
    assert run_script(script, PROMETHEUS_DISABLE_CREATED_SERIES="false") == "5\n"
    assert run_script(script, PROMETHEUS_DISABLE_CREATED_SERIES="true") == "0\n"
    assert "PROMETHEUS_DISABLE_CREATED_SERIES=true" in GUIDE


def test_the_guide_s_number_of_series_is_the_number_of_series(metrics: SessionMetrics, registry: CollectorRegistry) -> None:
    for jar in NAMES:
        for _ in range(3):
            metrics(Event(EventKind.OPENED, jar, None, Key.generate().id))
    found = names_and_numbers(registry)
    assert sum(count for name, count in found.items() if not name.endswith("_created")) == 98
    assert "two jars with three keys have 98" in " ".join(GUIDE.split())


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    alerts = re.findall(r"alert: (\w+)", RULES)
    assert len(alerts) == len(set(alerts)) == len(CONDITIONS)
    assert RULES.count("severity:") == RULES.count("summary:") == RULES.count("action:") == len(CONDITIONS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn needs fork")
def test_gunicorn_s_workers_answer_with_what_all_of_them_counted(tmp_path: Path) -> None:
    """The guide's shop under the guide's commands; only the folder, the address and the number of workers are others."""
    (lines,) = [code for language, code in BLOCKS if language == "sh"]
    folder = tmp_path / "run" / "metrics"
    folder.mkdir(parents=True)
    (folder / "counter_1.db").write_bytes(b"of an earlier run")
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "gunicorn.conf.py").write_text("control_socket_disable = True", encoding="ascii")
    environment = {**os.environ, "CLIENTSESSION_KEY": NEW.export(), "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    # A socket that listens already: what connects before the workers are up waits in its queue.
    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "log").open("wb") as log:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = lines.replace("/run/shop/metrics", str(folder)).replace("127.0.0.1:8000", f"fd://{listener.fileno()}")
        command = command.replace("\ngunicorn --workers 4", f"\nexec {sys.executable} -m gunicorn --workers 2")
        server = subprocess.Popen(
            ["sh", "-ec", command], cwd=tmp_path, env=environment, pass_fds=[listener.fileno()], stdout=log, stderr=log
        )

    def get(path: str) -> str:
        with urllib.request.urlopen(f"{url}{path}", timeout=DEADLINE_SECONDS) as response:
            return response.read().decode()

    try:
        visits = 0
        with ThreadPoolExecutor(8) as pool:
            while len(list(folder.glob("counter_*.db"))) < 2 and visits < 4_000:
                visits += sum(text == "Visit number 1" for text in pool.map(get, ["/"] * 40))
        expositions = {get("/metrics") for _ in range(10)}
    finally:
        server.terminate()
        try:
            server.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(DEADLINE_SECONDS)
    assert "Traceback" not in (tmp_path / "log").read_text(encoding="utf-8")
    assert len(list(folder.glob("counter_*.db"))) == 2
    assert len(expositions) == 1
    numbers = dict(re.findall(r"^(clientsession_\S+) (\S+)$", expositions.pop(), re.M))
    assert float(numbers[f'clientsession_events_total{{event="sealed",jar="session",key="{NEW.id}",reason=""}}']) == visits
    assert float(numbers['clientsession_cookie_bytes_count{jar="session"}']) == visits
