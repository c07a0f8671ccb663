"""``clientsession inspect``: it finds tokens in what people paste, says of each what a codec says and why, and shows no secret."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clientsession import Codec, Jar, Key, Keyring, Reason, Sessions, Suite, TokenError
from clientsession._jar import CookieCodec
from clientsession._token import deflate, parse
from clientsession.commands import inspect
from clientsession.commands._dumping import dumped, key_bytes, safe
from clientsession.commands._finding import Found, Source, find_tokens
from clientsession.commands._looking import Description, Look, ambiguous_names, describe, spelling_faults
from clientsession.commands._parser import Parser
from tests import reference
from tests.conftest import Clock, forged
from tests.test_secrets import Needles
from tests.test_vectors import CORPUS

NOW = 1_800_000_000_000  # 2027-01-15T08:00:00Z: the clock fixture's, and the corpus', in milliseconds
MINUTE = 60_000
DAY = 86_400_000
SECRETS = [bytes((start * 7 + step * 41) % 256 for step in range(32)) for start in range(4)]
SEALING, ACCEPTING, RETIRING, STRANGER = KEYS = [
    Key.from_secret(secret, suite=suite) for secret, suite in zip(SECRETS, itertools.cycle(Suite), strict=False)
]
RING = Keyring(SEALING, accepting=[ACCEPTING], retiring=[RETIRING])
NEEDLES = Needles(*SECRETS, *(key.export() for key in KEYS))
MARKER = "Kontostand-4711-Euro"
CONTENT = Needles(MARKER)
TIMEOUT = 60  # seconds until a process that hangs fails its test


def seal(
    content: dict[str, Any] | bytes = b'{"user":7}',
    *,
    kind: str = "cookie",
    name: str = "session",
    audience: str = "",
    key: Key = SEALING,
    created: int = NOW - MINUTE,
    expires: int = NOW + DAY,
    flags: int | None = None,
    id: bytes | None = None,
    plaintext: bytes | None = None,
) -> str:
    """A token by the second implementation."""
    body = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    if plaintext is None:
        plaintext = reference.plaintext(created, expires, body, flags=flags, id=id)
    nonce = hashlib.sha256(f"{kind} {name} {audience}".encode() + plaintext).digest()[:24]  # the same in every run
    return reference.seal(SECRETS[KEYS.index(key)], key.suite, kind, name, audience, plaintext, nonce)


TOKEN = seal()
CART = seal({"items": [1, 2]}, name="cart")


def command(arguments: list[str], clock: Callable[[], float]) -> int:
    """Run ``clientsession`` with these arguments."""
    parser = Parser(prog="clientsession")
    inspect.add_parser(parser.add_subparsers(required=True), clock=clock)
    try:
        options = parser.parse_args(arguments)
        code = options.run(options)
    except SystemExit as exit_:  # as argparse has it
        code = exit_.code
    if not isinstance(code, int):
        raise TypeError
    return code


@dataclass
class Said:
    """What a command answered with and printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """What it printed, without the ends of lines that were made for the eye."""
        return " ".join(self.out.split())

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def token(self) -> dict[str, Any]:
        """The fields of the only token."""
        (token,) = self.json["tokens"]
        return token


@dataclass
class Operator:
    """Somebody at a terminal. Whatever is printed to them is searched for secrets, and standard error for content."""

    clock: Clock
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    file: str

    def __call__(self, *arguments: str, stdin: bytes | str | None = None, keys: bool = True) -> Said:
        """``inspect`` with these arguments; ``keys`` are those of the file."""
        if stdin is not None:
            data = stdin if isinstance(stdin, bytes) else stdin.encode()
            self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = command(["inspect", *(["--keys", self.file] if keys else []), *arguments], self.clock)
        out, err = self.capsys.readouterr()
        assert NEEDLES.found_in(out + err) == []
        assert CONTENT.found_in(err if keys else out + err) == []
        assert all(char.isprintable() or char == "\n" for char in out + err)
        return Said(code, out, err)


