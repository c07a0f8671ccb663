"""The demo shop in a real browser: what Chromium keeps, sends and drops, and what a person sees.

Needs Playwright and Chromium (found by name, or by ``CHROMIUM``). With ``SCREENSHOTS`` set to a folder, pictures are left there.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clientsession import Jar, Key, Keyring
from clientsession.demo import make_app, make_server
from clientsession.demo.pages import REASONS
from clientsession.demo.words import LOCALES
from clientsession.errors import Reason
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests.chromium import launched
from tests.conftest import Clock

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser

ONE_WAX = "1 \N{MULTIPLICATION SIGN} Sealing wax"
NARROW = {"width": 360, "height": 740}
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched("--host-resolver-rules=MAP *.test 127.0.0.1") as browser:
        yield browser


@pytest.fixture
def url(clock: Clock) -> Iterator[str]:
    """The address of a shop of its own, whose time is the test's clock."""
    server = make_server(make_app(clock), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def open_context(browser: Browser, url: str) -> Iterator[Callable[..., BrowserContext]]:
    """Makes a context: a browser of someone's own, with its cookies and settings."""
    contexts: list[BrowserContext] = []

    def open_(**options: Any) -> BrowserContext:
        context = browser.new_context(**({"viewport": DESKTOP, "base_url": url} | options))
        context.set_default_timeout(20_000)
        contexts.append(context)
        return context

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def console() -> list[str]:
    """What the browser complained of: errors, warnings, breaches of the policy."""
    return []


@pytest.fixture
def page(open_context: Callable[..., BrowserContext], console: list[str]) -> Iterator[Page]:
    """The shop on a desktop. The browser must have nothing to complain of in the end."""
    page = open_context().new_page()
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto("/")
    yield page
    assert console == []


def sign_in(page: Page, name: str = "Ada") -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name=f"Good day, {name}.").wait_for()


def add(page: Page, article: str = "Sealing wax") -> None:
    page.get_by_role("button", name=f"Add to cart: {article}").click()
    page.locator("#cart").get_by_text(article, exact=False).first.wait_for()


def press(page: Page, name: str, heading: str) -> str:
    """Press a button of the lab; the text of the box that explains what came of it."""
    page.get_by_role("button", name=name).click()
    box = page.locator(".outcome").filter(has=page.get_by_role("heading", name=heading))
    box.wait_for()
    return " ".join(box.inner_text().split())


def cookies(page: Page) -> dict[str, str]:
    return {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}


# A visitor's way


def test_sign_out_removes_the_session_cookie_and_keeps_the_cart(page: Page) -> None:
    sign_in(page)
    add(page)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Goodbye.").wait_for()
    assert list(cookies(page)) == ["cart"]
    page.get_by_role("link", name="Back to the shop").click()
    page.get_by_role("heading", name="Good day, stranger.").wait_for()
    assert ONE_WAX in page.locator("#cart").inner_text()


def test_the_cookies_are_for_http_alone_and_for_this_site(page: Page) -> None:
    add(page)
    for cookie in page.context.cookies():
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"], cookie["secure"]) == (True, "Lax", "/", False)


def test_the_page_shows_the_very_tokens_the_browser_keeps(page: Page) -> None:
    add(page)
    page.reload()
    for name in ("session", "cart"):
        assert page.get_by_label(f"The sealed text of {name}").inner_text() == cookies(page)[name]


def test_after_its_lifetime_the_session_is_refused_and_the_cart_is_not(page: Page, clock: Clock) -> None:
    sign_in(page)
    add(page)
    clock.pass_(31 * 60)
    page.goto("/")
    page.get_by_role("heading", name="Good day, stranger.").wait_for()
    assert REASONS[Reason.EXPIRED] in page.get_by_role("region", name="What the server reads").first.inner_text()
    assert ONE_WAX in page.locator("#cart").inner_text()


def test_activity_keeps_a_session_alive(page: Page, clock: Clock) -> None:
    sign_in(page)
    for _ in range(10):
        clock.pass_(29 * 60 if _ == 0 else 4 * 60)
        page.goto("/")
    page.get_by_role("heading", name="Good day, Ada.").wait_for()


