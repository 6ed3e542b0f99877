-- What the last day's images look like, for each tenant.

-- bands --
-- Counts images by the verdict on each finding, of tenants that read as the bundle does.
select j.tenant_id, j.bundle_digest, f.finding, count(*) as images,
  count(*) filter (where f.verdict = 'unlikely') as unlikely, count(*) filter (where f.verdict = 'uncertain') as uncertain,
  count(*) filter (where f.verdict = 'likely') as likely, avg(f.disagreement)::float as disagreement
from jobs j join study_findings f on f.job_id = j.id and f.instance_id is not null
where j.state = 'succeeded' and j.shadow_of is null and j.finished_at > now() - interval '1 day'
  and not exists (select from tenant_readings r where r.tenant_id = j.tenant_id)
group by j.tenant_id, j.bundle_digest, f.finding

-- refused --
-- Shares of images that were refused, by code.
select i.error_code as code, count(*)::float / (
  select count(*) from studies s join instances a on a.study_id = s.id where s.created_at > now() - interval '1 day') as share
from studies s join instances i on i.study_id = s.id
where s.created_at > now() - interval '1 day' and i.state = 'failed' and i.error_code is not null
group by i.error_code

-- manifest --
-- A registered bundle's manifest.
select manifest from bundles where digest = :digest
