"""Synthetic abdominal CT from label maps, in the spirit of SynthSeg (Billot et al., 2023)."""
