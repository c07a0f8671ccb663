"""The demo's pages: HTML from what the application found out.

It knows no request and no cookie header. Everything that comes from a visitor goes through ``escape``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final

from clientsession import Keyring, Reason
from clientsession.demo.words import DEFAULT_LOCALE, LOCALES, PRICES_CENTS, price, text

LIMIT_BYTES: Final = 4096  # RFC 6265bis, 5.6: of name and value
_MAX_SHOWN_CHARS: Final = LIMIT_BYTES  # a browser may send more of someone else's cookie than is worth a page
_TICKING_SECONDS: Final = 60 * 60  # with more left than this, seconds that tick by tell nothing

REASONS: Final = {
    Reason.MALFORMED: "It does not have the form of a token of this library: cut, garbled, or another program's cookie.",
    Reason.UNKNOWN_KEY: "The key it names is not in the ring: retired for good, of another server, or from before a restart.",
    Reason.FORGED: "The seal does not fit: the text was changed, or it was sealed under another cookie's name.",
    Reason.EXPIRED: "Its time is over. The end is inside the seal, so no client can move it.",
    Reason.FUTURE: "It was made more than a minute from now: the clocks of two servers differ.",
    Reason.AMBIGUOUS: "The browser sent several cookies of this name, and none of them is the session beyond doubt.",
}

_ICONS: Final = {
    "wax": '<path d="M16 6h8v22h-8zM16 12h8M20 28v3"/><circle cx="20" cy="34" r="2"/>',
    "envelopes": '<path d="M6 11h28v19H6zM6 12l14 11 14-11M6 29l10-9M34 29l-10-9"/>',
    "paper": '<path d="M10 5h14l6 6v24H10zM24 5v6h6M14 17h12M14 22h12M14 27h7"/>',
    "pen": '<path d="M28 5l7 7-14 14-9 3 3-9zM24 9l7 7M12 29l5-5M6 35h16"/>',
}


_WHY: Final = {
    "flip": "The seal covers every bit, and the server looks at nothing of the content before the seal fits.",
    "swap": (
        "A cookie's name is bound into its seal, so a cart can never pass as a session, though the same key sealed both. "
        "The session begins anew; the cart's cookie stays as it is until something is put into the cart."
    ),
    "expire": (
        "The browser had no Max-Age and sent the cookie all the same. It is the server that keeps the time: "
        "the end is inside the seal."
    ),
    "rotate-keep": (
        "Nobody is signed out. What the retiring key sealed still opens, and is sealed anew with the new key when it is read. "
        "Once the last old token has expired, the retiring key can go."
    ),
    "rotate-drop": "Every cookie out there is worthless at once, whoever holds it, and nobody sees an error: all begin anew.",
    "reset": (
        'The call was <code>session.reset(keep=("locale",))</code>: no name, no visits, another id, and '
        "<code>created_at</code> is now. The shop does the same when you sign in, so that no planted session survives it."
    ),
    "nothing": "A cookie that this needs is not there. Put something into the cart first.",
}
_LOST: Final = (
    " Name, visits and language are gone with the old session: nothing of a refused cookie is believed. A new one has begun."
)
# What each button makes the server say. Where it did not say so, the page was opened again, or by hand, and claims nothing.
_EXPECTED: Final = {
    "flip": Reason.FORGED,
    "swap": Reason.FORGED,
    "expire": Reason.EXPIRED,
    "rotate-drop": Reason.UNKNOWN_KEY,
}
_STALE: Final = (
    "This page was opened again, or its button was not the last thing that happened. Press the button to see what it does."
)
_TOO_EARLY: Final = (
    "The session was used again within its last second. With less than five minutes left, a use moves the end on by five minutes. "
    "Press the button again, and wait on the page after it until it goes on by itself."
)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks for the shop, and what brought them here."""

    locale: str
    name: str | None
    visits: int
    form_token: str
    lab: str
    lab_jar: str
    notice: str


