"""What the listener takes: every class and syntax byte for byte, and from whom."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.filereader import read_file_meta_info
from pynetdicom.sop_class import CTImageStorage

from tests.conftest import need
from tests.receiving.listening import EXPLICIT, associate
from tests.receiving.objects import ct
from tests.receiving.test_listener import readable
from workstation.receiving.listener import Listener
from workstation.receiving.models import Instance, RemoteNode, UnknownCaller
from workstation.receiving.network import admitting
from workstation.receiving.storage import path_of

pytestmark = pytest.mark.django_db(transaction=True)
SYNTAXES = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108",
)  # fmt: skip



def without_meta(path: Path) -> str:
    """SHA-256 of everything behind the file meta group."""
    data = path.read_bytes()
    meta = read_file_meta_info(path)
    length = 132 + 12 + meta.FileMetaInformationGroupLength
    return hashlib.sha256(data[length:]).hexdigest()


def test_every_transfer_syntax_is_accepted_and_kept_as_proposed(listener: Listener) -> None:
    for syntax in SYNTAXES:
        association = associate(listener.port, (CTImageStorage, syntax))
        [context] = association.accepted_contexts
        assert context.transfer_syntax == [syntax]
        association.release()


def test_private_and_newer_storage_classes_are_stored_and_queries_not_accepted(
    listener: Listener,
) -> None:
    private, newer = "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.999999"
    find = "1.2.840.10008.5.1.4.1.2.2.1"
    association = associate(
        listener.port, (private, EXPLICIT), (newer, EXPLICIT), (find, EXPLICIT)
    )
    assert {str(cx.abstract_syntax) for cx in association.accepted_contexts} == {private, newer}
    for number, sop_class in enumerate((private, newer)):
        data = readable(ct(number, SOPClassUID=sop_class))
        assert association.send_c_store(data).Status == 0x0000
    association.release()
    assert set(Instance.objects.values_list("sop_class_uid", flat=True)) == {private, newer}


@pytest.mark.peer
def test_dcmtk_sends_real_files_of_many_syntaxes_byte_for_byte(
    listener: Listener, real_data: Path
) -> None:
    proposals = {
        "1.2.840.10008.1.2": "-xi", "1.2.840.10008.1.2.1": "-xe", "1.2.840.10008.1.2.2": "-xb",
        "1.2.840.10008.1.2.5": "-xr", "1.2.840.10008.1.2.4.70": "-xs",
        "1.2.840.10008.1.2.4.80": "-xt", "1.2.840.10008.1.2.4.90": "-xv",
    }  # fmt: skip
    folder = real_data / "dicom-variety" / "transfer_syntaxes_identical_pixels"
    files = sorted(folder.glob("*.dcm"))
    for file in files:
        syntax = str(read_file_meta_info(file).TransferSyntaxUID)
        command = [need("storescu"), "-aet", "SCANNER", proposals[syntax], "127.0.0.1"]
        subprocess.run([*command, str(listener.port), str(file)], timeout=60, check=True)
    assert Instance.objects.count() == len(files) >= 9
    for row in Instance.objects.all():
        meta = read_file_meta_info(path_of(row.sha256))
        assert meta.TransferSyntaxUID == row.transfer_syntax_uid
    # DCMTK writes data sets of these files anew while it sends them; their pixels are untouched.
    for file in files:
        sent = pydicom.dcmread(file)
        row = Instance.objects.get(sop_instance_uid=sent.SOPInstanceUID)
        assert row.transfer_syntax_uid == sent.file_meta.TransferSyntaxUID
        assert pydicom.dcmread(path_of(row.sha256)).PixelData == sent.PixelData


def test_the_bytes_on_the_wire_are_the_bytes_in_the_archive(
    listener: Listener, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pynetdicom sends a file in pieces as it is; nothing is decoded on either side."""
    folder = real_data / "dicom-variety" / "transfer_syntaxes_identical_pixels"
    monkeypatch.setattr("pynetdicom._config.STORE_SEND_CHUNKED_DATASET", True)
    for file in sorted(folder.glob("*.dcm")):
        meta = read_file_meta_info(file)
        association = associate(
            listener.port, (meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
        )
        assert association.send_c_store(file).Status == 0x0000
        association.release()
        row = Instance.objects.get(sop_instance_uid=meta.MediaStorageSOPInstanceUID)
        assert without_meta(path_of(row.sha256)) == without_meta(file)


# --- who may call ---------------------------------------------------------------------------------


def test_refused_callers_are_listed_and_nodes_that_called_have_a_time(
    listener: Listener, node: RemoteNode
) -> None:
    for _ in range(3):
        assert associate(listener.port, title="STRANGER").is_rejected
    row = UnknownCaller.objects.get()
    assert (row.ae_title, row.address, row.count) == ("STRANGER", "127.0.0.1", 1)
    assert row.reason == "AE title not known"
    for _ in range(2):
        associate(listener.port).release()
    node.refresh_from_db()
    assert node.last_seen_at is not None


def test_a_node_may_be_held_to_its_address(listener: Listener, node: RemoteNode) -> None:
    node.only_from_host, node.host = True, "192.0.2.7"
    node.save()
    assert associate(listener.port).is_rejected
    assert UnknownCaller.objects.get().reason == "calls from another address"
    node.host = "localhost"
    node.save()
    association = associate(listener.port)
    assert association.is_established
    association.release()


def test_a_node_that_is_switched_off_stops_sending(
    listener: Listener, node: RemoteNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admitting, "NOTE_SECONDS", 0.0)
    association = associate(listener.port)
    assert association.send_c_store(readable(ct(1))).Status == 0x0000
    RemoteNode.objects.update(active=False)
    assert association.send_c_store(readable(ct(2))).Status == 0x0110
    association.release()
    assert Instance.objects.count() == 1