@pytest.fixture
def inspect_(clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Operator:
    for variable in [name for name in os.environ if name.startswith("CLIENTSESSION_")]:
        monkeypatch.delenv(variable)
    file = tmp_path / "keys"
    file.write_text(
        f"sealing {SEALING.export()}\naccepting {ACCEPTING.export()}\nretiring {RETIRING.export()}  # {STRANGER.export()}\nend\n"
    )
    return Operator(clock, capsys, monkeypatch, str(file))


def look(**options: Any) -> Look:
    return replace(Look(now=NOW, ring=RING), **options)


def described(text: str, **options: Any) -> Description:
    """A bare token, described."""
    return describe(Found(text, Source.BARE), look(**options))


# What people paste


@pytest.mark.parametrize(
    "text",
    [
        f"Cookie: session={TOKEN}",
        f"cookie:session={TOKEN}",
        f"COOKIE : session = {TOKEN} ",
        f"session={TOKEN}",
        f"session={TOKEN}; theme=dark",
        f"theme=dark;session={TOKEN}",
        f"Cookie: a=b; session={TOKEN}; c",
        f"  Cookie: session={TOKEN}\r\n",
        f"'Cookie: session={TOKEN}'",
        f'"session={TOKEN}"',
        f"$'session={TOKEN}'",
        f"> Cookie: session={TOKEN}",
        f"-H 'Cookie: session={TOKEN}' \\",
        f"--header 'Cookie: session={TOKEN}'",
        f'-b "session={TOKEN}"',
        f"--cookie 'session={TOKEN}'",
        f"'session={TOKEN}",
        f"\nsession={TOKEN}\n\n",
        f"GET / HTTP/1.1\nHost: example.org\nAccept: */*\nCookie: session={TOKEN}\n",
        f"curl 'https://example.org/' \\\n  -H 'accept: */*' \\\n  -b 'session={TOKEN}' \\\n  --compressed",
        f":authority: example.org\ncookie: session={TOKEN}",
        f"cookie\nsession={TOKEN}",
    ],
)
def test_a_cookie_is_found_in_whatever_it_was_copied_from(text: str) -> None:
    (found,) = find_tokens(text, None).tokens
    assert (found.text, found.source, found.name, found.left_out) == (TOKEN, Source.COOKIE, "session", ())
    assert find_tokens(text, "session").tokens == [found]


@pytest.mark.parametrize(
    "text",
    [
        f"Set-Cookie: session={TOKEN}; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax",
        f"set-cookie:session={TOKEN};Max-Age=60;Path=/;Secure;HttpOnly;SameSite=Lax;",
        f"< Set-Cookie: session={TOKEN}; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax",
        f"session={TOKEN}; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax",
        f"HTTP/2 200\nSet-Cookie: a=b; Path=/\nSet-Cookie: session={TOKEN}; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax",
    ],
)
def test_a_set_cookie_header_is_found_with_its_attributes(text: str) -> None:
    (found,) = find_tokens(text, None).tokens
    assert (found.text, found.source, found.name) == (TOKEN, Source.SET_COOKIE, "session")
    assert found.attributes == ("Max-Age=60", "Path=/", "Secure", "HttpOnly", "SameSite=Lax")


@pytest.mark.parametrize(
    "attribute", ["Path=/", "SECURE", "httponly", "partitioned ", "expires=Thu, 01 Jan 1970 00:00:00 GMT", "Priority=High"]
)
def test_a_header_without_its_name_is_told_by_its_attributes(attribute: str) -> None:
    (found,) = find_tokens(f"session={TOKEN}; {attribute}", None).tokens
    assert (found.source, found.attributes) == (Source.SET_COOKIE, (attribute.strip(),))


@pytest.mark.parametrize(
    ("text", "token", "left_out"),
    [
        (TOKEN, TOKEN, ()),
        (f"  {TOKEN}\t", TOKEN, ("white space",)),
        (f"{TOKEN}\n", TOKEN, ("white space",)),
        (f"'{TOKEN}'", TOKEN, ("quotes",)),
        (f'{TOKEN}"', TOKEN, ("quotes",)),
        (f"\n  '{TOKEN}' \\\n", TOKEN, ("white space", "quotes")),
        (f"{TOKEN}==", f"{TOKEN}==", ()),
        (f"{TOKEN}\0", f"{TOKEN}\0", ()),
        (f"{TOKEN[:40]} {TOKEN[40:]}", f"{TOKEN[:40]} {TOKEN[40:]}", ()),
        ("word", "word", ()),
        ("=", "=", ()),
    ],
)
def test_a_bare_token_is_taken_as_it_is_but_for_what_is_around_it(text: str, token: str, left_out: tuple[str, ...]) -> None:
    assert find_tokens(text, None).tokens == [Found(token, Source.BARE, left_out=left_out)]


def test_what_is_left_out_around_a_token_would_have_had_it_refused() -> None:
    codec = Codec(RING, "session")
    for text in (f"{TOKEN}\n", f" {TOKEN}", f"'{TOKEN}'"):
        assert find_tokens(text, None).tokens[0].left_out
        with pytest.raises(TokenError):
            codec.decode(text)


def test_several_tokens_are_all_found_in_order() -> None:
    harvest = find_tokens(f"{TOKEN}\nnot one\n{CART}\ncart={CART}; session={TOKEN}; b=1\n", None)
    assert [(found.text, found.name, found.line) for found in harvest.tokens] == [
        (TOKEN, None, 0),
        (CART, None, 2),
        (CART, "cart", 3),
        (TOKEN, "session", 3),
    ]
    assert (harvest.other_cookies, harvest.left_out_lines) == (1, 1)


def test_equal_values_of_a_cookie_are_one_and_counted() -> None:
    (found,) = find_tokens(f"Cookie: session={TOKEN}; session={TOKEN}; session = {TOKEN}", None).tokens
    assert found.times == 3


def test_other_cookies_are_counted_and_shown_only_by_name() -> None:
    header = f"Cookie: theme=dark; session={TOKEN}; _ga=GA1.2.3; _ga=GA1.2.3; =nameless; valueless; two words={TOKEN}"
    harvest = find_tokens(header, None)
    assert [found.name for found in harvest.tokens] == ["session"]
    assert harvest.other_cookies == 5
    harvest = find_tokens(header, "_ga")
    assert [(found.name, found.text, found.times) for found in harvest.tokens] == [("_ga", "GA1.2.3", 2)]
    assert (harvest.other_cookies, harvest.names_alike) == (4, ("session",))


@pytest.mark.parametrize("value", [f"{TOKEN}=", f'"{TOKEN}"', f"{TOKEN[:-3]}", f"{TOKEN[:-2]}+/", TOKEN * 60])
def test_a_cookie_that_was_a_token_once_is_shown_though_it_is_none(value: str) -> None:
    assert [found.text for found in find_tokens(f"Cookie: session={value}", None).tokens] == [value]


def test_what_is_shorter_than_a_token_or_of_no_name_that_a_jar_has_is_another_cookie() -> None:
    for header, count in (
        (f"session={TOKEN[:60]}", 1),
        (f"session={TOKEN[:59]}", 0),
        (f"{'n' * 256}={TOKEN}", 1),
        (f"{'n' * 257}={TOKEN}", 0),
        ("theme=", 0),
        (f"{TOKEN}={TOKEN}", 1),
    ):
        harvest = find_tokens(f"Cookie: {header}", None)
        assert (len(harvest.tokens), harvest.other_cookies) == (count, 1 - count), header
    for words, source in (
        ("theme=", None),
        (f"{TOKEN[:59]}=", None),
        (f"{TOKEN[:60]}=", Source.BARE),
        (f"{TOKEN}={TOKEN}", Source.COOKIE),
    ):
        assert [found.source for found in find_tokens(words, None).tokens] == ([] if source is None else [source]), words


def test_a_line_of_something_else_is_no_header() -> None:
    harvest = find_tokens(f"var x=1;\nx=1; y=2\nx={TOKEN}\n{{}}\nLocation: /?a=b", None)
    assert [found.name for found in harvest.tokens] == ["x"]
    assert (harvest.left_out_lines, harvest.other_cookies) == (3, 0)


def test_a_deletion_is_no_token(inspect_: Operator) -> None:
    said = inspect_(stdin="Set-Cookie: session=; Max-Age=0; Path=/\n")
    assert (said.code, said.out) == (2, "")
    assert "by which a server deletes the cookie" in said.err
    assert inspect_("--name", "session", stdin="session=; Max-Age=0; Path=/").err == said.err


def test_an_empty_cookie_is_malformed_where_it_is_asked_for(inspect_: Operator) -> None:
    said = inspect_("--name", "session", "--json", stdin="Cookie: session=; a=b")
    assert (said.code, said.token["reason"], said.token["characters"]) == (1, "malformed", 0)


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        ([], "", "no token found: give a token, or a Cookie: or Set-Cookie: header, in quotes or on standard input"),
        ([], "\n \n", "no token found: give a token"),
        ([], "Host: example.org", "no token found: give a token"),
        ([], "several\nwords", "no token found: give a token"),
        ([], "Cookie:", "no token found: give a token"),
        ([], "theme=dark", "no token found, but 1 cookie that is not of the form of a token; --name NAME shows"),
        ([], "Cookie: a=b; c=d", "no token found, but 2 cookies that are not of the form of a token; --name NAME shows"),
        (["--name", "x"], "Cookie: a=b; c=d", "no token found, but 2 cookies that are not named x"),
        (
            ["--name", "x"],
            f"session={TOKEN}; a=b; session={TOKEN}",
            "no cookie is named x. Of the form of a token: session. Leave --name",
        ),
        ([""], None, "no token found: give a token"),
    ],
)
def test_where_there_is_no_token_it_says_what_to_do(inspect_: Operator, arguments: list[str], stdin: str | None, says: str) -> None:
    said = inspect_(*arguments, stdin=stdin)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"clientsession inspect: {says}")


def test_arguments_are_tokens_or_a_header_without_quotes(inspect_: Operator) -> None:
    assert [token["name"] for token in inspect_("--json", "Cookie:", f"session={TOKEN}").json["tokens"]] == ["session"]
    said = inspect_("--json", "--name", "session", TOKEN, TOKEN)
    assert [(token["source"], token["opens"]) for token in said.json["tokens"]] == [("token", True)] * 2


@pytest.mark.parametrize("arguments", [[], ["-"]])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_standard_input_is_read_and_its_last_line_end_is_no_fault(
    inspect_: Operator, arguments: list[str], end: str, encoding: str
) -> None:
    said = inspect_("--name", "session", "--json", *arguments, stdin=f"{TOKEN}{end}".encode(encoding))
    assert (said.code, said.token["opens"], said.token["left_out"]) == (0, True, [])


def test_text_over_the_limit_is_refused_and_not_shown(inspect_: Operator) -> None:
    longest = "a=" + "x" * 65_526 + "; b=yz"
    assert len(longest) == 65_534
    assert inspect_("--name", "a", "--json", stdin=f"Cookie: {longest}yz").token["reason"] == "malformed"
    too_long = inspect_("--name", "a", stdin=f"Cookie: {longest}yzx")
    assert (too_long.code, too_long.out) == (2, "")
    assert "a Cookie header of more than 65,536 characters is not read" in too_long.err
    assert inspect_("--json", stdin=b"x" * 65_792).token["faults"] == ["too_long"]
    for said in (inspect_(stdin=b"x" * 65_793), inspect_("x" * 65_793), inspect_(stdin=b"\xff" * 1_000_000)):
        assert (said.code, said.out) == (2, "")
        assert said.err == "clientsession inspect: that is more than 65,792 characters: give the token or the header alone\n"


# It says what a codec says


def case_id(case: dict[str, Any]) -> str:
    return f"{case['suite']}: {case['what']}"


CASES = [*CORPUS["opens"], *CORPUS["refused"]]
IN_A_SHELL = {"a line feed at the end", "a space at the end", "a space before it", "double quotes around it"}
CORPUS_RING = Keyring(*map(Key.parse, CORPUS["keys"][:1]), accepting=[Key.parse(text) for text in CORPUS["keys"][1:]])