@dataclass(frozen=True, slots=True)
class Basket:
    """What is in the cart."""

    items: Mapping[str, int]
    note: str


@dataclass(frozen=True, slots=True)
class JarView:
    """One jar from both sides.

    Attributes:
        sent: the raw values that came under its name.
        sealed: the value this response sets, or None where it sets none.
        content: what the server works on, as JSON.
    """

    name: str
    sent: tuple[str, ...]
    sealed: str | None
    content: str
    created_at: datetime
    expires_at: datetime
    seconds_left: int
    is_empty: bool
    is_new: bool
    is_ephemeral: bool
    key_id: str | None
    sealing_id: str
    refusal: Reason | None

    @property
    def token(self) -> str:
        """What the browser holds once it has this page."""
        return self.sealed if self.sealed is not None else next(iter(self.sent), "")

    @property
    def size(self) -> int:
        """Bytes of name and value; 0 where there is no cookie."""
        return len(self.name) + len(self.token) if self.token else 0


# Pages


def shop(visitor: Visitor, basket: Basket, views: tuple[JarView, JarView], ring: Keyring, nonce: str) -> str:
    """The shop, what is in its cookies (session and cart), and the lab."""
    session, cart = views
    outcome = _outcome(visitor, session, cart)
    body = f"""
{_header(visitor)}
<main>
{outcome}
{_notice(visitor)}
<div class="counter">
{_products(visitor)}
{_cart(visitor, basket)}
</div>
<div lang="en">
<section class="inside" aria-labelledby="inside">
<h2 id="inside">Inside the two cookies</h2>
<p class="lead">The server stores nothing about you. All it knows comes back with each request in two sealed cookies: your browser
keeps them and cannot read or change them.</p>
{_jar(session, "Thirty minutes. Used with less than five minutes left, its end moves on by five.")}
{_jar(cart, "A hundred and twenty days, whoever is signed in.")}
</section>
{_lab(visitor)}
{_footer(ring)}
</div>
</main>"""
    return _page("Wax &amp; Paper", visitor.locale, body, head=_moving_parts(views, nonce))


def goodbye(locale: str, kept: Sequence[tuple[str, int]]) -> str:
    """The page after the sign-out, which touches no session."""
    cookies = ", ".join(f"<code>{name}</code> ({size:,} bytes)" for name, size in kept) or "none"
    told = "goodbye_early" if any(name == "session" for name, _ in kept) else "goodbye_text"
    body = f"""
<main class="alone">
<h1>{text(locale, "goodbye")}</h1>
<p>{text(locale, told)}</p>
<p class="quiet" lang="en">Cookies of the shop that your browser sent for this page: {cookies}. The page opened none of them, so it
begins no new session either. The next page of the shop does.</p>
<p><a class="button" href="/">{text(locale, "back")}</a></p>
</main>"""
    return _page(text(locale, "goodbye"), locale, body)


def expiring() -> str:
    """The pause until the session's one second is over."""
    body = """
<main class="alone">
<h1>One second to live</h1>
<p>Your session was sealed anew with an end one second from now, and without a Max-Age: your browser keeps the cookie and goes on
sending it.</p>
<p>This page does not use the session. A use would extend it, as for any visitor with less than five minutes left. In two
seconds the shop opens, and the server finds a session whose time is over.</p>
<p><a class="button" href="/?lab=expire">Back to the shop</a></p>
</main>"""
    return _page("One second to live", DEFAULT_LOCALE, body, head='<meta http-equiv="refresh" content="2; url=/?lab=expire">')


def too_large(message: str) -> str:
    """The page for a cart that does not fit into its cookie."""
    body = f"""
<main class="alone">
<h1>That does not fit into a cookie</h1>
<p>Browsers drop a cookie of more than {LIMIT_BYTES:,} bytes without a word. The library says so instead, before anything is sent.
Your cart is as it was.</p>
<p class="quiet">The error as a developer reads it:</p>
<pre tabindex="0">SessionTooLargeError: {escape(message)}</pre>
<p><a class="button" href="/">Back to the shop</a></p>
</main>"""
    return _page("That does not fit into a cookie", DEFAULT_LOCALE, body)


