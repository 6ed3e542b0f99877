-- What a job's answer consists of.

-- record --
-- Follows the ledger's `held`: stores findings and heatmaps.
findings as (
  insert into study_findings (job_id, instance_id, finding, probability, threshold, positive, disagreement, verdict,
    prevalence, point)
  select held.job_id, f.* from held, jsonb_to_recordset(:findings) as f (
    instance_id uuid, finding text, probability real, threshold real, positive boolean, disagreement real,
    verdict text, prevalence real, point text)),
pictures as (
  insert into heatmaps (job_id, instance_id, maps, map_shape)
  select held.job_id, p.instance_id, substring(cast(:maps as bytea) from p.first for p.bytes), p.shape
  from held, jsonb_to_recordset(:pictures) as p (
    instance_id uuid, first integer, bytes integer, shape smallint[]))
