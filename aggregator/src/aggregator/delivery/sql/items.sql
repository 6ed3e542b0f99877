-- What the version of a result that follows has to know.

-- named --
-- Keeps the report's UIDs before it is sent.
update deliveries set report_series = :series, report_sop = :sop where id = :id and since = :since and attempts = :attempts