def problem(heading: str, explanation: str) -> str:
    """A page that says what went wrong and what to do."""
    body = f"""
<main class="alone">
<h1>{escape(heading)}</h1>
<p>{escape(explanation)}</p>
<p><a class="button" href="/">Back to the shop</a></p>
</main>"""
    return _page(escape(heading), DEFAULT_LOCALE, body)


def _page(title: str, locale: str, body: str, *, head: str = "") -> str:
    return f"""<!DOCTYPE html>
<html lang="{locale}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" type="image/svg+xml" href="/icon.svg">
<link rel="stylesheet" href="/style.css">
{head}
</head>
<body>{body}
</body>
</html>
"""


# The shop


def _header(visitor: Visitor) -> str:
    locale = visitor.locale
    languages = "\n".join(
        f'<button class="plain" name="locale" value="{code}" lang="{code}" aria-current="{_bool(code == locale)}">{name}</button>'
        for code, name in LOCALES.items()
    )
    if visitor.name is None:
        greeting = text(locale, "guest")
        sign = f"""<form method="post" action="/sign-in" class="sign">{_token(visitor)}
<label for="name">{text(locale, "name")}</label>
<input id="name" name="name" required maxlength="40" autocomplete="off" aria-describedby="name-hint">
<button>{text(locale, "sign_in")}</button>
<p class="quiet" id="name-hint">{text(locale, "sign_in_hint")}</p>
</form>"""
    else:
        greeting = text(locale, "user").format(name=escape(visitor.name))
        sign = f"""<form method="post" action="/sign-out">{_token(visitor)}
<button class="second">{text(locale, "sign_out")}</button>
</form>"""
    return f"""
<header>
<div class="bar">
<p class="brand"><img src="/icon.svg" alt="" width="32" height="32"> Wax &amp; Paper</p>
<form method="post" action="/language" class="languages" aria-label="{text(locale, "language")}">{_token(visitor)}
{languages}
</form>
</div>
<div class="welcome">
<div>
<h1>{greeting}</h1>
<p class="visits">{text(locale, "visits").format(count=visitor.visits)}</p>
<form method="post" action="/reset">{_token(visitor)}<button class="plain">{text(locale, "reset")}</button></form>
</div>
{sign}
</div>
</header>"""


def _notice(visitor: Visitor) -> str:
    known = visitor.notice in {"no_name", "full"}
    return f'<p class="notice" role="status">{text(visitor.locale, visitor.notice)}</p>' if known else ""


def _products(visitor: Visitor) -> str:
    locale = visitor.locale
    cards = "\n".join(
        f"""<li>
{_icon(article)}
<h3>{text(locale, article)}</h3>
<p>{text(locale, f"{article}_text")}</p>
<form method="post" action="/cart/add">{_token(visitor)}
<span class="price">{price(locale, cents)}</span>
<button name="article" value="{article}" aria-label="{text(locale, "add")}: {text(locale, article)}">{text(locale, "add")}</button>
</form>
</li>"""
        for article, cents in PRICES_CENTS.items()
    )
    return f"""<section aria-labelledby="shop">
<h2 id="shop">{text(locale, "shop")}</h2>
<ul class="products">
{cards}
</ul>
</section>"""


def _icon(article: str) -> str:
    return (
        '<svg viewBox="0 0 40 40" width="40" height="40" fill="none" stroke="currentColor" stroke-width="1.5" '
        f'stroke-linejoin="round" aria-hidden="true">{_ICONS[article]}</svg>'
    )


