"""The science of Radfuse: arrays, models, rules. Knows no web, no database, no queue."""
