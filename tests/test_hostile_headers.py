"""Whatever may stand in a Cookie header, given to Sessions and to the WSGI middleware.

Any header gives a working session, and a response like that to a client without cookies, unless one genuine session is there
beyond doubt. The numbers are those of one list of inputs, so that a line is found again.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import logging
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from clientsession import Jar, Key, Keyring, Reason, Sessions, Suite, _ciphers
from clientsession._events import Event
from clientsession._sessions import JarTable
from clientsession.wsgi import SessionMiddleware
from tests import reference
from tests.conftest import Clock

SECRET = bytes(range(7, 39))
OTHER_SECRET = bytes(range(100, 140))
NOW = 1_800_000_000_000  # the clock fixture's, in milliseconds
DAY = 86_400_000
MALFORMED, UNKNOWN_KEY, FORGED, EXPIRED, FUTURE, AMBIGUOUS = Reason


@pytest.fixture
def key(suite: Suite) -> Key:
    return Key.from_secret(SECRET, suite=suite)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def jar(ring: Keyring, clock: Clock, events: list[Event]) -> Jar:
    return Jar("session", ring, clock=clock, observer=events.append)


@pytest.fixture
def decryptions(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The nonces of what a cipher was asked to open."""
    nonces: list[bytes] = []

    def counted(open_: Callable[..., bytes | None]) -> Callable[..., bytes | None]:
        def count_and_open(self: object, nonce: bytes, *args: bytes) -> bytes | None:
            nonces.append(nonce)
            return open_(self, nonce, *args)

        return count_and_open

    for each in Suite:
        cipher = type(_ciphers.new_cipher(each, bytes(32)))
        monkeypatch.setattr(cipher, "open", counted(cipher.open))
    return nonces


