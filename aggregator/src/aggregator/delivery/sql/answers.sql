-- The answer to a job, as its objects say it.

-- job --
-- A job's bundle and when it ended.
select j.finished_at, b.name, b.version, b.digest, b.manifest from jobs j join bundles b on b.digest = j.bundle_digest
where j.id = :job_id

-- images --
-- Its DICOM images, with what was found in each.
select i.id, i.error_code, i.error_detail, i.orientation, i.warnings, h.maps, h.map_shape,
  (select jsonb_agg(jsonb_build_object('finding', f.finding, 'probability', f.probability, 'threshold', f.threshold,
     'positive', f.positive, 'verdict', f.verdict))
   from study_findings f where f.job_id = j.id and f.instance_id = i.id) as said
from jobs j join instances i on i.study_id = j.study_id and i.position < j.images_below
left join heatmaps h on h.job_id = j.id and h.instance_id = i.id
where j.id = :job_id and i.media_type = 'application/dicom' order by i.position
