"""The web of Radfuse: people, database, queue, screens. Imports no torch, MONAI or SimpleITK."""
