-- What is erased on request.

-- studies --
-- The studies of a tenant that an id or a Study Instance UID names.
select id, held_since from studies_called(:tenant, :study) order by created_at

-- erase --
-- Deletes studies with all that belongs to them; the sweeper erases the files.
select erase_studies(:ids)

-- receipt --
-- What the audit says of erased studies.
select at, action, subject from audit where tenant_id = :tenant and action in ('erased', 'files_erased')
  and detail->>'study' = any(:studies) order by id
