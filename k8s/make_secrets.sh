#!/usr/bin/env bash
# Makes the secret files of one installation, a folder per service, for docker-compose.yml and for Kubernetes:
#   for d in secrets/*/; do kubectl -n thorax create secret generic "$(basename "$d")" --from-file="$d"; done
# Files that exist are kept, so it may be run again. On Kubernetes say NAMESPACE=thorax, since KEDA connects from its own
# namespace. STORES=external takes the stores from values.yaml, and Valkey's password from VALKEY_PASSWORD.
set -euo pipefail
folder=${1:?usage: make_secrets.sh FOLDER}
umask 077
mkdir -p "$folder"

fresh() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

# put FILE TEXT: only its owner may open the folder; the files are readable, since containers run as another user
put() {
  mkdir -p "$(dirname "$folder/$1")"
  [ -e "$folder/$1" ] || printf '%s' "$2" > "$folder/$1"
  chmod 0444 "$folder/$1"
}

cluster=${NAMESPACE:+.$NAMESPACE.svc.cluster.local}
values=${VALUES:-$(dirname "$0")/values/values.yaml}
value() { sed -n "/^$1:/,/^[a-z]/s/^  $2: *\([^ #]*\).*/\1/p" "$values"; }

host=postgres$cluster port=5432 sslmode=
if [ "${STORES:-}" = external ]; then
  host=$(value postgres host) port=$(value postgres port) sslmode=$(value postgres sslmode)
  cache=$(value valkey host):$(value valkey port) scheme=$(value valkey scheme)
  password=${VALKEY_PASSWORD:?is the password of the Valkey that values.yaml names}
fi
database() { echo "postgresql+psycopg://$1:$(cat "$folder/postgres/$1")@$host:$port/thorax${sslmode:+?sslmode=$sslmode}"; }

for login in thorax thorax_auth_login thorax_gateway_login thorax_worker_login thorax_aggregator_login; do
  put "postgres/$login" "$(fresh)"
done
put valkey/password "$(fresh)"
redis="${scheme:-redis}://:${password:-$(cat "$folder/valkey/password")}@${cache:-valkey$cluster:6379}/0"

put migrate/thorax_database_url "$(database thorax)"
put auth-service/thorax_database_url "$(database thorax_auth_login)"
put auth-service/auth_secret "$(fresh)$(fresh)"
put gateway/delivery_secret "$(fresh)$(fresh)"
put sweeper/delivery_secret "$(cat "$folder/gateway/delivery_secret")"
for service in gateway dimse; do
  put "$service/thorax_database_url" "$(database thorax_gateway_login)"
done
put model-worker/thorax_database_url "$(database thorax_worker_login)"
put keda/connection "host=$host port=$port dbname=thorax user=thorax_worker_login password=$(cat "$folder/postgres/thorax_worker_login")${sslmode:+ sslmode=require}"
for service in aggregator sweeper; do
  put "$service/thorax_database_url" "$(database thorax_aggregator_login)"
done
for service in gateway dimse model-worker aggregator sweeper; do
  put "$service/thorax_redis_url" "$redis"
done
# For the profiles of docker-compose.yml alone.
if [ -z "${NAMESPACE:-}" ]; then
  put grafana/password "$(fresh)"
  put s3/key "$(fresh)"
  key=$(cat "$folder/s3/key")
  put s3/config.json "{\"identities\": [{\"name\": \"thorax\", \"actions\": [\"Admin\"],
    \"credentials\": [{\"accessKey\": \"thorax\", \"secretKey\": \"$key\"}]}]}"
  put s3/env "AWS_ACCESS_KEY_ID=thorax
AWS_SECRET_ACCESS_KEY=$key
AWS_ENDPOINT=http://s3:8333
AWS_ALLOW_HTTP=true
AWS_REGION=us-east-1
"
fi
echo "The secrets are in $folder; keep them out of git."