def options_of(case: dict[str, Any]) -> dict[str, Any]:
    """What a case of the corpus is for."""
    values = {**CORPUS["defaults"], **case}
    assert values["now_ms"] == NOW
    longest = values["max_duration_ms"]
    return {
        "kind": values["kind"],
        "name": values["name"],
        "audience": values["audience"],
        "max_duration": None if longest is None else timedelta(milliseconds=longest),
    }


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_token_of_the_corpus_is_described_as_the_corpus_has_it(case: dict[str, Any]) -> None:
    token = described(case["token"], ring=CORPUS_RING, **options_of(case))
    assert (token.opens, token.reason) == ("reason" not in case, case.get("reason"))
    if token.opens:
        assert token.inside is not None
        assert token.inside.sealed is not None
        assert token.inside.content == case["content"]
        assert (token.inside.sealed.created, token.inside.ends) == (case["created_ms"], case["expires_ms"])
        assert (token.inside.sealed.id.hex() if token.inside.sealed.id else None) == case["id"]
        assert token.inside.sealed.ephemeral is case["ephemeral"]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_token_of_the_corpus_has_its_reason_on_the_command_line(case: dict[str, Any], inspect_: Operator, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("sealing {}\naccepting {}\nend\n".format(*CORPUS["keys"]))
    options = options_of(case)
    arguments = ["--kind", options["kind"], "--name", options["name"], "--audience", options["audience"]]
    if options["max_duration"] is not None:
        arguments += ("--max-duration", f"{options['max_duration'].days}d")
    said = inspect_("--json", *arguments, case["token"])
    if not case["token"]:
        assert said.code == 2
        return
    if case["what"] in IN_A_SHELL:  # these are left out, which is said, and the rest is a good token
        assert (said.code, said.token["opens"], bool(said.token["left_out"])) == (0, True, True)
        return
    assert (said.code, said.token["reason"]) == ("reason" in case, case.get("reason"))
    assert said.token["opens"] is ("reason" not in case)
    if said.token["opens"]:
        assert said.token["body"] == case["content"]
    assert inspect_(*arguments, case["token"]).code == said.code


IN_COOKIES = [case for case in CASES if options_of(case)["kind"] == "cookie" and "\n" not in case["token"]]  # nor has a header any


@pytest.mark.parametrize("case", IN_COOKIES, ids=case_id)
def test_a_cookie_of_the_corpus_has_the_reason_that_a_jar_gives(case: dict[str, Any], clock: Clock) -> None:
    options = options_of(case)
    header = f"Cookie: a=b; session={case['token']}"
    duration = min(timedelta(days=1), options["max_duration"] or timedelta(days=1))
    jar = Jar(
        "session",
        CORPUS_RING,
        duration=duration,
        max_duration=options["max_duration"],
        audience=options["audience"],
        clock=clock,
    )
    session = Sessions([jar], header.removeprefix("Cookie: "))["session"]
    (found,) = find_tokens(header, "session").tokens
    token = describe(found, look(ring=CORPUS_RING, audience=options["audience"], max_duration=options["max_duration"]))
    assert (token.opens, token.reason) == (not session.is_new, session.refusal)


@pytest.mark.parametrize("case", CORPUS["refused"], ids=case_id)
def test_without_keys_a_token_is_malformed_where_its_spelling_or_suite_is_wrong(case: dict[str, Any]) -> None:
    options = {**options_of(case), "ring": None}
    token = described(case["token"], **options)
    with_keys = described(case["token"], ring=CORPUS_RING, **options_of(case))
    assert (token.reason, token.inside) == (with_keys.reason if (with_keys.question or 9) < 3 else None, None)
    assert token.opens is (False if token.reason else None)


@given(st.text(max_size=90), st.integers(60, 90))
def test_a_spelling_has_faults_exactly_where_a_codec_does_not_take_it(text: str, limit: int) -> None:
    assert_faults_agree(text, limit)


@given(st.data(), st.integers(60, 120))
def test_a_token_with_a_change_has_faults_exactly_where_a_codec_does_not_take_it(data: st.DataObject, limit: int) -> None:
    at = data.draw(st.integers(0, len(TOKEN)))
    instead = data.draw(st.text("AQw9-_=+/ \n'\"é", max_size=3))
    assert_faults_agree(TOKEN[:at] + instead + TOKEN[at + data.draw(st.integers(0, 3)) :], limit)


def assert_faults_agree(text: str, limit: int) -> None:
    try:
        parse(text, limit)
    except TokenError:
        assert spelling_faults(text, limit)
    else:
        assert not spelling_faults(text, limit)


@given(st.data())
def test_a_token_with_a_change_has_the_reason_that_a_codec_gives(data: st.DataObject) -> None:
    frame = bytearray(reference.frame_of(TOKEN))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    text = reference.text(bytes(frame)) + data.draw(st.sampled_from(["", "", "=", "A"]))
    with pytest.raises(TokenError) as caught:
        CookieCodec(RING, "session", clock=lambda: NOW / 1000).decode(text)
    token = described(text, name="session", kind="cookie")
    assert (token.opens, token.reason, token.question) == (False, caught.value.reason, caught.value.question)


@pytest.mark.parametrize("milliseconds", [-DAY, -1, 0, 1, DAY, 2 * DAY])
@pytest.mark.parametrize("longest", [None, timedelta(hours=12), timedelta(days=2)])
def test_times_are_judged_as_a_codec_judges_them(milliseconds: int, longest: timedelta | None) -> None:
    duration = min(longest or timedelta(days=1), timedelta(days=1))
    now = NOW + milliseconds
    codec = Codec(RING, "session", duration=duration, max_duration=longest, clock=lambda: now / 1000)
    text = seal(kind="token", created=NOW - DAY // 2, expires=NOW + DAY)
    try:
        reason = None
        ends = codec.decode(text)._expires
    except TokenError as error:
        reason, ends = error.reason, 0
    token = described(text, now=now, name="session", max_duration=longest)
    assert token.reason == reason
    assert token.inside is not None
    if reason is None:
        assert token.inside.ends == ends


@pytest.mark.parametrize("count", range(1, 4))
def test_cookies_of_one_name_are_ambiguous_exactly_where_a_jar_finds_them_so(count: int) -> None:
    values = [TOKEN, seal({"user": 8}), forged(TOKEN), seal(created=0, expires=1), "theme", seal(key=STRANGER)]
    draw = random.Random(count)
    for _ in range(60):
        header = "; ".join(f"session={value}" for value in draw.choices(values, k=draw.randint(1, 3 * count)))
        session = Sessions([Jar("session", RING, clock=lambda: NOW / 1000)], header)["session"]
        tokens = [describe(found, look()) for found in find_tokens(header, "session").tokens]
        assert ambiguous_names(tokens) == (["session"] if session.refusal is Reason.AMBIGUOUS else [])
        assert session.is_new or sum(token.opens is True for token in tokens) == 1


def test_more_values_than_a_jar_opens_are_ambiguous_though_one_opens(inspect_: Operator) -> None:
    header = "Cookie: " + "; ".join(f"session={value}" for value in [TOKEN, *(forged(seal({"n": number})) for number in range(4))])
    said = inspect_("--json", stdin=header)
    assert (said.code, said.json["ambiguous"]) == (1, ["session"])
    assert [token["opens"] for token in said.json["tokens"]] == [True, False, False, False, False]


def test_of_as_many_as_a_jar_opens_the_one_that_opens_is_the_session() -> None:
    values = [TOKEN, *(forged(seal({"n": number})) for number in range(3)), seal(key=STRANGER), "theme"]
    header = "; ".join(f"session={value}" for value in values)
    assert Sessions([Jar("session", RING, clock=lambda: NOW / 1000)], header)["session"] == {"user": 7}
    assert ambiguous_names([describe(found, look()) for found in find_tokens(header, "session").tokens]) == []


def test_cookies_that_did_not_come_together_are_not_ambiguous(inspect_: Operator) -> None:
    other = seal({"user": 8})
    text = f"> Cookie: session={TOKEN}; cart={CART}\n< Set-Cookie: session={other}; Path=/\n> Cookie: session={other}\n"
    said = inspect_("--json", stdin=text)
    assert (said.code, said.json["ambiguous"]) == (0, [])
    assert "ambiguous" not in inspect_(stdin=text).out


def test_that_cookies_are_ambiguous_is_said_and_is_a_failure(inspect_: Operator) -> None:
    said = inspect_(stdin=f"Cookie: session={TOKEN}; session={seal({'user': 8})}")
    assert said.code == 1
    assert said.out.count("Cookie session: opens\n") == 2
    assert "session: ambiguous. Of these cookies a jar takes none, for several of them open, or more than 4 may." in said.text


# Kinds and names


@pytest.mark.parametrize("kind", ["cookie", "token", "header"])
def test_of_a_bare_token_the_kind_that_opens_is_found_and_said(kind: str, inspect_: Operator) -> None:
    text = seal(kind=kind)
    assert inspect_("--name", "session", "--json", text).token["kind"] == kind
    said = inspect_("--name", "session", text)
    assert said.code == 0
    assert f"sealed for kind {kind}, name session, no audience" in said.text
    assert inspect_("--name", "session", "--kind", kind, text).code == 0


@pytest.mark.parametrize(("created", "expires", "reason"), [(0, 1, "expired"), (NOW + DAY, NOW + 2 * DAY, "future")])
def test_the_kind_is_found_for_a_token_that_is_over_too(created: int, expires: int, reason: str, inspect_: Operator) -> None:
    text = seal(kind="token", created=created, expires=expires)
    token = inspect_("--name", "session", "--json", text).token
    assert (token["kind"], token["reason"], token["body"]) == ("token", reason, {"user": 7})


def test_a_token_of_another_kind_is_forged_and_its_kind_is_said(inspect_: Operator) -> None:
    said = inspect_("--json", stdin=f"Cookie: session={seal(kind='token')}")
    assert (said.code, said.token["reason"], said.token["kind"], said.token["fits_kind"]) == (1, "forged", "cookie", "token")
    assert said.token["body"] is None
    said = inspect_(stdin=f"Cookie: session={seal(kind='token')}")
    assert "The ring has its key, but the seal does not fit for kind cookie, name session, no audience." in said.text
    assert "It fits for kind token: it was sealed by a Codec." in said.text
    assert "It fits for kind cookie: it was sealed by a jar." in inspect_("--name", "session", "--kind", "token", TOKEN).text
    assert "it was sealed for a header." in inspect_("--name", "session", "--kind", "token", seal(kind="header")).text


def test_a_kind_that_is_given_is_taken_for_a_header_too(inspect_: Operator) -> None:
    header = f"Cookie: session={seal(kind='token')}; session={seal({'user': 8}, kind='token')}"
    said = inspect_("--json", "--kind", "token", stdin=header)
    assert (said.code, said.json["ambiguous"]) == (0, [])  # a jar takes neither of them for a session
    assert [token["size_limit"] for token in said.json["tokens"]] == [4096, 4096]


@pytest.mark.parametrize("options", [["--name", "cart"], ["--name", "session", "--audience", "a"], ["--name", "Session"]])
def test_another_name_or_audience_is_forged_and_all_that_was_tried_is_said(options: list[str], inspect_: Operator) -> None:
    said = inspect_(*options, TOKEN)
    assert said.code == 1
    assert said.out.startswith("Token: refused (forged)\n")
    audience = "audience a" if "a" in options else "no audience"
    assert f"does not fit for kind cookie, token or header, name {options[1]}, {audience}." in said.text
    assert "It was changed or cut on its way, or sealed for another name or audience (--audience)." in said.text
    token = inspect_("--json", *options, TOKEN).token
    assert (token["kind"], token["fits_kind"]) == (None, None)


def test_an_audience_opens_what_was_sealed_for_it(inspect_: Operator) -> None:
    said = inspect_("--name", "session", "--audience", "tenant 7", seal(audience="tenant 7"))
    assert said.code == 0
    assert "audience tenant 7" in said.text


def test_without_the_name_of_a_bare_token_it_is_not_opened_and_that_is_no_success(inspect_: Operator) -> None:
    said = inspect_(seal({"a": MARKER}))
    assert said.code == 2
    assert said.out.startswith("Token: has the form of a token\n")
    assert f"key {SEALING.id} (xaes-256-gcm, sealing)" in said.text
    assert "There are keys, but not the name it was sealed for: give --name, the name of the cookie or of the codec." in said.text
    assert CONTENT.found_in(said.out) == []
    token = inspect_("--json", TOKEN).token
    assert (token["opens"], token["reason"], token["explanation"].split(":")[0]) == (
        None,
        None,
        "There are keys, but not the name it was sealed for",
    )
    for refused, reason, question in ((seal(key=STRANGER), "unknown_key", 3), ("A" * 60, "malformed", 2), ("A", "malformed", 1)):
        said = inspect_("--json", refused)
        assert (said.code, said.token["reason"], said.token["question"]) == (1, reason, question)


def test_the_limit_is_that_of_the_kind(inspect_: Operator) -> None:
    content = {"a": "x" * 3000}
    text = seal(content, name="sessions")
    assert len(text) == 4088
    assert inspect_(f"sessions={text}").code == 0
    assert inspect_("--name", "sessions", text).code == 0
    said = inspect_(f"sessions_={seal(content, name='sessions_')}")
    assert said.code == 1
    assert "It has 4,088 characters, where 4,087 are the most." in said.text
    assert "size 4,097 of 4,096 bytes, name and value; 0 left" in said.text
    assert inspect_("--name", "sessions_", seal(content, kind="token", name="sessions_")).code == 0
    beyond = seal({"a": "x" * 3018}, kind="token")
    assert inspect_("--name", "session", beyond).code == 1
    assert "where 4,096 are the most" in inspect_("--name", "session", beyond).text
    assert inspect_("--name", "session", "--max-size", "5000", beyond).code == 0
    said = inspect_("--name", "session", "--max-size", "70000", beyond)
    assert (said.code, said.out) == (2, "")
    assert "max_size must be an int from 78 to 65,536" in said.err


# What is said without keys


def test_without_keys_the_form_is_told(inspect_: Operator) -> None:
    said = inspect_(stdin=f"Cookie: session={TOKEN}; cart={CART}; a=b", keys=False)
    assert said.code == 0
    assert said.err == ""
    assert said.out == (
        f"Cookie session: has the form of a token\n"
        f"  key         {SEALING.id} (xaes-256-gcm)\n"
        f"  size        98 of 4,096 bytes, name and value; 3,998 left\n"
        f"  decoded     68 bytes; ciphertext 39, plaintext 23, body at most 10\n"
        f"  spelling    canonical\n"
        f"\n"
        f"Cookie cart: has the form of a token\n"
        f"  key         {SEALING.id} (xaes-256-gcm)\n"
        f"  size        102 of 4,096 bytes, name and value; 3,994 left\n"
        f"  decoded     73 bytes; ciphertext 44, plaintext 28, body at most 15\n"
        f"  spelling    canonical\n"
        f"\n"
        f"There are no keys to open it with: give --keys FILE, or set CLIENTSESSION_KEY_FILE or\n"
        f"CLIENTSESSION_KEY.\n"
        f"1 cookie was left out: not of the form of a token; --name NAME shows one of them all the same.\n"
    )


def test_the_size_of_a_token_alone_is_in_characters(inspect_: Operator) -> None:
    said = inspect_(seal(key=ACCEPTING), keys=False)
    assert f"key {ACCEPTING.id} (xchacha20-poly1305)" in said.text
    assert "size 91 of 4,096 characters; 4,005 left" in said.text


@pytest.mark.parametrize(
    ("text", "faults", "words"),
    [
        (f"{TOKEN}=", ["padding"], "It has padding (=) at its end."),
        (f"{TOKEN[:9]} {TOKEN[9:]}", ["white_space"], "It has white space."),
        (f"{TOKEN[:9]}'{TOKEN[9:]}", ["quotes"], "It has quotes, which in a cookie are part of the value."),
        (f"{TOKEN[:-1]}+", ["alphabet"], 'It has "+", which is none of A-Z a-z 0-9 - _.'),
        (f"{TOKEN[:-1]}\u202e", ["alphabet"], r'It has "\u202e", which is none of A-Z a-z 0-9 - _.'),
        (TOKEN[:59], ["too_short"], "It has 59 characters, where 60 are the fewest."),
        (TOKEN[:88] * 50, ["too_long"], "It has 4,400 characters, where 4,096 are the most."),
        (TOKEN[:85], ["length"], "It has a number of characters that base64 never has, so that some are missing or too many."),
        (
            f"{TOKEN[:89]}B",
            ["spare_bits"],
            "It has a last character with spare bits, which no writer makes: it was changed or cut.",
        ),
        (
            f"{TOKEN[:9]} {TOKEN[9:80]}=",
            ["white_space", "padding"],
            "It has white space; padding (=) at its end.",
        ),
    ],
)
def test_what_is_wrong_with_a_spelling_is_said(text: str, faults: list[str], words: str, inspect_: Operator) -> None:
    for keys in (False, True):
        said = inspect_(text, keys=keys)
        assert (said.code, said.err) == (1, "")
        assert said.out.startswith("Token: refused (malformed)\n  It is not spelt as a token is.")
        assert words in said.text
        assert "spelling not canonical" in said.text
        token = inspect_("--json", text, keys=keys).token
        assert (token["faults"], token["canonical"], token["opens"], token["question"]) == (faults, False, False, 1)
        assert token["key_id"] == (SEALING.id if text[-1] != "\u202e" and faults != ["length"] else None)


def test_a_misspelt_token_still_names_its_key_and_does_not_open(inspect_: Operator) -> None:
    said = inspect_("--name", "session", f"{seal({'a': MARKER})}=")
    assert said.code == 1
    assert f"key {SEALING.id} (xaes-256-gcm, sealing)" in said.text
    assert CONTENT.found_in(said.out) == []


def test_a_suite_that_is_none_is_named(inspect_: Operator) -> None:
    text = f"A8{TOKEN[2:]}"
    for keys in (False, True):
        said = inspect_(text, keys=keys)
        assert said.code == 1
        assert "Suite 3 is none that this version knows: it is of another library, or of a later version." in said.text
        assert "(unknown suite)" in said.text
    token = inspect_("--json", "--name", "session", text).token
    assert (token["suite"], token["suite_name"], token["reason"], token["question"]) == (3, None, "malformed", 2)


# What is said with keys


def test_a_session_is_shown_whole(inspect_: Operator, clock: Clock) -> None:
    content = {"user": 7, "cart": [{"sku": "A1", "n": 2}, []], "note": "für Ada", "empty": {}}
    text = seal(content, id=bytes(range(16)), flags=0x05, created=NOW - 3 * MINUTE, expires=NOW + 5 * DAY)
    header = f"Set-Cookie: session={text}; Max-Age=432000; Path=/; Secure; HttpOnly; SameSite=Lax"
    clock.pass_(0.5)
    said = inspect_(stdin=f"{header}\n")
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        f"Set-Cookie session: opens\n"
        f"  key         {SEALING.id} (xaes-256-gcm, sealing)\n"
        f"  sealed for  kind cookie, name session, no audience\n"
        f"  created     2027-01-15 07:57:00 UTC (3 minutes ago)\n"
        f"  expires     2027-01-20 08:00:00 UTC (in 5 days)\n"
        f"  id          000102030405060708090a0b0c0d0e0f\n"
        f"  ephemeral   yes: the browser drops it when it closes\n"
        f"  size        199 of 4,096 bytes, name and value; 3,897 left\n"
        f"  spelling    canonical\n"
        f"  attributes  Max-Age=432000 (5 days)\n"
        f"              Path=/\n"
        f"              Secure\n"
        f"              HttpOnly\n"
        f"              SameSite=Lax\n"
        f"  body        70 bytes\n"
        f"    {{\n"
        f'      "user": 7,\n'
        f'      "cart": [\n'
        f"        {{\n"
        f'          "sku": "A1",\n'
        f'          "n": 2\n'
        f"        }},\n"
        f"        []\n"
        f"      ],\n"
        f'      "note": "für Ada",\n'
        f'      "empty": {{}}\n'
        f"    }}\n"
        f"  by key      bytes of JSON\n"
        f'          30  "cart"\n'
        f'          17  "note"\n'
        f'          10  "empty"\n'
        f'           8  "user"\n'
        f"\n"
        f"The max_duration of a jar may end a session sooner than this; --max-duration takes it into account.\n"
    )


def test_json_has_every_field_that_the_help_lists(inspect_: Operator) -> None:
    said = inspect_("--json", stdin=f"Cookie: a=b; session={TOKEN}")
    assert (said.code, said.err) == (0, "")
    assert said.out.isascii()
    assert said.json == {
        "now": "2027-01-15T08:00:00.000Z",
        "tokens": [
            {
                "source": "cookie",
                "name": "session",
                "times": 1,
                "attributes": [],
                "left_out": [],
                "characters": 91,
                "bytes": 68,
                "ciphertext_bytes": 39,
                "plaintext_bytes": 23,
                "max_body_bytes": 10,
                "suite": 1,
                "suite_name": "xaes-256-gcm",
                "key_id": SEALING.id,
                "key_role": "sealing",
                "canonical": True,
                "faults": [],
                "opens": True,
                "reason": None,
                "question": None,
                "explanation": None,
                "kind": "cookie",
                "fits_kind": None,
                "audience": "",
                "created": "2027-01-15T07:59:00.000Z",
                "expires": "2027-01-16T08:00:00.000Z",
                "ends": "2027-01-16T08:00:00.000Z",
                "id": None,
                "ephemeral": False,
                "deflated": False,
                "body_bytes": 10,
                "inflated_bytes": 10,
                "padding_bytes": 0,
                "body": {"user": 7},
                "body_problem": None,
                "key_bytes": {"user": 8},
                "size": 98,
                "size_limit": 4096,
                "size_left": 3998,
            }
        ],
        "ambiguous": [],
        "other_cookies": 1,
        "left_out_lines": 0,
    }
    help_ = inspect_("--help", keys=False)
    assert help_.code == 0
    for field in (*said.json, *said.token):
        assert re.search(rf"\b{field}\b", help_.out), field


def test_each_token_has_the_same_fields_whatever_is_known_of_it(inspect_: Operator) -> None:
    fields = list(inspect_("--json", stdin=f"session={TOKEN}").token)
    for text in ("A", TOKEN, forged(TOKEN), seal(key=STRANGER), seal(plaintext=b""), seal(b"["), seal(created=0, expires=1)):
        for options in ([], ["--name", "session"]):
            assert list(inspect_("--json", *options, text).token) == fields


def test_the_help_tells_the_exit_codes_and_the_careful_way(inspect_: Operator) -> None:
    said = inspect_("--help", keys=False)
    assert "exit codes: 0 every token found has the form of one and, with keys, opens now" in said.text
    assert "On the command line others see it in the list of processes" in said.text
    assert "clientsession inspect --keys FILE < cookie.txt" in said.text


@pytest.mark.parametrize(("key", "role"), [(SEALING, "sealing"), (ACCEPTING, "accepting"), (RETIRING, "retiring")])
def test_the_role_of_the_key_is_shown(key: Key, role: str, inspect_: Operator) -> None:
    assert inspect_("--json", f"session={seal(key=key)}").token["key_role"] == role
    assert (
        f"{key.id} ({'xaes-256-gcm' if key.suite == 1 else 'xchacha20-poly1305'}, {role})"
        in inspect_(f"session={seal(key=key)}").out
    )


def test_an_expired_session_is_shown_all_the_same(inspect_: Operator) -> None:
    text = seal({"a": MARKER}, created=NOW - DAY, expires=NOW - 3 * MINUTE)
    said = inspect_(f"session={text}")
    assert said.code == 1
    assert said.out.startswith("Cookie session: refused (expired)\n  The seal fits, but it expired 3 minutes ago.\n")
    assert "expired 2027-01-15 07:57:00 UTC (3 minutes ago)" in said.text
    assert MARKER in said.out
    token = inspect_("--json", f"session={text}").token
    assert (token["opens"], token["question"], token["body"]) == (False, 8, {"a": MARKER})
    assert token["explanation"] == "The seal fits, but it expired 3 minutes ago."


def test_at_its_end_a_session_expired_a_moment_ago(inspect_: Operator) -> None:
    said = inspect_(f"session={seal(expires=NOW)}")
    assert "it expired a moment ago." in said.text
    assert "expired 2027-01-15 08:00:00 UTC (a moment ago)" in said.text


def test_an_expired_session_with_a_broken_body_is_expired_and_both_are_said(inspect_: Operator) -> None:
    said = inspect_(f"session={seal(b'[1]', created=0, expires=1)}")
    assert "refused (expired)" in said.out
    assert "It is no JSON object: the body is not a JSON object." in said.text
    assert "    b'[1]'\n" in said.out


def test_a_session_of_the_future_is_shown_and_the_clocks_are_blamed(inspect_: Operator) -> None:
    said = inspect_(f"session={seal(created=NOW + 60 * MINUTE)}")
    assert said.code == 1
    assert "refused (future)" in said.out
    assert "it was made 1 hour from now: compare the clocks of this machine and of the one that made it." in said.text
    assert '"user": 7' in said.out


def test_an_unknown_key_is_named_with_those_of_the_ring(inspect_: Operator) -> None:
    said = inspect_(f"session={seal(key=STRANGER)}")
    assert said.code == 1
    assert said.out.startswith("Cookie session: refused (unknown_key)\n")
    assert (
        f"It names the key {STRANGER.id} (xchacha20-poly1305). The ring has {SEALING.id} (xaes-256-gcm, sealing), "
        f"{ACCEPTING.id} (xchacha20-poly1305, accepting), {RETIRING.id} (xaes-256-gcm, retiring). Was that key dropped too early, "
        "or not brought to this server, or is the token of another site?"
    ) in said.text


def test_the_id_of_a_key_under_another_suite_is_told_from_an_unknown_one(inspect_: Operator) -> None:
    text = reference.text(b"\x02" + reference.frame_of(TOKEN)[1:])
    said = inspect_(f"session={text}")
    assert "refused (unknown_key)" in said.out
    assert "That one is of another suite: the first character of the token was changed." in said.text


@pytest.mark.parametrize(
    ("text", "question", "says"),
    [
        (seal(plaintext=b""), 5, "what is inside (flags none, 0 bytes) is no session: it is too short, or has flags"),
        (seal(flags=0x88), 5, "what is inside (flags 88, 23 bytes) is no session"),
        (seal(flags=0x01, plaintext=None), 5, "(flags 01, 23 bytes)"),
        (seal(expires=1), 6, "it expires before it was created. Its writer is at fault."),
        (
            seal(b"[]"),
            9,
            "the body is no JSON object: the body is not a JSON object. Its writer is at fault, unless the jar has a serializer",
        ),
        (seal(b"[]", created=NOW + 30_000, expires=NOW + 30_000), 9, "the body is not a JSON object"),
        (seal(b'{"a":1}\n'), 9, "something follows the JSON object"),
        (seal(b'{"a":NaN}'), 9, "NaN is not JSON"),
        (seal(b'{"a":\xff}'), 9, "can't decode byte 0xff in position 5"),
        (seal(b'{"a":1', flags=2), 9, "it does not inflate to 65,536 bytes at most, or something stands behind it"),
        (seal(deflate(b'{"a":' + b"[" * 60_000) or b"", flags=2), 9, "it is nested more deeply than can be read"),
    ],
)
def test_behind_the_seal_the_question_that_failed_is_said(text: str, question: int, says: str, inspect_: Operator) -> None:
    said = inspect_(f"session={text}")
    assert said.code == 1
    assert said.out.startswith("Cookie session: refused (malformed)\n  The seal fits, but")
    assert says in said.text
    token = inspect_("--json", f"session={text}").token
    assert (token["question"], token["reason"], token["kind"]) == (question, "malformed", "cookie")


def test_a_body_that_is_no_json_is_shown_by_its_first_bytes(inspect_: Operator) -> None:
    assert f"    b'\\x93\\x1b{'x' * 198}'...\n" in inspect_(f"session={seal(bytes((0x93, 0x1B)) + b'x' * 300)}").out
    assert f"    b'{'x' * 200}'\n" in inspect_(f"session={seal(b'x' * 200)}").out
    assert "    b'\\xff\\xff'\n" in inspect_(f"session={seal(bytes((255, 255)), flags=2)}").out


def test_a_body_that_was_deflated_or_padded_says_so(inspect_: Operator, clock: Clock) -> None:
    jar = Jar("session", RING, compress=True, clock=clock)
    text = jar.codec.encode({"a": "xy" * 200})
    assert re.search(r"body +\d\d bytes, deflated from 408\n", inspect_(f"session={text}").out)
    token = inspect_("--json", f"session={text}").token
    assert (token["deflated"], token["inflated_bytes"], token["padding_bytes"]) == (True, 408, 0)
    text = Jar("session", RING, pad_to=64, clock=clock).codec.encode({"a": 1})
    assert "body        64 bytes, of which 57 spaces after it\n" in inspect_(f"session={text}").out
    token = inspect_("--json", f"session={text}").token
    assert (token["body_bytes"], token["padding_bytes"], token["body"]) == (64, 57, {"a": 1})
    broken = inspect_("--json", f"session={seal(b'no stream', flags=2)}").token
    assert (broken["deflated"], broken["inflated_bytes"], broken["padding_bytes"], broken["body"]) == (True, None, None, None)
    assert "body        9 bytes, deflated\n" in inspect_(f"session={seal(b'no stream', flags=2)}").out


def test_a_seal_around_nothing_is_measured(inspect_: Operator) -> None:
    token = inspect_("--json", seal(plaintext=b"")).token
    assert (token["characters"], token["ciphertext_bytes"], token["plaintext_bytes"], token["max_body_bytes"]) == (60, 16, 0, 0)
    token = inspect_("--json", TOKEN[:58]).token
    assert (token["key_id"], token["ciphertext_bytes"], token["plaintext_bytes"], token["max_body_bytes"]) == (
        SEALING.id,
        None,
        None,
        None,
    )


def test_no_content_is_in_what_a_description_says_of_itself() -> None:
    for text in (seal({"a": MARKER}), seal({"a": MARKER}, flags=0x88), seal(MARKER.encode())):
        token = described(text, name="session")
        assert token.inside is not None
        assert CONTENT.found_in(repr(token)) == []


def test_an_empty_session_has_no_keys_to_list(inspect_: Operator) -> None:
    said = inspect_(f"session={seal(b'')}")
    assert said.code == 0
    assert "  body        0 bytes\n    {}\n\n" in said.out


def test_a_longest_duration_ends_a_session_and_says_so(inspect_: Operator) -> None:
    text = seal(created=NOW - DAY)
    said = inspect_("--max-duration", "36h", f"session={text}")
    assert said.code == 0
    assert "ends 2027-01-15 20:00:00 UTC (in 12 hours), by --max-duration" in said.text
    assert "may end a session sooner" not in said.text
    said = inspect_("--max-duration", "12h", f"session={text}")
    assert said.code == 1
    assert "it expired by --max-duration 12 hours ago." in said.text
    assert inspect_("--json", "--max-duration", "36h", f"session={text}").token["ends"] == "2027-01-15T20:00:00.000Z"


def test_times_beyond_the_calendar_are_its_last(inspect_: Operator) -> None:
    token = inspect_("--json", f"session={seal(expires=(1 << 48) - 1)}").token
    assert (token["opens"], token["expires"]) == (True, "9999-12-31T23:59:59.000Z")
    assert inspect_(f"session={seal(created=(1 << 48) - 1, expires=(1 << 48) - 1)}").code == 1


@pytest.mark.parametrize(
    ("attribute", "shown"),
    [
        ("Max-Age=60", "Max-Age=60 (1 minute)"),
        ("max-age = 0", "max-age = 0 (0 seconds)"),
        ("Max-Age=-1", "Max-Age=-1"),
        ("Max-Age=" + "9" * 10, "Max-Age=9999999999 (115741 days)"),
        ("Max-Age=" + "9" * 5000, "Max-Age=" + "9" * 5000),
        ("Path=/\x1b[31m", r"Path=/\u001b[31m"),
        ("Expires=Thu, 01 Jan 1970 00:00:00 GMT", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
    ],
)
def test_attributes_are_shown_as_they_came_and_an_age_in_words(attribute: str, shown: str, inspect_: Operator) -> None:
    header = f"Set-Cookie: session={TOKEN}; {attribute}"
    assert f"attributes {shown} body" in inspect_(stdin=header).text.replace("spelling canonical ", "")
    assert inspect_("--json", stdin=header).token["attributes"] == [attribute]


def test_what_was_left_out_is_said(inspect_: Operator) -> None:
    said = inspect_("--name", "session", f" '{TOKEN}'")
    assert said.code == 0
    assert "left out white space around it; a codec that is given that too refuses the token as malformed" in said.text
    assert "left out quotes around it;" in said.text
    assert "times 2; a jar takes equal values once" in inspect_(f"session={TOKEN}; session={TOKEN}").text
    assert "2 cookies were left out: of another name." in inspect_("--name", "session", f"session={TOKEN}; a=b; c=d").text
    said = inspect_("--name", "session", stdin=f"{TOKEN[:62]}\n{TOKEN[62:]}\n")
    assert "1 line was left out: neither a token nor a header. A token that was broken into lines must be joined." in said.text
    assert "2 lines were left out" in inspect_("--name", "session", stdin=f"Hello,\n{TOKEN}\nBye").text
    assert "left out" not in inspect_(stdin=f"Hello,\nCookie: session={TOKEN}\nBye").text


# Keys, from where they come


def test_keys_come_from_the_environment_unless_they_are_left_out(inspect_: Operator) -> None:
    inspect_.monkeypatch.setenv("CLIENTSESSION_KEY", ACCEPTING.export())
    inspect_.monkeypatch.setenv("CLIENTSESSION_RETIRING_KEYS", SEALING.export())
    token = inspect_("--json", f"session={TOKEN}", keys=False).token
    assert (token["opens"], token["key_role"]) == (True, "retiring")
    assert inspect_("--json", f"session={TOKEN}").token["key_role"] == "sealing"  # of the file, which goes first
    said = inspect_("--no-keys", f"session={TOKEN}", keys=False)
    assert said.code == 0
    assert "has the form of a token" in said.out
    inspect_.monkeypatch.delenv("CLIENTSESSION_KEY")
    inspect_.monkeypatch.delenv("CLIENTSESSION_RETIRING_KEYS")
    inspect_.monkeypatch.setenv("CLIENTSESSION_KEY_FILE", inspect_.file)
    assert inspect_("--json", f"session={TOKEN}", keys=False).token["key_role"] == "sealing"


@pytest.mark.parametrize("variable", ["CLIENTSESSION_KEY", "CLIENTSESSION_ACCEPTED_KEYS", "CLIENTSESSION_RETIRING_KEYS"])
def test_keys_of_the_environment_that_cannot_be_read_are_told_and_not_shown(variable: str, inspect_: Operator) -> None:
    inspect_.monkeypatch.setenv("CLIENTSESSION_KEY", SEALING.export())
    inspect_.monkeypatch.setenv(variable, STRANGER.export()[:-3])
    said = inspect_(f"session={TOKEN}", keys=False)
    assert (said.code, said.out) == (2, "")
    assert variable in said.err
    assert "Or give --keys FILE; or --no-keys, to look without any" in said.err
    inspect_.monkeypatch.delenv("CLIENTSESSION_KEY")
    assert inspect_(f"session={TOKEN}", keys=False).code == (0 if variable == "CLIENTSESSION_KEY" else 2)


def test_a_key_file_that_cannot_be_read_is_told(inspect_: Operator, tmp_path: Path) -> None:
    for file in (tmp_path / "none", tmp_path, "nul\0", tmp_path / "\x1b[31m"):
        said = inspect_("--file", str(file), f"session={TOKEN}", keys=False)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith("clientsession inspect: ")
        assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [SEALING.export()],
        [f"session={SEALING.export()}"],
        [f"Set-Cookie: session={TOKEN}; Path=/{SEALING.export()}"],
        [f"Cookie: x{SEALING.export()}={TOKEN}"],
        ["--name", SEALING.export(), TOKEN],
        ["--audience", f"a {SEALING.export()}", TOKEN],
        ["--file", SEALING.export(), TOKEN],
        ["--kind", SEALING.export(), TOKEN],
        ["--max-duration", SEALING.export(), TOKEN],
        ["--max-size", SEALING.export(), TOKEN],
        [f"--{SEALING.export()}", TOKEN],
    ],
)
def test_a_key_in_any_wrong_place_is_refused_and_not_shown(arguments: list[str], inspect_: Operator) -> None:
    for json_ in ([], ["--json"]):
        said = inspect_(*json_, *arguments, keys="--file" not in arguments)
        assert (said.code, said.out) == (2, "")
        assert said.err