def _cart(visitor: Visitor, basket: Basket) -> str:
    locale = visitor.locale
    rows = "\n".join(
        f"""<li><span>{count} &times; {text(locale, article)}</span>
<span class="price">{price(locale, count * PRICES_CENTS[article])}</span>
<form method="post" action="/cart/remove">{_token(visitor)}
<button class="plain" name="article" value="{article}"><span aria-hidden="true">&minus;</span>
<span class="unseen">{text(locale, "remove")}: {text(locale, article)}</span></button>
</form></li>"""
        for article, count in basket.items.items()
    )
    total = price(locale, sum(count * PRICES_CENTS[article] for article, count in basket.items.items()))
    lines = f"""<ul class="rows">
{rows}
</ul>
<p class="total"><span>{text(locale, "total")}</span> <span class="price">{total}</span></p>"""
    none = f"<p>{text(locale, 'cart_empty')}</p>"
    empty = f"""<form method="post" action="/cart/empty">{_token(visitor)}
<button class="plain">{text(locale, "empty")}</button>
</form>"""
    return f"""<section class="cart" id="cart" aria-labelledby="cart-heading">
<h2 id="cart-heading">{text(locale, "cart")}</h2>
<p class="quiet">{text(locale, "cart_stays")}</p>
{lines if basket.items else none}
<form method="post" action="/cart/note" class="note">{_token(visitor)}
<label for="note">{text(locale, "note")}</label>
<textarea id="note" name="note" rows="2" maxlength="5000">
{escape(basket.note)}</textarea>
<button class="second">{text(locale, "note_save")}</button>
</form>
{_if(basket.items or basket.note, empty)}
</section>"""


def _token(visitor: Visitor) -> str:
    return f'<input type="hidden" name="form_token" value="{visitor.form_token}">'


# The cookies from both sides


def _jar(view: JarView, life: str) -> str:
    return f"""<article class="jar" aria-labelledby="{view.name}-jar">
<header><h3 id="{view.name}-jar"><code>{view.name}</code></h3><p class="quiet">{life}</p></header>
<div class="sides">
<section aria-labelledby="{view.name}-browser">
<h4 id="{view.name}-browser">What your browser holds</h4>
{_browser_side(view)}
</section>
<section aria-labelledby="{view.name}-server">
<h4 id="{view.name}-server">What the server reads</h4>
{_server_side(view)}
</section>
</div>
</article>"""


def _browser_side(view: JarView) -> str:
    if not view.token:
        return '<p class="none">No cookie of this name. Nothing is set until there is something to keep.</p>'
    if view.sealed is not None:
        origin = "Set by this response: the content, the times or the key changed."
    elif view.refusal is not None:
        origin = "Sent by your browser, and refused. It stays until the next write: the server answers a bad cookie with silence."
    else:
        origin = "Sent by your browser. Nothing changed, so this response sets no cookie."
    more = f" Of {len(view.sent)} cookies of this name, this is the first." if view.sealed is None and len(view.sent) > 1 else ""
    shown = view.token[:_MAX_SHOWN_CHARS] + _if(len(view.token) > _MAX_SHOWN_CHARS, "…")
    percent = view.size * 100 / LIMIT_BYTES
    return f"""<pre class="token" tabindex="0" role="region" aria-label="The sealed text of {view.name}">{_visible(shown)}</pre>
<p class="size"><span>{view.size:,} of {LIMIT_BYTES:,} bytes</span> <span>{percent:.1f}&nbsp;%</span></p>
<div class="meter" role="meter" aria-label="Size of name and value" aria-valuemin="0" aria-valuemax="{LIMIT_BYTES}"
 aria-valuenow="{min(view.size, LIMIT_BYTES)}"><div id="{view.name}-size"></div></div>
<p class="quiet">{origin}{more}</p>"""