class Tokens:
    """Tokens as clients may hold them, each with content of its own."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.content: dict[str, dict[str, object]] = {}

    def seal(self, user: str, *, age: int = 0, life: int = DAY, secret: bytes = SECRET, name: str = "session") -> str:
        plaintext = reference.plaintext(NOW - age, NOW - age + life, b'{"user":"%s"}' % user.encode())
        token = reference.seal(secret, self.suite, "cookie", name, "", plaintext)
        if secret == SECRET and name == "session" and age >= -60_000 and life > age:
            self.content[token] = {"user": user}
        return token

    def good(self, user: str = "ada") -> str:
        return self.seal(user)

    def malformed(self) -> str:
        return "x" * 77

    def unknown_key(self) -> str:
        return self.seal("eve", secret=OTHER_SECRET)

    def forged(self) -> str:
        return self.seal("eve", name="cart")

    def expired(self) -> str:
        return self.seal("ada", age=2 * DAY)

    def future(self) -> str:
        return self.seal("ada", age=-DAY)


@pytest.fixture
def tokens(suite: Suite) -> Tokens:
    return Tokens(suite)


@dataclass(frozen=True)
class Answer:
    """What a request with some header gets. ``seen`` is all that a client can see of it."""

    content: dict[str, object]
    refusal: Reason | None
    seen: tuple[object, ...]


def ask_sessions(jar: Jar, header: str | None) -> Answer:
    sessions = Sessions([jar], header)
    session = sessions["session"]
    content, refusal, is_new = dict(session), session.refusal, session.is_new
    assert is_new is not bool(content)
    set_cookies = sessions.commit()
    return Answer(content, refusal, (*set_cookies, sessions.accessed))


def ask_middleware(jar: Jar, header: str | None) -> Answer:
    read = []
    started = []

    def app(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        session = environ["clientsession.sessions"]["session"]
        read.append((dict(session), session.refusal))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"page"]

    environ = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "https"} | ({} if header is None else {"HTTP_COOKIE": header})
    body = b"".join(SessionMiddleware(app, [jar])(environ, lambda *args: started.append(args)))
    assert environ.get("HTTP_COOKIE") == header
    return Answer(*read[0], (body, *started))


Ask = Callable[[Jar, str | None], Answer]


@pytest.fixture(params=[ask_sessions, ask_middleware], ids=["sessions", "wsgi"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param


def expect_none(ask: Ask, jar: Jar, header: str | None, refusal: Reason | None) -> None:
    answer = ask(jar, header)
    assert (answer.content, answer.refusal) == ({}, refusal)
    assert answer.seen == ask(jar, None).seen


def expect(ask: Ask, jar: Jar, header: str, user: str) -> None:
    answer = ask(jar, header)
    assert (answer.content, answer.refusal) == ({"user": user}, None)
    assert answer.seen == ask(jar, None).seen  # a read sends nothing, whoever reads


# Every EVIL here is another user's genuine token: were it taken for the session, it would open.


@pytest.mark.parametrize(
    ("header", "refusal"),
    [
        pytest.param(None, None, id="H1-absent"),
        pytest.param("", None, id="H2-empty"),
        pytest.param("session=", MALFORMED, id="H3-no-value"),
        pytest.param("session= \t ", MALFORMED, id="H3-blank-value"),
        pytest.param("session", None, id="H4-no-equals"),
        pytest.param("session;EVIL", None, id="H4-no-equals-twice"),
        pytest.param(";;;;" * 16_000, None, id="H5-separators"),
        pytest.param("=session=EVIL", None, id="H6-nameless"),
        pytest.param("==session=EVIL", None, id="H6-nameless-twice"),
        pytest.param("; = session=EVIL", None, id="H6-nameless-spaced"),
        pytest.param("=EVIL", None, id="H6-nameless-value"),
        pytest.param('foo="; session=EVIL"', MALFORMED, id="H8-quotes-alone"),
        pytest.param("foo=a,session=EVIL", None, id="H10-comma"),
        pytest.param("foo=a, session=EVIL", None, id="H10-comma-space"),
        pytest.param("foo=a\tsession=EVIL", None, id="H11-tab"),
        pytest.param("foo=a session=EVIL", None, id="H12-space"),
        pytest.param("foo session=EVIL", None, id="H12-name-of-two-words"),
        pytest.param("\xa0session=EVIL", None, id="H13-nbsp"),
        pytest.param("session\xa0=EVIL", None, id="H13-nbsp-after-name"),
        pytest.param("session=\xa0EVIL", MALFORMED, id="H13-nbsp-before-value"),
        pytest.param("\x85session=EVIL", None, id="H13-next-line"),
        pytest.param("\xc2\xa0session=EVIL", None, id="H14-utf-8-nbsp"),
        pytest.param("\xe2\x80\x80session=EVIL", None, id="H14-utf-8-en-quad"),
        pytest.param("\xef\xbb\xbfsession=EVIL", None, id="H14-utf-8-bom"),
        pytest.param("\xa9session=EVIL", None, id="H15-latin-1"),
        pytest.param("session[x]=EVIL", None, id="H16-bracket"),
        pytest.param("session[]=EVIL", None, id="H16-brackets"),
        pytest.param("session.x=EVIL", None, id="H16-dot"),
        pytest.param("(session=EVIL", None, id="H16-parenthesis"),
        pytest.param("/session=EVIL", None, id="H16-slash"),
        pytest.param('"session"=EVIL', None, id="H16-quoted-name"),
        pytest.param("%73ession=EVIL", None, id="H16-percent-encoded-name"),
        pytest.param("session%20=EVIL", None, id="H16-percent-encoded-space"),
        pytest.param("session+=EVIL", None, id="H16-plus"),
        pytest.param("sessions=EVIL", None, id="H16-longer"),
        pytest.param("sessio=EVIL", None, id="H16-shorter"),
        pytest.param("Session=EVIL", None, id="H17-capital"),
        pytest.param("SESSION=EVIL", None, id="H17-capitals"),
        pytest.param("\u017fession=EVIL", None, id="H17-folds-to-s"),
        pytest.param("\rsession=EVIL", None, id="carriage-return"),
        pytest.param("\nsession=EVIL", None, id="line-feed"),
        pytest.param("\0session=EVIL", None, id="zero-before"),
        pytest.param("session\0=EVIL", None, id="zero-after-name"),
        pytest.param("session=EVIL\0", MALFORMED, id="zero-after-value"),
        pytest.param("session=EVIL\r\nSet-Cookie: a=b", MALFORMED, id="header-injection"),
        pytest.param("a" * 8190, None, id="H28-letters"),
        pytest.param('"' * 65_536, None, id="H29-quotes"),
        pytest.param("\\" * 65_536, None, id="H29-backslashes"),
        pytest.param("=" * 65_536, None, id="H29-equals"),
        pytest.param("a=;" * 21_845, None, id="H29-pairs"),
        pytest.param("session=" * 8_192, MALFORMED, id="H29-names"),
        pytest.param("session=;" * 7_281, MALFORMED, id="H29-empty-cookies"),
        pytest.param("session=EVIL;" + "a" * 65_536, MALFORMED, id="H30-too-long"),
        pytest.param(";" * 65_537, MALFORMED, id="H30-too-long-by-one"),
        pytest.param("a" * 10_000_000, MALFORMED, id="H30-ten-million"),
        pytest.param('session="EVIL"', MALFORMED, id="H32-quoted"),
        pytest.param("session='EVIL'", MALFORMED, id="H32-single-quoted"),
        pytest.param("session=EVIL,other=1", MALFORMED, id="H33-comma-after"),
        pytest.param("session=EVIL, session=EVIL", MALFORMED, id="H33-comma-joined"),
        pytest.param("session=EVIL=", MALFORMED, id="equals-after"),
        pytest.param("session==EVIL", MALFORMED, id="equals-before"),
        pytest.param("session=EVIL EVIL", MALFORMED, id="two-values"),
        pytest.param("session=\ud800", MALFORMED, id="surrogate"),
        pytest.param("\ud800=\udfff", None, id="surrogates-elsewhere"),
        pytest.param("Cookie: session=EVIL", None, id="header-name-within"),
        pytest.param("$Version=1, session=EVIL", None, id="rfc-2965-comma"),
    ],
)
def test_a_header_without_a_session_is_like_no_header(
    ask: Ask, jar: Jar, tokens: Tokens, header: str | None, refusal: Reason | None
) -> None:
    """H1 to H6, H8, H10 to H17, H28 to H30, H32, H33"""
    expect_none(ask, jar, header and header.replace("EVIL", tokens.good("mallory")), refusal)


@pytest.mark.parametrize("name", ["__Host-session", "__Secure-session"])
def test_a_prefixed_name_has_one_spelling(ask: Ask, ring: Keyring, suite: Suite, clock: Clock, name: str) -> None:
    """H15, H17"""
    jar = Jar("session", ring, cookie_name=name, clock=clock)
    token = jar.codec.encode({"user": "ada"})
    expect(ask, jar, f"{name}={token}", "ada")
    for other in (name.lower(), name.upper(), f"\xa9{name}", name.replace("-", "%2D"), "session", f"{name}.1", f"$ {name}"):
        expect_none(ask, jar, f"{other}={token}", None)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("session=GOOD", id="alone"),
        pytest.param("$Version=1; session=GOOD; $Path=/", id="H7"),
        pytest.param('foo="; session=EVIL"; session=GOOD', id="H8"),
        pytest.param('foo="abc; session=GOOD', id="H9"),
        pytest.param('session=GOOD; foo="abc', id="H9-after"),
        pytest.param("foo=a session=EVIL; session=GOOD", id="H12"),
        pytest.param("session = GOOD ", id="H18-spaces"),
        pytest.param("\tsession\t=\tGOOD\t", id="H18-tabs"),
        pytest.param(" \t session \t = \t GOOD \t ;x", id="H18-both"),
        pytest.param("session=GOOD;x=1", id="H19"),
        pytest.param("x=1;session=GOOD", id="H19-before"),
        pytest.param(";;session=GOOD;;", id="H19-empty-pairs"),
        pytest.param("x=\\351; session=GOOD", id="H20-octal-escape"),
        pytest.param('x="\\"; session=GOOD', id="H20-escaped-quote"),
        pytest.param("x=\xff; session=GOOD", id="H21"),
        pytest.param("x=\0; session=GOOD", id="H22-zero"),
        pytest.param("x=a\x01; session=GOOD", id="H22-one"),
        pytest.param("x=a\x7f; session=GOOD", id="H22-delete"),
        pytest.param("x=a\r\nb; session=GOOD", id="H23"),
        pytest.param("x=\u20ac; session=GOOD", id="H24"),
        pytest.param("x=\ud800; session=GOOD", id="H24-surrogate"),
        pytest.param("session=GOOD; session=GOOD", id="H26"),
        pytest.param("session=GOOD; session= GOOD ;session=\tGOOD", id="H26-spaced"),
        pytest.param("session=GOOD; " * 300, id="H26-often"),
        pytest.param('{"a":1}=2; session=GOOD', id="H31-json"),
        pytest.param("foo=a b; session=GOOD", id="H31-space"),
        pytest.param('{"a";"b"}; session=GOOD', id="H31-more-json"),
        pytest.param("Session=EVIL; session=GOOD; SESSION=EVIL", id="other-names"),
        pytest.param("=session=EVIL; session=GOOD; session", id="nameless-and-valueless"),
        pytest.param("session=; session=GOOD; session=", id="empty-ones"),
        pytest.param("session=junk; session=GOOD; session=deleted", id="junk"),
        pytest.param("session=GOOD" + ";" * (65_536 - len("session=")), id="64-KiB"),
    ],
)
def test_the_one_genuine_session_is_found(ask: Ask, jar: Jar, tokens: Tokens, header: str) -> None:
    """H7 to H9, H12, H18 to H24, H26, H31"""
    good = tokens.good()
    header = header.replace("GOOD", good).replace("EVIL", tokens.good("mallory"))[:65_536]
    expect(ask, jar, header, "ada")


def test_nothing_of_a_header_is_echoed(jar: Jar, tokens: Tokens, caplog: pytest.LogCaptureFixture) -> None:
    """H23"""
    caplog.set_level(logging.DEBUG)
    for header in ("x=a\r\nSet-Cookie: evil=1; session=", "session=evil\r\n", "session=<b>evil</b>", "evil=session"):
        assert "evil" not in repr(ask_middleware(jar, f"{header}{tokens.good()}\r\nevil"))
    assert "evil" not in caplog.text


# Several cookies of one name


def test_among_200_pieces_of_junk_the_session_is_found_by_one_decryption(
    ask: Ask, jar: Jar, tokens: Tokens, decryptions: list[bytes]
) -> None:
    """H25"""
    junk = [f"session=junk{index}" for index in range(200)] + [f"session={tokens.unknown_key()}" for _ in range(50)]
    for place in (0, 100, 250):
        cookies = [*junk[:place], f"session={tokens.good()}", *junk[place:]]
        before = len(decryptions)
        expect(ask, jar, "; ".join(cookies), "ada")
        assert len(decryptions) == before + 1


@pytest.mark.parametrize("place", range(5))
def test_of_five_cookies_that_fit_none_is_opened(
    ask: Ask, jar: Jar, tokens: Tokens, decryptions: list[bytes], place: int, events: list[Event]
) -> None:
    """H25"""
    values = [tokens.forged() for _ in range(4)]
    values.insert(place, tokens.good())
    expect_none(ask, jar, "; ".join(f"session={value}" for value in values), AMBIGUOUS)
    assert decryptions == []
    assert [(event.kind, event.reason, event.key_id) for event in events] == [("refused", AMBIGUOUS, None)]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_up_to_four_that_fit_are_each_opened_once(ask: Ask, jar: Jar, tokens: Tokens, decryptions: list[bytes], count: int) -> None:
    good = tokens.good()
    values = [good, *(tokens.forged() for _ in range(count - 1))]
    for order in itertools.permutations(values):
        decryptions.clear()
        expect(ask, jar, "; ".join(f"session={value}" for value in (*order, good, *order)), "ada")
        assert len(decryptions) == count


def test_the_same_five_values_over_and_over_are_five(ask: Ask, jar: Jar, tokens: Tokens, decryptions: list[bytes]) -> None:
    values = [tokens.good(), *(tokens.forged() for _ in range(3))]
    expect(ask, jar, "; ".join(f"session={value}" for value in values * 40), "ada")
    assert len(decryptions) == 4


@pytest.mark.parametrize("users", [("ada", "mallory"), ("ada", "ada"), ("ada", "mallory", "ada", "eve")])
def test_several_genuine_sessions_are_none(ask: Ask, jar: Jar, tokens: Tokens, users: tuple[str, ...]) -> None:
    """H27"""
    values = [f"session={tokens.good(user)}" for user in users]
    for order in itertools.permutations(values):
        expect_none(ask, jar, "; ".join(order), AMBIGUOUS)
        expect_none(ask, jar, "; ".join([*order, "session=junk", f"session={tokens.expired()}"][: 4 + 1]), AMBIGUOUS)


REFUSED = {"malformed": MALFORMED, "unknown_key": UNKNOWN_KEY, "forged": FORGED, "expired": EXPIRED}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_of_several_refused_cookies_the_one_that_got_furthest_is_told(ask: Ask, jar: Jar, tokens: Tokens, count: int) -> None:
    ranks = list(REFUSED)
    for order in itertools.permutations(ranks, count):
        furthest = max(order, key=ranks.index)
        header = "; ".join(f"session={getattr(tokens, kind)()}" for kind in order)
        expect_none(ask, jar, header, REFUSED[furthest])


def test_what_is_refused_within_the_seal_got_further_than_the_seal(ask: Ask, jar: Jar, tokens: Tokens, suite: Suite) -> None:
    broken = reference.seal(SECRET, suite, "cookie", "session", "", reference.plaintext(NOW, NOW + DAY, b"null"))
    for value, reason in ((tokens.future(), FUTURE), (broken, MALFORMED), (tokens.expired(), EXPIRED)):
        for order in itertools.permutations([value, tokens.forged(), tokens.unknown_key(), "junk"]):
            expect_none(ask, jar, "; ".join(f"session={each}" for each in order), reason)


def test_a_refused_cookie_is_no_hindrance_to_a_new_session(jar: Jar, tokens: Tokens) -> None:
    for header in (f"session={tokens.forged()}", f"session={tokens.good()}; session={tokens.good('eve')}", "a" * 70_000):
        sessions = Sessions([jar], header)
        sessions["session"]["user"] = "grace"
        (answer,) = sessions.commit()
        expect(ask_sessions, jar, answer.partition(";")[0], "grace")


def test_each_jar_has_its_own_cookies_of_one_header(ring: Keyring, clock: Clock, tokens: Tokens, suite: Suite) -> None:
    jars = [Jar(name, ring, clock=clock) for name in ("session", "cart")]
    cart = reference.seal(SECRET, suite, "cookie", "cart", "", reference.plaintext(NOW, NOW + DAY, b'{"total":33}'))
    five = "; ".join(f"session={tokens.forged()}" for _ in range(5))
    sessions = Sessions(jars, f"{five}; cart={cart}; cart=junk")
    assert (sessions["session"].refusal, sessions["cart"].refusal) == (AMBIGUOUS, None)
    assert sessions["cart"] == {"total": 33}


# Work


def work(ask_header: Callable[[], object]) -> int:
    """How many calls of functions, Python's and built in, something takes."""
    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        ask_header()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize(
    "piece",
    [";", "=", '"', "\\", "a=;", "session=", "session=;", "session=a;", "session;", "; ", " ", "\t", "=;", "a", 'a="', ",", "\xff"],
)
def test_work_grows_with_the_header_and_not_faster(jar: Jar, decryptions: list[bytes], piece: str) -> None:
    """H5, H29"""
    table = JarTable([jar])

    def read(length: int) -> int:
        header = (piece * length)[:length]
        return work(lambda: Sessions(table, header)["session"])

    read(16)
    none, quarter, whole = read(0), read(16_384), read(65_536)
    assert whole - none <= 4 * (quarter - none) + 200
    assert whole <= 6 * 65_536
    assert read(65_537) <= none + 60  # a header that is too long is not scanned at all
    assert decryptions == []


