"""Damaged files end stored or quarantined; nothing dies, nothing hangs, good files are stored.

The long run with 10,000 inputs and more is ``python -m tests.benchmarks.fuzz_receiving``.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import SiteFactory
from tests.receiving.fuzzing import House, count_good, fuzz, lost
from tests.receiving.mutations import EDITS, good_seeds, mutants, seed_of
from tests.receiving.objects import ct, encode, packed, structure_set
from workstation.receiving.files import Receiver
from workstation.receiving.models import Instance, Quarantined
from workstation.receiving.outcomes import Result
from workstation.receiving.services import start_upload

MUTANTS = 300
SEED = 20261122
MADE = {"ct": ct(1), "structures": encode(structure_set())}


def malformed(real_data: Path) -> list[Path]:
    found = sorted((real_data / "dicom-variety" / "malformed").glob("*.dcm"))
    assert len(found) >= 19
    return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("fuzz") / "home")
    yield house
    house.close()


def test_the_mutations_are_the_same_every_time() -> None:
    seeds = good_seeds([], MADE)
    first = [data for _, _, data in mutants(seeds, 200, SEED)]
    assert first == [data for _, _, data in mutants(seeds, 200, SEED)]
    assert len(set(first)) > 180
    assert {kind for kind, _, _ in mutants(seeds, 200, SEED)} == EDITS.keys()


@pytest.mark.timeout(600)
def test_damage_harms_nothing_else(house: House, real_data: Path) -> None:
    small = [
        path for path in (real_data / "dicom-variety").rglob("*")
        if path.is_file() and path.stat().st_size < 40_000 and "malformed" not in path.parts
    ]  # fmt: skip
    seeds = good_seeds(sorted(small), MADE)
    assert len(seeds) > 20
    broken = [seed_of("malformed", path.read_bytes()) for path in malformed(real_data)
              if path.read_bytes()[128:132] == b"DICM"]  # fmt: skip
    sendable = [seed for seed in broken if seed.sop_class and seed.syntax]
    whole = [("malformed", seed, seed.data) for seed in sendable]
    inputs = [*whole, *mutants(seeds, MUTANTS, SEED)]
    found = fuzz(house, inputs, [*seeds, *sendable])
    assert sum(found.table.values()) == 2 * len(inputs)
    assert count_good(house) == found.good > 20
    kinds = {(kind, what) for _, kind, what in found.table}
    assert {"stored", "quarantined", "refused"} <= {what for _, what in kinds}
    unsent = sum(n for (_, _, what), n in found.table.items() if what == "not negotiated")
    assert unsent < len(inputs) // 20
    assert lost(house, found) == 0
    house.garbage(random.Random(SEED).randbytes(size) for size in (1, 6, 74, 300, 5000) * 4)
    house.check_alive()
    assert "Traceback" not in house.listener.said
    assert house.listener.manage("verify_archive", check=False).returncode == 0


def test_each_malformed_file_by_stow(house: House, real_data: Path) -> None:
    """As it lies on the disk, also those without a readable beginning."""
    before = int(house.listener.ask("Quarantined.objects.count() + Instance.objects.count()"))
    paths = malformed(real_data)
    answers = {path.name: house.web.send(path.read_bytes()) for path in paths}
    assert set(answers.values()) <= {"stored", "refused"}, answers
    house.check_alive()
    after = int(house.listener.ask("Quarantined.objects.count() + Instance.objects.count()"))
    assert after >= before


@pytest.mark.django_db
def test_each_malformed_file_by_upload(real_data: Path) -> None:
    receiver = Receiver(site := SiteFactory(), start_upload(site, None))
    for path in malformed(real_data):
        with path.open("rb") as file:
            [received] = receiver.take(file, path.name)
        assert received.outcome.result in (Result.STORED, Result.QUARANTINED, Result.REPEATED)
        assert received.outcome.result is not Result.QUARANTINED or received.outcome.code
    assert Instance.objects.count() + Quarantined.objects.count() == len(malformed(real_data))


@pytest.mark.django_db
def test_damaged_zips_are_refused_and_not_raised() -> None:
    """A ZIP damaged anywhere: refused whole or by entry, never an error."""
    rng = random.Random(SEED)
    receiver = Receiver(site := SiteFactory(), start_upload(site, None))
    good = packed({f"cd/{n}": ct(n) for n in (1, 2, 3)})
    for number in range(250):
        data = bytearray(good)
        for _ in range(rng.choice((1, 2, 6))):
            at = rng.randrange(4, len(data))
            data[at] = rng.randrange(256)
        if number % 5 == 0:
            del data[rng.randrange(10, len(data)) :]
        for item in receiver.take(io.BytesIO(bytes(data)), f"{number}.zip"):
            assert item.outcome.result in Result
