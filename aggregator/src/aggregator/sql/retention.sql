-- What is older than its tenant keeps it. What is held, or in work, is left alone.

-- wanted --
-- Tells whether anybody has said how long data are kept.
select exists (select from retention)

-- due --
-- Images of which a kind (originals, inputs or maps) is over its age, the oldest first.
select i.id from studies s join instances i on i.study_id = s.id
left join retention own on own.tenant_id = s.tenant_id
left join retention usual on usual.tenant_id = '00000000-0000-0000-0000-000000000000'
where s.held_since is null and not :kind = any(i.expired)
  and s.created_at < now() - make_interval(days => (
    (case when own.tenant_id is null then to_jsonb(usual) else to_jsonb(own) end)->>(:kind || '_days'))::integer)
  and not exists (select from jobs j where j.study_id = s.id and j.state in ('queued', 'running'))
order by s.created_at limit :at_most

-- oldest --
-- Images that still have a kind, whatever its age: for a disk that fills.
select i.id from studies s join instances i on i.study_id = s.id
where s.held_since is null and not :kind = any(i.expired)
  and not exists (select from jobs j where j.study_id = s.id and j.state in ('queued', 'running'))
order by s.created_at limit :at_most

-- drop_maps --
-- Deletes the maps of images, fused and of each backbone; probabilities stay.
with of_them as (select j.id as job, i.id as image from instances i join jobs j on j.study_id = i.study_id where i.id = any(:ids)),
fused as (delete from heatmaps h using of_them where h.job_id = job and h.instance_id = image)
update predictions p set maps = '' from of_them where p.job_id = job and p.instance_id = image

-- mark --
-- Notes that a kind of these images is gone.
update instances set expired = expired || cast(:kind as text) where id = any(:ids)

-- delete_studies --
-- Deletes studies whose results are over their age, with all that belongs to them; how many. What came late is analysed before.
select erase_studies(array(
  select s.id from studies s left join retention own on own.tenant_id = s.tenant_id
  left join retention usual on usual.tenant_id = '00000000-0000-0000-0000-000000000000'
  where s.held_since is null
    and s.created_at < now() - make_interval(
      days => case when own.tenant_id is null then usual.results_days else own.results_days end)
    and not exists (select from jobs j where j.study_id = s.id and j.state in ('queued', 'running'))
    and not exists (select from arrivals a where a.study_id = s.id and a.settles_at is not null)
  order by s.created_at limit :at_most))