def test_a_key_on_standard_input_is_refused_and_not_shown(inspect_: Operator) -> None:
    said = inspect_(stdin=f"sealing {SEALING.export()}\nend\n")
    assert (said.code, said.out) == (2, "")
    assert "a key is no token: it belongs into a file, for --keys FILE" in said.err


def test_letters_of_a_key_within_a_token_mean_nothing(inspect_: Operator) -> None:
    text = f"{TOKEN[:30]}csk1_{TOKEN[35:]}"
    assert "refused (forged)" in inspect_(f"session={text}").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--kind", "jar"], "argument --kind: write cookie, token or header"),
        (["--max-duration", "soon"], "argument --max-duration: write it like 90s"),
        (["--max-size", "1e3"], "argument --max-size: write a number of characters"),
        (["--no-keys"], "not allowed with argument"),
        (["--verbose"], "unrecognized arguments"),
        (["--max-dur", "1d"], "unrecognized arguments"),
    ],
)
def test_options_that_are_wrong_are_told(arguments: list[str], says: str, inspect_: Operator) -> None:
    said = inspect_(*arguments, TOKEN)
    assert (said.code, said.out) == (2, "")
    assert says in said.err


@pytest.mark.parametrize("name", ["", "x" * 257, "a\0b", "\udc80", "line\nfeed"])
def test_a_name_or_audience_that_no_codec_has_is_told(name: str, inspect_: Operator) -> None:
    for arguments in (["--name", name], ["--name", "session", "--audience", name]):
        if arguments[-2:] == ["--audience", ""]:
            continue
        said = inspect_(*arguments, TOKEN)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith(f"clientsession inspect: {arguments[-2][2:]} ")
    assert inspect_("--name", name, TOKEN, keys=False).code == 0  # without keys it changes nothing