def test_work_grows_with_distinct_cookies_and_not_faster(jar: Jar, tokens: Tokens, decryptions: list[bytes]) -> None:
    def read(count: int, value: Callable[[int], str]) -> int:
        header = ";".join(f"session={value(index)}" for index in range(count))
        assert len(header) <= 65_536
        return work(lambda: Sessions([jar], header)["session"])

    forged = [tokens.forged() for _ in range(500)]
    unknown = [tokens.unknown_key() for _ in range(500)]
    for value in (str, lambda index: "A" * 60 + f"{index:04}", forged.__getitem__, unknown.__getitem__):
        read(8, value)
        assert read(480, value) <= 4 * read(120, value)
    assert decryptions == []


# A hundred thousand headers


class Generator:
    """Cookie headers of what attackers, proxies and browsers put into them; the same in every run."""

    def __init__(self, tokens: Tokens, seed: int) -> None:
        self.dice = random.Random(seed)
        self.genuine = [tokens.good(f"user{index}") for index in range(3)]
        self.known = [
            *self.genuine,
            *(tokens.forged() for _ in range(3)),
            *(make() for make in (tokens.malformed, tokens.unknown_key, tokens.expired, tokens.future)),
        ]
        self.separators = ["; ", ";", " ; ", ";;", "\t;", ",", ", ", " ", "\r\n", "&", "\0", ""]
        self.names = [
            "session",
            " session",
            "session ",
            "Session",
            "session\xa0",
            "$session",
            "sess",
            "cart",
            "",
            "\xe9",
            "\0",
            "a b",
        ]
        self.names += ["session"] * 12
        self.junk = [
            '"',
            "\\",
            "\x7f",
            "\x01",
            "\xff",
            "\u20ac",
            "\ud800",
            "=",
            "==",
            "%3D",
            "a" * 300,
            "deleted",
            "{}",
            "null",
            "\xa0",
            "(",
        ]

    def mutated(self, token: str) -> str:
        dice = self.dice
        index = dice.randrange(len(token))
        kind = dice.randrange(8)
        if kind == 0:
            return token[:index] + dice.choice("ABCXYZabc019-_") + token[index + 1 :]
        if kind == 1:
            return token[:index]
        if kind == 2:
            return token[:index] + dice.choice(self.junk) + token[index:]
        if kind == 3:
            return f'"{token}"'
        if kind == 4:
            return token + dice.choice(["=", "A", " ", "\t", "\n", ".", dice.choice(self.known)])
        if kind == 5:
            return token[:index] + dice.choice(self.known)[index:]
        if kind == 6:
            return token.swapcase()
        return token[:-1] + chr(ord(token[-1]) ^ 1)

    def value(self) -> str:
        dice = self.dice
        kind = dice.randrange(10)
        if kind < 3:
            return dice.choice(self.genuine)
        if kind < 6:
            return dice.choice(self.known)
        if kind < 8:
            return self.mutated(dice.choice(self.known))
        if kind < 9:
            return dice.choice(self.junk)
        return "".join(map(chr, dice.choices(range(256), k=dice.randrange(12))))

    def header(self) -> str:
        dice = self.dice
        pieces: list[str] = []
        for _ in range(dice.choice((1, 1, 2, 2, 3, 4, 6, 9))):
            pieces += (dice.choice(self.names), dice.choice(("=", "=", "=", "=", "=", " = ", "", "==")), self.value())
            pieces.append(dice.choice(("; ", "; ", "; ", ";", dice.choice(self.separators))))
        if dice.random() < 0.001:
            pieces.insert(dice.randrange(len(pieces)), dice.choice(("a", ";", "session=", '"')) * dice.randrange(70_000))
        return "".join(pieces[: None if dice.random() < 0.3 else -1])


