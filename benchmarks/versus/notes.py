"""What a reader of the table must know of a tool that does not run this project's network."""

from __future__ import annotations

_TOTALSEGMENTATOR = (
    "TotalSegmentator 2.18's own command with its defaults (linear resampling to {mm} mm, windows "
    "0.8 of a patch apart, no mirroring) and --ml. Replaced: the weights, by random numbers "
    "in its networks' architecture ({networks}). Calls home are off. With these defaults no step "
    "depends on what is found: it crops to nothing and removes no small parts; random labels only "
    "compress worse. It tells 117 labels apart, not 14."
)

NOTES = {
    "konfai": (
        "konfai-apps 1.8.7 with this project's network in an app written here: KonfAI's own apps, "
        "TotalSegmentator-KonfAI among them, are downloaded from Hugging Face with their weights "
        "and their configuration."
    ),
    "totalsegmentator": _TOTALSEGMENTATOR.format(
        mm="1.5", networks="five of 31.2 million parameters, windows of 128x128x128"
    ),
    "totalsegmentator-fast": _TOTALSEGMENTATOR.format(
        mm="3", networks="one of 16.6 million parameters, windows of 112x112x128"
    ),
}
