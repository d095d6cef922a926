"""Send a phantom to a node and wait for its SEG: ``node_round_trip.py NODE_PORT OWN_PORT SECONDS``.

The node is to know this one as CI@127.0.0.1, and to send to CI@127.0.0.1:OWN_PORT. Fails unless the
result has the phantom's study and labels, and its pages name no patient.
"""

import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt

from benchmarks.dicom import write_series
from phantom import make_phantom

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
port, own_port, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
end = time.monotonic() + seconds
results: list[Dataset] = []
came = threading.Event()


def keep(event: evt.Event) -> int:
    """A result has come."""
    data = event.dataset
    data.file_meta = event.file_meta
    results.append(data)
    came.set()
    return 0


entity = AE(ae_title="CI")
entity.add_supported_context(LABEL_MAP, "1.2.840.10008.1.2.5")
entity.add_requested_context(CT_IMAGE, "1.2.840.10008.1.2.1")
receiver = entity.start_server(
    ("127.0.0.1", own_port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)]
)
with tempfile.TemporaryDirectory() as folder:
    write_series(Path(folder) / "series", make_phantom((24, 64, 64), (10.0, 6.0, 6.0), seed=1))
    files = sorted((Path(folder) / "series").iterdir())
    while not (
        association := entity.associate("127.0.0.1", port, ae_title="ABDOBOX")
    ).is_established:
        if time.monotonic() > end:
            sys.exit("the node accepts no association")
        time.sleep(0.5)
    for path in files:
        status = association.send_c_store(dcmread(path)).get("Status")
        if status != 0:
            sys.exit(f"{path.name}: status {status}")
    association.release()
    study = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
sent = time.monotonic()
if not came.wait(end - sent):
    sys.exit(f"no result within {seconds:g} s")
print(f"node: {len(files)} slices sent, SEG back after {time.monotonic() - sent:.1f} s")
(result,) = results
if (result.SOPClassUID, result.StudyInstanceUID) != (LABEL_MAP, study):
    sys.exit(f"another result: {result.SOPClassUID} of {result.StudyInstanceUID}")
if len(np.unique(result.pixel_array)) < 6:
    sys.exit("a phantom with hardly any organ")
time.sleep(1)  # the answer to the result is on its way
receiver.shutdown()
