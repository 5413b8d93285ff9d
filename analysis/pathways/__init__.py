"""Which pathway a case takes, which series is its reference, which series feed the network."""
