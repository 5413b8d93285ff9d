"""De-identification by the Basic Profile of DICOM PS3.15 annex E with options; see README.md."""
