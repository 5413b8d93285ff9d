"""Coded terms of the exports (DICOM PS3.16, SNOMED CT); what has no code gets a private one."""

from __future__ import annotations

from highdicom.sr import CodedConcept

SCHEME = "99RADFUSE"

LUNG_NODULE = CodedConcept("27925004", "SCT", "Nodule")
LESION = CodedConcept("52988006", "SCT", "Lesion")
BRAIN_LESION = CodedConcept("301766008", "SCT", "Lesion of brain")
MORPHOLOGY = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
LUNG = CodedConcept("39607008", "SCT", "Lung")
BRAIN = CodedConcept("12738006", "SCT", "Brain")
RIGHT = CodedConcept("24028007", "SCT", "Right")
LEFT = CodedConcept("7771000", "SCT", "Left")
VOLUME = CodedConcept("118565006", "SCT", "Volume")
LONG_AXIS = CodedConcept("103339001", "SCT", "Long Axis")
SHORT_AXIS = CodedConcept("103340004", "SCT", "Short Axis")
SUV = CodedConcept("126401", "DCM", "SUVbw")
MAXIMUM = CodedConcept("56851009", "SCT", "Maximum")
MEAN = CodedConcept("373098007", "SCT", "Mean")
PEAK = CodedConcept("126031", "DCM", "Peak Value Within ROI")
LENGTH = CodedConcept("410668003", "SCT", "Length")
AREA = CodedConcept("42798000", "SCT", "Area")
ANGLE = CodedConcept("1483009", "SCT", "Angle")
MINIMUM = CodedConcept("255605001", "SCT", "Minimum")
DEVIATION = CodedConcept("386136009", "SCT", "Standard Deviation")
ATTENUATION = CodedConcept("112031", "DCM", "Attenuation Coefficient")
METABOLIC_VOLUME = CodedConcept("126032", "DCM", "Metabolic Volume")
TOTAL_LESION_GLYCOLYSIS = CodedConcept("126033", "DCM", "Total Lesion Glycolysis")
MARK = CodedConcept("READER_MARK", SCHEME, "Reader's measurement or mark")
NOT_CODED = CodedConcept("NOT_CODED", SCHEME, "Kept in the report, not written as coded values")
PROBABILITY = CodedConcept("122157", "DCM", "Probability")
READER_JUDGEMENT = CodedConcept("READER_JUDGEMENT", SCHEME, "Reader's judgement of AI finding")
ACCEPTED = CodedConcept("ACCEPTED", SCHEME, "Accepted")
EDITED = CodedConcept("EDITED", SCHEME, "Accepted with changes")
FINDING = CodedConcept("121071", "DCM", "Finding")
NO_FINDING = CodedConcept("NO_FINDING", SCHEME, "No finding accepted by the reader")
MILLILITRE = CodedConcept("ml", "UCUM", "milliliter")
SQUARE_MILLIMETRE = CodedConcept("mm2", "UCUM", "square millimeter")
DEGREE = CodedConcept("deg", "UCUM", "degree")
GRAM = CodedConcept("g", "UCUM", "gram")
HOUNSFIELD = CodedConcept("[hnsf'U]", "UCUM", "Hounsfield unit")
MILLIMETRE = CodedConcept("mm", "UCUM", "millimeter")
SUV_UNIT = CodedConcept("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight")
ONE = CodedConcept("1", "UCUM", "no units")
PROCEDURE = CodedConcept("MULTIMODAL_READING", SCHEME, "Reading of fused multi-modal images")


def finding_code(label: str) -> CodedConcept:
    """The nearest standard term for a finding's label."""
    words = label.lower()
    if "nodule" in words:
        return LUNG_NODULE
    if "brain" in words or "glioma" in words or "tumour" in words:
        return BRAIN_LESION
    return LESION


def site_code(label: str, location: str) -> CodedConcept | None:
    """Lung or brain where the words say so; None rather than a guess."""
    words = f"{label} {location}".lower()
    if "lung" in words:
        return LUNG
    if "brain" in words or "hemisphere" in words or ("lobe" in words and "frontal" in words):
        return BRAIN
    return None


def laterality_code(laterality: str) -> CodedConcept | None:
    return {"right": RIGHT, "left": LEFT}.get(laterality)
