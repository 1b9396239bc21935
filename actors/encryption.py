"""A payload codec that encrypts, with a key for each stream and each instance.

`Runtime(path, shop, codec=AesGcm(SqliteKeys("var/keys.sqlite")))`. Who forgets a key makes all that
was encrypted with it unreadable, wherever copies of it are. Needs `procession[encryption]`.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .errors import MissingExtra
from .store import ForgottenKey, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from .store import PayloadCodec

__all__ = ["AesGcm", "Key", "KeyStore", "SqliteKeys"]

ID_BYTES, KEY_BYTES, NONCE_BYTES = 16, 32, 12

CACHED = 10_000
"""Keys that are kept in memory, at most."""

PATIENCE = 30.0
"""Seconds to wait for another process that writes to the file of keys."""


class Key(NamedTuple):
    """A key of one subject.

    Attributes:
        id: of the key, 16 bytes, which stand in front of what it encrypts
        secret: 32 bytes

    """

    id: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.id.hex()})"


class KeyStore(Protocol):
    """Where keys are: a file, or a service that manages keys. Calls may come from any thread."""

    @property
    def name(self) -> str:
        """The same for as long as the keys are; a store is opened with these keys only."""
        ...

    def keys_for(self, subjects: Collection[str]) -> Mapping[str, Key]:
        """A key of each subject; one that has none gets a random one, durably."""
        ...

    def secret(self, key_id: bytes) -> bytes | None:
        """The 32 bytes of a key; None if there was never such a key.

        Raises:
            ForgottenKey: it was forgotten

        """
        ...

    def forget(self, subject: str, time: int) -> None:
        """Remove the key of a subject for good, and keep that it was.

        Args:
            subject: which
            time: in microseconds

        """
        ...


class AesGcm:
    """Encrypts with AES-256-GCM. Satisfies `PayloadCodec`.

    Args:
        keys: where the keys are

    Raises:
        MissingExtra: `cryptography` is not installed

    """

    def __init__(self, keys: KeyStore) -> None:
        try:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - of an extra
            from cryptography.hazmat.primitives.ciphers import aead  # noqa: PLC0415 - as above
        except ImportError as error:
            raise MissingExtra("Encryption", "encryption") from error
        self._cipher: Any = aead.AESGCM
        self._invalid: type[Exception] = InvalidTag
        self._keys = keys
        self._name = f"aes-256-gcm {keys.name}"
        # Asked for at each row: by subject the key and its cipher, and by the key's id its cipher.
        self._of_subjects: dict[str, tuple[bytes, Any]] = {}
        self._by_id: dict[bytes, Any] = {}

    def __repr__(self) -> str:
        return f"<AesGcm {self._name}>"

    def __reduce__(self) -> tuple[type[AesGcm], tuple[KeyStore]]:
        # To another process it goes without the keys that are in memory.
        return AesGcm, (self._keys,)

    @property
    def name(self) -> str:
        """Of the method, and of the keys."""
        return self._name

    def prepare(self, subjects: Collection[str]) -> None:
        """Have a durable key for each subject."""
        # What is forgotten meanwhile is not remembered: the keys that are known then are others.
        known = self._of_subjects
        unknown = [subject for subject in subjects if subject not in known]
        if not unknown:
            return
        if len(known) > CACHED:
            known = self._of_subjects = {}
            unknown = list(subjects)
        for subject, key in self._keys.keys_for(unknown).items():
            known[subject] = key.id, self._cipher(key.secret)

    def encode(self, data: bytes, subject: str) -> bytes:
        """The id of the subject's key, a random number, and what was encrypted."""
        known = self._of_subjects.get(subject)
        while known is None:
            # It was forgotten meanwhile.
            self.prepare([subject])
            known = self._of_subjects.get(subject)
        key_id, cipher = known
        nonce = os.urandom(NONCE_BYTES)
        encrypted: bytes = cipher.encrypt(nonce, data, key_id)
        return key_id + nonce + encrypted

    def decode(self, data: bytes) -> bytes:
        """What was encrypted.

        Raises:
            ForgottenKey: the key was forgotten
            ValueError: the key is not in the key store, or the bytes were changed

        """
        key_id, rest = data[:ID_BYTES], data[ID_BYTES:]
        cipher = self._by_id.get(key_id)
        if cipher is None:
            secret = self._keys.secret(key_id)
            if secret is None:
                raise ValueError(f"{self._keys!r} has no key {key_id.hex()}")
            if len(self._by_id) > CACHED:
                self._by_id.clear()
            cipher = self._by_id[key_id] = self._cipher(secret)
        try:
            decrypted: bytes = cipher.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], key_id)
        except self._invalid as error:
            raise ValueError("what was encrypted was changed") from error
        return decrypted

    def forget(self, subject: str, time: int) -> None:
        """Remove the key of a subject for good."""
        self._keys.forget(subject, time)
        self.look_again()

    def look_again(self) -> None:
        """Ask for all keys anew: another process may have removed some."""
        self._of_subjects = {}
        self._by_id = {}


