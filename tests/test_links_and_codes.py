"""The programs of docs/guide/links-and-codes.md, each taken from its page as a reader would: a link works for whom it should,
once and in time, and for nobody else.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from webob import Request, Response

from clientsession import Codec, Jar, Key, Keyring
from tests.conftest import Clock

PAGE = (Path(__file__).parent.parent / "docs" / "guide" / "links-and-codes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SITE = "https://shop.example"
ADA, BOB = 7, 8
EMAILS = {ADA: "ada@example.org", BOB: "bob@example.org"}
PURPOSES = ("password-reset", "email-confirmation", "magic-link", "oauth-state")


def block_of(start: str) -> dict[str, Any]:
    """The names that the one block with this line defines, run by itself."""
    (code,) = [code for code in BLOCKS if re.search(rf"^{re.escape(start)}", code, re.MULTILINE)]
    names: dict[str, Any] = {}
    exec(compile(code, "links-and-codes.md", "exec"), names)
    return names


class Browser:
    """Keeps cookies, and says where a form was posted from."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> Response:
        return self.send(Request.blank(path, base_url=SITE))

    def post(self, path: str, *, origin: str | None = SITE, **form: str) -> Response:
        headers = {} if origin is None else {"Origin": origin}
        return self.send(Request.blank(path, base_url=SITE, POST=form, headers=headers))

    def send(self, request: Request) -> Response:
        if self.cookies:
            request.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = request.get_response(self.app)
        for cookie in response.headers.getall("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return response


class Site:
    """What the programs share: the users, the mail, the keys, and the time."""

    def __init__(self, db: sqlite3.Connection, clock: Clock) -> None:
        self.db = db
        self.clock = clock
        self.ring = Keyring(Key.generate())
        self.outbox: list[tuple[str, str]] = []

    def send_mail(self, to: str, text: str) -> None:
        self.outbox.append((to, text))

    def last_link(self) -> str:
        return self.outbox[-1][1].split(SITE)[1]

    def token_of(self, purpose: str, **content: Any) -> str:
        return Codec(self.ring, purpose, clock=self.clock).encode(content)

    def user(self, user: int) -> tuple[Any, ...]:
        return self.db.execute("SELECT * FROM users WHERE id = ?", (user,)).fetchone()

    @property
    def session_codec(self) -> Codec:
        return Jar("session", self.ring, cookie_name="__Host-session", clock=self.clock).codec

    def signed_in(self, browser: Browser, user: int) -> Browser:
        browser.cookies["__Host-session"] = self.session_codec.encode({"user": user, "planted": True})
        return browser


@pytest.fixture
def site(clock: Clock) -> Iterator[Site]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        (setting,) = [code for code in BLOCKS if "CREATE TABLE" in code]
        (table,) = re.findall(r"db\.execute\(\n(.*?)\n\)", setting, re.DOTALL)
        db.execute(eval(f"({table})"))
        db.executemany("INSERT INTO users (id, email) VALUES (?, ?)", EMAILS.items())
        yield Site(db, clock)


class Slow:
    """A database in which something else happens before the first writing of a kind."""

    def __init__(self, db: sqlite3.Connection, meanwhile: Callable[[], object], before: str = "UPDATE") -> None:
        self.db = db
        self.meanwhile: Callable[[], object] | None = meanwhile
        self.before = before

    def execute(self, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        if statement.startswith(self.before) and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return self.db.execute(statement, values)


class Links:
    """One of the three programs that send a link by mail, by what they have in common."""

    purpose: str
    lifetime: float
    place: str

    def __init__(self, site: Site) -> None:
        self.site = site
        self.app = self.make()

    def make(self) -> Any:
        raise NotImplementedError

    def browser_of(self, user: int) -> Browser:
        return Browser(self.app)

    def interrupt(self, meanwhile: Callable[[], object]) -> None:
        """From here on, something else happens between the reading and the writing of the first request."""
        db = self.site.db
        slow: Any = Slow(db, meanwhile)
        self.site.db = slow
        self.app = self.make()
        self.site.db = db

    def ask(self, user: int) -> str:
        """The link a user gets."""
        raise NotImplementedError

    def use(self, user: int, link: str) -> Response:
        """The user opens the link, which changes nothing, and presses the button."""
        browser = self.browser_of(user)
        before = self.site.user(user)
        shown = browser.get(link)
        assert self.site.user(user) == before
        done = browser.post(link, password="correct horse battery")
        assert (shown.status_int == 200) == (done.status_int < 400)
        return done


class Reset(Links):
    purpose = "password-reset"
    lifetime = 30 * 60
    place = "/reset/"

    def make(self) -> Any:
        return block_of("def password_reset")["password_reset"](
            self.site.ring, self.site.db, self.site.send_mail, clock=self.site.clock
        )

    def ask(self, user: int) -> str:
        assert Browser(self.app).post("/reset", email=EMAILS[user]).status_int == 200
        assert self.site.outbox[-1][0] == EMAILS[user]
        return self.site.last_link()


class Confirmation(Links):
    purpose = "email-confirmation"
    lifetime = 24 * 3600
    place = "/email/"

    def make(self) -> Any:
        return block_of("def email_confirmation")["email_confirmation"](
            self.site.ring, self.site.db, self.site.send_mail, clock=self.site.clock
        )

    def browser_of(self, user: int) -> Browser:
        return self.site.signed_in(Browser(self.app), user)

    def ask(self, user: int) -> str:
        assert self.browser_of(user).post("/email", email=f"{user}@new.example").status_int == 200
        assert self.site.outbox[-1][0] == f"{user}@new.example"
        return self.site.last_link()


class Magic(Links):
    purpose = "magic-link"
    lifetime = 10 * 60
    place = "/sign-in/"

    def make(self) -> Any:
        return block_of("def magic_link")["magic_link"](self.site.ring, self.site.db, self.site.send_mail, clock=self.site.clock)

    def ask(self, user: int) -> str:
        assert Browser(self.app).post("/sign-in", email=EMAILS[user]).status_int == 200
        assert self.site.outbox[-1][0] == EMAILS[user]
        return self.site.last_link()


@pytest.fixture(params=[Reset, Confirmation, Magic], ids=lambda kind: kind.purpose)
def links(request: pytest.FixtureRequest, site: Site) -> Links:
    return request.param(site)


# ---------------------------------------------------------------------------------------------------------------------
# What all links have in common
# ---------------------------------------------------------------------------------------------------------------------


def test_a_link_works(links: Links) -> None:
    before = links.site.user(ADA)
    assert links.use(ADA, links.ask(ADA)).status_int in (200, 303)
    assert links.site.user(ADA) != before


def test_a_link_works_once(links: Links) -> None:
    link = links.ask(ADA)
    links.use(ADA, link)
    after = links.site.user(ADA)
    assert links.use(ADA, link).status_int == 410
    assert links.site.user(ADA) == after


def test_using_a_link_ends_the_others_of_its_kind_and_user(links: Links) -> None:
    first, second, bobs = links.ask(ADA), links.ask(ADA), links.ask(BOB)
    assert first != second
    links.use(ADA, second)
    assert links.use(ADA, first).status_int == 410
    assert links.use(BOB, bobs).status_int < 400


def test_of_two_clicks_at_once_one_counts(links: Links) -> None:
    link = links.ask(ADA)
    meanwhile: list[Response] = []
    links.interrupt(lambda: meanwhile.append(links.browser_of(ADA).post(link, password="something else again")))
    assert links.browser_of(ADA).post(link, password="correct horse battery").status_int == 410
    assert [response.status_int < 400 for response in meanwhile] == [True]


def test_a_link_to_an_address_that_was_changed_is_over(links: Links) -> None:
    """Whoever reads the old mailbox has the links of before."""
    mailed, bobs = links.ask(ADA), links.ask(BOB)
    confirmation = Confirmation(links.site)
    assert confirmation.use(ADA, confirmation.ask(ADA)).status_int == 200
    after = links.site.user(ADA)
    assert after[1] == f"{ADA}@new.example"
    assert links.use(ADA, mailed).status_int == 410
    assert links.site.user(ADA) == after
    assert links.use(BOB, bobs).status_int < 400


def test_a_link_to_an_address_that_was_changed_and_changed_back_is_over(links: Links) -> None:
    mailed = links.ask(ADA)
    ada = Confirmation(links.site).browser_of(ADA)
    for email in ("new@example.org", EMAILS[ADA]):
        ada.post("/email", email=email)
        assert ada.post(links.site.last_link()).status_int == 200
    assert links.use(ADA, mailed).status_int == 410


def test_a_change_of_address_between_the_reading_and_the_writing_ends_a_link(links: Links) -> None:
    link = links.ask(ADA)
    confirmation = Confirmation(links.site)
    other = confirmation.ask(ADA)
    meanwhile: list[Response] = []
    links.interrupt(lambda: meanwhile.append(confirmation.browser_of(ADA).post(other)))
    assert links.browser_of(ADA).post(link, password="correct horse battery").status_int == 410
    assert [response.status_int for response in meanwhile] == [200]
    assert links.site.user(ADA)[1:5] == (f"{ADA}@new.example", "", 1, 0)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "X"])
