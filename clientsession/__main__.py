"""The ``clientsession`` command: keys and their file, a look into a token, the demo shop.

It knows the command line; what a command does stands in ``clientsession.commands``, and the shop in ``clientsession.demo``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from clientsession import Key, __version__
from clientsession.commands import inspect, keys
from clientsession.commands._parser import SUITES, Parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments; by default those of the process.

    Returns:
        The exit code. Bad options and ``--help`` end in ``SystemExit``, as ``argparse`` has it.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    code: int = options.run(options)
    return code


def _keygen(options: argparse.Namespace) -> int:
    print(Key.generate(SUITES[options.suite]).export())
    return 0


def _demo(options: argparse.Namespace) -> int:
    from clientsession.demo import serve  # noqa: PLC0415 - it brings WebOb and a server, which the others have no use for

    return serve(options.host, options.port)


def _parser() -> argparse.ArgumentParser:
    about = "Encrypted sessions that live in the client's cookie."
    parser: argparse.ArgumentParser = Parser(prog="clientsession", description=about)
    parser.add_argument("--version", action="version", version=f"clientsession {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="command")
    keygen = commands.add_parser("keygen", help="print a new key", description="Print a new key, for CLIENTSESSION_KEY.")
    keygen.add_argument(
        "--suite", choices=list(SUITES), default=next(iter(SUITES)), help="the cipher it is for (default: %(default)s)"
    )
    keygen.set_defaults(run=_keygen)
    keys.add_parser(commands)
    inspect.add_parser(commands)
    demo = commands.add_parser(
        "demo", help="open a demo shop in the browser", description="Serve a small shop that shows both sides of its cookies."
    )
    demo.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s, this computer only)")
    demo.add_argument("--port", type=_port, default=8000, help="0 to 65535, 0 for a free one (default: %(default)s)")
    demo.set_defaults(run=_demo)
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not from 0 to 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
