#!/bin/sh
# Runs once, when Postgres creates its cluster: a login per service, each a member of one role. `thorax migrate`
# gives the roles their rights. Passwords are files in /run/secrets, named like the logins.
set -eu
for role in thorax_auth thorax_gateway thorax_worker thorax_aggregator; do
  psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" \
    -v role="$role" -v login="${role}_login" -v password="$(cat "/run/secrets/${role}_login")" <<'SQL'
create role :"role" nologin;
create role :"login" login in role :"role" password :'password';
SQL
done