def test_only_a_post_acts(links: Links, method: str) -> None:
    link = links.ask(ADA)
    before, mails = links.site.user(ADA), list(links.site.outbox)
    form = urlencode({"password": "correct horse battery", "email": EMAILS[ADA]}).encode()
    for path in (link, links.place.rstrip("/")):
        request = Request.blank(path, base_url=SITE, body=form, headers={"Origin": SITE})
        request.method = method
        response = links.browser_of(ADA).send(request)
        assert "Set-Cookie" not in response.headers
    assert (links.site.user(ADA), links.site.outbox) == (before, mails)
    assert links.use(ADA, link).status_int < 400


def test_a_link_works_to_its_last_moment_and_no_longer(links: Links) -> None:
    early, late = links.ask(ADA), links.ask(BOB)
    links.site.clock.pass_(links.lifetime - 0.001)
    assert links.use(ADA, early).status_int < 400
    links.site.clock.pass_(0.001)
    before = links.site.user(BOB)
    assert links.use(BOB, late).status_int == 410
    assert links.site.user(BOB) == before


def test_a_link_of_another_purpose_does_nothing(links: Links) -> None:
    token = links.ask(ADA).removeprefix(links.place)
    content = dict(Codec(links.site.ring, links.purpose, clock=links.site.clock).decode(token))
    before = links.site.user(ADA)
    for purpose in ("another", *PURPOSES):
        made = links.site.token_of(purpose, **content)
        if purpose != links.purpose:
            assert links.use(ADA, links.place + made).status_int == 410
            assert links.site.user(ADA) == before
    assert links.use(ADA, links.place + links.site.token_of(links.purpose, **content)).status_int < 400  # it was the purpose