def _server_side(view: JarView) -> str:
    refused = ""
    if view.refusal is not None:
        refused = f"""<p class="refused"><strong>Refused: <code>{view.refusal}</code>.</strong> {REASONS[view.refusal]}
The request went on as if no cookie had come.</p>"""
    if view.is_empty:
        return f'{refused}\n<p class="none">An empty session: <code>{{}}</code>. Reading it costs nothing and writes nothing.</p>'
    return f"""{refused}
<pre tabindex="0" role="region" aria-label="The content of {view.name}">{_visible(view.content)}</pre>
<dl>
<div><dt>created_at</dt><dd>{_time(view.created_at)}</dd></div>
<div><dt>expires_at</dt><dd>{_time(view.expires_at)}<br>{_countdown(view)}</dd></div>
<div><dt>key_id</dt><dd>{_key(view)}</dd></div>
<div><dt>is_new</dt><dd>{_flag(view.is_new, "no cookie was opened: this session began here", "it came with the request")}</dd></div>
{_if(view.is_ephemeral, "<div><dt>ephemeral</dt><dd><code>True</code>, until the browser closes</dd></div>")}
</dl>"""


def _key(view: JarView) -> str:
    new = f"<code>{view.sealing_id}</code>"
    if view.key_id is None:
        return f"<code>None</code>, new; sealed with {new} just now"
    if view.key_id == view.sealing_id:
        return f"{new}, the one that seals"
    return f"<code>{view.key_id}</code>, which is retiring; sealed anew with {new} just now"


def _flag(value: bool, yes: str, no: str) -> str:
    return f"<code>{value}</code>, {yes if value else no}"


def _time(moment: datetime) -> str:
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'


def _countdown(view: JarView) -> str:
    """How long is left: as text, right when the page is made; where the browser can, the style sheet lets it tick in its place."""
    ticking = f'<span class="ticking" id="{view.name}-left" aria-hidden="true"></span>' if _ticks(view) else ""
    return f'<span class="countdown" role="timer">{ticking}<span class="still">{_span(view.seconds_left)} left</span></span>'


def _span(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds:02} s"


def _ticks(view: JarView) -> bool:
    return not view.is_empty and 0 < view.seconds_left <= _TICKING_SECONDS


def _moving_parts(views: Sequence[JarView], nonce: str) -> str:
    """The numbers the style sheet needs. In a style element with a nonce: the policy allows no style attributes."""
    rules = [f"#{view.name}-size{{inline-size:{min(100.0, view.size * 100 / LIMIT_BYTES):.1f}%}}" for view in views if view.token]
    rules += [f"#{view.name}-left{{--from:{view.seconds_left}}}" for view in views if _ticks(view)]
    return f'<style nonce="{nonce}">{"".join(rules)}</style>'


def _visible(text: str) -> str:
    """Text of anyone's making, with nothing in it that a browser acts on or hides."""
    return escape("".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text))


# The lab


def _lab(visitor: Visitor) -> str:
    def card(heading: str, story: str, action: str, *buttons: str) -> str:
        return f"""<li>
<h3>{heading}</h3>
<p>{story}</p>
<form method="post" action="{action}">{_token(visitor)}
{"".join(buttons)}
</form>
</li>"""

    def button(label: str, name: str = "", value: str = "", more: str = "") -> str:
        field = f' name="{name}" value="{value}"' if name else ""
        return f'<button class="second"{field}>{label}{_if(more, f" <span class=unseen>{more}</span>")}</button>'

    cards = (
        card(
            "Flip a byte",
            "One bit of one byte of the sealed text is turned over, as a curious visitor might.",
            "/lab/flip",
            button("In session", "jar", "session", "flip a byte"),
            button("In cart", "jar", "cart", "flip a byte"),
        ),
        card(
            "Swap the two",
            "Each cookie gets the other's value. Both are real, and sealed by the same key.",
            "/lab/swap",
            button("Swap the values"),
        ),
        card(
            "Let it expire",
            "The session gets one more second. The browser is not told, and keeps sending it.",
            "/lab/expire",
            button("Let the session expire"),
        ),
        card(
            "Turn the key, keep the old",
            "A new key seals from now on. The old one is retiring: it still opens.",
            "/lab/rotate",
            button("Turn and keep", "old", "keep"),
        ),
        card(
            "Turn the key, forget the old",
            "A new key, and no other. This is what you do when a key has leaked.",
            "/lab/rotate",
            button("Turn and forget", "old", "forget"),
        ),
        card(
            "Overfill the cart",
            "A note of 4,200 characters goes into the cart. A cookie has no room for it.",
            "/lab/overfill",
            button("Put it in"),
        ),
    )
    return f"""<section class="lab" aria-labelledby="lab">
<h2 id="lab">Try to break it</h2>
<p class="lead">Each button does it for real, to your own cookies. The page after it tells what the server made of that.</p>
<ul class="cards">
{"".join(cards)}
</ul>
</section>"""


