"""Digital patients with known truth. See README.md."""
