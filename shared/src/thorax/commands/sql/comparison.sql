-- What two bundles said of the same images.

-- pairs --
-- Both bundles' findings for each image of the jobs that both have seen, whether as a job's own bundle or as a shadow.
with seen as materialized (
  select coalesce(shadow_of, id) as origin, id, bundle_digest from jobs
  where state = 'succeeded' and bundle_digest in (:a, :b) and cardinality(missing_backbones) = 0)
select a.origin as job, fa.instance_id as instance, fa.finding, fa.probability as a, fb.probability as b,
  fa.positive as a_positive, fb.positive as b_positive
from seen a join seen b on a.bundle_digest = :a and b.bundle_digest = :b and a.origin = b.origin
join study_findings fa on fa.job_id = a.id and fa.instance_id is not null
join study_findings fb on fb.job_id = b.id and fb.instance_id = fa.instance_id and fb.finding = fa.finding

-- seconds --
-- The median time in the backbones for an image. Only jobs with one image: between several images, the worker may have done other work.
select percentile_cont(0.5) within group (order by cast(timings ->> 'infer_s' as float)) as median, count(*) as jobs
from jobs where bundle_digest = :digest and state = 'succeeded' and timings ? 'infer_s'
  and (select count(*) from instances i where i.study_id = jobs.study_id) = 1
