"""Training: from labelled and unlabelled CT scans to a model folder for `inference`."""