# What is hostile


EVIL = "\x1b]0;owned\x07\x1b[2J\r\n\x00\x7f\x9b31m\u202e\u2066\u200b\u2028\ufeff\ud800\U000e0001\ue000 \u00a0"


def test_what_a_terminal_would_act_upon_is_escaped(inspect_: Operator) -> None:
    body = json.dumps({EVIL: EVIL, "list": [EVIL]}).encode()
    said = inspect_(f"session={seal(body)}")  # the operator looks at every character
    assert said.code == 0
    assert (
        r"\u001b]0;owned\u0007\u001b[2J\r\n\u0000\u007f\u009b31m\u202e\u2066\u200b\u2028\ufeff\ud800\udb40\udc01\ue000 \u00a0"
        in said.out
    )
    token = inspect_("--json", f"session={seal(body)}").token
    assert token["body"] == {EVIL: EVIL, "list": [EVIL]}
    assert set(token["key_bytes"]) == {EVIL, "list"}


@given(st.text())
def test_a_safe_text_is_one_printable_line_and_can_be_read_back(text: str) -> None:
    shown = safe(json.dumps(text, ensure_ascii=False))
    assert shown.isprintable()
    assert json.loads(shown) == text
    assert not text.isprintable() or not text.isascii() or safe(text) == text


