-- What a webhook tells.

-- job --
-- A job that has ended.
select id, study_id, state, error_code, finished_at from jobs where id = :job_id
