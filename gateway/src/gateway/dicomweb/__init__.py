"""DICOMweb: STOW-RS, by which a PACS stores studies over HTTP (PS3.18, 10.5)."""
