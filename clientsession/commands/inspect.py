"""``clientsession inspect``: what a token or a cookie header is, with keys what is in it, and why it does not open.

It knows the command line and words. What was in a cookie is printed with no character that a terminal acts upon, and on standard
output alone; a token itself is not printed, nor anything that was typed and not understood.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TextIO

from clientsession._codec import MAX_SIZE
from clientsession._cookies import MAX_HEADER_CHARS
from clientsession._jar import MAX_CANDIDATES
from clientsession._keyfile import NOT_A_PATH, shown_path
from clientsession._keyring import Keyring
from clientsession._keys import KEY_PREFIX, holds_key
from clientsession._session import read_clock
from clientsession._token import TAG_BYTES, Sealed
from clientsession.commands._dumping import dumped, key_bytes, safe, safe_string
from clientsession.commands._durations import HOW_TO_WRITE, ago, in_words, instant, later, parse_duration, until
from clientsession.commands._finding import ALIKE, Harvest, Source, find_tokens, nothing_found
from clientsession.commands._looking import CODECS, SUITES, Description, Inside, Look, ambiguous_names, describe, members
from clientsession.errors import ConfigurationError, Reason

OPENS: Final = 0
REFUSED: Final = 1
UNUSABLE: Final = 2
STOPPED: Final = 130  # as shells say of a command that Ctrl-C ended

_MAX_CHARS: Final = (
    MAX_HEADER_CHARS + 256
)  # the longest Cookie header that is read, its name and what a shell or curl puts around it
_MAX_CHAR_BYTES: Final = 4  # UTF-8's most
_MAX_AGE_DIGITS: Final = 10  # three hundred years in seconds
_SHOWN_BODY_BYTES: Final = 200  # of a body that is no JSON
_WIDTH: Final = 100  # columns
_SEALED: Final = dict(zip(CODECS, ("by a jar", "by a Codec", "for a header"), strict=True))
_LABEL: Final = 12  # columns for the words at the left
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEY_VARIABLES: Final = (
    "CLIENTSESSION_KEY",
    "CLIENTSESSION_KEY_FILE",
    "CLIENTSESSION_ACCEPTED_KEYS",
    "CLIENTSESSION_RETIRING_KEYS",
)
_A_KEY: Final = (
    f"this holds the text of a key ({KEY_PREFIX}...), and a key is no token: it belongs into a file, for --keys FILE. If it stood "
    "on a command line or in a cookie, take another key soon"
)

_ABOUT: Final = f"""\
TOKEN is a token, a Cookie: or Set-Cookie: header with or without its name, or name=value. Lines of `curl -v` and of a browser's
"copy as cURL" are understood too. Of a header, each value that has the form of a token is shown; with --name, that cookie.

Who has a token is its user until it expires. On the command line others see it in the list of processes, and it stays in the
shell's history. Standard input is the careful way:

  clientsession inspect --keys FILE < cookie.txt

Without --keys the keys are those of the environment: CLIENTSESSION_KEY_FILE, or CLIENTSESSION_KEY, CLIENTSESSION_ACCEPTED_KEYS and
CLIENTSESSION_RETIRING_KEYS. With keys, the content of the session is printed; a key never is.

With --json, one object: now, tokens, ambiguous (the names of cookies that came with several values, so that a jar takes none),
other_cookies and left_out_lines (how many). Each of the tokens has these fields, null where one does not apply:
  source (token, cookie, set-cookie), name, times, attributes, left_out (what stood around it)
  characters, bytes, ciphertext_bytes, plaintext_bytes, max_body_bytes, suite, suite_name, key_id, key_role, canonical, faults
  opens (null: not tried), reason, question (of docs/SPEC.md, section 6), explanation (in words, which may change)
  kind, fits_kind (another, for which the seal fits), audience, created, expires, ends (by --max-duration too), id, ephemeral
  deflated, body_bytes, inflated_bytes, padding_bytes, body, body_problem, key_bytes, size, size_limit, size_left
