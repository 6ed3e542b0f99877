-- What the last step of a job reads and writes.

-- predictions --
-- A row for each prediction of each usable image, and one without a backbone for an image that has none. `asked`: the
-- backbones that have had it to do.
select i.id as instance_id, (select array_agg(distinct s.backbone) from steps s
    where s.job_id = j.id and s.instance_id = i.id and s.kind = 'infer') as asked, p.backbone, p.probabilities, p.maps, p.map_shape
from jobs j join instances i on i.study_id = j.study_id and i.position < j.images_below
  and i.state <> 'failed' and i.error_code is null
left join predictions p on p.job_id = j.id and p.instance_id = i.id where j.id = :job_id
order by i.position

-- failed_images --
-- Why each failed image of a job failed.
select i.error_code, i.error_detail from instances i join jobs j on j.study_id = i.study_id and i.position < j.images_below
where j.id = :job_id and i.state = 'failed' order by i.position

-- manifest --
-- A registered bundle's manifest.
select manifest from bundles where digest = :digest

-- reading --
-- How the job's tenant reads probabilities, if it has said so.
select r.reading from jobs j join tenant_readings r on r.tenant_id = j.tenant_id where j.id = :job_id

-- succeed --
-- Follows the ledger's `held` and what records the answer: ends the job with its timings.
spans as (
  select kind, min(started_at) as began, coalesce(max(finished_at), clock_timestamp()) as ended
  from steps where job_id = any(:jobs) group by kind),
seconds as (
  select jsonb_object_agg(kind || '_s', round(extract(epoch from ended - began)::numeric, 4)) as by_kind,
    min(began) as began from spans),
ended as (
  update jobs j set state = 'succeeded', finished_at = clock_timestamp(), missing_backbones = :missing,
    steps_done = steps_done + 1, version = version + 1,
    timings = by_kind || jsonb_build_object(
      'queued_s', round(extract(epoch from seconds.began - created_at)::numeric, 4),
      'total_s', round(extract(epoch from clock_timestamp() - created_at)::numeric, 4))
  from seconds, held where j.id = held.job_id
  returning j.id, j.tenant_id, j.state, j.error_code, j.priority,
    extract(epoch from j.finished_at - j.created_at)::float as seconds)
select * from ended

-- fail --
-- Follows the ledger's `held`: ends a job of which no image could be analysed.
ended as (
  update jobs j set state = 'failed', error_code = :code, error_detail = :detail, finished_at = now(),
    version = version + 1
  from held where j.id = held.job_id and j.state in ('queued', 'running')
  returning j.id, j.tenant_id, j.state, j.error_code, j.priority,
    extract(epoch from j.finished_at - j.created_at)::float as seconds)
select * from ended
