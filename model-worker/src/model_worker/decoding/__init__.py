"""From a file's bytes to grey pixels and DICOM attributes. Runs in the sandboxed child only."""
