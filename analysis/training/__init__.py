"""Scripts that train the shipped model bundles on synthetic patients. See README.md."""
