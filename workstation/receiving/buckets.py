"""The archive in a bucket of an S3-compatible store. Loaded only where one is named."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

from storages.backends.s3 import S3Storage

from workstation.receiving.stores import Parcel


class BucketStore(S3Storage):
    """A bucket of an S3-compatible store; uploads carry their SHA-256 for the store to check."""

    shards = tuple("0123456789abcdef")
    """As :attr:`LocalStore.shards`; fewer, because each listing is a request or more."""

    def take(self, files: Iterable[Parcel]) -> None:
        """Upload staged files under their names, unless they are there whole already."""
        for parcel in files:
            if self.exists(parcel.name) and self.size(parcel.name) == parcel.size:
                continue
            with parcel.source.open("rb") as file:
                self.bucket.Object(self._normalize_name(parcel.name)).put(
                    Body=file,
                    ContentLength=parcel.size,
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(parcel.sha256)).decode(),
                )

    def rename(self, name: str, other: str) -> None:
        """As :meth:`LocalStore.rename`: a copy, then a deletion."""
        if not self.exists(name):
            return
        source = {"Bucket": self.bucket.name, "Key": self._normalize_name(name)}
        self.bucket.Object(self._normalize_name(other)).copy(source)
        self.delete(name)

    def names(self, prefix: str = "") -> Iterator[tuple[str, int, float]]:
        """As :meth:`LocalStore.names`."""
        root = f"{self.location.strip('/')}/" if self.location else ""
        for item in self.bucket.objects.filter(Prefix=root + prefix):
            yield item.key.removeprefix(root), item.size, item.last_modified.timestamp()
