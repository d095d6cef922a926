"""Send a series to a node and wait for its SEG: ``node_round_trip.py FOLDER SECONDS``.

The node listens at port 11112 of loopback, knows this one as CI@127.0.0.1, and sends to port 11113.
Fails unless the result has the series' study and labels.
"""

import sys
import threading
import time
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
files, seconds = sorted(Path(sys.argv[1]).iterdir()), float(sys.argv[2])
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
    ("127.0.0.1", 11113), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)]
)
while True:
    association = entity.associate("127.0.0.1", 11112, ae_title="ABDOBOX")
    if association.is_established:
        break
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
