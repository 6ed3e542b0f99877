-- The services' roles, which belong to the server and not to one database: a dump has none of them.

do $$
declare service text;
begin
  foreach service in array array['thorax_auth', 'thorax_gateway', 'thorax_worker', 'thorax_aggregator'] loop
    begin
      execute 'create role ' || quote_ident(service) || ' nologin';
    exception when duplicate_object or unique_violation then null;
    end;
  end loop;
end $$;
