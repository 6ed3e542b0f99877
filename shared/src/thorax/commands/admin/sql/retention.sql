-- How long data are kept, and what is held or erased on request.

-- shown --
-- What is kept for how many days, for all tenants (zeros) and those with a row of their own.
select tenant_id, originals_days, inputs_days, maps_days, results_days from retention order by tenant_id

-- keep --
-- Sets how long a tenant's data are kept.
insert into retention (tenant_id, originals_days, inputs_days, maps_days, results_days)
values (:tenant, :originals, :inputs, :maps, :results)
on conflict (tenant_id) do update set originals_days = :originals, inputs_days = :inputs, maps_days = :maps,
  results_days = :results, changed_at = now()

-- forget --
-- A tenant's data are kept as those of all.
delete from retention where tenant_id = :tenant

-- studies --
-- The studies of a tenant that an id or a Study Instance UID names.
select id, held_since from studies_called(:tenant, :study) order by created_at

-- hold --
-- Holds the studies that an id or a Study Instance UID names, or releases them.
select * from hold_studies(:tenant, :study, :held)

-- erase --
-- Deletes studies with all that belongs to them; the sweeper erases the files.
with images as (
  insert into blobs_pending_deletion (instance_id) select id from instances where study_id = any(:ids) on conflict do nothing)
delete from studies where id = any(:ids)

-- receipt --
-- What the audit says of erased studies.
select at, action, subject from audit where tenant_id = :tenant and action in ('erased', 'files_erased')
  and detail->>'study' = any(:studies) order by id
