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
from .tls import client_context, tls_reason

_STOW = "STOW"
# "Duplicate SOP Instance" (PS3.7, C.5.6): what a destination says that lets nobody replace what it
# has. A result's UID follows from what it was made of, so that it has this one.
_DUPLICATE = 0x0111
# Why an association is rejected, by source and diagnostic (PS3.8, 9.3.4).
_REJECTED = {
    (1, 2): "application context not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


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
            raise RefusedError(_not_taken([sop_class]))
        try:
            if str(dataset.file_meta.TransferSyntaxUID) not in accepted:
                dataset.decompress(generate_instance_uid=False)  # to explicit little endian
            status = association.send_c_store(dataset)
        except (ValueError, RuntimeError) as error:
            if not association.is_established:
                raise UnreachableError("the association was lost") from error
            raise RefusedError(f"cannot be sent ({error})") from error
        if "Status" not in status:
            raise UnreachableError("the association was lost")
        # Warnings (PS3.4, B.2.3: coercion, elements discarded) come with a stored result.
        if status.Status not in (0x0000, _DUPLICATE) and status.Status >> 8 != 0xB0:
            raise RefusedError(f"answered status 0x{status.Status:04X}")


def _not_taken(sop_classes: Sequence[Any]) -> str:
    names = ", ".join(uid.name for uid in sop_classes)
    hint = "; seg_type binary is older" if any(uid.endswith(".66.7") for uid in sop_classes) else ""
    return f"does not take SOP class {names}{hint}"


class StowTarget:
    """A DICOMweb origin server (PS3.18, 10.5: STOW-RS), by dicomweb-client.

    Args:
        stow: where it is.
        timeout_s: for each answer.
        ca: a PEM file that its certificate is checked against; "": those that requests brings.
    """

    mark = "sent@stow"

    def __init__(self, stow: StowSettings, timeout_s: float, ca: str = "") -> None:
        self._url, self._timeout_s, self._ca = stow.url, timeout_s, ca

    def __str__(self) -> str:
        return _STOW

    def send(self, files: Sequence[Path]) -> None:
        """All in one request. Raises UnreachableError, RefusedError."""
        from dicomweb_client.api import DICOMwebClient
        from requests import Session

        answers: list[Any] = []
        with Session() as session:
            # Which by itself waits for an answer for ever.
            session.request = partial(session.request, timeout=self._timeout_s)  # type: ignore[method-assign]
            session.verify = self._ca or True
            session.hooks["response"].append(lambda answer, **_: answers.append(answer))
            client = DICOMwebClient(self._url, session=session)
            client.set_http_retry_params(retry=False)  # the pauses are the sender's
            self._send(client, files, answers)

    def _send(self, client: Any, files: Sequence[Path], answers: Sequence[Any]) -> None:
        from pydicom import dcmread
        from requests import HTTPError, RequestException

        datasets = [dcmread(file) for file in files]
        try:
            client.store_instances(datasets)
        except HTTPError as error:
            code = error.response.status_code if error.response is not None else 0
            if code >= 500 or code in (408, 429):
                raise UnreachableError(f"HTTP status {code}") from error
            if code != 409:  # which tells of each instance
                raise RefusedError(f"HTTP status {code}") from error
        except RequestException as error:
            raise UnreachableError(tls_reason(error) or type(error).__name__) from error
        except Exception:  # the client reads no XML with sequences in it
            if not answers:
                raise
        reasons = _failure_reasons(answers[-1])
        if any(reason != _DUPLICATE for reason in reasons):
            raise RefusedError(f"{len(reasons)} results not stored")


def _failure_reasons(answer: Any) -> list[int]:
    """Of the instances that a STOW-RS service has not stored (PS3.18, 10.5.3).

    Read here, since the client fails on XML, and takes whatever is not just
    ``application/dicom+json`` (with a character set, say, or the page of a login) for an answer
    without failures.

    Raises:
        RefusedError: it is no such answer.
    """
    from xml.etree.ElementTree import fromstring

    from pydicom import Dataset

    status, kind = f"HTTP status {answer.status_code}", answer.headers.get("Content-Type", "")
    kind = kind.partition(";")[0].strip()
    if answer.request.method != "POST":
        raise RefusedError(f"{status}: redirects to another address; name that one")
    if not answer.content and answer.ok:
        return []
    try:
        if kind.endswith("xml"):
            tree = fromstring(answer.content)  # noqa: S314 (of a destination that is named)
            failed = tree.iterfind(".//*[@tag='00081198']/{*}Item")
            texts = (item.findtext(".//*[@tag='00081197']/{*}Value") for item in failed)
            reasons = [int(text or 0) for text in texts]
        else:
            items = Dataset.from_json(answer.json()).get("FailedSOPSequence") or []
            reasons = [int(item.get("FailureReason") or 0) for item in items]
    except Exception as error:  # pydicom raises anything over odd values
        raise RefusedError(f"{status}: an answer that is no DICOM ({kind[:40]})") from error
    if not (reasons or answer.ok):
        raise RefusedError(status)
    return reasons


@contextmanager
def requested(entity: Any, to: Destination, settings: Settings, **more: Any) -> Iterator[Any]:
    """An association with a destination, released at the end.

    Raises:
        UnreachableError: there is none.
        RefusedError: there could be one, but for no class of what is to be sent.
    """
    from pynetdicom import evt

    limits = settings.associations
    entity.acse_timeout = entity.dimse_timeout = limits.timeout_seconds
    entity.network_timeout = limits.timeout_seconds
    entity.connection_timeout = min(10.0, limits.timeout_seconds)
    tls_failed: list[str] = []
    context = client_context(settings.tls, tls_failed.append)
    try:
        association = entity.associate(
            to.host,
            to.port,
            ae_title=to.aet,
            max_pdu=limits.max_pdu,
            tls_args=(context, to.host) if context else None,
            evt_handlers=[(evt.EVT_CONN_OPEN, _bound, [limits.timeout_seconds])],
            **more,
        )
    except (OSError, ValueError, RuntimeError) as error:  # a host name that is not known ...
        raise UnreachableError(f"no connection ({type(error).__name__})") from error
    if not association.is_established:
        line = association.dul.socket
        if line is not None and line.socket is not None:
            line.socket.close()  # which pynetdicom leaves to the garbage collector
        raise UnreachableError(tls_failed[-1]) if tls_failed else _no_association(association)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _bound(event: Any, timeout_s: float) -> None:
    """A destination that takes no more bytes must not hold the sender for ever."""
    event.assoc.dul.socket.socket.settimeout(timeout_s)


def _no_association(association: Any) -> UnreachableError | RefusedError:
    if association.is_rejected:
        answer = association.acceptor.primitive
        why = _REJECTED.get((answer.result_source, answer.diagnostic), "no reason given")
        return UnreachableError(f"association rejected: {why}")
    if association.rejected_contexts:  # all of them, and pynetdicom has aborted it
        classes = dict.fromkeys(one.abstract_syntax for one in association.rejected_contexts)
        return RefusedError(_not_taken(list(classes)))
    return UnreachableError("no association: it is down, does not answer, or refuses TLS")


def targets(settings: Settings) -> list[StoreTarget | StowTarget]:
    """Where results go, by the settings."""
    stow = (
        [StowTarget(settings.stow, settings.associations.timeout_seconds, settings.tls.ca)]
        if settings.stow.url
        else []
    )
    return [*(StoreTarget(one, settings) for one in settings.destinations), *stow]
