"""Draft report text in which every sentence names its finding or the check it stands on."""