class Oracle:
    """The rules of the Cookie header, written a second time: which value is the session, if one is beyond doubt."""

    def __init__(self, tokens: Tokens) -> None:
        self.content = tokens.content
        self.header = bytes([tokens.suite]) + reference.key_id(SECRET, tokens.suite)

    def fits(self, value: str) -> bool:
        if not 60 <= len(value) <= 4089 or not value.isascii() or set(value) & set("+/="):
            return False
        try:
            frame = base64.b64decode(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4), validate=True)
        except binascii.Error:
            return False
        return reference.text(frame) == value and frame[:5] == self.header

    def content_of(self, header: str) -> dict[str, object]:
        if len(header) > 65_536:
            return {}
        values = set()
        for pair in header.split(";"):
            name, *rest = pair.split("=")
            if rest and name.strip(" \t") == "session":
                values.add("=".join(rest).strip(" \t"))
        genuine = values & self.content.keys()
        if len(genuine) != 1 or sum(map(self.fits, values)) > 4:
            return {}
        return self.content[genuine.pop()]


def headers(tokens: Tokens, seed: int, count: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Generated headers, each with the content it should give."""
    generator = Generator(tokens, seed)
    oracle = Oracle(tokens)
    for _ in range(count):
        header = generator.header()
        yield header, oracle.content_of(header)


def test_50_000_headers_in_each_suite_give_their_one_session_or_none(ring: Keyring, clock: Clock, tokens: Tokens) -> None:
    jar = Jar("session", ring, clock=clock)
    table = JarTable([jar])
    found = refused = silent = 0
    for header, content in headers(tokens, 2027, 50_000):
        sessions = Sessions(table, header)
        session = sessions["session"]
        refusal = session.refusal
        assert session == content, header
        assert session.is_new is not bool(content), header
        assert refusal is None or (refusal in Reason and not content), header
        assert sessions.commit() == [], header
        found += bool(content)
        refused += refusal is not None
        silent += not content and refusal is None
    assert min(found, refused, silent) > 5_000  # the generator still makes all three


def test_1_000_headers_in_each_suite_are_answered_over_wsgi_like_no_header(ring: Keyring, clock: Clock, tokens: Tokens) -> None:
    jar = Jar("session", ring, clock=clock)
    nothing = ask_middleware(jar, None)
    for header, content in headers(tokens, 2028, 1_000):
        answer = ask_middleware(jar, header)
        assert answer.content == content, header
        assert answer.seen == nothing.seen, header
