#!/usr/bin/env bash
# Builds the four images from their Dockerfiles with buildah, and prints what each is and adds to its base: `make images`.
# BASE and NODE name other images to build on. BASE=debian makes both here, where no registry of images can be reached:
# Debian's own Python by mmdebstrap, and this machine's node.
set -euo pipefail
cd "$(dirname "$0")/.."
base=${BASE:-docker.io/library/python:3.12-slim-bookworm}
node=${NODE:-docker.io/library/node:20-bookworm-slim}
# chroot needs no namespaces; the certificate authorities are those that this machine trusts
build=(buildah build --quiet --isolation chroot --network host --volume /etc/ssl/certs:/etc/ssl/certs:ro)

# debian: a base with `python` and pip, and one with node and npm, as the official images have them
debian() {
  local folder trusted=/etc/ssl/certs/ca-certificates.crt
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' RETURN
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$folder/root.tar"
  "${build[@]}" -t localhost/thorax-base -f - "$folder" <<EOF
FROM scratch
ADD root.tar /
ENV SSL_CERT_FILE=$trusted
RUN ln -s python3 /usr/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
CMD ["python"]
EOF
  mkdir -p "$folder/usr/bin" "$folder/usr/lib/node_modules"
  cp -L "$(command -v node)" "$folder/usr/bin"
  cp -r "$(npm root --global)/npm" "$folder/usr/lib/node_modules"
  "${build[@]}" -t localhost/thorax-node -f - "$folder" <<EOF
FROM localhost/thorax-base
COPY usr /usr
ENV NODE_EXTRA_CA_CERTS=$trusted
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/bin/npm
EOF
}

size() { buildah images --json "$1" | sed -n 's/.*"size": "\(.*\)",/\1/p'; }

if [ "$base" = debian ]; then
  debian > /dev/null
  base=localhost/thorax-base node=localhost/thorax-node
fi
for service in auth-service gateway aggregator model-worker; do
  nodes=()
  if [ "$service" = gateway ]; then nodes=(--build-arg "NODE=$node"); fi
  "${build[@]}" --build-arg "BASE=$base" "${nodes[@]}" -t "thorax/$service:${VERSION:-0.1.0}" -f "$service/Dockerfile" . > /dev/null
  echo "thorax/$service:${VERSION:-0.1.0} $(size "localhost/thorax/$service:${VERSION:-0.1.0}") on a base of $(size "$base")"
done
