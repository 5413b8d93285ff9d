"""Which part of the body a study shows: coarse regions, from BodyPartExamined or from words.

BodyPartExamined (0018,0015) is optional, free of checks in practice, and often the protocol's
default; so its values are mapped to few regions, and descriptions are read only where it is empty.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

WHOLE = "whole body"
PARTS: dict[str, frozenset[str]] = {
    code: frozenset(regions.split())
    for regions, codes in {
        "head": "HEAD BRAIN SKULL ORBIT EYE SINUS PARANASAL FACE JAW EAR IAC PITUITARY",
        "neck": "NECK THYROID CAROTID LARYNX PHARYNX",
        "head neck": "HEADNECK HEADANDNECK",
        "chest": "CHEST THORAX LUNG LUNGS BREAST MEDIASTINUM RIB STERNUM PULMONARYARTERY",
        "heart": "HEART CARDIAC CORONARY CORONARYARTERY",
        "abdomen": "ABDOMEN LIVER KIDNEY PANCREAS SPLEEN BOWEL COLON STOMACH ADRENAL GALLBLADDER",
        "pelvis": "PELVIS PROSTATE BLADDER UTERUS OVARY RECTUM HIP SACRUM",
        "abdomen pelvis": "ABDOMENPELVIS ABDPELVIS ABDOMENANDPELVIS",
        "chest abdomen": "CHESTABDOMEN",
        "chest abdomen pelvis": "CHESTABDPELVIS CHESTABDOMENPELVIS TAP CAP TRUNK",
        "neck chest abdomen pelvis": "NECKCHESTABDPELV",
        "neck chest": "NECKCHEST",
        "neck chest abdomen": "NECKCHESTABDOMEN",
        "spine": "SPINE CSPINE TSPINE LSPINE TLSPINE LSSPINE WSPINE CTSPINE",
        "arm": "SHOULDER CLAVICLE SCAPULA HUMERUS ARM ELBOW FOREARM WRIST HAND FINGER",
        "leg": "FEMUR THIGH KNEE LEG CALF TIBIA ANKLE FOOT TOE",
        WHOLE.replace(" ", "_"): "WHOLEBODY WB",
    }.items()
    for code in codes.split()
}
WORDS: dict[str, str] = {
    "head": r"\b(head|brain|skull|orbit\w*|sinus\w*|kopf|schadel\w*|hirn|gehirn|crane|cerebr\w*|"
    r"encephal\w*|tete|neuro\w*|cranial|craneo|cerebro)\b|头|颅|脑|頭|顱|腦",
    "neck": r"\b(neck|thyroid|hals|schilddruse|cou|cervical soft tissue)\b|颈部|甲状腺|頸部",
    "chest": r"\b(chest|thora\w*|lung\w*|pulmon\w*|poumon\w*|poitrine|brust\w*|torax|breast)\b"
    r"|胸|肺",
    "heart": r"\b(heart|cardiac|cardio|coronary|herz|coeur|coronar\w*|cmr)\b|心脏|冠脉|心臟",
    "abdomen": r"\b(abd|abdo\w*|liver|kidney\w*|pancrea\w*|oberbauch|bauch|leber|niere\w*|foie|"
    r"hepa\w*|higado|rein\w*)\b|腹|肝|肾|腎|胰",
    "pelvis": r"\b(pelvi\w*|becken|prosta\w*|bassin|hip|hufte|hanche|uter\w*|rectum|rektum)\b"
    r"|盆|前列腺|髋",
    "spine": r"\b(\w*spine|spinal|wirbel\w*|[hbl]ws|rachis|colonne|columna|lumbar|lumbaire)\b"
    r"|脊柱|颈椎|胸椎|腰椎|脊椎",
    "arm": r"\b(shoulder|elbow|wrist|hand|schulter|ellenbogen|handgelenk|epaule|coude|poignet|"
    r"main|hombro)\b|肩|肘|腕关节|手",
    "leg": r"\b(knee|ankle|foot|leg|femur|knie|sprunggelenk|fuss|bein|genou|cheville|pied|jambe|"
    r"rodilla)\b|膝|踝|足|下肢",
    WHOLE: r"\b(whole ?body|wholebody|wb|ganzkorper|corps entier|skull base to|"
    r"eyes to thigh\w*|vertex to)\b|全身",
}
PATTERNS = {region: re.compile(words) for region, words in WORDS.items()}


def regions_of(body_parts: Iterable[str], descriptions: Iterable[str]) -> frozenset[str]:
    """The regions that body part codes name, else those that descriptions name; empty: unknown."""
    found: set[str] = set()
    for part in body_parts:
        code = re.sub(r"[^A-Z]", "", part.upper())
        found |= {one.replace("_", " ") for one in PARTS.get(code, ())}
    if found:
        return frozenset(found)
    for text in descriptions:
        plain = _plain(text)
        found |= {region for region, pattern in PATTERNS.items() if pattern.search(plain)}
    return frozenset(found)


def overlap(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two studies show some of the same; the whole body shows everything."""
    return bool(one & other) or WHOLE in one or WHOLE in other


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKD", text.casefold().replace("_", " "))
    return "".join(letter for letter in text if not unicodedata.combining(letter))
