"""The demo shop, through plain WSGI: every feature, every button of the lab, and what hostile clients get."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.parse import urlencode
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clientsession import Jar, Keyring, Reason, Sessions
from clientsession.demo import Shop, make_app
from clientsession.demo.app import MAX_BODY_BYTES, MAX_EACH, MAX_NAME_CHARS, MAX_RETIRING
from clientsession.demo.pages import REASONS
from clientsession.demo.words import LOCALES, PRICES_CENTS, text
from tests.conftest import Clock

SHOP = make_app(Clock())  # for generated input, which no fixture can serve anew
VOID = {"meta", "link", "input", "img", "br"}
TIMES = "\N{MULTIPLICATION SIGN}"


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    page: str

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())

    @property
    def set_cookies(self) -> dict[str, str]:
        return {value.partition("=")[0]: value.partition("=")[2] for key, value in self.headers if key == "Set-Cookie"}

    @property
    def said(self) -> str:
        """The text of the page as a person reads it."""
        return " ".join(unescape(re.sub(r"<[^>]*>", "", re.sub(r"<style.*?</style>", "", self.page))).split())

    @property
    def panes(self) -> list[str]:
        """What stands in the boxes: of session and cart, the sealed text and the content."""
        return [unescape(found) for found in re.findall(r"<pre[^>]*>(.*?)</pre>", self.page, re.DOTALL)]


class Visitor:
    """A client that keeps cookies, follows redirects and sends the form token of the last page it saw."""

    def __init__(self, app: Shop) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}
        self.form_token = ""

    def request(self, method: str, target: str, body: bytes = b"", **environ: Any) -> Answer:
        path, _, query = target.partition("#")[0].partition("?")
        given: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "wsgi.input": io.BytesIO(body),
        }
        if body or method == "POST":
            given |= {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/x-www-form-urlencoded"}
        if self.cookies:
            given["HTTP_COOKIE"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given |= environ
        setup_testing_defaults(given)
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started.append((status, headers))
            return io.BytesIO().write

        with closing(validator(self.app)(given, start_response)) as chunks:
            page = b"".join(chunks).decode()
        status, headers = started[0]
        answer = Answer(int(status[:3]), headers, page)
        for name, value in answer.set_cookies.items():
            if "Max-Age=0" in value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value.partition(";")[0]
        if found := re.search(r'name="form_token" value="([0-9a-f]+)"', page):
            self.form_token = found[1]
        return answer

    def get(self, target: str = "/") -> Answer:
        return self.request("GET", target)

    def send(self, path: str, **fields: str) -> Answer:
        """Send a form, and answer as the server does."""
        return self.request("POST", path, urlencode({"form_token": self.form_token, **fields}).encode())

    def press(self, path: str, **fields: str) -> Answer:
        """Send a form, and follow to the page after it."""
        answer = self.send(path, **fields)
        assert answer.status == 303, answer.said
        return self.get(answer.header("Location"))


@pytest.fixture
def app(clock: Clock) -> Shop:
    return make_app(clock)


@pytest.fixture
def visitor(app: Shop) -> Visitor:
    visitor = Visitor(app)
    assert visitor.get().status == 200
    return visitor


@pytest.fixture
def customer(visitor: Visitor) -> Visitor:
    """Signed in, with something in the cart."""
    visitor.press("/sign-in", name="Ada")
    visitor.press("/cart/add", article="wax")
    return visitor


# The shop


def test_first_visit_begins_a_session_and_no_cart(app: Shop) -> None:
    visitor = Visitor(app)
    page = visitor.get()
    assert page.status == 200
    assert list(visitor.cookies) == ["session"]
    assert "Visits in this session: 1" in page.said
    assert "True, no cookie was opened" in page.said
    assert "No cookie of this name" in page.said


def test_visits_are_counted_in_the_session(visitor: Visitor) -> None:
    assert "Visits in this session: 2" in visitor.get().said
    assert "Visits in this session: 3" in visitor.get().said


def test_head_answers_without_a_body_and_counts_no_visit(visitor: Visitor) -> None:
    answer = visitor.request("HEAD", "/")
    assert (answer.status, answer.page, answer.set_cookies) == (200, "", {})
    assert "Visits in this session: 2" in visitor.get().said


def test_sign_in_greets_by_name(visitor: Visitor) -> None:
    assert "Good day, Ada." in visitor.press("/sign-in", name="  Ada ").said


def test_sign_in_begins_a_new_session_and_keeps_the_language(visitor: Visitor, clock: Clock) -> None:
    visitor.press("/language", locale="fr")
    before = visitor.form_token
    clock.pass_(60)
    page = visitor.press("/sign-in", name="Ada")
    assert "Bonjour, Ada" in page.said
    assert "Visites dans cette session : 1" in page.said
    assert "2027-01-15 08:01:00 UTC" in page.said  # it was created now
    assert visitor.form_token != before


@pytest.mark.parametrize("name", ["", "   ", "\x00\n\x7f", "\u202e"])
def test_sign_in_without_a_name_asks_for_one(visitor: Visitor, name: str) -> None:
    page = visitor.press("/sign-in", name=name)
    assert "Please give a name." in page.said
    assert "Good day, stranger." in page.said


def test_a_long_name_is_cut(visitor: Visitor) -> None:
    page = visitor.press("/sign-in", name="\U0001f600" * 1000)
    assert f"Good day, {chr(0x1F600) * MAX_NAME_CHARS}." in page.said


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "\" onload='x", "&lt;b&gt;", "</textarea>", "{0.__class__}"])
def test_a_name_is_text_wherever_it_stands(visitor: Visitor, name: str) -> None:
    page = visitor.press("/sign-in", name=name)
    assert f"Good day, {name[:MAX_NAME_CHARS]}." in unescape(page.page)
    assert "<script" not in page.page
    assert "onload='" not in page.page
    assert_well_formed(page.page)


def test_sign_out_removes_the_session_cookie_and_keeps_the_cart(customer: Visitor) -> None:
    answer = customer.send("/sign-out")
    assert answer.status == 303
    assert answer.header("Location") == "/goodbye?lang=en"
    assert "Max-Age=0" in answer.set_cookies["session"]
    page = customer.get(answer.header("Location"))
    assert page.set_cookies == {}
    assert list(customer.cookies) == ["cart"]
    assert "Goodbye." in page.said
    assert f"cart ({4 + len(customer.cookies['cart'])} bytes)" in page.said


def test_the_cart_outlives_the_session(customer: Visitor, clock: Clock) -> None:
    customer.press("/sign-out")
    assert f"1 {TIMES} Sealing wax" in customer.get().said
    clock.pass_(119 * 86_400)
    page = customer.get()
    assert f"1 {TIMES} Sealing wax" in page.said
    assert REASONS[Reason.EXPIRED] in page.said


@pytest.mark.parametrize("locale", LOCALES)
def test_the_language_is_that_of_the_page_and_of_the_goodbye(customer: Visitor, locale: str) -> None:
    page = customer.press("/language", locale=locale)
    assert f'<html lang="{locale}">' in page.page
    assert text(locale, "user").format(name="Ada") in page.said
    assert re.search(rf'lang="{locale}" aria-current="true"', page.page)
    assert text(locale, "goodbye_early") in customer.get(f"/goodbye?lang={locale}").said  # it does not say what is not so
    goodbye = customer.press("/sign-out")
    assert text(locale, "goodbye_text") in goodbye.said
    assert f'<html lang="{locale}">' in goodbye.page
    assert text(locale, "goodbye") in goodbye.said


@pytest.mark.parametrize("locale", ["xx", "", "<b>", "EN"])
def test_an_unknown_language_changes_nothing(visitor: Visitor, locale: str) -> None:
    assert '<html lang="en">' in visitor.press("/language", locale=locale).page
    assert '<html lang="en">' in visitor.get(f"/goodbye?{urlencode({'lang': locale})}").page


def test_every_language_has_every_text() -> None:
    names = ["guest", "user", "visits", *PRICES_CENTS]
    assert all(len({text(locale, name) for locale in LOCALES}) == len(LOCALES) for name in names)


def test_reset_keeps_the_language_alone(customer: Visitor) -> None:
    customer.press("/language", locale="de")
    page = customer.press("/reset")
    assert "Guten Tag!" in page.said
    assert "Besuche in dieser Sitzung: 1" in page.said
    assert "The session was reset, the language kept" in page.said
    assert page.panes[1] == '{\n  "locale": "de",\n  "visits": 1\n}'


def test_the_cart_adds_removes_and_sums_up(visitor: Visitor) -> None:
    visitor.press("/cart/add", article="wax")
    visitor.press("/cart/add", article="wax")
    page = visitor.press("/cart/add", article="pen")
    assert f"2 {TIMES} Sealing wax" in page.said
    assert "Total €37.00" in page.said
    page = visitor.press("/cart/remove", article="wax")
    assert f"1 {TIMES} Sealing wax" in page.said
    assert "Total €30.50" in page.said


def test_the_last_article_taken_out_ends_the_cart(visitor: Visitor) -> None:
    visitor.press("/cart/add", article="wax")
    assert "cart" in visitor.cookies
    page = visitor.press("/cart/remove", article="wax")
    assert "cart" not in visitor.cookies
    assert "Nothing in it yet." in page.said


def test_emptying_the_cart_deletes_its_cookie(customer: Visitor) -> None:
    customer.press("/cart/note", note="Please ring twice")
    customer.press("/cart/empty")
    assert list(customer.cookies) == ["session"]


def test_articles_that_are_not_sold_are_not_added(visitor: Visitor) -> None:
    visitor.press("/cart/add", article="<b>")
    visitor.press("/cart/remove", article="wax")
    assert list(visitor.cookies) == ["session"]


def test_of_each_article_there_is_an_end(visitor: Visitor) -> None:
    for _ in range(MAX_EACH):
        visitor.press("/cart/add", article="wax")
    page = visitor.press("/cart/add", article="wax")
    assert "Nine of a kind is all we have." in page.said
    assert f"{MAX_EACH} {TIMES} Sealing wax" in page.said


def test_a_note_is_kept_as_it_was_written(visitor: Visitor) -> None:
    page = visitor.press("/cart/note", note="Für Zoë\r\n</textarea><script>")
    assert "Für Zoë\n&lt;/textarea&gt;&lt;script&gt;</textarea>" in page.page
    assert "<script" not in page.page
    visitor.press("/cart/note", note=" ")
    assert "cart" not in visitor.cookies


@pytest.mark.parametrize("note", ["x" * 4990, "\U0001f600" * 5000])
def test_a_note_that_fits_no_cookie_is_refused_and_the_cart_stays(customer: Visitor, note: str) -> None:
    kept = customer.cookies["cart"]
    answer = customer.send("/cart/note", note=note)
    assert answer.status == 422
    assert "the session 'cart' takes" in answer.said
    assert "'note'" in answer.said
    assert note[:20] not in answer.page
    assert customer.cookies["cart"] == kept
    assert f"1 {TIMES} Sealing wax" in customer.get().said


# Both sides of the cookies


def test_the_page_shows_the_tokens_the_browser_holds_once_it_has_it(customer: Visitor) -> None:
    panes = customer.get().panes
    assert panes[0] == customer.cookies["session"]
    assert panes[2] == customer.cookies["cart"]
    assert panes[1] == '{\n  "user": "Ada",\n  "visits": 3\n}'
    assert panes[3] == '{\n  "items": {\n    "wax": 1\n  }\n}'


def test_a_cart_that_is_only_read_is_not_set_again(customer: Visitor) -> None:
    page = customer.get()
    assert list(page.set_cookies) == ["session"]
    assert "Set by this response" in page.said
    assert "Nothing changed, so this response sets no cookie." in page.said


def test_the_size_is_that_of_name_and_value(customer: Visitor) -> None:
    page = customer.press("/cart/note", note="x" * 2000)
    for name in ("session", "cart"):
        size = len(name) + len(customer.cookies[name])
        assert f"{size:,} of 4,096 bytes" in page.said
        assert f'aria-valuenow="{size}"' in page.page
        assert f"#{name}-size{{inline-size:{size * 100 / 4096:.1f}%}}" in page.page


def test_the_countdown_is_right_when_the_page_is_made(visitor: Visitor, clock: Clock) -> None:
    clock.pass_(61)
    page = visitor.get()
    assert "2027-01-15 08:30:00 UTC" in page.said
    assert "28 min 59 s left" in page.said
    assert "#session-left{--from:1739}" in page.page


def test_a_use_in_the_last_five_minutes_extends_the_session_by_five(visitor: Visitor, clock: Clock) -> None:
    clock.pass_(26 * 60)
    assert "2027-01-15 08:35:00 UTC" in visitor.get().said


def test_an_expired_session_is_explained(customer: Visitor, clock: Clock) -> None:
    clock.pass_(30 * 60)
    page = customer.get()
    assert "Refused: expired." in page.said
    assert REASONS[Reason.EXPIRED] in page.said
    assert "Good day, stranger." in page.said


def test_every_reason_is_explained() -> None:
    assert set(REASONS) == set(Reason)


# The lab


def test_a_flipped_session_is_forged_and_begins_anew(customer: Visitor) -> None:
    before = customer.cookies["session"]
    answer = customer.send("/lab/flip", jar="session")
    after = customer.cookies["session"]
    assert len(after) == len(before)
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1
    page = customer.get(answer.header("Location"))
    assert "One bit of session was flipped" in page.said
    assert f"session: refused, forged. {REASONS[Reason.FORGED]}" in page.said
    assert "Name, visits and language are gone" in page.said
    assert "Good day, stranger." in page.said
    assert f"1 {TIMES} Sealing wax" in page.said
    assert "refused" not in customer.get().said


def test_a_flipped_cart_is_forged_and_stays_until_it_is_written(customer: Visitor) -> None:
    page = customer.press("/lab/flip", jar="cart")
    assert "One bit of cart was flipped" in page.said
    assert f"cart: refused, forged. {REASONS[Reason.FORGED]}" in page.said
    assert "Good day, Ada." in page.said
    assert "cart" not in page.set_cookies
    assert "Refused: forged." in customer.get().said
    assert "Refused" not in customer.press("/cart/add", article="pen").said


def test_swapped_cookies_are_both_forged(customer: Visitor) -> None:
    before = dict(customer.cookies)
    answer = customer.send("/lab/swap")
    assert customer.cookies == {"session": before["cart"], "cart": before["session"]}
    page = customer.get(answer.header("Location"))
    assert "The two cookies were swapped" in page.said
    assert f"session: refused, forged. {REASONS[Reason.FORGED]}" in page.said
    assert f"cart: refused, forged. {REASONS[Reason.FORGED]}" in page.said
    assert "A cookie's name is bound into its seal" in page.said


def test_a_session_that_is_used_in_its_last_second_lives_on_and_the_page_says_so(customer: Visitor) -> None:
    customer.send("/lab/expire")
    page = customer.get("/?lab=expire")
    assert "The session lives on" in page.said
    assert "Good day, Ada." in page.said
    assert "The session was left to expire" not in page.said
    assert "are gone with" not in page.said


@pytest.mark.parametrize("query", ["lab=flip&jar=session", "lab=flip&jar=cart", "lab=swap", "lab=expire", "lab=rotate-drop"])
def test_a_page_that_no_button_led_to_claims_nothing(customer: Visitor, visitor: Visitor, query: str) -> None:
    for someone in (customer, visitor):
        said = someone.get(f"/?{query}").said
        assert "Nothing was broken in this request" in said
        assert "are gone with" not in said
        assert "covers every bit" not in said


def test_a_reload_after_a_button_claims_nothing_more(customer: Visitor) -> None:
    location = customer.send("/lab/flip", jar="session").header("Location")
    assert "One bit of session was flipped" in customer.get(location).said
    assert "Nothing was broken in this request" in customer.get(location).said


def test_a_cart_that_was_refused_for_another_reason_is_not_explained_by_the_button(customer: Visitor) -> None:
    customer.press("/lab/rotate", old="drop")
    page = customer.press("/lab/flip", jar="cart")
    assert "cart: refused, unknown_key." in page.said
    assert "covers every bit" not in page.said


def test_the_session_expires_by_its_seal_while_the_browser_keeps_the_cookie(customer: Visitor, clock: Clock) -> None:
    answer = customer.send("/lab/expire")
    assert "Max-Age" not in answer.set_cookies["session"]
    pause = customer.get(answer.header("Location"))
    assert pause.set_cookies == {}
    assert pause.header("Vary") == ""  # it did not look at the session, and so did not extend it
    assert "url=/?lab=expire" in pause.page
    clock.pass_(1)
    page = customer.get("/?lab=expire")
    assert "The session was left to expire" in page.said
    assert f"session: refused, expired. {REASONS[Reason.EXPIRED]}" in page.said
    assert "It is the server that keeps the time" in page.said


def test_a_turned_key_whose_old_one_is_kept_seals_all_anew(customer: Visitor, app: Shop) -> None:
    old, cart = app.ring.sealing.id, customer.cookies["cart"]
    page = customer.press("/lab/rotate", old="keep")
    new = app.ring.sealing.id
    assert new != old
    assert "The key was turned, the old one is retiring" in page.said
    assert f"session: opened with the retiring key {old} and sealed anew with {new}." in page.said
    assert f"cart: opened with the retiring key {old} and sealed anew with {new}." in page.said
    assert "Nobody is signed out." in page.said
    assert "Good day, Ada." in page.said
    assert customer.cookies["cart"] != cart
    assert f"{new}, the one that seals" in customer.get().said


def test_a_turned_key_whose_old_one_is_forgotten_refuses_all(customer: Visitor, app: Shop) -> None:
    page = customer.press("/lab/rotate", old="forget")
    assert app.ring.retiring == ()
    assert "The key was turned, the old one is forgotten" in page.said
    for name in ("session", "cart"):
        assert f"{name}: refused, unknown_key. {REASONS[Reason.UNKNOWN_KEY]}" in page.said
    assert "Good day, stranger." in page.said


def test_the_ring_keeps_few_retiring_keys(visitor: Visitor, app: Shop) -> None:
    sealing = []
    for _ in range(MAX_RETIRING + 3):
        sealing.append(app.ring.sealing)
        visitor.press("/lab/rotate", old="keep")
    assert app.ring.retiring == tuple(reversed(sealing))[:MAX_RETIRING]


def test_an_overfilled_cart_is_refused_with_the_librarys_own_words(customer: Visitor) -> None:
    kept = customer.cookies["cart"]
    answer = customer.send("/lab/overfill")
    assert answer.status == 422
    assert "SessionTooLargeError: the session 'cart' takes" in answer.said
    assert customer.cookies["cart"] == kept


@pytest.mark.parametrize(("path", "jar"), [("/lab/flip", "cart"), ("/lab/swap", "")])
def test_without_a_cart_there_is_nothing_to_break(visitor: Visitor, path: str, jar: str) -> None:
    page = visitor.press(path, jar=jar)
    assert "There was nothing to break" in page.said
    assert list(visitor.cookies) == ["session"]


@pytest.mark.parametrize("lab", ["unheard-of", "<script>", "flip&jar=<b>", ""])
def test_what_stands_in_a_link_is_never_repeated(visitor: Visitor, lab: str) -> None:
    page = visitor.get(f"/?lab={lab}&notice={lab}")
    assert page.status == 200
    assert "<script" not in page.page
    assert "&lt;b&gt;" not in page.page


# Forms that are not ours

FORMS = (
    "/sign-in",
    "/sign-out",
    "/language",
    "/reset",
    "/cart/add",
    "/cart/remove",
    "/cart/note",
    "/cart/empty",
    "/lab/flip",
    "/lab/swap",
    "/lab/rotate",
    "/lab/expire",
    "/lab/overfill",
)


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("token", ["", "0" * 64, "é", "\ud800"])
def test_a_form_without_the_token_is_refused_and_changes_nothing(customer: Visitor, app: Shop, path: str, token: str) -> None:
    before, ring = dict(customer.cookies), app.ring
    body = urlencode({"form_token": token, "name": "Eve", "jar": "cart", "old": "forget"}, errors="surrogatepass").encode()
    answer = customer.request("POST", path, body)
    assert answer.status == 403
    assert "This form is not from your session." in answer.said
    assert answer.set_cookies == {}
    assert customer.cookies == before
    assert app.ring is ring


@pytest.mark.parametrize("path", FORMS)
def test_a_form_of_another_session_is_refused(customer: Visitor, app: Shop, path: str) -> None:
    other = Visitor(app)
    other.get()
    customer.form_token = other.form_token
    assert customer.send(path, name="Eve").status == 403


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_any_cookie_is_refused_and_begins_no_session(app: Shop, path: str) -> None:
    stranger = Visitor(app)
    answer = stranger.send(path, name="Eve")
    assert answer.status == 403
    assert answer.set_cookies == {}


def test_a_form_from_before_the_sign_in_is_refused_after_it(visitor: Visitor) -> None:
    before = visitor.form_token
    visitor.press("/sign-in", name="Ada")
    visitor.form_token = before
    assert visitor.send("/sign-out").status == 403


def test_the_id_of_the_session_is_not_on_the_page(customer: Visitor, app: Shop) -> None:
    page = customer.get()
    ring: Keyring = app.ring
    session = Sessions([Jar("session", ring, clock=lambda: 1_800_000_000.0)], f"session={customer.cookies['session']}")["session"]
    assert session["user"] == "Ada"
    assert session.id not in page.page


# HTTP


def every_answer(visitor: Visitor) -> Iterator[Answer]:
    yield visitor.get()
    yield visitor.get("/?lab=swap")
    yield visitor.get("/goodbye")
    yield visitor.get("/expiring")
    yield visitor.get("/nowhere")
    yield visitor.get("/sign-in")
    yield visitor.request("POST", "/sign-in")
    yield visitor.send("/lab/overfill")
    yield visitor.send("/sign-in", name="Ada")


def test_every_answer_forbids_scripts_frames_and_guesses(customer: Visitor) -> None:
    for answer in every_answer(customer):
        policy = answer.header("Content-Security-Policy")
        assert policy.startswith("default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
        assert "unsafe" not in policy
        assert "script-src" not in policy
        assert answer.header("X-Content-Type-Options") == "nosniff"
        assert answer.header("Referrer-Policy") == "same-origin"
        assert "<script" not in answer.page
        assert not re.search(r'\sstyle="|\son[a-z]+=', answer.page)


def test_the_style_of_a_page_has_a_nonce_of_its_own(visitor: Visitor) -> None:
    nonces = set()
    for _ in range(3):
        page = visitor.get()
        found = re.search(r"style-src 'self' 'nonce-([A-Za-z0-9_-]{22})'; img-src 'self'; form-action 'self'", csp(page))
        assert found is not None
        assert f'<style nonce="{found[1]}">' in page.page
        nonces.add(found[1])
    assert len(nonces) == 3


def csp(answer: Answer) -> str:
    return answer.header("Content-Security-Policy")


def test_every_page_is_well_formed(customer: Visitor) -> None:
    for locale in LOCALES:
        customer.get()
        customer.press("/language", locale=locale)
        for answer in every_answer(customer):
            assert_well_formed(answer.page)
    for lab in ("flip", "swap", "expire", "rotate-keep", "rotate-drop", "reset", "nothing"):
        assert_well_formed(customer.get(f"/?lab={lab}").page)


def test_every_field_has_a_label_and_every_id_is_one(customer: Visitor) -> None:
    customer.press("/sign-out")
    page = customer.get().page
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for field in re.findall(r'<(?:input|textarea) id="([^"]+)"', page):
        assert f'<label for="{field}">' in page
    for target in re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', page):
        assert target in ids


@pytest.mark.parametrize("path", ["/nowhere", "", "//", "/index.html", "/style.css/", "/\xff\xfe", "/lab", "/../app.py"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_404_and_touches_no_session(customer: Visitor, method: str, path: str) -> None:
    answer = customer.request(method, path)
    assert answer.status == 404
    assert answer.set_cookies == {}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/style.css", "GET, HEAD"),
        ("DELETE", "/goodbye", "GET, HEAD"),
        *[("GET", path, "POST") for path in FORMS],
        ("OPTIONS", "/lab/swap", "POST"),
    ],
)
def test_a_wrong_method_is_405_with_the_right_one(customer: Visitor, method: str, path: str, allow: str) -> None:
    answer = customer.request(method, path)
    assert answer.status == 405
    assert answer.header("Allow") == allow
    assert answer.set_cookies == {}


@pytest.mark.parametrize(("path", "kind"), [("/style.css", "text/css"), ("/icon.svg", "image/svg+xml")])
def test_static_files_touch_no_session(customer: Visitor, path: str, kind: str) -> None:
    answer = customer.get(path)
    assert answer.status == 200
    assert answer.header("Content-Type").startswith(kind)
    assert answer.header("Vary") == ""


def test_every_redirect_is_a_303_to_the_shop_itself(customer: Visitor) -> None:
    for path in FORMS[:-1]:
        customer.get()
        answer = customer.send(path, name="Ada", locale="de", article="wax", note="x", old="keep")
        assert answer.status == 303
        assert re.match(r"/([?#a-z]|$)", answer.header("Location"))


def test_a_redirect_does_not_repeat_the_host_header(customer: Visitor) -> None:
    body = urlencode({"form_token": customer.form_token}).encode()
    answer = customer.request("POST", "/reset", body, HTTP_HOST="[evil.example")
    assert (answer.status, answer.header("Location")) == (303, "/?lab=reset")


# Hostile clients


@pytest.mark.parametrize("length", [MAX_BODY_BYTES + 1, 3 * 1024 * 1024])
@pytest.mark.parametrize("path", ["/cart/note", "/lab/flip"])
def test_too_large_a_form_is_413(customer: Visitor, path: str, length: int) -> None:
    answer = customer.request("POST", path, b"x" * length)
    assert answer.status == 413
    assert answer.set_cookies == {}


@pytest.mark.parametrize("length", ["", "-1", "abc", "1e9", "\xb2", "9" * 5000])
def test_a_senseless_content_length_is_no_form(app: Shop, length: str) -> None:
    # Past the validator, which would not let a server send this.
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/sign-in", "CONTENT_LENGTH": length}
    environ["wsgi.input"] = io.BytesIO(b"name=Ada")
    setup_testing_defaults(environ)
    statuses: list[str] = []
    assert b"".join(app(environ, lambda status, headers, exc_info=None: statuses.append(status) or io.BytesIO().write))
    assert statuses[0][:3] in {"403", "413"}


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x", "application/json"])
def test_another_kind_of_body_is_no_form(customer: Visitor, kind: str) -> None:
    body = urlencode({"form_token": customer.form_token, "name": "Eve"}).encode()
    assert customer.request("POST", "/sign-in", body, CONTENT_TYPE=kind).status == 403


def test_a_form_of_too_many_fields_is_no_form(customer: Visitor) -> None:
    body = urlencode({"form_token": customer.form_token} | {f"field{number}": "" for number in range(40)}).encode()
    body = body.replace(b"=&", b"=1&")
    assert customer.request("POST", "/reset", body).status == 403


class Hung(io.RawIOBase):
    """A body whose connection is lost."""

    def read(self, size: int = -1) -> bytes:
        raise TimeoutError


def test_a_form_that_never_arrives_is_400(customer: Visitor) -> None:
    answer = customer.request("POST", "/sign-in", b"x", **{"wsgi.input": Hung()})
    assert answer.status == 400


COOKIES = [
    "",
    ";",
    "session",
    "session=",
    "=session",
    "session=<script>alert(1)</script>",
    'session="; cart="',
    "session=\x80\xff; cart=\xe9",
    "cart=\x01\x02\x7f",
    "; ".join(["cart=x"] * 50),
    "cart=" + "A" * 78,
    "cart=" + "A" * 5000,
    "session=" + "AQ" * 2000 + "; cart=" + "-_" * 2000,
    "x" * 70_000,
    "session=" + "A" * 66_000,
    "a=" + "b; " * 20_000,
]


@pytest.mark.parametrize("header", COOKIES, ids=range(len(COOKIES)))
def test_any_cookie_header_gives_a_working_page(app: Shop, header: str) -> None:
    visitor = Visitor(app)
    for target in ("/", "/?lab=swap", "/goodbye", "/expiring"):
        answer = visitor.request("GET", target, HTTP_COOKIE=header)
        assert answer.status == 200
        assert "<script" not in answer.page
        assert len(answer.page) < 60_000
        assert_well_formed(answer.page)
    for path in FORMS:
        assert visitor.request("POST", path, b"form_token=0", HTTP_COOKIE=header).status == 403


def test_several_carts_of_one_name_are_said_so(customer: Visitor, app: Shop) -> None:
    other = Visitor(app)
    other.get()
    other.press("/cart/add", article="pen")
    header = f"cart={customer.cookies['cart']}; cart={other.cookies['cart']}"
    answer = customer.request("GET", "/", HTTP_COOKIE=header)
    assert "Refused: ambiguous." in answer.said
    assert "Of 2 cookies of this name, this is the first." in answer.said


@settings(max_examples=60)
@given(
    header=st.text(st.characters(max_codepoint=255), max_size=200) | st.text("sesioncart=;, AQ-_", max_size=200),
    body=st.binary(max_size=200),
    query=st.text(st.characters(max_codepoint=255), max_size=60),
)
def test_no_input_is_an_error_of_the_server(header: str, body: bytes, query: str) -> None:
    visitor = Visitor(SHOP)
    for method, path in (("GET", "/"), ("POST", "/sign-in"), ("POST", "/lab/flip"), ("POST", "/cart/note")):
        answer = visitor.request(method, path, body, HTTP_COOKIE=header, QUERY_STRING=query)
        assert answer.status in {200, 403}


@settings(max_examples=60)
@given(fields=st.dictionaries(st.sampled_from(["name", "note", "article", "locale", "jar", "old"]), st.text()))
def test_no_form_of_a_visitor_is_an_error_of_the_server(fields: dict[str, str]) -> None:
    visitor = Visitor(SHOP)
    for path in FORMS:
        visitor.get()
        body = urlencode({"form_token": visitor.form_token, **fields}, errors="surrogatepass").encode()
        assert visitor.request("POST", path, body).status in {303, 422}
    assert_well_formed(visitor.get().page)


# HTML


class Balance(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag


def assert_well_formed(page: str) -> None:
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
