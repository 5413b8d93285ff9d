"""Digital patients as correct multi-series DICOM: CT, MR and PET Image Storage.

Every object says that it is synthetic in PatientName, PatientComments and ImageComments. UIDs are
UUID-derived (2.25) from the content, so that writing the same patient twice gives the same
instances and another patient never the same UIDs.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from analysis.contracts import Role
from analysis.geometry import Volume
from analysis.phantoms.model import VERSION, Phantom, PhantomSeries
from analysis.phantoms.protocols import HEADERS, Header

SYNTHETIC = f"SYNTHETIC: made by Radfuse phantoms {VERSION}"
STUDY_DATE = date(2026, 5, 12)
PATIENT_NAME = "SYNTHETIC^Patient"
HALF_LIFE_S = 6586.2
"""F-18."""
UPTAKE_S = 3600
FRAME_S = 180
_NAMESPACE = uuid.UUID("6f0f6dd6-0f0e-5b1c-9a55-8d6b3b5f2b11")


@dataclass(frozen=True)
class Person:
    """Header facts of the patient; drawn from the seed, with no bearing on the images."""

    name: str
    patient_id: str
    sex: str
    age: int
    weight_kg: float
    size_m: float
    dose_bq: float

    @classmethod
    def of(cls, phantom: Phantom, name: str, patient_id: str) -> Person:
        rng = np.random.default_rng([phantom.seed, 3])
        size = float(rng.uniform(1.58, 1.88))
        weight = float(round(rng.uniform(20.5, 29.5) * size**2, 1))
        dose = float(round(weight * rng.uniform(3.4, 4.6)) * 1e6)
        return cls(
            name,
            patient_id,
            str(rng.choice(["F", "M"])),
            int(rng.integers(48, 78)),
            weight,
            round(size, 2),
            dose,
        )


@dataclass(frozen=True)
class Identity:
    """UIDs of one series."""

    study: str
    series: str
    frame: str


def identities(
    phantom: Phantom, patient_id: str, study_date: date = STUDY_DATE, noise_free: bool = False
) -> dict[Role, Identity]:
    """The UIDs that :func:`write_dicom` gives to each series."""
    digest = hashlib.sha256()
    for role in sorted(phantom.series):
        volume = _volume(phantom.series[role], noise_free)
        digest.update(np.ascontiguousarray(volume.array).tobytes())
        digest.update(np.ascontiguousarray(volume.grid.affine).tobytes())
    base = f"{phantom.generator_version}/{phantom.kind}/{phantom.seed}/{patient_id}/{study_date}/"
    base += digest.hexdigest()
    return {
        role: Identity(
            study=_uid(base, "study", HEADERS[phantom.kind, role].study),
            series=_uid(base, "series", role),
            frame=_uid(base, "frame", series.frame),
        )
        for role, series in phantom.series.items()
    }


def write_dicom(
    phantom: Phantom,
    out_dir: Path,
    *,
    patient_name: str = PATIENT_NAME,
    patient_id: str | None = None,
    study_date: date = STUDY_DATE,
    noise_free: bool = False,
) -> tuple[Path, ...]:
    """Write every series below ``out_dir`` as STUDY/SERIES/IM0001.dcm ...; returns the series
    folders, in the order of ``phantom.series``.

    ``noise_free`` writes the noise-free twins. PET of the head is a study of its own. Raises
    ``ValueError`` if the patient's name does not begin with ``SYNTHETIC^``.
    """
    if not patient_name.startswith("SYNTHETIC^"):
        raise ValueError("the name of a digital patient begins with SYNTHETIC^")
    identity = patient_id or default_patient_id(phantom)
    person = Person.of(phantom, patient_name, identity)
    uids = identities(phantom, identity, study_date, noise_free)
    folders = []
    for role, series in phantom.series.items():
        header = HEADERS[phantom.kind, role]
        folder = out_dir / header.study / header.folder
        folder.mkdir(parents=True, exist_ok=True)
        _write_series(phantom, series, header, person, uids[role], study_date, noise_free, folder)
        folders.append(folder)
    return tuple(folders)


def default_patient_id(phantom: Phantom) -> str:
    return f"SYN-{phantom.kind[0].upper()}-{phantom.seed:04d}"


def _volume(series: PhantomSeries, noise_free: bool) -> Volume:
    return series.noise_free if noise_free else series.volume


def _uid(*parts: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(parts)).int}"


def _number(value: float) -> DSfloat:
    return DSfloat(float(value), auto_format=True)


def _write_series(
    phantom: Phantom,
    series: PhantomSeries,
    header: Header,
    person: Person,
    uids: Identity,
    study_date: date,
    noise_free: bool,
    folder: Path,
) -> None:
    volume = _volume(series, noise_free)
    grid = volume.grid
    start = datetime(study_date.year, study_date.month, study_date.day, 9, 30, tzinfo=UTC)
    if header.study == "PET":  # the PET of the head was on the day before
        start -= timedelta(days=1, hours=1)
    ds = _common(phantom, header, person, uids, start)
    ds.BodyPartExamined = "CHEST" if phantom.kind == "thorax" else "HEAD"
    for keyword, value in header.tags.items():
        setattr(ds, keyword, value)
    nz, ny, nx = grid.shape
    dx, dy, dz = grid.spacing
    ds.Rows, ds.Columns = ny, nx
    ds.PixelSpacing = [_number(dy), _number(dx)]
    ds.SliceThickness = _number(dz)
    ds.ImageOrientationPatient = [_number(v) for v in grid.direction[:, :2].T.ravel()]
    if header.modality == "MR":
        ds.SpacingBetweenSlices = _number(dz)
    if header.modality == "PT":
        _pet_frame(ds, person, start + timedelta(minutes=header.minute), nz)
        factor = decayed_dose(person) / (person.weight_kg * 1000)
        values = volume.array.astype(np.float64) * factor
    else:
        values = volume.array.astype(np.float64)
    normal = np.cross(grid.direction[:, 0], grid.direction[:, 1])
    if not np.allclose(normal, grid.direction[:, 2], atol=1e-6):
        raise ValueError("slices must follow one another along the normal of the image plane")
    for k in range(nz):
        position = grid.to_lps([0, 0, k])
        ds.SOPInstanceUID = _uid(uids.series, str(k + 1))
        ds.file_meta.MediaStorageSOPInstanceUID = UID(ds.SOPInstanceUID)
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = [_number(v) for v in position]
        ds.SliceLocation = _number(float(position @ normal))
        if header.modality == "PT":
            ds.ImageIndex = k + 1
        _pixels(ds, values[k], header.modality)
        ds.save_as(folder / f"IM{k + 1:04d}.dcm", enforce_file_format=True)


def _common(
    phantom: Phantom, header: Header, person: Person, uids: Identity, start: datetime
) -> Dataset:
    """Patient, study, series, equipment and frame of reference."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(header.storage)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = header.storage
    ds.PatientName, ds.PatientID = person.name, person.patient_id
    ds.PatientSex, ds.PatientAge = person.sex, f"{person.age:03d}Y"
    ds.PatientBirthDate = f"{start.year - person.age - 1}0701"
    ds.PatientWeight, ds.PatientSize = _number(person.weight_kg), _number(person.size_m)
    ds.PatientComments = ds.ImageComments = SYNTHETIC
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uids.study, uids.series
    ds.StudyID = f"{phantom.seed:d}"
    ds.AccessionNumber = f"{person.patient_id}-{header.study}"[:16]
    ds.StudyDescription, ds.ReferringPhysicianName = header.study_description, ""
    ds.Modality, ds.SeriesNumber = header.modality, header.number
    ds.SeriesDescription = ds.ProtocolName = header.description
    if header.modality != "PT":  # PET says it by codes, and may then not say it here
        ds.PatientPosition = "HFS"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uids.frame, ""
    ds.Manufacturer, ds.ManufacturerModelName = "Radfuse", "Digital patient"
    ds.SoftwareVersions, ds.DeviceSerialNumber = phantom.generator_version, "0"
    ds.InstitutionName = "Radfuse synthetic"
    ds.StudyDate, ds.StudyTime = _date(start), _time(start)
    moment = start + timedelta(minutes=header.minute)
    for what in ("Series", "Acquisition", "Content"):
        setattr(ds, f"{what}Date", _date(moment))
        setattr(ds, f"{what}Time", _time(moment))
    ds.AcquisitionNumber = 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 1
    return ds


