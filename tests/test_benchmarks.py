"""The benchmarks run: one call of everything that they time, so that they cannot rot. No time is asserted."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import benchmarks
from benchmarks.bodies import SIZES, TYPICAL, body

for package in ("pyperf", "matplotlib"):
    pytest.importorskip(package, reason=f"the extra 'bench' is not installed ({benchmarks.INSTALL})")

# Only now, when what they import is known to be here.
from benchmarks import __main__ as command  # noqa: E402
from benchmarks import codec, measure, plots, results, ring, rivals, size  # noqa: E402
from benchmarks.measure import SMOKE, Effort  # noqa: E402

QUESTIONS = command._present()


@pytest.fixture(scope="module", autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Some of what is compared with sets the process' logging up when it is imported or run."""
    level, handlers = logging.root.level, list(logging.root.handlers)
    yield
    logging.root.setLevel(level)
    for handler in list(logging.root.handlers):
        if handler not in handlers:
            logging.root.removeHandler(handler)


ROOT = Path(benchmarks.__file__).parent.parent


@pytest.fixture(scope="module")
def records() -> dict[str, Any]:
    """The records of what is drawn, of one call each."""
    return {name: results.answer(f"benchmarks.{name}", SMOKE) for name in ("codec", "size", "ring")}


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_has_a_name_and_is_a_question(name: str) -> None:
    module = module_of(name)
    assert isinstance(module.NAME, str)
    assert "?" in module.__doc__.partition("\n\n")[0]


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_answered_with_plain_data_and_a_table(name: str, tmp_path: Path) -> None:
    module = module_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of those that are measured
        record = results.answer(f"benchmarks.{name}", SMOKE)
    file = tmp_path / "kept.json"
    results.write(file, {module.NAME: record})
    kept = results.read(file)[module.NAME]
    assert set(kept) == {"about", "result"}
    assert {"date", "machine", "python", "versions", "effort"} <= set(kept["about"])
    assert kept["result"]["unit"]
    assert kept["result"]["values"]
    assert "|" in module.table(kept["result"])
    assert module.table(kept["result"]).count("\n") > 2


@pytest.mark.parametrize("bytes_of_json", SIZES)
def test_a_body_has_the_bytes_it_is_named_for(bytes_of_json: int) -> None:
    made = body(bytes_of_json)
    assert len(json.dumps(made, separators=(",", ":"))) == (bytes_of_json or len("{}"))
    assert made == body(bytes_of_json)
    assert made is not body(bytes_of_json)


def test_a_body_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(ValueError, match="no session of 9000 bytes"):
        body(9000)


@pytest.mark.parametrize("name", rivals.MAKERS)
def test_a_system_gives_back_what_it_sealed_and_leaves_what_it_was_given_alone(name: str) -> None:
    field = rivals.field()
    if name in field.absent:
        pytest.skip(f"{name} is {field.absent[name]}")
    rival = field.rivals[name]
    content = body(TYPICAL)
    assert rival.name == name
    assert rival.label.kind in {rivals.ENCRYPTED, rivals.SIGNED}
    opened = dict(rival.open(rival.round_trip(content)))
    assert {key: opened[key] for key in content} == content
    assert content == body(TYPICAL)


def test_a_system_that_gives_something_else_back_is_not_measured() -> None:
    label = rivals.Label(rivals.ENCRYPTED, rivals.STDLIB, "none", "none")
    for seal, open_ in ((lambda _: "token", lambda _: {"a": 2}), (lambda _: "", lambda _: {"a": 1})):
        with pytest.raises(rivals.CannotError):
            rivals.Rival("broken", label, seal, open_).round_trip({"a": 1})


def test_a_system_that_is_not_installed_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joserfc", None)
    name = "JWE dir/A256GCM (joserfc)"
    result = codec.run(SMOKE)
    assert name in result["absent"]
    assert name not in result["labels"]
    assert f"{name}: not here" in codec.table(result)
    assert f"**{name}**" not in codec.table(result)


def test_all_that_is_timed_has_one_value_a_round() -> None:
    calls = {"a": 0, "b": 0}

    def call(name: str) -> None:
        calls[name] += 1

    values = measure.time_in_turns({name: lambda name=name: call(name) for name in calls}, Effort(rounds=3, seconds=0.0))
    assert {name: len(own) for name, own in values.items()} == {"a": 3, "b": 3}
    assert calls == {"a": 3, "b": 3}


def test_a_ratio_is_that_of_the_values_of_a_round() -> None:
    assert measure.ratio([2.0, 40.0, 6.0], [1.0, 20.0, 2.0]) == (2.0, 0.0)
    assert measure.spread([1.0, 2.0, 4.0]) == 1.0
    assert measure.micro([1e-6, 2e-6, 3e-6]) == "2.00 ± 50.0 %"


