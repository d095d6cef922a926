"""Storage commitment, push model (PS3.4, annex J), where the settings switch it on.

The node is no archive: it drops what it was sent once the result is made. A sender that deletes its
own copy after a commitment would lose the study. So it is off unless ``associations.commitment`` is
true, the SOP class is then refused at negotiation, and where it is on, only what still lies in the
spool is committed to.
"""

from __future__ import annotations

import threading
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.events import Event

from .contexts import STORAGE_COMMITMENT
from .log import Log
from .peers import Destination
from .settings import Settings
from .spool import INSTANCE, STATES, Spool

_REQUEST = 1  # Action Type ID of a request, and Event Type ID where all is there
_SOME_FAILED = 2
_PUSH_INSTANCE = "1.2.840.10008.1.20.1.1"
_NO_SUCH_OBJECT, _NO_SUCH_ACTION, _BAD_ARGUMENT = 0x0112, 0x0123, 0x0115
_MOST_REFERENCES = 100_000


class Commitment:
    """Answers requests for storage commitment by N-EVENT-REPORT on an association of its own.

    It goes to the destination of ``send`` that has the requester's AE title; who is none cannot be
    reached, and is refused.
    """

    def __init__(self, settings: Settings, spool: Spool, log: Log) -> None:
        self._settings, self._spool, self._log = settings, spool, log

    def handlers(self) -> list[Any]:
        """pynetdicom's."""
        return [(evt.EVT_N_ACTION, self._asked)] if self._settings.associations.commitment else []

    def _asked(self, event: Event) -> tuple[int, Dataset | None]:
        if event.action_type != _REQUEST:
            return _NO_SUCH_ACTION, None
        aet = str(event.assoc.requestor.primitive.calling_ae_title).strip()  # type: ignore[union-attr]
        to = next((one for one in self._settings.destinations if one.aet == aet), None)
        try:
            asked = event.action_information
            transaction = str(asked.TransactionUID)
            references = [
                (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
                for item in asked.ReferencedSOPSequence[:_MOST_REFERENCES]
            ]
        except Exception:  # pydicom raises anything over odd values
            return _BAD_ARGUMENT, None
        if to is None:
            self._log("commitment_refused", "warning", aet=aet, reason="is no destination of send")
            return 0x0110, None  # processing failure
        report = self._report(transaction, references)
        threading.Thread(target=self._send, args=(to, report), daemon=True).start()
        return 0x0000, None

    def _report(self, transaction: str, references: list[tuple[str, str]]) -> Dataset:
        held = self._held()
        there, lacking = [], []
        for sop_class, instance in references:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
            if f"{instance}{INSTANCE}" in held:
                there.append(item)
            else:
                item.FailureReason = _NO_SUCH_OBJECT
                lacking.append(item)
        report = Dataset()
        report.TransactionUID = transaction
        report.ReferencedSOPSequence = there
        if lacking:
            report.FailedSOPSequence = lacking
        return report

    def _held(self) -> set[str]:
        """The names of all instances in the spool, in one look: a request may name thousands."""
        states = [self._spool.state(state) for state in STATES]
        return {path.name for state in states for path in state.glob(f"*/*{INSTANCE}")}

    def _send(self, to: Destination, report: Dataset) -> None:
        from .sending import RefusedError, UnreachableError, requested

        failed = "FailedSOPSequence" in report
        entity = AE(self._settings.aet)
        entity.add_requested_context(STORAGE_COMMITMENT)
        # The report comes from the SCP, which here asks for the association.
        role = build_role(STORAGE_COMMITMENT, scp_role=True)
        kind = _SOME_FAILED if failed else _REQUEST
        try:
            with requested(entity, to, self._settings, ext_neg=[role]) as association:
                status, _ = association.send_n_event_report(
                    report, kind, STORAGE_COMMITMENT, _PUSH_INSTANCE
                )
        except (UnreachableError, RefusedError) as error:
            self._log("commitment_unsent", "warning", aet=to.aet, reason=str(error))
        else:
            self._log("commitment_sent", aet=to.aet, status=getattr(status, "Status", None))
