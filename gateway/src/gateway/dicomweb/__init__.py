"""DICOMweb (PS3.18): STOW-RS, by which a PACS stores studies over HTTP, and WADO-RS, by which viewers read them."""