def test_a_record_keeps_neither_the_host_nor_a_path() -> None:
    text = json.dumps(results.about(SMOKE))
    assert sys.prefix not in text
    assert str(ROOT) not in text
    assert "hostname" not in text


def test_a_file_keeps_the_answers_to_other_questions(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    results.write(file, {"a": {"values": [0.123456789, 1.0]}})
    results.write(file, {"b": {"values": []}})
    assert results.read(file) == {"a": {"values": [0.12346, 1.0]}, "b": {"values": []}}
    assert results.read(tmp_path / "other.json") == {}


@pytest.mark.parametrize("name", ["", "..", "../secret", "a/b", ".hidden", "a\n"])
def test_a_results_file_stays_in_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="a results file has a name"):
        results.path_of(name)


def test_the_times_are_given_to_pyperf(records: dict[str, Any], tmp_path: Path) -> None:
    import pyperf

    suite = results.pyperf_suite(records)
    assert suite is not None
    file = tmp_path / "suite.json"
    suite.dump(str(file))
    names = pyperf.BenchmarkSuite.load(str(file)).get_benchmark_names()
    assert f"codec: {codec.series(codec.SEAL, rivals.FLOOR)}, {TYPICAL}" in names
    assert results.pyperf_suite({"size": records["size"]}) is None


def test_the_pictures_are_drawn_from_a_results_file(records: dict[str, Any], tmp_path: Path) -> None:
    drawn = plots.draw(records, tmp_path)
    assert [path.name for path in drawn] == [f"{name}.svg" for name in plots.PICTURES]
    for path in drawn:
        picture = path.read_text(encoding="utf-8")
        root = ET.fromstring(picture)
        words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "clientsession" in "".join(word or "" for word in words), "text is text"
        assert "prefers-color-scheme: dark" in picture
        assert not any(mark in picture for mark in plots.COLOURS), "every colour has one for dark pages"
        assert len(picture) < 60_000
        assert records["codec"]["about"]["python"] in picture


def test_the_same_results_draw_the_same_pictures(records: dict[str, Any], tmp_path: Path) -> None:
    first = [path.read_bytes() for path in plots.draw(records, tmp_path)]
    assert [path.read_bytes() for path in plots.draw(records, tmp_path)] == first


def test_nothing_is_drawn_of_a_question_that_was_not_asked(records: dict[str, Any], tmp_path: Path) -> None:
    assert [path.name for path in plots.draw({"ring": records["ring"]}, tmp_path)] == ["ring.svg"]


def test_a_report_fills_marked_places_and_nothing_else() -> None:
    page = "# Head\n\n<!-- results: a -->\nold\n<!-- end -->\n\ntext\n\n<!-- results: b -->\nkept\n<!-- end -->\n"
    filled = results.report(page, {"a": "| new |"})
    assert filled == page.replace("\nold\n", "\n\n| new |\n\n")
    assert results.report(filled, {"a": "| new |"}) == filled


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_readme_has_a_place_for_every_question(name: str) -> None:
    page = results.README.read_text(encoding="utf-8")
    assert f"<!-- results: {module_of(name).NAME} -->" in page


def test_the_readme_shows_every_picture() -> None:
    page = results.README.read_text(encoding="utf-8")
    assert all(f"(results/{name}.svg)" in page for name in plots.PICTURES)


def test_the_sizes_of_nodes_packages_are_told_where_node_is(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    cache = getattr(request.config, "cache", None)
    found = size.node_sizes(tmp_path if cache is None else Path(cache.mkdir("node")), {TYPICAL: body(TYPICAL)})
    if isinstance(found, str):
        pytest.skip(found)
    assert set(found) == set(size.NODE_PEERS)
    assert all(own[str(TYPICAL)] > TYPICAL for own in found.values())


def test_a_ring_refuses_a_key_it_has_not_whatever_its_size() -> None:
    for make in ring.MAKERS.values():
        for count in (1, 3):
            _, refuse = make(count, {"a": 1})
            assert refuse() is True


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_command_answers_and_keeps_nothing_of_a_smoke_run() -> None:
    before = {path: path.stat().st_mtime_ns for path in results.FOLDER.glob("*")}
    done = run_command("ring", "--smoke")
    assert done.returncode == 0, done.stderr
    assert "## ring" in done.stdout
    assert "| open | clientsession |" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in results.FOLDER.glob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["codecs"], "there is no question 'codecs'; there are codec, "),
        (["--plots", "--name", "never-made"], "there is no never-made.json in "),
        (["--name", "../x"], "a results file has a name of letters"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], said: str) -> None:
    done = run_command(*arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", ["pyperf", "matplotlib"])
def test_the_command_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from benchmarks.__main__ import main; sys.exit(main(['ring', '--smoke']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip() == f"benchmarks: {missing} is not installed: {benchmarks.INSTALL}"