def test_a_session_or_a_token_of_other_keys_is_no_link(links: Links) -> None:
    token = links.ask(ADA).removeprefix(links.place)
    content = dict(Codec(links.site.ring, links.purpose, clock=links.site.clock).decode(token))
    cookie = Jar(links.purpose, links.site.ring, clock=links.site.clock).codec.encode(content)
    foreign = Codec(Keyring(Key.generate()), links.purpose, clock=links.site.clock).encode(content)
    assert links.use(ADA, links.place + cookie).status_int == 410
    assert links.use(ADA, links.place + foreign).status_int == 410


def test_no_changed_link_works(links: Links) -> None:
    link = links.ask(ADA)
    token = link.removeprefix(links.place)
    before = links.site.user(ADA)
    changed = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(len(token))]
    for value in (*changed, token[:-1], token + "A", token + "=", token + "/", "x", ".", "%00", "%ff", "%C3%A9", token * 40):
        assert links.browser_of(ADA).post(links.place + value, password="correct horse battery").status_int == 410, value
    assert links.site.user(ADA) == before
    assert links.use(ADA, link).status_int < 400


def test_a_link_changes_nothing_of_another_user(links: Links) -> None:
    bob = links.site.user(BOB)
    link = links.ask(ADA)
    links.browser_of(ADA).post(link, password="correct horse battery", user=str(BOB), email=EMAILS[BOB], id=str(BOB))
    assert links.site.user(BOB) == bob
    assert links.site.user(ADA)[1:5] != (EMAILS[ADA], "", 0, 0)


def test_a_link_of_a_user_who_is_gone_does_nothing(links: Links) -> None:
    link = links.ask(ADA)
    links.site.db.execute("DELETE FROM users WHERE id = ?", (ADA,))
    assert links.browser_of(ADA).post(link, password="correct horse battery").status_int == 410


def test_pages_are_kept_by_nobody_and_shown_in_no_frame_and_tell_no_other_site_their_token(links: Links) -> None:
    link = links.ask(ADA)
    browser = links.browser_of(ADA)
    asked = browser.post(links.place.rstrip("/"), email="a@b.example")
    for response in (
        asked,
        browser.get(link),
        browser.post(link, password="correct horse battery"),
        links.browser_of(ADA).get(link),
        browser.get("/elsewhere"),
    ):
        assert "no-store" in response.headers["Cache-Control"]
        assert response.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert response.headers["Referrer-Policy"] == "same-origin"


URL_ENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=a"
NO_FORMS = (
    (URL_ENCODED, b"email=%ff%fe&password=%ff%fe%ff%fe%ff%fe%ff%fe%ff%fe%ff%fe"),
    (URL_ENCODED, b"email=%ed%a0%80@b.example&password=%ed%a0%80%ed%a0%80%ed%a0%80%ed%a0%80%ed%a0%80%ed%a0%80"),
    (URL_ENCODED, b"email=\xff@b.example&password=correct+horse+batter\xff"),
    (URL_ENCODED, b"email=%00&password=%00"),
    (URL_ENCODED + "; charset=utf-16", b"email=a"),
    (URL_ENCODED + "; charset=nonsense", b"email=a"),
    ("application/json", b'{"email": 1}'),
    ("multipart/form-data", b"x"),
    ("multipart/form-data; boundary=", b"x"),
    (MULTIPART, b""),
    *(
        (
            MULTIPART,
            b'--a\r\nContent-Disposition: form-data; name="%s"\r\nContent-Type: text/plain; charset=%s\r\n\r\n%s\r\n--a--\r\n'
            % (name, charset, b"+2AA-" * 12),
        )
        for name in (b"email", b"password")
        for charset in (b"utf-7", b"nonsense", b"undefined")
    ),
    (MULTIPART, b'--a\r\nContent-Disposition: form-data; name="email"; filename="a.txt"\r\n\r\nada@example.org\r\n--a--\r\n'),
    ("", b""),
    ("", b"=&=&;&%&%zz=%zz"),
)


