"""Person names as people search for them: without case, accents and delimiters."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 400
DELIMITERS = re.compile(r"[\^=\s,.'’-]+")


def name_key(name: str) -> str:
    """Every component of every group of a DICOM PN, folded, between single spaces.

    ``Müller^Anna-Maria`` is kept as `` muller anna maria ``, so that ``" ann"`` finds the
    beginning of a component.
    """
    plain = unicodedata.normalize("NFKD", name.casefold().replace("ß", "ss"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    # Hangul and kana were taken apart with the accents; put them together again.
    plain = unicodedata.normalize("NFC", plain)
    words = [word for word in DELIMITERS.split(plain) if word]
    return f" {' '.join(words)} "[:LONGEST] if words else ""
