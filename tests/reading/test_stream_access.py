"""Real sockets: access that is withdrawn ends the stream, by whatever way it is withdrawn."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.factories import SiteFactory
from tests.reading.house import House, build
from tests.reading.socket_server import served, sign_in
from workstation.accounts import access
from workstation.accounts.models import Role

pytestmark = pytest.mark.django_db(transaction=True)


class Reader:
    """A browser's end: it says which slices it wants again and again, so that they never end."""

    def __init__(self, house: House, session: SessionStore, socket: ClientConnection) -> None:
        self.house = house
        self.session = session
        self.socket = socket

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def open(self) -> None:
        self.say(type="open", versions=[2], window=2**20, layers=[self.house.ct.pk])
        assert json.loads(self.socket.recv(10)) == {"type": "ready", "version": 2}

    def read_on(self, seconds: float) -> tuple[int, list[float], float]:
        """Stream for so long: close code (0: still open), when frames came, when it closed."""
        again = {str(self.house.ct.pk): {"0": [[0, 3]]}}
        arrivals: list[float] = []
        received = 0
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                try:
                    message = self.socket.recv(0.05)
                except TimeoutError:
                    continue
                if isinstance(message, bytes):
                    arrivals.append(time.monotonic())
                    received += len(message)
                else:
                    time.sleep(0.01)
                    self.say(type="credit", received=received, window=2**20)
                    self.say(type="again", slices=again)
        except ConnectionClosed as closed:
            return (closed.rcvd.code if closed.rcvd else -1), arrivals, time.monotonic()
        return 0, arrivals, end


@pytest.fixture
def house() -> House:
    return build()


Connect = Callable[..., Reader]


@pytest.fixture
def connected(house: House) -> Iterator[Connect]:
    """``connected(path)``: a reader, signed in, on a socket of the product's server."""
    with served() as port, ExitStack() as sockets:

        def make(path: str = f"/ws/cases/{house.case.pk}/slices/") -> Reader:
            session = sign_in(house.reader)
            socket = sockets.enter_context(
                connect(
                    f"ws://127.0.0.1:{port}{path}",
                    additional_headers={"Cookie": f"sessionid={session.session_key}"},
                    origin=f"http://127.0.0.1:{port}",  # type: ignore[arg-type]
                    compression=None,
                    max_queue=None,
                )
            )
            return Reader(house, session, socket)

        yield make


def sign_out(reader: Reader) -> None:
    reader.session.delete()


def deactivate(reader: Reader) -> None:
    reader.house.reader.is_active = False
    reader.house.reader.save()


def new_password(reader: Reader) -> None:
    reader.house.reader.set_password("another long password")
    reader.house.reader.save()


def take_site(reader: Reader) -> None:
    reader.house.reader.sites.remove(reader.house.case.site)


def take_role(reader: Reader) -> None:
    reader.house.reader.role = Role.ADMINISTRATOR
    reader.house.reader.save()


def move_case(reader: Reader) -> None:
    reader.house.case.site = SiteFactory()
    reader.house.case.save()


@pytest.mark.parametrize(
    ("withdraw", "code"),
    [
        (sign_out, 4401), (new_password, 4401), (deactivate, 4403), (take_role, 4403),
        (take_site, 4404), (move_case, 4404),
    ],
)  # fmt: skip
def test_a_stream_ends_when_access_is_withdrawn(
    connected: Connect, withdraw: Callable[[Reader], None], code: int
) -> None:
    reader = connected()
    reader.open()
    found, arrivals, _ = reader.read_on(0.4)
    assert found == 0
    assert len(arrivals) > 8
    withdraw(reader)
    withdrawn = time.monotonic()
    found, arrivals, closed = reader.read_on(10)
    assert found == code
    # A proof is good for a second; after that no frame may leave, however busy the machine is.
    # What left before may still have been on its way: a busy machine delivers late.
    assert all(at - withdrawn < access.PROOF_SECONDS + 1 for at in arrivals)
    assert closed - withdrawn < 5


def test_an_idle_socket_closes_too_and_so_does_the_live_one(connected: Connect) -> None:
    idle, live = connected(), connected("/ws/live/")
    idle.open()
    deactivate(idle)
    for reader in (idle, live):
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                reader.socket.recv(10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403


def test_a_live_socket_whose_sites_change_comes_back_for_them(
    house: House, connected: Connect
) -> None:
    live = connected("/ws/live/")
    live.say(since="?")
    assert "since" in str(live.socket.recv(10))  # so it is through with connecting
    house.reader.sites.add(SiteFactory())
    with pytest.raises(ConnectionClosed) as closed:
        live.socket.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == access.SITES_CHANGED


def test_while_the_database_does_not_answer_nothing_is_sent_and_then_it_goes_on(
    connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = connected()
    reader.open()
    asked = access.verdicts

    def down(grants: Any) -> Any:
        raise DatabaseError

    monkeypatch.setattr(access, "verdicts", down)
    code, arrivals, end = reader.read_on(2.2)
    assert code == 0
    assert arrivals
    assert end - arrivals[-1] > 0.5
    monkeypatch.setattr(access, "verdicts", asked)
    code, arrivals, _ = reader.read_on(1.2)
    assert code == 0
    assert arrivals


def test_one_question_serves_all_readers(house: House, django_assert_num_queries: Any) -> None:
    async def ended(code: int) -> None:
        raise AssertionError(code)

    scope = {"user": house.reader, "session": sign_in(house.reader)}
    grants = [access.Grant(scope, "case.view", ended, row=house.case) for _ in range(5)]
    with django_assert_num_queries(4):
        assert set(access.verdicts(grants).values()) == {0}