def _outcome(visitor: Visitor, session: JarView, cart: JarView) -> str:
    """What the lab did, what this request saw of it, and why."""
    target = cart if visitor.lab_jar == "cart" else session
    stories = {
        "flip": (f"One bit of <code>{target.name}</code> was flipped", (target,)),
        "swap": ("The two cookies were swapped", (session, cart)),
        "expire": ("The session was left to expire", (session,)),
        "rotate-keep": ("The key was turned, the old one is retiring", (session, cart)),
        "rotate-drop": ("The key was turned, the old one is forgotten", (session, cart)),
        "reset": ("The session was reset, the language kept", (session,)),
        "nothing": ("There was nothing to break", (session, cart)),
    }
    if visitor.lab not in stories:
        return ""
    heading, views = stories[visitor.lab]
    why = _WHY[visitor.lab] + _if(target is session and visitor.lab in {"flip", "expire"}, _LOST)
    expected = _EXPECTED.get(visitor.lab)
    came = [view.refusal for view in views if view.refusal is not None or not view.is_new]
    if expected is not None and (not came or any(refusal is not expected for refusal in came)):
        is_early = visitor.lab == "expire" and session.refusal is None and session.is_ephemeral
        heading, why = ("The session lives on", _TOO_EARLY) if is_early else ("Nothing was broken in this request", _STALE)
    seen = "\n".join(f"<li>{_seen(view)}</li>" for view in views)
    return f"""<section class="outcome" lang="en" role="status" aria-labelledby="outcome">
<h2 id="outcome">{heading}</h2>
<p>What the server found in this request:</p>
<ul>
{seen}
</ul>
<p>{why}</p>
</section>"""


def _seen(view: JarView) -> str:
    name = f"<code>{view.name}</code>"
    if view.refusal is not None:
        return f"{name}: refused, <code>{view.refusal}</code>. {REASONS[view.refusal]}"
    if view.is_new:
        return f"{name}: no such cookie came, so there was nothing to refuse."
    if view.key_id != view.sealing_id:
        return (
            f"{name}: opened with the retiring key <code>{view.key_id}</code> and sealed anew with <code>{view.sealing_id}</code>."
        )
    return f"{name}: opened with the key <code>{view.key_id}</code>; nothing is wrong with it."


def _footer(ring: Keyring) -> str:
    retiring = ", ".join(f"<code>{key.id}</code>" for key in ring.retiring) or "none"
    return f"""<footer>
<h2>About this demo</h2>
<p>The key ring: <code>{ring.sealing.id}</code> seals; retiring: {retiring}. These are ids; the keys themselves are in the memory of
this one process and appear nowhere. They are gone when it stops.</p>
<p>The demo is plain http, so its cookies are set with <code>secure=False</code>. On a real site leave that out: the default is
Secure, and over https the cookie is best named <code>__Host-session</code>.</p>
<p>There is no script on this page. The policy it is sent with would not let one run.</p>
</footer>"""


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _if(condition: object, html: str) -> str:
    return html if condition else ""
