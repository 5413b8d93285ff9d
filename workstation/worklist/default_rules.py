"""The rules a new site starts with; its lead changes them."""

from __future__ import annotations

from typing import Any

CHEST = (
    "chest thorax thorac lung lunge pulmo poumon brust torax torace whole body wholebody "
    "ganzkorper corps entier thigh 胸 肺 全身"
)
HEAD = "head brain skull neuro kopf schadel hirn tete crane cerebr encephal cabeza 头 頭 颅 脑 脳"
HEART = "heart card coronar herz coeur corazon 心 冠"

DEFAULT_RULES: tuple[dict[str, Any], ...] = (
    {
        "name": "Stroke CT", "pathway": "stroke", "body": HEAD, "within_days": 1,
        "anchor": "CT_NATIVE CTP CTA", "companions": "CT_NATIVE CTP CTA",
    },
    {
        "name": "Lung PET/CT", "pathway": "lung", "body": CHEST, "within_days": 60,
        "anchor": "PET", "companions": "CT",
    },
    {
        "name": "Glioma MR/PET", "pathway": "glioma", "body": HEAD, "within_days": 60,
        "anchor": "MR", "companions": "PET",
    },
    {
        "name": "Heart CTA/LGE", "pathway": "heart", "body": HEART, "within_days": 90,
        "anchor": "CTA", "companions": "MR_LGE",
    },
    {"name": "Same patient", "within_days": 60},
)  # fmt: skip
"""In their order; the last is for all studies that no other rule is for."""