@pytest.mark.parametrize(("kind", "body"), NO_FORMS)
def test_what_is_no_form_sends_nothing_and_breaks_nothing(links: Links, kind: str, body: bytes) -> None:
    link = links.ask(ADA)
    mails = list(links.site.outbox)
    before = links.site.user(ADA)

    def send(path: str) -> Response:
        request = Request.blank(path, base_url=SITE, method="POST", body=body, headers={"Origin": SITE})
        request.environ["CONTENT_TYPE"] = kind
        return links.browser_of(ADA).send(request)

    assert send(links.place.rstrip("/")).status_int in (200, 422)
    assert links.site.outbox == mails
    if links.purpose == "password-reset":  # the one form behind a link that is more than a button
        assert send(link).status_int == 422
        assert links.site.user(ADA) == before


@pytest.mark.parametrize("path", ["", "*", "/", "//", "x", None])
def test_a_request_for_no_path_breaks_nothing(links: Links, path: str | None) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        request = Request.blank("/", base_url=SITE, method=method, headers={"Origin": SITE})
        del request.environ["PATH_INFO"]
        if path is not None:
            request.environ["PATH_INFO"] = path
        assert request.get_response(links.app).status_int in (200, 404)
    assert links.site.outbox == []


def test_other_places_are_not_found(links: Links) -> None:
    assert links.browser_of(ADA).get("/elsewhere").status_int == 404
    assert links.browser_of(ADA).get(links.place.rstrip("/")).status_int == 404


# ---------------------------------------------------------------------------------------------------------------------
# What each does
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Reset, Magic])
def test_whether_an_address_is_known_is_not_told(site: Site, kind: type[Links]) -> None:
    links = kind(site)
    answers = [Browser(links.app).post(links.place.rstrip("/"), email=email) for email in (EMAILS[ADA], "nobody@example.org")]
    assert answers[0].status == answers[1].status
    assert answers[0].body == answers[1].body
    assert [to for to, _ in site.outbox] == [EMAILS[ADA]]


@pytest.mark.parametrize("kind", [Reset, Magic])
def test_a_mail_goes_to_the_address_of_the_record(site: Site, kind: type[Links]) -> None:
    links = kind(site)
    Browser(links.app).post(links.place.rstrip("/"), email=EMAILS[ADA].upper())
    assert [to for to, _ in site.outbox] == [EMAILS[ADA]]


@pytest.mark.parametrize("kind", [Reset, Confirmation, Magic])
def test_a_link_leads_to_the_configured_host_whatever_the_request_says(site: Site, kind: type[Links]) -> None:
    links = kind(site)
    form = {"email": EMAILS[ADA]}
    request = Request.blank(links.place.rstrip("/"), base_url="https://evil.example", POST=form, headers={"Origin": SITE})
    links.browser_of(ADA).send(request)
    assert f" {SITE}{links.place}" in site.outbox[-1][1]
    assert "evil." not in site.outbox[-1][1]  # with a dot, which no token has


def test_a_reset_sets_the_password_and_a_bad_one_leaves_the_link_alive(site: Site) -> None:
    reset = Reset(site)
    link = reset.ask(ADA)
    for password in ("short", "x" * 11, "x" * 201, ""):
        assert Browser(reset.app).post(link, password=password).status_int == 422
    assert reset.use(ADA, link).status_int == 200
    salt, digest = site.user(ADA)[2].split(".")
    least = hashlib.scrypt(
        b"correct horse battery", salt=bytes.fromhex(salt), n=2**14, r=8, p=5
    )  # OWASP, Password Storage Cheat Sheet
    assert (len(salt), digest) == (32, least.hex())
    other = Reset(site)
    assert other.use(BOB, other.ask(BOB)).status_int == 200
    assert site.user(BOB)[2].split(".")[0] != salt


def test_a_password_that_was_set_elsewhere_ends_a_reset_link(site: Site) -> None:
    reset = Reset(site)
    link = reset.ask(ADA)
    site.db.execute("UPDATE users SET password_hash = 'set elsewhere' WHERE id = ?", (ADA,))
    assert reset.use(ADA, link).status_int == 410


