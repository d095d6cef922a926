"""What this box and its peers make of the same sound and faulty DICOM series."""