def _date(moment: datetime) -> str:
    return moment.strftime("%Y%m%d")


def _time(moment: datetime) -> str:
    return moment.strftime("%H%M%S")


def decayed_dose(person: Person) -> float:
    """Bq left at the start of the scan, to which DecayCorrection START refers."""
    return float(person.dose_bq * 2 ** (-UPTAKE_S / HALF_LIFE_S))


def _pet_frame(ds: Dataset, person: Person, start: datetime, slices: int) -> None:
    """Isotope, timing and decay of a static PET acquisition of one frame."""
    decay = np.log(2) / HALF_LIFE_S
    lost = decay * FRAME_S / (1 - np.exp(-decay * FRAME_S))
    injection = start - timedelta(seconds=UPTAKE_S)
    drug = Dataset()
    drug.Radiopharmaceutical = "Fluorodeoxyglucose F^18^"
    drug.RadiopharmaceuticalVolume = _number(2.5)
    drug.RadionuclideTotalDose = _number(person.dose_bq)
    drug.RadionuclideHalfLife = _number(HALF_LIFE_S)
    drug.RadionuclidePositronFraction = _number(0.967)
    drug.RadiopharmaceuticalStartTime = _time(injection)
    drug.RadiopharmaceuticalStartDateTime = _date(injection) + _time(injection)
    drug.RadionuclideCodeSequence = Sequence([_code("77004003", "SCT", "^18^Fluorine")])
    drug.RadiopharmaceuticalCodeSequence = Sequence(
        [_code("35321007", "SCT", "Fluorodeoxyglucose F^18^")]
    )
    drug.AdministrationRouteCodeSequence = Sequence([_code("47625008", "SCT", "Intravenous route")])
    ds.RadiopharmaceuticalInformationSequence = Sequence([drug])
    ds.PatientOrientationCodeSequence = Sequence([_code("102538003", "SCT", "recumbent")])
    ds.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = Sequence(
        [_code("40199007", "SCT", "supine")]
    )
    ds.PatientGantryRelationshipCodeSequence = Sequence([_code("102540008", "SCT", "headfirst")])
    ds.NumberOfSlices = slices
    ds.ActualFrameDuration = FRAME_S * 1000
    ds.FrameReferenceTime = _number(np.log(lost) / decay * 1000)
    ds.DecayFactor = _number(lost)
    ds.ScatterFractionFactor = _number(0.3)
    ds.RescaleIntercept = 0


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def _pixels(ds: Dataset, values: npt.NDArray[np.float64], modality: str) -> None:
    """One slice as signed 16-bit integers, with the rescale that gives the values back."""
    if modality == "PT":
        # A slope for every slice, as scanners do: the hottest voxel uses the full range. The
        # slope is rounded to what its decimal string can hold before the division.
        slope = _number(max(float(values.max()), 1.0) / 32767)
        ds.RescaleSlope = slope
        stored = np.rint(values / float(str(slope)))
    elif modality == "CT":
        ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
        stored = np.rint(values + 1024)
    else:
        stored = np.rint(values)
    clipped = np.clip(stored, -32768, 32767).astype("<i2")
    ds.PixelData = clipped.tobytes()
