"""What an SUV is computed from: the header's value where it can be used, else one that a person
entered, else a refusal. Nothing is guessed, and nothing entered replaces a usable header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from analysis.contracts import Notice
from analysis.entries import EnteredValue
from analysis.errors import InputRefused
from analysis.suv.body import SHORT_HEIGHT_M, TALL_HEIGHT_M
from analysis.suv.times import number_or_none

MIN_DOSE_BQ = 1e6
"""Less is a dose in kBq, MBq or GBq, not in Bq: tracers are given in MBq."""
MAX_DOSE_BQ = 1e11
MAX_WEIGHT_KG = 500.0

_IN_WORDS: dict[str, tuple[str, str]] = {
    "weight_kg": ("weight", "kg"),
    "dose_mbq": ("injected dose", "MBq"),
    "height_m": ("height", "m"),
    "sex": ("sex", ""),
}


@dataclass(frozen=True)
class Input:
    """One value of the formula and where it comes from."""

    name: str
    value: float | str
    unit: str
    origin: str
    """A DICOM keyword with its tag, or ``entered by ...``."""


@dataclass
class Inputs:
    """The values of one PET series as they are asked for; remembers each with its origin."""

    instances: Sequence[Dataset]
    entered: Sequence[EnteredValue] = ()
    used: dict[str, Input] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)

    def note(self, name: str, value: float | str, unit: str, keyword: str) -> None:
        """Remember a header value under a name."""
        self.used[name] = Input(name, value, unit, origin_of(keyword))

    def weight_kg(self, *, enterable: bool = True) -> float:
        """``enterable`` False: only the header's will do, since the scanner computed with it.
        Raises ``InputRefused`` (``pet_no_weight``, ``pet_slices_disagree``)."""
        weight = self._number(self.instances, "PatientWeight")
        usable = weight is not None and 0 < weight <= MAX_WEIGHT_KG
        if weight is not None and usable:
            return self._header("weight_kg", weight, "kg", "PatientWeight")
        way = "Enter it, or correct" if enterable else "The scanner used its own: correct"
        return self._typed("weight_kg", "kg", enterable) or _refuse(
            "pet_no_weight",
            "The PET has no usable patient weight, so no SUV can be computed. "
            f"{way} PatientWeight (kg) at the scanner or PACS and send the series again.",
        )

    def dose_bq(self) -> float:
        """Raises ``InputRefused`` (``pet_no_dose``, ``pet_dose_unit``, ``pet_slices_disagree``)."""
        dose = self._number(self.drugs, "RadionuclideTotalDose")
        if dose is not None and MIN_DOSE_BQ <= dose <= MAX_DOSE_BQ:
            return self._header("dose_bq", dose, "Bq", "RadionuclideTotalDose", "dose_mbq")
        typed = self._typed("dose_mbq", "MBq", True)
        if typed is not None:
            return 1e6 * typed
        if dose is None or dose <= 0:
            return _refuse(
                "pet_no_dose",
                "The PET has no injected dose, so no SUV can be computed. Enter it, or correct "
                "RadionuclideTotalDose (Bq) and send the series again.",
            )
        return _refuse(
            "pet_dose_unit",
            f"The injected dose reads {dose:g} Bq, which must be kBq, MBq or GBq written in the "
            "wrong unit. Enter it in MBq, or correct RadionuclideTotalDose to Bq and send the "
            "series again.",
        )

    def height_m(self) -> float | None:
        """None where the header has none and nobody entered one. Raises ``InputRefused``
        (``pet_height_unit``: centimetres; ``pet_slices_disagree``)."""
        height = self._number(self.instances, "PatientSize")
        if height is not None and SHORT_HEIGHT_M <= height <= TALL_HEIGHT_M:
            return self._header("height_m", height, "m", "PatientSize")
        typed = self._typed("height_m", "m", True)
        if typed is None and height is not None and height > TALL_HEIGHT_M:
            return _refuse(
                "pet_height_unit",
                f"The patient's height reads {height:g} m, which must be centimetres. Correct "
                "PatientSize to metres, or enter the height.",
            )
        return typed

    def sex(self) -> str:
        """``M``, ``F``, or empty where neither is known."""
        told = {str(ds.get("PatientSex") or "").strip().upper() for ds in self.instances}
        if told in ({"M"}, {"F"}):
            [sex] = told
            self.note("sex", sex, "", "PatientSex")
            self._not_needed("sex", sex)
            return sex
        entry = self._entry("sex")
        if entry is None or entry.value not in ("M", "F"):
            return ""
        self._say(entry, "")
        return str(entry.value)

    @property
    def drugs(self) -> list[Dataset]:
        """The radiopharmaceutical of each slice. Raises ``InputRefused``
        (``pet_several_injections``)."""
        found = []
        for ds in self.instances:
            items = ds.get("RadiopharmaceuticalInformationSequence") or []
            if len(items) > 1:
                raise InputRefused(
                    "pet_several_injections",
                    "The PET names more than one injection, and the standard does not say which "
                    "share of the activity each slice shows: no SUV is computed.",
                )
            found.append(items[0] if items else Dataset())
        return found

    def _number(self, items: Sequence[Dataset], keyword: str) -> float | None:
        values = {number_or_none(ds.get(keyword)) for ds in items}
        if len(values) > 1:
            raise InputRefused(
                "pet_slices_disagree", f"The PET slices disagree about {keyword}: no SUV is given."
            )
        return values.pop()

    def _header(
        self, name: str, value: float, unit: str, keyword: str, entered_as: str = ""
    ) -> float:
        self.note(name, value, unit, keyword)
        self._not_needed(entered_as or name, value if name != "dose_bq" else value / 1e6)
        return value

    def _entry(self, name: str) -> EnteredValue | None:
        return next((e for e in self.entered if e.name == name), None)

    def _typed(self, name: str, unit: str, enterable: bool) -> float | None:
        entry = self._entry(name)
        if entry is None or not enterable:
            return None
        value = number_or_none(entry.value)
        if value is None or value <= 0:
            raise InputRefused("pet_entry", f"The entered {_IN_WORDS[name][0]} is not a number.")
        self._say(entry, unit)
        return value

    def _say(self, entry: EnteredValue, unit: str) -> None:
        if entry.name in self.used:
            return
        self.used[entry.name] = Input(entry.name, entry.value, unit, _by(entry))
        self.notices.append(
            Notice(
                "pet_entered",
                f"SUV stands on the {_spoken(entry)} {_by(entry)}; the header has none that can "
                "be used.",
            )
        )

    def _not_needed(self, name: str, header: float | str) -> None:
        entry = self._entry(name)
        if entry is None or entry.value == header:
            return
        notice = Notice(
            "pet_entry_not_used",
            f"The {_spoken(entry)} {_by(entry)} was not used: the header has a usable value.",
        )
        if notice not in self.notices:
            self.notices.append(notice)

    @property
    def entries_used(self) -> tuple[str, ...]:
        """In words, e.g. ``weight 70 kg entered by A. Reader``; empty if all is the header's."""
        return tuple(
            f"{_spoken(e)} {_by(e)}"
            for e in self.entered
            if e.name in self.used and self.used[e.name].origin == _by(e)
        )


def _by(entry: EnteredValue) -> str:
    return f"entered by {entry.by}" if entry.by else "entered by hand"


def _spoken(entry: EnteredValue) -> str:
    what, unit = _IN_WORDS[entry.name]
    value = entry.value if isinstance(entry.value, str) else f"{entry.value:g}"
    return f"{what} {value} {unit}".strip()


def _refuse(code: str, message: str) -> float:
    raise InputRefused(code, message)


def origin_of(keyword: str) -> str:
    """``PatientWeight`` -> ``PatientWeight (0010,1030)``; anything else as it is."""
    tag = tag_for_keyword(keyword)
    return keyword if tag is None else f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"
