-- What backup and restore ask of the database, as its owner.

-- state --
-- The moment before which all is in a dump that begins now, whose platform it is, and the schema's version.
select clock_timestamp() as as_of, (select id from platform) as platform,
  (select version_num from alembic_version) as schema_version

-- tables --
-- Counts the tables of a database that should be empty.
select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v') and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%'

-- rename --
-- Makes the database another platform's, so that it and the one that was dumped never share blobs.
update platform set id = gen_random_uuid() returning id

-- originals --
-- All images and the digests of their files.
select id, sha256 from instances

-- erased --
-- Images whose rows are erased, and whose files may not be yet.
select instance_id from blobs_pending_deletion

-- jobs --
-- Which of these jobs exist.
select id from jobs where id = any(:ids)