def test_a_reset_link_holds_no_password_hash(site: Site) -> None:
    site.db.execute("UPDATE users SET password_hash = 'a-hash-that-stays' WHERE id = ?", (ADA,))
    token = Reset(site).ask(ADA).removeprefix("/reset/")
    assert "a-hash-that-stays" not in str(dict(Codec(site.ring, "password-reset", clock=site.clock).decode(token)))


def test_a_confirmation_wants_the_session_of_the_user_who_asked(site: Site) -> None:
    confirmation = Confirmation(site)
    link = confirmation.ask(ADA)
    before = site.user(ADA), site.user(BOB)
    assert Browser(confirmation.app).post(link).status_int == 403
    assert confirmation.browser_of(BOB).post(link).status_int == 403
    assert confirmation.browser_of(BOB).get(link).status_int == 403
    assert (site.user(ADA), site.user(BOB)) == before


def test_a_confirmation_stays_used_when_the_address_is_changed_back(site: Site) -> None:
    confirmation = Confirmation(site)
    ada = confirmation.browser_of(ADA)
    ada.post("/email", email="new@example.org")
    first = site.last_link()
    assert ada.post(first).status_int == 200
    ada.post("/email", email=EMAILS[ADA])
    assert ada.post(site.last_link()).status_int == 200
    assert ada.post(first).status_int == 410
    assert site.user(ADA)[1] == EMAILS[ADA]


def test_an_address_that_is_taken_by_then_is_not_confirmed(site: Site) -> None:
    confirmation = Confirmation(site)
    ada = confirmation.browser_of(ADA)
    ada.post("/email", email=EMAILS[BOB])
    assert ada.post(site.last_link()).status_int == 410
    assert site.user(ADA)[1] == EMAILS[ADA]


def test_an_address_is_asked_for_by_who_is_signed_in_and_looks_like_one(site: Site) -> None:
    confirmation = Confirmation(site)
    assert Browser(confirmation.app).post("/email", email="a@b.example").status_int == 403
    wrong = ["", "a", "@", "a@", "@b", "@@", " @ ", "a@b@c", "a@b\r\nBcc: x", "a@b\n", "a@" + "x" * 253, "a\x00@b", "a\u202e@b"]
    wrong += [
        "root, a@b.example",
        "a@b.example, root",
        "a <x@y.example",
        "<x>@y",
        "a;b@c.example",
        "a@b;c",
        '"a"@b',
        "a@b:25",
        "@b:a@c",
    ]
    wrong += [
        f"{before}a{blank}b@c.example{after}"
        for blank in " \t\u00a0\u2028"
        for before, after in (("", ""), (blank, ""), ("", blank))
    ]
    for email in wrong:
        assert confirmation.browser_of(ADA).post("/email", email=email).status_int == 422, email
    site.db.execute("DELETE FROM users WHERE id = ?", (ADA,))
    assert confirmation.browser_of(ADA).post("/email", email="a@b.example").status_int == 403
    assert site.outbox == []


@pytest.mark.parametrize("email", ["a@b", "o'neil+shop@mail.example", "jos\u00e9@b\u00fccher.example", "a@" + "x" * 252])
def test_an_address_is_taken_as_it_is(site: Site, email: str) -> None:
    confirmation = Confirmation(site)
    assert confirmation.browser_of(ADA).post("/email", email=email).status_int == 200
    assert site.outbox[-1][0] == email
    assert confirmation.use(ADA, site.last_link()).status_int == 200
    assert site.user(ADA)[1] == email


def test_the_page_of_a_confirmation_shows_the_address_as_text(site: Site) -> None:
    confirmation = Confirmation(site)
    confirmation.browser_of(ADA).post("/email", email="o'neil&co@x.example")
    assert "Use o&#x27;neil&amp;co@x.example<" in confirmation.browser_of(ADA).get(site.last_link()).text
    made = site.token_of(
        "email-confirmation", user=ADA, email="<script>@x.example", changes=0
    )  # from before an address was looked at
    assert "<script>" not in confirmation.browser_of(ADA).get(f"/email/{made}").text


def test_the_page_of_a_magic_link_shows_the_address_as_text(site: Site) -> None:
    site.db.execute("UPDATE users SET email = '<script>@x.example' WHERE id = ?", (ADA,))
    Browser(Magic(site).app).post("/sign-in", email="<script>@x.example")
    assert "Sign in as &lt;script&gt;@x.example<" in Browser(Magic(site).app).get(site.last_link()).text


def test_a_magic_link_signs_in_with_a_fresh_session(site: Site) -> None:
    magic = Magic(site)
    link = magic.ask(ADA)
    browser = Browser(magic.app)
    site.signed_in(browser, BOB)
    assert EMAILS[ADA] in browser.get(link).text
    response = browser.post(link)
    assert (response.status_int, response.location) == (303, f"{SITE}/")
    assert site.session_codec.decode(browser.cookies["__Host-session"]) == {"user": ADA}
    assert browser.get("/").text == f"user: {ADA}"


