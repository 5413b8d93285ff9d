"""``python -m analysis COMMAND``: see :mod:`analysis.commands` for what all commands promise."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module

from analysis.commands.answering import EXIT_CODES, answer

COMMANDS = {
    "register": "bring one image into the space of another, with a verdict",
    "suv": "the SUV factor of a PET series, or why there is none",
    "run": "analyse the DICOM folders of one patient",
    "serve": "answer step requests of a worker on standard input",
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code.

    Only the module of the command that is asked for is loaded: ``run`` needs the networks, whose
    libraries take seconds and hundreds of megabytes.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="python -m analysis",
        description="Fused analysis of multi-modal radiology from a shell, without web or "
        "database. Each command prints one JSON object. Not for diagnostic use.",
        epilog=f"python -m analysis COMMAND --help explains a command. {EXIT_CODES}",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = words[0] if words else ""
    for name, text in COMMANDS.items():
        options = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}. Not for diagnostic use.",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == asked and name != "serve":
            import_module(f"analysis.commands.{name}").configure(options)
    arguments = parser.parse_args(words)
    if asked == "serve":
        return int(import_module("analysis.serve").serve())
    job = import_module(f"analysis.commands.{asked}").perform
    return answer(asked, partial(job, arguments))


if __name__ == "__main__":
    sys.exit(main())
