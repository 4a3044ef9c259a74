"""DICOM: series are read as images, and label maps written as objects of their study (decision 0026)."""