OTHERS = ("https://evil.example", "https://pages.shop.example", "http://shop.example", "https://shop.example:444", "null", "", None)
OTHERS += ("https://shop.example.evil.example", "https://shop.example/", "https://shop.example https://evil.example")


@pytest.mark.parametrize("origin", OTHERS)
@pytest.mark.parametrize("kind", [Confirmation, Magic])
def test_what_another_site_posts_does_nothing(site: Site, kind: type[Links], origin: str | None) -> None:
    """Nor a sibling of this one, whose form has the cookie of a ``SameSite=Lax`` session with it."""
    links = kind(site)
    link = links.ask(ADA)
    before, mails = site.user(ADA), list(site.outbox)
    for path in (link, links.place.rstrip("/")):
        browser = links.browser_of(ADA)
        cookies = dict(browser.cookies)
        assert browser.post(path, origin=origin, email=EMAILS[ADA]).status_int == 403
        assert browser.cookies == cookies
    assert (site.user(ADA), site.outbox) == (before, mails)
    assert links.use(ADA, link).status_int in (200, 303)  # and it is not used up


def test_a_sign_in_of_another_kind_ends_a_magic_link(site: Site) -> None:
    magic = Magic(site)
    link = magic.ask(ADA)
    site.db.execute("UPDATE users SET sign_ins = sign_ins + 1 WHERE id = ?", (ADA,))
    assert magic.use(ADA, link).status_int == 410


# ---------------------------------------------------------------------------------------------------------------------
# OAuth state
# ---------------------------------------------------------------------------------------------------------------------


class Provider:
    """Gives out codes, and takes each back once, from who has the verifier."""

    def __init__(self, site: Site) -> None:
        self.challenges: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.app = block_of("def oauth")["oauth"](site.ring, self.user_of_code, clock=site.clock)

    def authorize(self, browser: Browser, after: str = "/cart") -> dict[str, str]:
        """The query with which a browser is sent back."""
        response = browser.get(f"/oauth/start?{urlencode({'next': after}, errors='surrogatepass')}")
        assert response.status_int == 303
        query = dict(parse_qsl(urlsplit(response.location).query))
        assert query["redirect_uri"] == f"{SITE}/oauth/back"
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        code = f"code-{len(self.challenges)}"
        self.challenges[code] = query["code_challenge"]
        return {"code": code, "state": query["state"]}

    def user_of_code(self, code: str, verifier: str) -> int | None:
        self.asked.append((code, verifier))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        return ADA if self.challenges.pop(code, None) == challenge else None


def back(browser: Browser, query: dict[str, str]) -> Response:
    return browser.get(f"/oauth/back?{urlencode(query)}")


@pytest.fixture
def provider(site: Site) -> Provider:
    return Provider(site)


def test_oauth_signs_in_with_a_fresh_session_and_goes_on_where_it_began(provider: Provider) -> None:
    browser = Browser(provider.app)
    query = provider.authorize(browser)
    before = browser.cookies["__Host-session"]
    response = back(browser, query)
    assert (response.status_int, response.location) == (303, f"{SITE}/cart")
    assert browser.cookies["__Host-session"] != before
    assert browser.get("/").text == f"user: {ADA}"


def test_a_state_of_another_browser_is_refused_before_the_provider_is_asked(provider: Provider) -> None:
    victim, attacker = Browser(provider.app), Browser(provider.app)
    stolen = provider.authorize(attacker)
    provider.authorize(victim)
    assert back(victim, stolen).status_int == 400
    assert back(Browser(provider.app), stolen).status_int == 400  # a browser without a session
    assert provider.asked == []


def test_a_browser_that_began_nothing_gets_no_session(provider: Provider) -> None:
    stolen = provider.authorize(Browser(provider.app))
    victim = Browser(provider.app)
    back(victim, stolen)
    assert victim.cookies == {}


def test_a_state_works_once_in_its_browser(provider: Provider) -> None:
    browser = Browser(provider.app)
    query = provider.authorize(browser)
    assert back(browser, query).status_int == 303
    assert back(browser, query).status_int == 400
    assert len(provider.asked) == 1


def test_with_a_kept_cookie_a_state_opens_again_and_the_code_does_not(provider: Provider) -> None:
    browser = Browser(provider.app)
    query = provider.authorize(browser)
    kept = dict(browser.cookies)
    back(browser, query)
    browser.cookies = kept
    assert back(browser, query).status_int == 403
    assert len(provider.asked) == 2


def test_a_state_is_over_after_ten_minutes(site: Site, provider: Provider) -> None:
    browser, other = Browser(provider.app), Browser(provider.app)
    early, late = provider.authorize(browser), provider.authorize(other)
    site.clock.pass_(599.999)
    assert back(browser, early).status_int == 303
    site.clock.pass_(0.001)
    assert back(other, late).status_int == 400