def test_reset_keeps_the_language(page: Page) -> None:
    sign_in(page)
    page.get_by_role("button", name="Deutsch").click()
    page.get_by_role("heading", name="Guten Tag, Ada!").wait_for()
    press(page, "Zurücksetzen, Sprache behalten", "The session was reset, the language kept")
    page.get_by_role("heading", name="Guten Tag!").wait_for()
    assert page.locator("html").get_attribute("lang") == "de"


def test_a_reload_after_a_form_does_not_send_it_again(page: Page) -> None:
    add(page)
    page.reload()
    page.reload()
    assert ONE_WAX in page.locator("#cart").inner_text()


def test_a_name_of_markup_is_shown_as_text(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>"
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text(f"Good day, {name}.").wait_for()
    assert page.locator("img").count() == 1  # the shop's own


# The lab


def test_a_flipped_bit_signs_out_and_says_why(page: Page) -> None:
    sign_in(page)
    told = press(page, "In session flip a byte", "One bit of session was flipped")
    assert f"session: refused, forged. {REASONS[Reason.FORGED]}" in told
    page.get_by_role("heading", name="Good day, stranger.").wait_for()


def test_swapped_cookies_are_both_refused(page: Page) -> None:
    sign_in(page)
    add(page)
    told = press(page, "Swap the values", "The two cookies were swapped")
    assert told.count("refused, forged.") == 2
    assert "Nothing in it yet." in page.locator("#cart").inner_text()
    add(page, "Fountain pen")
    assert "Fountain pen" in page.locator("#cart").inner_text()


def test_a_turned_key_whose_old_one_is_kept_signs_nobody_out(page: Page) -> None:
    sign_in(page)
    add(page)
    before = cookies(page)
    told = press(page, "Turn and keep", "The key was turned, the old one is retiring")
    assert told.count("opened with the retiring key") == 2
    page.get_by_role("heading", name="Good day, Ada.").wait_for()
    assert ONE_WAX in page.locator("#cart").inner_text()
    assert all(cookies(page)[name] != before[name] for name in ("session", "cart"))


def test_a_turned_key_whose_old_one_is_forgotten_refuses_all(page: Page) -> None:
    sign_in(page)
    add(page)
    told = press(page, "Turn and forget", "The key was turned, the old one is forgotten")
    assert told.count(f"refused, unknown_key. {REASONS[Reason.UNKNOWN_KEY]}") == 2
    page.get_by_role("heading", name="Good day, stranger.").wait_for()


def test_a_session_left_to_expire_is_sent_and_refused(page: Page, clock: Clock) -> None:
    sign_in(page)
    page.get_by_role("button", name="Let the session expire").click()
    page.get_by_role("heading", name="One second to live").wait_for()
    session = next(cookie for cookie in page.context.cookies() if cookie["name"] == "session")
    assert session["expires"] == -1  # no Max-Age: kept until the browser closes
    clock.pass_(1)
    page.get_by_role("link", name="Back to the shop").click()
    told = " ".join(page.locator(".outcome").inner_text().split())
    assert f"session: refused, expired. {REASONS[Reason.EXPIRED]}" in told


def test_the_pause_goes_on_by_itself(page: Page, clock: Clock) -> None:
    page.get_by_role("button", name="Let the session expire").click()
    page.get_by_role("heading", name="One second to live").wait_for()
    clock.pass_(2)
    page.get_by_role("heading", name="The session was left to expire").wait_for()


# Without a script, and under its policy


def test_everything_works_without_a_script(open_context: Callable[..., BrowserContext], clock: Clock) -> None:
    page = open_context(java_script_enabled=False).new_page()
    page.goto("/")
    sign_in(page)
    add(page)
    press(page, "In cart flip a byte", "One bit of cart was flipped")
    add(page, "Fountain pen")
    press(page, "Turn and keep", "The key was turned, the old one is retiring")
    press(page, "Reset, keep my language", "The session was reset, the language kept")
    page.get_by_role("button", name="Let the session expire").click()
    page.get_by_role("heading", name="One second to live").wait_for()
    clock.pass_(1)
    page.get_by_role("link", name="Back to the shop").click()
    sign_in(page)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Goodbye.").wait_for()
    assert list(cookies(page)) == ["cart"]


def test_the_policy_stops_what_the_page_did_not_bring(page: Page, console: list[str]) -> None:
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p>')")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    assert page.evaluate("window.ran") is None
    assert len(console) == 2  # the console that other tests find empty does tell of a breach
    assert all("Content Security Policy" in message for message in console)
    console.clear()


# What a person sees


def test_nothing_scrolls_sideways_on_a_narrow_phone(open_context: Callable[..., BrowserContext]) -> None:
    page = open_context(viewport=NARROW).new_page()

    def check() -> None:
        page.wait_for_load_state()  # with its style sheet
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], page.url

    page.goto("/")
    check()
    sign_in(page, "W" * 40)
    for article in ("Sealing wax", "Envelopes", "Letter paper", "Fountain pen"):
        add(page, article)
    page.get_by_label("A note for the parcel").fill("w" * 2500)
    page.get_by_role("button", name="Save the note").click()
    page.get_by_text("3,4").first.wait_for()  # three thousand and some of 4,096 bytes
    for locale, language in reversed(LOCALES.items()):
        page.get_by_role("button", name=language, exact=True).click()
        page.locator(f"html[lang={locale}]").wait_for()
        check()
    page.get_by_role("button", name="Put it in").click()
    page.get_by_role("heading", name="That does not fit into a cookie").wait_for()
    check()
    page.goto("/")
    press(page, "Swap the values", "The two cookies were swapped")
    check()
    for path in ("/goodbye?lang=fr", "/expiring", "/nowhere"):
        page.goto(path)
        check()


