"""DSC and NSD of abdominal label maps, by FLARE 2023's rules, and lesion-wise scores of tumours.

``evaluation.scoring.evaluate_case`` scores two arrays, ``evaluation.lesions.find_lesions`` finds
the tumours of two masks, ``python -m evaluation`` does both for two folders.

Predictions and references belong together by their names without suffix; every format that
``inference`` reads is taken, in capitals or not. What has no counterpart, or is of another format,
is named on standard error, and a prediction that may have been meant (``X_0000.nii.gz``,
``X.seg.nrrd``) in the line of the case that lacks one. Labels that a header scales to 2.99995 are
rounded, and that is said (:mod:`inference.scan.label_values`). Names that are no UTF-8 stand in the
tables with such bytes written out.
"""