def test_a_state_of_another_purpose_or_changed_is_refused(site: Site, provider: Provider) -> None:
    browser = Browser(provider.app)
    query = provider.authorize(browser)
    content = dict(Codec(site.ring, "oauth-state", clock=site.clock).decode(query["state"]))
    wrong = [site.token_of(purpose, **content) for purpose in ("another", *PURPOSES) if purpose != "oauth-state"]
    wrong += [query["state"][:-1], query["state"] + "A", query["state"].swapcase(), "", "é", "\ufffd", "x" * 9000]
    for state in wrong:
        assert back(browser, {**query, "state": state}).status_int == 400
    for raw in ("", "state", "state=%ff", "state[]=1", f"state={query['state']}%00"):
        assert browser.get(f"/oauth/back?{raw}").status_int == 400
    assert provider.asked == []
    assert back(browser, query).status_int == 303


def test_two_tabs_each_have_their_verifier_and_the_first_that_ends_counts(provider: Provider) -> None:
    browser = Browser(provider.app)
    first, second = provider.authorize(browser, "/one"), provider.authorize(browser, "/two")
    assert back(browser, second).location == f"{SITE}/two"
    assert back(browser, first).status_int == 400


def test_a_code_the_provider_does_not_know_signs_nobody_in(provider: Provider) -> None:
    browser = Browser(provider.app)
    query = provider.authorize(browser)
    assert back(browser, {**query, "code": "made-up"}).status_int == 403
    assert browser.get("/").text == "user: None"


@pytest.mark.parametrize(
    "change", [{"code": None}, {"code": ""}, {"error": "access_denied"}, {"error": ""}, {"code": None, "error": "x"}]
)
def test_without_a_code_or_with_an_error_the_provider_is_not_asked(provider: Provider, change: dict[str, str | None]) -> None:
    browser = Browser(provider.app)
    query = provider.authorize(browser)
    changed = {name: value for name, value in {**query, **change}.items() if value is not None}
    assert back(browser, changed).status_int == 403
    assert provider.asked == []
    assert browser.get("/").text == "user: None"


def test_no_page_of_the_way_is_kept_by_anybody(provider: Provider) -> None:
    browser = Browser(provider.app)
    query = provider.authorize(browser)
    kept = dict(browser.cookies)
    responses = [
        browser.get("/oauth/start?next=/cart"),
        back(Browser(provider.app), query),
        back(browser, {"state": query["state"]}),
        back(browser, query),
        browser.get("/"),
        Browser(provider.app).get("/oauth/back"),
    ]
    browser.cookies = kept
    responses.append(back(browser, query))
    assert {response.status_int for response in responses} == {303, 400, 403, 200}
    for response in responses:
        assert "no-store" in response.headers["Cache-Control"]


def test_a_request_for_no_path_of_the_way_breaks_nothing(provider: Provider) -> None:
    request = Request.blank("/", base_url=SITE)
    del request.environ["PATH_INFO"]
    assert request.get_response(provider.app).status_int == 200


@pytest.mark.parametrize("after", ["/", "/cart", "/a/b?c=d&e=f#g", "/caf%C3%A9", "/a%20b", "/~a;b=(c)", "/" + "x" * 199])
def test_the_way_on_leads_to_any_page_of_this_site(provider: Provider, after: str) -> None:
    browser = Browser(provider.app)
    response = back(browser, provider.authorize(browser, after))
    assert (response.status_int, response.location) == (303, SITE + after)


NOT_OURS = ("//evil.example", "/\\evil.example", "https://evil.example", "cart", "", "@evil.example", "/" + "x" * 200)
NO_HEADER = (
    "/a\r\nX: y",
    "/a\n",
    "/a\x00",
    "/a\x7f",
    "/\u20ac",
    "/caf\u00e9",
    "/a b",
    "/a ",
    "/a\tb",
    '/a"b',
    "/<b>",
    "/\u2028",
    "/\ud800",
)


@pytest.mark.parametrize("after", [*NOT_OURS, *NO_HEADER], ids=ascii)
def test_the_way_on_leads_to_no_other_site(provider: Provider, after: str) -> None:
    browser = Browser(provider.app)
    response = back(browser, provider.authorize(browser, after))
    assert (response.status_int, response.location) == (303, f"{SITE}/")


def test_the_verifier_is_not_to_be_read_on_its_way(provider: Provider) -> None:
    browser = Browser(provider.app)
    query = provider.authorize(browser)
    back(browser, query)
    ((_, verifier),) = provider.asked
    assert verifier not in str(query)


# ---------------------------------------------------------------------------------------------------------------------
# A code to type
# ---------------------------------------------------------------------------------------------------------------------


