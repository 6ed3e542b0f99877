-- What a job's answer consists of.

-- record --
-- Follows the ledger's `held`: stores findings and heatmaps.
findings as (
  insert into study_findings (job_id, instance_id, finding, probability, threshold, positive, disagreement, verdict,
    prevalence, point)
  select held.job_id, f.* from held, unnest(
    cast(:owners as uuid[]), cast(:findings as text[]), cast(:probabilities as real[]),
    cast(:thresholds as real[]), cast(:positives as boolean[]), cast(:disagreements as real[]),
    cast(:verdicts as text[]), cast(:prevalences as real[]), cast(:points as text[])) as f),
pictures as (
  insert into heatmaps (job_id, instance_id, maps, map_shape)
  select held.job_id, p.instance_id, p.maps, cast(:shape as smallint[])
  from held, unnest(cast(:images as uuid[]), cast(:maps as bytea[])) as p (instance_id, maps))
