"""FHIR R4: a job's answer as a DiagnosticReport with its Observations and the ImagingStudy that they are of."""
