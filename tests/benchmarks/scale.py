"""1,000,000 instances, 20,000 studies in PostgreSQL: how long the pages and searches take.

``python -m tests.benchmarks.scale`` starts a throw-away PostgreSQL with its default settings,
fills it, and asks each page through Django's test client: middleware, permission, query, template.
Prints p50 and p95 and looks at the plan of every SELECT; ends with 1 if a p95 is over the limit or
a plan reads a large table from end to end.

``--explain`` looks at the plans only, with sequential scans forbidden to the planner where an
index exists, so that a small table tells as much as a large one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.receiving.servers import Postgres

if TYPE_CHECKING:
    from django.test import Client

LIMIT_MS = 100.0
LARGE = ("receiving_instance", "receiving_series", "receiving_study")
QIDO = {"HTTP_ACCEPT": "application/dicom+json"}
Ask = Callable[[random.Random], tuple[str, dict[str, Any]]]


def questions(studies: int) -> dict[str, tuple[Ask, dict[str, str]]]:
    """Name -> (URL and query drawn at random, headers)."""
    cases = studies * 4 // 5

    def patient(draw: random.Random) -> str:
        return f"P{100000 + draw.randint(1, studies * 3 // 5)}"

    def day(draw: random.Random, start: int = 2017) -> str:
        return f"{draw.randint(start, 2025)}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}"

    def name(draw: random.Random) -> str:
        return draw.choice(["muller", "wang", "garcia", "yamada", "rossi", "hansen", "dubois"])

    def page(**query: Any) -> Ask:
        return lambda draw: ("/", {key: _drawn(value, draw) for key, value in query.items()})

    def archive(**query: Any) -> Ask:
        return lambda draw: (
            "/receiving/archive/", {key: _drawn(value, draw) for key, value in query.items()}
        )

    def qido(**query: Any) -> Ask:
        return lambda draw: (
            "/dicomweb/studies", {key: _drawn(value, draw) for key, value in query.items()}
        )

    def months(draw: random.Random) -> str:
        first = day(draw).replace("-", "")
        return f"{first}-{int(first[:4])}1231"

    case: Callable[[random.Random], int] = lambda draw: draw.randint(1, cases)  # noqa: E731
    html: dict[str, tuple[Ask, dict[str, str]]] = {
        "worklist, ready": (page(), {}),
        "worklist, all, page 5": (page(tab="all", page=5), {}),
        "worklist, signed by patient": (page(tab="signed", order="patient"), {}),
        "worklist, search by name": (page(q=name, tab="all"), {}),
        "worklist, search by ID": (page(q=patient, tab="all"), {}),
        "worklist, search by accession": (
            page(q=lambda draw: f"A{500000 + draw.randint(1, studies)}", tab="all"), {}),
        "worklist, PET": (page(modality="PT"), {}),
        "archive, newest": (archive(), {}),
        "archive, page 20": (archive(page=20), {}),
        "archive, name": (archive(patient=name), {}),
        "archive, ID": (archive(patient=patient), {}),
        "archive, accession": (
            archive(accession=lambda draw: f"A{500000 + draw.randint(1, studies)}"), {}),
        "archive, dates and modality": (archive(date_from=day, modality="MR"), {}),
        "archive, description": (archive(description="knee"), {}),
        "archive, conflicts": (archive(conflicts="on"), {}),
        "archive, by patient": (archive(order="patient"), {}),
        "study page": (
            lambda draw: (f"/receiving/archive/studies/{draw.randint(1, studies)}/", {}), {}),
        "case page": (lambda draw: (f"/cases/{case(draw)}/", {}), {}),
        "case view (JSON)": (lambda draw: (f"/api/cases/{case(draw)}/view/", {}), {}),
    }  # fmt: skip
    searches: dict[str, Ask] = {
        "QIDO, limit 50": qido(limit=50),
        "QIDO, offset 2000": qido(limit=50, offset=2000),
        "QIDO, PatientID": qido(PatientID=patient),
        "QIDO, PatientName wildcard": qido(
            PatientName=lambda draw: f"{name(draw).title()}*", limit=50
        ),
        "QIDO, PatientName fuzzy": qido(PatientName=name, fuzzymatching="true", limit=50),
        "QIDO, dates": qido(StudyDate=months, limit=100),
        "QIDO, modality and dates": qido(ModalitiesInStudy="MR", StudyDate=months, limit=100),
        "QIDO, accession": qido(
            AccessionNumber=lambda draw: f"A{500000 + draw.randint(1, studies)}"
        ),
        "QIDO, study UID": qido(
            StudyInstanceUID=lambda draw: f"2.25.1000000{draw.randint(1, studies)}"
        ),
        "QIDO, description": qido(StudyDescription="*Knee*", limit=50),
    }
    return {**html, **{text: (ask, QIDO) for text, ask in searches.items()}}


def _drawn(value: Any, draw: random.Random) -> Any:
    return value(draw) if callable(value) else value


def timed(
    client: Client, ask: Ask, headers: dict[str, str], rounds: int
) -> tuple[list[float], float]:
    """Milliseconds of each request, and processor time of one in this process; what finds nothing
    (another site's case) is drawn again."""
    draw = random.Random(3)
    found: list[float] = []
    processor = 0.0
    for number in range(rounds * 3):
        url, query = ask(draw)
        begun, cpu = time.perf_counter(), time.process_time()
        answer = client.get(url, query, **headers)
        taken, cpu = (time.perf_counter() - begun) * 1000, time.process_time() - cpu
        assert answer.status_code in (200, 204, 404), (url, answer.status_code)
        # The first requests load templates and fill the connection's caches.
        if answer.status_code != 404 and number >= 3:
            found.append(taken)
            processor += cpu * 1000
        if len(found) == rounds:
            break
    assert found, "nothing was found"
    return found, processor / len(found)


def look_at_queries(
    client: Client, ask: Ask, headers: dict[str, str]
) -> tuple[float, int, list[str]]:
    """Milliseconds in SQL, number of queries, and the large tables that a query of this request
    reads by a sequential scan, with the query."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    draw = random.Random(3)
    for _ in range(20):
        url, query = ask(draw)
        with CaptureQueriesContext(connection) as captured:
            status = client.get(url, query, **headers).status_code
        if status != 404:
            break
    bad = []
    with connection.cursor() as cursor:
        for entry in captured.captured_queries:
            if not entry["sql"].lstrip("(").startswith("SELECT"):
                continue
            cursor.execute(f"EXPLAIN (FORMAT JSON) {entry['sql']}")
            [row] = cursor.fetchone()
            plan = row if isinstance(row, list) else json.loads(row)
            for table in _scanned(plan[0]["Plan"]):
                bad.append(f"{table}: {entry['sql']}")
    spent = sum(float(entry["time"]) for entry in captured.captured_queries) * 1000
    return spent, len(captured.captured_queries), bad


def _scanned(plan: dict[str, Any]) -> list[str]:
    found = []
    if plan["Node Type"] == "Seq Scan" and plan.get("Relation Name") in LARGE:
        found.append(str(plan["Relation Name"]))
    for part in plan.get("Plans", []):
        found += _scanned(part)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=20_000)
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--only", default="", help="words of the names to run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="radfuse-scale-") as folder:
        os.chmod(folder, 0o755)  # the server runs as another user
        server = Postgres(Path(folder) / "postgres")
        server.start()
        try:
            return measure(server.url, asked)
        finally:
            server.stop()


def measure(url: str, asked: argparse.Namespace) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "workstation.settings.testing"
    os.environ["RADFUSE_TEST_DATABASE_URL"] = url
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from tests.benchmarks.filling import fill

    logging.disable(logging.WARNING)  # cases of another site are asked for, too: 404
    call_command("migrate", verbosity=0)
    begun = time.monotonic()
    reader = fill(asked.studies, asked.instances)
    print(f"filled in {time.monotonic() - begun:.0f} s: {_sizes()}", flush=True)
    if asked.explain:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
    client = Client(HTTP_HOST="localhost")
    client.force_login(reader, backend="django.contrib.auth.backends.ModelBackend")
    failed = 0
    print(
        f"{'':32s} {'p50 ms':>8s} {'p95 ms':>8s} {'CPU ms':>8s} {'SQL ms':>8s} {'queries':>8s}"
        "  large tables read from end to end"
    )
    for name, (ask, headers) in questions(asked.studies).items():
        if asked.only not in name:
            continue
        times, cpu = ([], 0.0) if asked.explain else timed(client, ask, headers, asked.rounds)
        spent, queries, scans = look_at_queries(client, ask, headers)
        p50 = statistics.median(times) if times else 0.0
        p95 = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else 0.0
        good = p95 < LIMIT_MS and not scans
        failed += not good
        tables = ", ".join(sorted({scan.partition(":")[0] for scan in scans})) or "none"
        mark = "" if good else "   <-- too slow or no index"
        print(
            f"{name:32s} {p50:8.1f} {p95:8.1f} {cpu:8.1f} {spent:8.1f} {queries:8d}"
            f"  {tables}{mark}",
            flush=True,
        )
        for scan in scans if asked.explain or asked.only else []:
            print(f"    {scan[:2000]}", flush=True)
    print(f"load of this machine's {os.cpu_count()} processors: {os.getloadavg()[0]:.1f}")
    connection.close()
    return 1 if failed else 0


def _sizes() -> str:
    from workstation.receiving.models import Instance, Patient, Series, Study
    from workstation.worklist.models import Case

    return ", ".join(
        f"{model.objects.count():,} {model._meta.verbose_name_plural}"
        for model in (Patient, Study, Series, Instance, Case)
    )


if __name__ == "__main__":
    sys.exit(main())
