-- Answers that somebody looks at, as DICOM objects. An attempt is counted before it is made, as its process may not come back.

-- claim --
-- Takes the derivation that is due for longest.
update derivations set attempts = attempts + 1, not_before = now() + make_interval(secs => :lease_s)
where job_id = (
  select job_id from derivations where made_at is null and not_before <= now() and attempts < :derivation_attempts
  order by not_before limit 1 for update skip locked)
returning job_id, tenant_id

-- due --
-- In how many seconds the next attempt is due; infinity: none is.
select coalesce(extract(epoch from min(not_before) - now()), 'infinity')::float from derivations
where made_at is null and attempts < :derivation_attempts

-- predecessor --
-- The report of the job that this one supersedes, as it was sent or shown here.
select report_series as series, report_sop as sop from jobs j join deliveries d on d.job_id = j.supersedes
where j.id = :job_id and d.report_sop is not null
union all
select d.series_instance_uid, d.sop_instance_uid from jobs j join derived d on d.job_id = j.supersedes
where j.id = :job_id and d.modality = 'SR' limit 1

-- keep --
-- Keeps one object of a job.
insert into derived (id, job_id, tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid, modality,
  transfer_syntax, size_bytes, sha256)
values (:id, :job_id, :tenant_id, :study, :series, :sop, :sop_class, :modality, :transfer_syntax, :size_bytes, :sha256)

-- made --
-- Notes that all objects of a job are there; false if the job was erased or is made anew.
update derivations set made_at = now() where job_id = :job_id and made_at is null returning true