@pytest.mark.parametrize(
    "char", [*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180f\u2800\u3164\ufe00\ufe0f\uffa0\U000e0100\U000e01ef"], ids=ascii
)
def test_what_unicode_calls_printable_and_nobody_sees_is_escaped(char: str) -> None:
    assert char.isprintable()
    assert safe(f"user{char}") == "user" + json.dumps(char)[1:-1]


def test_what_can_be_seen_stays_as_it_is() -> None:
    assert safe("Grüße, 世界 🍪 e\u0301") == "Grüße, 世界 🍪 e\u0301"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
)


@given(json_values)
def test_json_is_written_as_the_standard_library_writes_it(value: Any) -> None:
    assert dumped(value) == json.dumps(value, indent=2)
    assert dumped(value, is_compact=True) == json.dumps(value, separators=(",", ":"))


def test_numbers_beyond_a_float_are_written_as_numbers() -> None:
    value = json.loads('{"a":[1e999,-1e999]}')
    assert json.loads(dumped(value)) == value
    assert "1e999" in dumped(value)


@given(st.dictionaries(st.text(), json_values))
def test_the_size_of_a_key_is_the_one_that_a_codec_counts(content: dict[str, Any]) -> None:
    sizes = key_bytes(content)
    assert sizes == {
        key: len(json.dumps({key: value}, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")) - 2
        for key, value in content.items()
    }
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)


def test_the_largest_keys_are_those_of_an_error_that_a_codec_raises() -> None:
    codec = Codec(RING, "session")
    content = {"a": "x", "cart": [{"sku": "é"}] * 3, "n": 1.5}
    assert [(repr(key), size) for key, size in key_bytes(content).items()] == list(
        codec._largest_keys(codec.decode(codec.encode(content)))
    )


def test_nesting_as_deep_as_the_parser_reads_is_written(inspect_: Operator) -> None:
    depth = 900
    body = deflate(b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    assert body is not None
    said = inspect_(f"session={seal(body, flags=2)}")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) < 200
    assert inspect_("--json", f"session={seal(body, flags=2)}").token["key_bytes"] == {"a": 2 * depth + 4}


@given(
    st.binary(max_size=400)
    | st.lists(
        st.sampled_from([TOKEN, "Cookie:", "Set-Cookie:", "session=", ";", "=", "\n", " ", "'", '"', "\\", "\0", "-H ", "é"]),
        max_size=12,
    ).map(lambda parts: "".join(parts).encode())
)
def test_any_input_ends_in_a_report_or_a_message(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for name in (None, "session"):
        harvest = find_tokens(text, name)
        tokens = [describe(found, look(name=name)) for found in harvest.tokens]
        for token in tokens:
            assert (token.reason is None) is (token.opens is not False)
        if tokens:
            assert json.loads(inspect._as_json(tokens, ambiguous_names(tokens), harvest, look(name=name)))
            report = inspect._as_text(tokens, ambiguous_names(tokens), harvest, look(name=name))
            assert all(char.isprintable() or char == "\n" for char in report)
        assert inspect.nothing_found(harvest, name)


@pytest.mark.parametrize(
    "text",
    [
        "\udcff\udcfe",
        f"session={TOKEN}\udc80",
        f"\udc80={TOKEN}",
        f"session={TOKEN}; \udc80=\udc81",
        "a=b; " * 13_000,
        ";" * 65_000,
        "=" * 65_000,
        "'" * 65_000,
        " " * 65_000,
        "x " * 30_000,
        "Cookie:" * 9_000,
        f"Set-Cookie: session={TOKEN}; " + "a" * 60_000,
        "\n" * 65_000,
        "a=\n" * 20_000,
    ],
)
def test_hostile_text_is_told_in_one_way_or_another_and_soon(text: str, inspect_: Operator) -> None:
    began = time.process_time()
    for options in ([], ["--json"], ["--name", "session"]):
        assert inspect_(*options, text).code in {0, 1, 2}
    assert time.process_time() - began < 10


def test_a_thousand_tokens_are_told_soon(inspect_: Operator) -> None:
    value = forged(TOKEN)
    header = "; ".join(f"n{number}={value}" for number in range(650))
    began = time.process_time()
    said = inspect_("--json", stdin=f"Cookie: {header}")
    assert time.process_time() - began < 20
    assert [token["reason"] for token in said.json["tokens"]] == ["forged"] * 650


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--name", "session"], ["--name", "session", "--json"]])
def test_content_is_printed_with_keys_alone(arguments: list[str], inspect_: Operator) -> None:
    text = seal({"a": MARKER, MARKER: 1})
    for given_ in (f"session={text}", f"Cookie: session={text}", text):
        without = inspect_(*arguments, given_, keys=False)  # searched by the operator
        assert without.code == 0
        with_keys = inspect_(*arguments, given_)
        assert bool(CONTENT.found_in(with_keys.out)) is ("--name" in arguments or given_ != text)


def test_no_token_is_printed(inspect_: Operator) -> None:
    for text in (TOKEN, f"{TOKEN}=", forged(TOKEN), f"session={TOKEN}", f"Set-Cookie: session={TOKEN}; Path=/"):
        for arguments in ([], ["--json"], ["--name", "session"]):
            said = inspect_(*arguments, text)
            assert Needles(reference.frame_of(TOKEN)[5:]).found_in(said.out + said.err) == []


# The process


def process(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """``clientsession inspect`` as a process of its own."""
    code = "import sys, time; from tests.test_inspect_command import command; sys.exit(command(sys.argv[1:], time.time))"
    root = Path(__file__).parent.parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLIENTSESSION_")}
    return subprocess.Popen([sys.executable, "-c", code, "inspect", *arguments], cwd=root, env=environment, **options)


def test_it_runs_as_a_process_with_bytes_that_are_no_text() -> None:
    with process(os.fsdecode(b"session=\xff\xfe"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        out, err = running.communicate(timeout=TIMEOUT)
    assert (running.returncode, out) == (2, b"")
    assert b"1 cookie that is not of the form of a token" in err
    assert b"Traceback" not in err


def test_a_reader_that_leaves_is_no_complaint() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with process(TOKEN, stdout=writing, stderr=subprocess.PIPE) as running:
        _, err = running.communicate(timeout=TIMEOUT)
    os.close(writing)
    assert (running.returncode, err) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has such a device")
def test_output_that_cannot_be_written_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert command(["inspect", "--no-keys", TOKEN], clock) == 2
    assert capsys.readouterr().err == "clientsession inspect: standard output cannot be written (No space left on device)\n"


def test_a_reader_that_left_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert command(["inspect", "--no-keys", TOKEN], clock) == 0
    assert capsys.readouterr().err == ""


def test_a_terminal_of_few_characters_gets_escapes(monkeypatch: pytest.MonkeyPatch, inspect_: Operator, clock: Clock) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    assert command(["inspect", "--keys", inspect_.file, f"session={seal({'a': 'für'})}"], clock) == 0
    assert rb'"a": "f\xfcr"' in shown.getvalue()


class Terminal(io.TextIOWrapper):
    """A standard input that people type into."""

    def isatty(self) -> bool:
        return True


def test_at_a_terminal_it_says_what_it_waits_for(monkeypatch: pytest.MonkeyPatch, inspect_: Operator) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(f"session={TOKEN}\n".encode())))
    said = inspect_()
    assert said.code == 0
    assert said.err == (
        "Paste a token, or a Cookie: or Set-Cookie: header, then press Enter and Ctrl-D.\n"
        "A terminal cuts lines at 4,095 characters; give longer ones in a file: clientsession inspect < FILE\n"
    )


class Broken(io.RawIOBase):
    """A standard input that raises when it is read."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(5, "Input/output error"), 2, "standard input cannot be read (Input/output error)"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_a_standard_input_that_fails_is_told(
    error: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, inspect_: Operator
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Broken(error))))
    said = inspect_()
    assert (said.code, said.out, said.err) == (code, "", f"clientsession inspect: {says}\n")


def test_without_standard_streams_it_says_so_where_it_can(monkeypatch: pytest.MonkeyPatch, inspect_: Operator) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    said = inspect_()
    assert (said.code, said.err) == (2, "clientsession inspect: there is no standard input to read a token from\n")
    nowhere: TextIO | None = None
    monkeypatch.setattr(sys, "stdout", nowhere)
    assert inspect_("--name", "session", TOKEN).code == 0
