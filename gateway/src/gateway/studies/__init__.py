"""Studies that DICOM peers send image by image: filing (once each), and settling (a job when a study is quiet)."""