Times are ISO 8601, in UTC.

exit codes: {OPENS} every token found has the form of one and, with keys, opens now
            {REFUSED} at least one does not; the reason is shown
            {UNUSABLE} the command line is wrong, there is no token, the keys cannot be read, or the name of a bare token is missing
"""


# The command line


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser], *, clock: Callable[[], float] = time.time) -> None:
    """Add ``inspect``; it sets ``run``, which takes the options and answers with the exit code.

    Args:
        subparsers: what ``add_subparsers()`` of the parser of ``clientsession`` gave.
        clock: the time in seconds since 1970, as ``time.time``.
    """
    parser = subparsers.add_parser(
        "inspect",
        help="say what a token or a cookie is, and why it does not open",
        description="Say what a token or a cookie is, with keys also what is in it, and why it does not open.",
        epilog=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("words", metavar="TOKEN", nargs="*", help="what to look at; - or nothing: standard input")
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument("--keys", "--file", dest="file", metavar="FILE", help="open it with the keys of this key file")
    keys.add_argument("--no-keys", action="store_true", help="leave out the keys of the environment")
    parser.add_argument("--name", help="the name of the cookie, or of the codec that made the token")
    parser.add_argument("--audience", default="", help="the audience of the jar or codec (default: none)")
    parser.add_argument("--kind", type=_kind, help="cookie, token or header (default: cookie in a header, else whichever opens)")
    parser.add_argument("--max-duration", metavar="DURATION", type=_duration, help="the max_duration of the jar or codec, as 30d")
    parser.add_argument(
        "--max-size", metavar="CHARS", type=_count, default=MAX_SIZE, help="the max_size of the codec (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=partial(run, clock=clock))


# What was typed is not quoted: it may be a key.


def _kind(text: str) -> str:
    if text in CODECS:
        return text
    raise argparse.ArgumentTypeError("write cookie, token or header")


def _duration(text: str) -> timedelta:
    duration = parse_duration(text)
    if duration is None:
        raise argparse.ArgumentTypeError(HOW_TO_WRITE)
    return duration


def _count(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,6}", text):
        return int(text)
    raise argparse.ArgumentTypeError("write a number of characters")


# Running


def run(options: argparse.Namespace, *, clock: Callable[[], float] = time.time) -> int:
    """Look at what was given and print what it is.

    Args:
        options: of the parser that :func:`add_parser` makes.
        clock: the time in seconds since 1970, as ``time.time``.

    Returns:
        The exit code.
    """
    report, problem, code = "", None, UNUSABLE
    try:
        report, code = _report(options, clock)
    except ConfigurationError as error:
        problem = str(error)
    except OSError as error:
        problem = f"standard input cannot be read ({error.strerror})"
    except KeyboardInterrupt:
        problem, code = "stopped", STOPPED
    unwritten = _write(sys.stdout, report)
    if unwritten is not None:
        problem, code = f"standard output cannot be written ({unwritten})", UNUSABLE
    if problem is not None:
        _write(sys.stderr, f"clientsession inspect: {safe(problem)}\n")
    return code


def _report(options: argparse.Namespace, clock: Callable[[], float]) -> tuple[str, int]:
    """What is to be printed, and the exit code.

    Raises:
        ConfigurationError: an option is wrong, the keys cannot be read, or there is no token; the message says what to do.
        OSError: standard input cannot be read.
    """
    look = _look(options, clock)
    harvest = find_tokens(_input(options.words), look.name)
    if not harvest.tokens:
        raise ConfigurationError(nothing_found(harvest, look.name))
    tokens = [describe(found, look) for found in harvest.tokens]
    ambiguous = ambiguous_names(tokens)
    report = _as_json(tokens, ambiguous, harvest, look) if options.json else _as_text(tokens, ambiguous, harvest, look)
    if ambiguous or any(token.opens is False for token in tokens):
        return report, REFUSED
    is_tried = look.ring is None or all(token.opens for token in tokens)
    return report, OPENS if is_tried else UNUSABLE


def _look(options: argparse.Namespace, clock: Callable[[], float]) -> Look:
    """The options, with the keys read.

    Raises:
        ConfigurationError: an option holds a key, or the keys cannot be read.
    """
    if any(holds_key(text or "") for text in (options.name, options.audience)):
        raise ConfigurationError(_A_KEY)
    ring = _ring(options)
    return Look(
        now=read_clock(clock),
        ring=None if ring is None else ring._snapshot(),
        name=options.name,
        audience=options.audience,
        kind=options.kind,
        max_duration=options.max_duration,
        max_size=options.max_size,
    )


def _ring(options: argparse.Namespace) -> Keyring | None:
    """The keys of the file or the environment; None where there are none, or none are wanted."""
    if options.no_keys:
        return None
    if options.file is not None:
        if shown_path(options.file) is None:
            raise ConfigurationError(NOT_A_PATH)
        return Keyring.from_file(options.file)
    if not any(os.environ.get(variable) for variable in _KEY_VARIABLES):
        return None
    try:
        return Keyring.from_env()
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}. Or give --keys FILE; or --no-keys, to look without any") from None


def _input(words: list[str]) -> str:
    """What is to be looked at, of the command line or standard input.

    Raises:
        ConfigurationError: it is too long, or holds a key.
        OSError: standard input cannot be read.
    """
    # A header that was not quoted comes in two pieces; other words are tokens.
    given = (" " if words and words[0].endswith(":") else "\n").join(words)
    text = _read(sys.stdin) if words in ([], ["-"]) else given
    if len(text) > _MAX_CHARS:
        raise ConfigurationError(f"that is more than {_MAX_CHARS:,} characters: give the token or the header alone")
    if KEY_PREFIX in ALIKE.sub("", text):  # inside a token, the letters mean nothing
        raise ConfigurationError(_A_KEY)
    return text


def _read(stream: TextIO | None) -> str:
    """The text on standard input, but for its last line end, which every file has."""
    if stream is None:
        raise ConfigurationError("there is no standard input to read a token from")
    if stream.isatty():
        _write(
            sys.stderr,
            "Paste a token, or a Cookie: or Set-Cookie: header, then press Enter and Ctrl-D.\n"
            "A terminal cuts lines at 4,095 characters; give longer ones in a file: clientsession inspect < FILE\n",
        )
    data = stream.buffer.read(_MAX_CHARS * _MAX_CHAR_BYTES + 1)
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # as PowerShell writes a file
    text = data.decode("utf-16" if is_utf16 else "utf-8-sig", "replace")
    return text.removesuffix("\n").removesuffix("\r")


def _write(stream: TextIO | None, text: str) -> str | None:
    """Print; what is in the way where that cannot be, None also where the reader has left."""
    if stream is None or not text:  # it was closed before we began
        return None
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except OSError as error:
        # What is left in its buffer goes nowhere, or the interpreter would complain of it at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return None if isinstance(error, BrokenPipeError) else error.strerror
    return None


# In words


def _date(milliseconds: int) -> datetime:
    return later(_EPOCH, timedelta(milliseconds=milliseconds))


def _moment(milliseconds: int, look: Look) -> str:
    """An instant, and how far it is from now."""
    date, now = _date(milliseconds), _date(look.now)
    return f"{instant(date)} ({until(date, now) if date > now else ago(date, now)})"


def _explanation(token: Description, look: Look) -> str | None:
    """What the reason means and what to look at; None where the token opens."""
    if token.opens:
        return None
    if token.question is None:
        return _why_untried(look)
    if token.question == 1:
        faults = "; ".join(token.faults.values())
        return f"It is not spelt as a token is. It has {faults}. Was it cut, quoted or encoded on its way?"
    if token.question == 2:
        return f"Suite {token.data[0]} is none that this version knows: it is of another library, or of a later version."
    if token.question == 3:
        return _explain_unknown(token, look)
    if token.inside is None:
        return _explain_forged(token, look)
    return _explain_inside(token.inside, token.reason, look)


def _why_untried(look: Look) -> str:
    if look.ring is None:
        return "There are no keys to open it with: give --keys FILE, or set CLIENTSESSION_KEY_FILE or CLIENTSESSION_KEY."
    return "There are keys, but not the name it was sealed for: give --name, the name of the cookie or of the codec."


def _explain_unknown(token: Description, look: Look) -> str:
    ring = [(key.id, SUITES[key.suite], role) for role, key in members(look.ring)]
    has = ", ".join(f"{key_id} ({suite}, {role})" for key_id, suite, role in ring)
    said = f"It names the key {token.key_id} ({SUITES[token.data[0]]}). The ring has {has}."
    if token.key_id in [key_id for key_id, _, _ in ring]:
        return f"{said} That one is of another suite: the first character of the token was changed."
    return f"{said} Was that key dropped too early, or not brought to this server, or is the token of another site?"


def _explain_forged(token: Description, look: Look) -> str:
    said = f"The ring has its key, but the seal does not fit for {_purpose(token, look)}."
    if token.fits_kind is not None:
        return f"{said} It fits for kind {token.fits_kind}: it was sealed {_SEALED[token.fits_kind]}."
    return f"{said} It was changed or cut on its way, or sealed for another name or audience (--audience)."


def _explain_inside(inside: Inside, reason: Reason | None, look: Look) -> str:
    sealed = inside.sealed
    if sealed is None:
        flags = f"{inside.plaintext[:1].hex() or 'none'}, {len(inside.plaintext):,} bytes"
        return (
            f"The seal fits, but what is inside (flags {flags}) is no session: it is too short, or has flags that version 1 does "
            "not have. Its writer is at fault, or of a later version."
        )
    if reason is Reason.FUTURE:
        distance = in_words(_date(sealed.created) - _date(look.now))
        return (
            f"The seal fits, but it was made {distance} from now: compare the clocks of this machine and of the one that made it."
        )
    if reason is Reason.EXPIRED:
        by = "" if inside.ends == sealed.expires else " by --max-duration"
        return f"The seal fits, but it expired{by} {ago(_date(inside.ends), _date(look.now))}."
    if sealed.expires < sealed.created:
        return "The seal fits, but it expires before it was created. Its writer is at fault."
    return (
        f"The seal fits, but the body is no JSON object: {inside.content}. Its writer is at fault, unless the jar has a serializer "
        "of its own, which is not known here."
    )


def _purpose(token: Description, look: Look) -> str:
    """What a token was sealed for, or taken to be."""
    audience = f"audience {safe(look.audience)}" if look.audience else "no audience"
    return f"kind {token.kind or 'cookie, token or header'}, name {safe(token.name or '')}, {audience}"


# As text


def _as_text(tokens: list[Description], ambiguous: list[str], harvest: Harvest, look: Look) -> str:
    """The report for people."""
    lines: list[str] = []
    for token in tokens:
        lines += (_headline(token), *_rows(token, look), "")
    for note in _notes(tokens, ambiguous, harvest, look):
        lines += _wrapped(note)
    return "".join(f"{line}\n" for line in lines[: None if lines[-1] else -1])


def _headline(token: Description) -> str:
    what = {Source.BARE: "Token", Source.COOKIE: "Cookie", Source.SET_COOKIE: "Set-Cookie"}[token.found.source]
    if token.found.name is not None:
        what = f"{what} {safe(token.found.name)}"
    if token.opens:
        return f"{what}: opens"
    return f"{what}: has the form of a token" if token.reason is None else f"{what}: refused ({token.reason})"


def _notes(tokens: list[Description], ambiguous: list[str], harvest: Harvest, look: Look) -> Iterator[str]:
    """What is said once, below all tokens."""
    for name in ambiguous:
        yield (
            f"{name}: ambiguous. Of these cookies a jar takes none, for several of them open, or more than {MAX_CANDIDATES} may. "
            "They are of several paths or domains (former_scopes of a jar removes old ones), or somebody has tossed one."
        )
    if any(token.opens is None for token in tokens):
        yield _why_untried(look)
    if look.max_duration is None and any(token.opens for token in tokens):
        yield "The max_duration of a jar may end a session sooner than this; --max-duration takes it into account."
    if harvest.other_cookies:
        number = "1 cookie was" if harvest.other_cookies == 1 else f"{harvest.other_cookies:,} cookies were"
        why = "not of the form of a token; --name NAME shows one of them all the same" if look.name is None else "of another name"
        yield f"{number} left out: {why}."
    if harvest.left_out_lines and all(token.found.source is Source.BARE for token in tokens):
        number = "1 line was" if harvest.left_out_lines == 1 else f"{harvest.left_out_lines:,} lines were"
        yield f"{number} left out: neither a token nor a header. A token that was broken into lines must be joined."


def _rows(token: Description, look: Look) -> Iterator[str]:
    """The lines of one token."""
    found, inside = token.found, token.inside
    sealed = None if inside is None else inside.sealed
    explanation = _explanation(token, look)
    if explanation is not None and token.reason is not None:
        yield from _wrapped(safe(explanation), "  ")
    if token.data:
        role = "" if token.role is None else f", {token.role}"
        yield from _row("key", f"{token.key_id} ({SUITES.get(token.data[0], 'unknown suite')}{role})")
    if inside is not None:
        yield from _row("sealed for", _purpose(token, look))
    if inside is not None and sealed is not None:
        yield from _row("created", _moment(sealed.created, look))
        yield from _row("expires" if sealed.expires > look.now else "expired", _moment(sealed.expires, look))
        if inside.ends != sealed.expires:
            yield from _row("ends", f"{_moment(inside.ends, look)}, by --max-duration")
        yield from _row("id", "none" if sealed.id is None else sealed.id.hex())
        yield from _row("ephemeral", "yes: the browser drops it when it closes" if sealed.ephemeral else "no")
    unit = "bytes, name and value" if token.kind == "cookie" else "characters"
    left = max(token.limit - len(found.text), 0)
    yield from _row("size", f"{len(found.text) + token.beside:,} of {token.limit + token.beside:,} {unit}; {left:,} left")
    if inside is None and token.plaintext_bytes is not None:
        plaintext, body = token.plaintext_bytes, token.max_body_bytes
        yield from _row(
            "decoded",
            f"{len(token.data):,} bytes; ciphertext {plaintext + TAG_BYTES:,}, plaintext {plaintext:,}, body at most {body:,}",
        )
    yield from _row("spelling", "not canonical" if token.faults else "canonical")
    for what in found.left_out:
        yield from _row("left out", f"{what} around it; a codec that is given that too refuses the token as malformed")
    if found.times > 1:
        yield from _row("times", f"{found.times:,}; a jar takes equal values once")
    for number, attribute in enumerate(found.attributes):
        yield from _row("" if number else "attributes", _attribute(attribute))
    if inside is not None and sealed is not None:
        yield from _body_rows(inside, sealed, token.reason)


def _row(label: str, text: str) -> list[str]:
    first = f"  {label:<{_LABEL}}"
    return _wrapped(text, first, " " * len(first))


def _wrapped(text: str, first: str = "", others: str | None = None) -> list[str]:
    others = first if others is None else others
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )


def _attribute(attribute: str) -> str:
    """An attribute of a Set-Cookie header as it stood, and a Max-Age in words."""
    age = re.fullmatch(rf"max-age[ \t]*=[ \t]*([0-9]{{1,{_MAX_AGE_DIGITS}}})", attribute, re.IGNORECASE)
    if age is None:
        return safe(attribute)
    return f"{attribute} ({in_words(timedelta(seconds=int(age[1])))})"


def _body_rows(inside: Inside, sealed: Sealed, reason: Reason | None) -> Iterator[str]:
    """The body, how large it is, and which keys of it are."""
    body, content = inside.body, inside.content
    said = f"{len(sealed.body):,} bytes"
    if sealed.deflated:
        said = f"{said}, deflated" if body is None else f"{said}, deflated from {len(body):,}"
    if _padding(inside):
        said = f"{said}, of which {_padding(inside):,} spaces after it"
    yield from _row("body", said)
    if isinstance(content, str):
        if reason is not Reason.MALFORMED:
            yield from _row("", safe(f"It is no JSON object: {content}."))
        raw = sealed.body if body is None else body
        yield f"    {raw[:_SHOWN_BODY_BYTES]!r}{'...' if raw[_SHOWN_BODY_BYTES:] else ''}"
        return
    yield from (f"    {line}" for line in dumped(content, string=safe_string).split("\n"))
    if content:
        yield from _row("by key", "bytes of JSON")
        yield from (f"  {size:>10,}  {safe_string(key)}" for key, size in key_bytes(content).items())


def _padding(inside: Inside) -> int | None:
    """How many spaces stand at the end of the body."""
    return None if inside.body is None else len(inside.body) - len(inside.body.rstrip(b" "))


# As JSON


def _as_json(tokens: list[Description], ambiguous: list[str], harvest: Harvest, look: Look) -> str:
    """The report for machines, in ASCII."""
    report = {
        "now": _iso(look.now),
        "tokens": [_fields(token, look) for token in tokens],
        "ambiguous": ambiguous,
        "other_cookies": harvest.other_cookies,
        "left_out_lines": harvest.left_out_lines,
    }
    return f"{dumped(report)}\n"


def _fields(token: Description, look: Look) -> dict[str, Any]:
    """The fields of one token."""
    found, data, plaintext = token.found, token.data, token.plaintext_bytes
    return {
        "source": str(found.source),
        "name": token.name,
        "times": found.times,
        "attributes": list(found.attributes),
        "left_out": list(found.left_out),
        "characters": len(found.text),
        "bytes": len(data) or None,
        "ciphertext_bytes": None if plaintext is None else plaintext + TAG_BYTES,
        "plaintext_bytes": plaintext,
        "max_body_bytes": token.max_body_bytes,
        "suite": data[0] if data else None,
        "suite_name": SUITES.get(data[0]) if data else None,
        "key_id": token.key_id,
        "key_role": None if token.role is None else str(token.role),
        "canonical": not token.faults,
        "faults": [str(fault) for fault in token.faults],
        "opens": token.opens,
        "reason": None if token.reason is None else str(token.reason),
        "question": token.question,
        "explanation": _explanation(token, look),
        "kind": token.kind,
        "fits_kind": token.fits_kind,
        "audience": look.audience,
        **_fields_inside(token.inside),
        "size": len(found.text) + token.beside,
        "size_limit": token.limit + token.beside,
        "size_left": token.limit - len(found.text),
    }


def _fields_inside(inside: Inside | None) -> dict[str, Any]:
    """The fields of what is inside the seal."""
    if inside is None or inside.sealed is None:
        times = ("created", "expires", "ends")
        sizes = ("body_bytes", "inflated_bytes", "padding_bytes")
        return dict.fromkeys((*times, "id", "ephemeral", "deflated", *sizes, "body", "body_problem", "key_bytes"))
    sealed, body, content = inside.sealed, inside.body, inside.content
    return {
        "created": _iso(sealed.created),
        "expires": _iso(sealed.expires),
        "ends": _iso(inside.ends),
        "id": None if sealed.id is None else sealed.id.hex(),
        "ephemeral": sealed.ephemeral,
        "deflated": sealed.deflated,
        "body_bytes": len(sealed.body),
        "inflated_bytes": None if body is None else len(body),
        "padding_bytes": _padding(inside),
        "body": None if isinstance(content, str) else content,
        "body_problem": content if isinstance(content, str) else None,
        "key_bytes": None if isinstance(content, str) else key_bytes(content),
    }


def _iso(milliseconds: int) -> str:
    return f"{_date(milliseconds).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