_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS keys (
    id BLOB PRIMARY KEY, subject TEXT NOT NULL, secret BLOB, forgotten INTEGER
);
CREATE UNIQUE INDEX IF NOT EXISTS one_key ON keys (subject) WHERE secret IS NOT NULL;
"""


class SqliteKeys:
    """Keys in a file of SQLite, which only its owner may read. Satisfies `KeyStore`.

    What is removed is written over in the file. Several processes may use it.

    Args:
        path: the file; made when it is missing. Not in the store's folder, whose copies would have
            the keys beside what they encrypt

    Raises:
        StoreError: it is no file of keys, or the disk refused

    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # The process may change its folder.
        self._path = Path(path).absolute()
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise self._refused(error) from error
        with self._opened() as connection:
            # Two statements of one script are one transaction only if it says so.
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
            connection.execute(
                "INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT * FROM about)",
                (secrets.token_hex(ID_BYTES),),
            )
            (self._name,) = connection.execute("SELECT name FROM about").fetchone()

    def __repr__(self) -> str:
        return f"<SqliteKeys at {self._path}>"

    @property
    def name(self) -> str:
        """Random, and made with the file."""
        name: str = self._name
        return name

    def keys_for(self, subjects: Collection[str]) -> Mapping[str, Key]:
        """A key of each subject; those that are new are made in one transaction.

        Raises:
            StoreError: the file cannot be read or written

        """
        found: dict[str, Key] = {}
        ask = "SELECT id, secret FROM keys WHERE subject = ? AND secret IS NOT NULL"
        with self._opened() as connection:
            for subject in subjects:
                row = connection.execute(ask, (subject,)).fetchone()
                if row is not None:
                    found[subject] = Key(*row)
            missing = [subject for subject in subjects if subject not in found]
            if missing:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "INSERT OR IGNORE INTO keys VALUES (?, ?, ?, NULL)",
                    [
                        (secrets.token_bytes(ID_BYTES), subject, secrets.token_bytes(KEY_BYTES))
                        for subject in missing
                    ],
                )
                for subject in missing:
                    found[subject] = Key(*connection.execute(ask, (subject,)).fetchone())
                connection.execute("COMMIT")
        return found

    def secret(self, key_id: bytes) -> bytes | None:
        """The 32 bytes of a key; None if there was never such a key.

        Raises:
            ForgottenKey: it was forgotten
            StoreError: the file cannot be read

        """
        with self._opened() as connection:
            row = connection.execute(
                "SELECT secret, forgotten FROM keys WHERE id = ?", (key_id,)
            ).fetchone()
        if row is None:
            return None
        secret, forgotten = row
        if secret is None:
            raise ForgottenKey(forgotten)
        return bytes(secret)

    def forget(self, subject: str, time: int) -> None:
        """Remove the key of a subject for good, and keep that it was.

        Raises:
            StoreError: the file cannot be written

        """
        with self._opened() as connection:
            connection.execute(
                "UPDATE keys SET secret = NULL, forgotten = ? "
                "WHERE subject = ? AND secret IS NOT NULL",
                (time, subject),
            )

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        # One for each use: a lock of ours could be held by the thread that a signal interrupts.
        try:
            with closing(
                sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
            ) as connection:
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("PRAGMA synchronous = EXTRA")
                yield connection
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> StoreError:
        return StoreError(f"the file of keys at {self._path} cannot be used: {error}")


if TYPE_CHECKING:
    _is_a_codec: Callable[[KeyStore], PayloadCodec] = AesGcm
    _is_a_key_store: Callable[[str], KeyStore] = SqliteKeys
