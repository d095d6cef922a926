"""DSC and NSD of abdominal label maps, by FLARE 2023's rules.

``evaluation.scoring.evaluate_case`` scores two arrays, ``python -m evaluation`` two folders.
"""
