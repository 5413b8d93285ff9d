"""Compiles the catalogues of the interface (``locale/*/LC_MESSAGES/*.po``) where they are newer.

``python -m workstation.catalogues``, called at set-up; no gettext package is needed.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALE = Path(__file__).resolve().parent / "locale"


def compile_catalogues(folder: Path = LOCALE) -> list[Path]:
    """The ``.mo`` files that were written. A reader never meets a half-written one."""
    written = []
    for source in sorted(folder.glob("*/LC_MESSAGES/*.po")):
        compiled = source.with_suffix(".mo")
        if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
            continue
        language = source.parent.parent.name
        with source.open("rb") as text:
            catalogue = read_po(text, locale=language, domain=source.stem, abort_invalid=True)
        handle, name = tempfile.mkstemp(dir=source.parent, prefix=".", suffix=".mo")
        with os.fdopen(handle, "wb") as binary:
            write_mo(binary, catalogue)
        os.chmod(name, 0o644)
        os.replace(name, compiled)
        written.append(compiled)
    return written


if __name__ == "__main__":
    compile_catalogues()