class Codes:
    """The names of the block, which rests on those before it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        (code,) = [code for code in BLOCKS if "def mail_code" in code]
        self.names: dict[str, Any] = dict(block_of("def oauth"), ring=site.ring, db=site.db, send_mail=site.send_mail)
        exec(compile(code.partition("\ntoken =")[0], "links-and-codes.md", "exec"), self.names)

    def mail(self, user: int) -> tuple[str, str]:
        """The code in the mail, and the token of the form."""
        token = self.names["mail_code"](user)
        to, text = self.site.outbox[-1]
        assert to == EMAILS[user]
        return text.rpartition(" ")[2], token

    def user_of(self, token: str, code: str | None) -> int | None:
        user: int | None = self.names["user_of"](token, code)
        return user

    def interrupt(self, before: str, meanwhile: Callable[[], object]) -> None:
        """What happens before the first statement that starts so."""
        self.names["db"] = Slow(self.site.db, meanwhile, before)


@pytest.fixture
def codes(site: Site) -> Codes:
    return Codes(site)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


def test_a_code_works_once(codes: Codes) -> None:
    code, token = codes.mail(ADA)
    assert re.fullmatch("[0-9]{6}", code)
    assert codes.user_of(token, code) == ADA
    assert codes.user_of(token, code) is None


def test_a_code_has_six_digits_whatever_its_value(codes: Codes) -> None:
    codes.names["secrets"] = SimpleNamespace(randbelow=lambda below: below - 999_993, token_hex=secrets.token_hex)
    code, token = codes.mail(ADA)
    assert code == "000007"
    assert codes.user_of(token, "7") is None
    assert codes.user_of(token, code) == ADA


def test_of_two_right_codes_at_once_one_counts(codes: Codes) -> None:
    """The other is served after this one was found to be right, and before it is noted as used."""
    code, token = codes.mail(ADA)
    meanwhile: list[int | None] = []
    codes.interrupt("UPDATE users SET code_id", lambda: meanwhile.append(codes.user_of(token, code)))
    assert codes.user_of(token, code) is None
    assert meanwhile == [ADA]


def test_of_any_number_of_guesses_at_once_five_are_looked_at(codes: Codes) -> None:
    code, token = codes.mail(ADA)
    started: list[int | None] = []

    def others() -> None:
        started.extend(codes.user_of(token, wrong(code)) for _ in range(5))

    codes.interrupt("UPDATE users SET code_tries", others)
    assert codes.user_of(token, code) is None
    assert started == [None] * 5
    assert codes.site.user(ADA)[6] == 0


def test_after_five_wrong_tries_the_right_code_comes_too_late(codes: Codes) -> None:
    code, token = codes.mail(ADA)
    assert [codes.user_of(token, guess) for guess in (wrong(code), "", "\u00e9", "\udc80", None)] == [None] * 5
    assert codes.user_of(token, code) is None
    code, token = codes.mail(ADA)
    for _ in range(4):
        codes.user_of(token, wrong(code))
    assert codes.user_of(token, code) == ADA


def test_a_new_code_ends_the_one_before(codes: Codes) -> None:
    old_code, old_token = codes.mail(ADA)
    codes.mail(ADA)
    assert codes.user_of(old_token, old_code) is None
    old_code, old_token = codes.mail(ADA)
    codes.interrupt("UPDATE users SET code_id", lambda: codes.site.db.execute("UPDATE users SET code_id = 'newer'"))
    assert codes.user_of(old_token, old_code) is None


def test_a_code_to_an_address_that_was_changed_is_over(codes: Codes) -> None:
    code, token = codes.mail(ADA)
    bobs_code, bobs_token = codes.mail(BOB)
    confirmation = Confirmation(codes.site)
    assert confirmation.use(ADA, confirmation.ask(ADA)).status_int == 200
    assert codes.user_of(token, code) is None
    assert codes.user_of(bobs_token, bobs_code) == BOB


def test_a_code_is_good_for_its_own_token_and_user_alone(codes: Codes) -> None:
    code, token = codes.mail(ADA)
    content = dict(Codec(codes.site.ring, "code").decode(token))
    assert codes.user_of(token[:-1], code) is None
    assert codes.user_of(Codec(codes.site.ring, "another").encode(content), code) is None
    assert codes.user_of(Codec(codes.site.ring, "code").encode({**content, "user": BOB}), code) is None
    codes.site.db.execute("UPDATE users SET code_id = 'another' WHERE id = ?", (BOB,))
    assert codes.user_of(token, code) == ADA
    assert codes.site.user(BOB)[5] == "another"


def test_a_code_of_a_user_who_is_gone_is_nobodys(codes: Codes) -> None:
    code, token = codes.mail(ADA)
    codes.site.db.execute("DELETE FROM users WHERE id = ?", (ADA,))
    assert codes.user_of(token, code) is None
