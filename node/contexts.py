"""Which SOP classes and transfer syntaxes are accepted (presentation contexts, PS3.8, 7.1.1.13).

CT, Enhanced CT and Legacy Converted Enhanced CT in the syntaxes that the box decodes, so that a
PACS that holds another one transcodes or says so. Every other standard storage class in every
syntax: what a study carries beside its CT (SR, secondary captures, MR, SEG, RTSTRUCT ...) is
stored, left alone, and dropped from the spool with the study, so that sending a study never fails
for it. Private and unknown classes are refused, one context each; the rest of the association goes
on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pynetdicom.presentation import PresentationContext

CT_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.2{part}" for part in ("", ".1", ".2"))
VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
_JPEG = "1.2.840.10008.1.2.4"
UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
# In the order of preference where a sender offers several in one context: lossless ones first.
CT_SYNTAXES = (
    *UNCOMPRESSED,
    *(f"{_JPEG}.{number}" for number in (80, 90, 70, 57)),
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.1.99",  # deflated
    "1.2.840.10008.1.2.2",  # big endian
    *(f"{_JPEG}.{number}" for number in (81, 91, 51, 50)),
)


class SharedContexts(list["PresentationContext"]):
    """Contexts that all associations read: pynetdicom copies them deeply for each, 7,500 UIDs."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedContexts:
        """Itself: nobody changes it."""
        return self


def accepted_contexts(commitment: bool) -> SharedContexts:
    """What an association may be about; ``commitment``: storage commitment, too."""
    from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts
    from pynetdicom.presentation import build_context

    first = [uid for uid in CT_SYNTAXES if uid in ALL_TRANSFER_SYNTAXES]
    rest = [uid for uid in ALL_TRANSFER_SYNTAXES if uid not in first]
    classes = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    contexts = [build_context(uid, list(CT_SYNTAXES)) for uid in sorted(CT_CLASSES)]
    contexts += [build_context(uid, [*first, *rest]) for uid in sorted(classes - CT_CLASSES)]
    contexts.append(build_context(VERIFICATION))
    if commitment:
        contexts.append(build_context(STORAGE_COMMITMENT))
    return SharedContexts(contexts)
