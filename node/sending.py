"""The C-STORE SCU: results of a study to one destination, over one association."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from .contexts import UNCOMPRESSED
from .peers import Destination
from .settings import Settings, StowSettings
from .tls import client_context

_STOW = "STOW"


class UnreachableError(Exception):
    """Nothing can be sent there now: it is down, or refuses the association."""


class RefusedError(Exception):
    """The destination is there, and does not take a result."""


class Target(Protocol):
    """Where results go."""

    @property
    def mark(self) -> str:
        """The name of the file that says that a study's results have arrived there."""

    def send(self, files: Sequence[Path]) -> None:
        """Send all of a study. Raises UnreachableError, RefusedError."""


class StoreTarget:
    """A C-STORE SCP."""

    def __init__(self, destination: Destination, settings: Settings) -> None:
        self._destination, self._settings = destination, settings

    def __str__(self) -> str:
        return self._destination.aet

    @property
    def mark(self) -> str:
        """``sent.<AET>``; a title may hold a slash."""
        return f"sent.{self._destination.aet.replace('/', '%2F')}"

    def send(self, files: Sequence[Path]) -> None:
        """Each with status success or a warning. Raises UnreachableError, RefusedError."""
        from pydicom import dcmread
        from pynetdicom import AE

        entity = AE(self._settings.aet)
        heads = [
            dcmread(file, stop_before_pixels=True, specific_tags=[]).file_meta for file in files
        ]
        wanted: dict[tuple[str, str], None] = {}
        for meta in heads:
            sop_class, syntax = str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
            wanted |= dict.fromkeys((sop_class, one) for one in (syntax, *UNCOMPRESSED))
        for sop_class, syntax in wanted:  # a context each, so that the choice is ours
            entity.add_requested_context(sop_class, syntax)
        with requested(entity, self._destination, self._settings) as association:
            if association is None:
                raise UnreachableError("no association")
            for file in files:
                self._send_one(association, dcmread(file))

    def _send_one(self, association: Any, dataset: Any) -> None:
        sop_class = dataset.SOPClassUID
        accepted = {
            str(context.transfer_syntax[0])
            for context in association.accepted_contexts
            if context.abstract_syntax == sop_class
        }
        if not accepted:
            hint = "; seg_type binary is older" if sop_class.endswith(".66.7") else ""
            raise RefusedError(f"does not take SOP class {sop_class.name}{hint}")
        if str(dataset.file_meta.TransferSyntaxUID) not in accepted:
            dataset.decompress(generate_instance_uid=False)  # to explicit little endian
        try:
            status = association.send_c_store(dataset)
        except (ValueError, RuntimeError) as error:
            raise RefusedError(f"cannot be sent ({error})") from error
        if "Status" not in status:
            raise UnreachableError("the association was lost")
        # Warnings (PS3.4, B.2.3: coercion, elements discarded) come with a stored result.
        if status.Status != 0x0000 and status.Status >> 8 != 0xB0:
            raise RefusedError(f"answered status 0x{status.Status:04X}")


class StowTarget:
    """A DICOMweb origin server (PS3.18, 10.5: STOW-RS), by dicomweb-client."""

    mark = "sent@stow"

    def __init__(self, stow: StowSettings, timeout_s: float) -> None:
        self._url, self._timeout_s = stow.url, timeout_s

    def __str__(self) -> str:
        return _STOW

    def send(self, files: Sequence[Path]) -> None:
        """All in one request. Raises UnreachableError, RefusedError."""
        from dicomweb_client.api import DICOMwebClient
        from requests import Session

        with Session() as session:
            # Which by itself waits for an answer for ever.
            session.request = partial(session.request, timeout=self._timeout_s)  # type: ignore[method-assign]
            client = DICOMwebClient(self._url, session=session)
            client.set_http_retry_params(retry=False)  # the pauses are the sender's
            self._send(client, files)

    def _send(self, client: Any, files: Sequence[Path]) -> None:
        from pydicom import dcmread
        from requests import HTTPError, RequestException

        try:
            answer = client.store_instances([dcmread(file) for file in files])
        except HTTPError as error:
            code = error.response.status_code if error.response is not None else 0
            if code >= 500 or code in (408, 429):
                raise UnreachableError(f"HTTP status {code}") from error
            raise RefusedError(f"HTTP status {code}") from error
        except RequestException as error:
            raise UnreachableError(type(error).__name__) from error
        failed = answer.get("FailedSOPSequence") or []
        if len(failed):
            raise RefusedError(f"{len(failed)} results not stored")


@contextmanager
def requested(
    entity: Any, to: Destination, settings: Settings, **more: Any
) -> Iterator[Any | None]:
    """An association with a destination, released at the end; None: there is none."""
    limits = settings.associations
    entity.acse_timeout = entity.dimse_timeout = limits.timeout_seconds
    entity.network_timeout = limits.timeout_seconds
    entity.connection_timeout = min(10.0, limits.timeout_seconds)
    context = client_context(settings.tls)
    try:
        association = entity.associate(
            to.host,
            to.port,
            ae_title=to.aet,
            max_pdu=limits.max_pdu,
            tls_args=(context, to.host) if context else None,
            **more,
        )
    except (OSError, ValueError, RuntimeError):  # a host name that is not known, among others
        yield None
        return
    if not association.is_established:
        yield None
        return
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def targets(settings: Settings) -> list[StoreTarget | StowTarget]:
    """Where results go, by the settings."""
    stow = (
        [StowTarget(settings.stow, settings.associations.timeout_seconds)]
        if settings.stow.url
        else []
    )
    return [*(StoreTarget(one, settings) for one in settings.destinations), *stow]