def test_the_countdown_ticks_without_a_script(page: Page) -> None:
    shown = page.evaluate(
        """() => {
            const ticking = document.getElementById("session-left");
            const [animation] = ticking.getAnimations();
            animation.pause();
            const style = getComputedStyle(ticking);
            return [0, 1, 60, 61, 1799, 1800, 9999].map((seconds) => {
                animation.currentTime = seconds * 1000;
                return `${style.getPropertyValue("--minutes")}:${style.getPropertyValue("--seconds")}`;
            });
        }"""
    )
    assert shown == ["30:0", "29:59", "29:0", "28:59", "0:1", "0:0", "0:0"]
    still = page.locator("#session-left + .still")
    assert still.text_content() == "30 min 00 s left"  # for those who listen
    assert (still.bounding_box() or {})["width"] <= 1


def test_who_asked_for_less_motion_reads_a_text(open_context: Callable[..., BrowserContext]) -> None:
    page = open_context(reduced_motion="reduce").new_page()
    page.goto("/")
    assert page.evaluate("document.getAnimations().length") == 0
    assert not page.locator("#session-left").is_visible()
    still = page.locator("#session-left + .still")
    assert still.inner_text() == "30 min 00 s left"
    assert (still.bounding_box() or {})["width"] > 50


def test_the_focus_is_seen_all_the_way(page: Page) -> None:
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "[document.activeElement.outerHTML, getComputedStyle(document.activeElement).outlineStyle,"
            " getComputedStyle(document.activeElement).outlineWidth]"
        )
        assert focused[1:] == ["solid", "3px"]
        reached.add(focused[0])
    assert len(reached) == 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(open_context: Callable[..., BrowserContext], scheme: str) -> None:
    page = open_context(color_scheme=scheme).new_page()
    page.goto("/")
    colours = page.evaluate(
        """() => Object.fromEntries(["paper", "sheet", "sunken", "tint", "ink", "faint", "wax", "wax-deep", "on-wax", "field"]
            .map((name) => [name, getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim()]))"""
    )
    for behind in ("paper", "sheet", "sunken"):
        for text in ("ink", "faint", "wax"):
            assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)  # WCAG 2.2, 1.4.3
    for text, behind in (("ink", "tint"), ("wax-deep", "tint"), ("on-wax", "wax"), ("on-wax", "wax-deep")):
        assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)
    assert contrast(colours["field"], colours["sheet"]) >= 3  # WCAG 2.2, 1.4.11


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        channels = [int(part, 16) / 255 for part in re.findall("[0-9a-f]{2}", colour)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.skipif("SCREENSHOTS" not in os.environ, reason="SCREENSHOTS names no folder")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_pictures_are_taken(open_context: Callable[..., BrowserContext], viewport: dict[str, int], scheme: str) -> None:
    folder = Path(os.environ["SCREENSHOTS"])
    folder.mkdir(parents=True, exist_ok=True)
    page = open_context(viewport=viewport, color_scheme=scheme).new_page()

    def take(name: str) -> None:
        page.screenshot(path=folder / f"{name}-{viewport['width']}-{scheme}.png", full_page=True)

    page.goto("/")
    take("first")
    sign_in(page)
    add(page)
    add(page, "Fountain pen")
    page.goto("/")
    take("shop")
    press(page, "Swap the values", "The two cookies were swapped")
    take("swapped")
    page.goto("/goodbye")
    take("goodbye")


# A cookie that moves house


@pytest.fixture
def moving(clock: Clock) -> Iterator[tuple[str, Callable[..., None]]]:
    """The address of an application that counts visits, and a function that gives its jar other options."""
    ring = Keyring(Key.generate())
    jars: list[Jar] = []

    def move(**options: Any) -> None:
        jars[:] = [Jar("session", ring, clock=clock, secure=False, **options)]

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if not environ["PATH_INFO"].startswith("/shop/"):  # a browser asks for /favicon.ico too, at any time
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return []
        session = get_sessions(environ)["session"]
        if environ["PATH_INFO"].endswith("/out"):
            session.destroy()
        elif environ["PATH_INFO"].endswith("/count"):
            session["visits"] = session.get("visits", 0) + 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{session.get('visits')} {session.refusal}".encode()]

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        return SessionMiddleware(application, jars)(environ, start_response)

    server = make_server(serve, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://www.shop.test:{server.server_port}", move
    server.shutdown()
    thread.join()
    server.server_close()


SCOPES = [("/shop", None), ("/", "shop.test"), ("/", "www.shop.test"), ("/", None)]


@pytest.mark.parametrize(("old", "new"), list(itertools.permutations(SCOPES, 2)), ids=str)
def test_a_cookie_that_moves_house_in_a_browser_keeps_its_user_and_signs_out(
    browser: Browser, moving: tuple[str, Callable[..., None]], old: tuple[str, str | None], new: tuple[str, str | None]
) -> None:
    origin, move = moving
    context = browser.new_context()
    page = context.new_page()

    def visit(path: str) -> str:
        page.goto(origin + path)
        return page.inner_text("body").strip()

    move(path=old[0], domain=old[1])
    assert visit("/shop/count") == "1 None"
    assert visit("/shop/count") == "2 None"
    move(path=new[0], domain=new[1], former_scopes=[old])
    assert visit("/shop/read") == "2 None"
    assert visit("/shop/count") == "3 None"
    assert visit("/shop/count") == "4 None", "the one that was set did not become the second of two"
    assert len(context.cookies()) == 1
    assert visit("/shop/out") == "None None"
    assert context.cookies() == []
    # A browser that had both before anybody thought of it is back after one visit.
    move(path=old[0], domain=old[1])
    assert visit("/shop/count") == "1 None"
    move(path=new[0], domain=new[1])
    assert visit("/shop/count") == "2 None"
    assert len(context.cookies()) == 2
    assert visit("/shop/read") == "None ambiguous"
    move(path=new[0], domain=new[1], former_scopes=[old])
    assert visit("/shop/read") == "None ambiguous"
    assert visit("/shop/read") == "2 None"
    assert len(context.cookies()) == 1
    context.close()
