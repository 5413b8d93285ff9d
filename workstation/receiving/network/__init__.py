"""DICOM network services: what we answer, and what we ask of other applications."""
