#!/usr/bin/env bash
# For clusters without the internet. Where there is one:
#   airgap.sh save FOLDER                the images of values.yaml, as OCI archives with a list, and the wheels of the lock
# and inside, with what was saved:
#   airgap.sh push FOLDER REGISTRY       pushes the images, and prints `images:` for values.yaml, by digest
# VALUES names another values file. Needs skopeo; the wheels need python3.
set -euo pipefail
usage='usage: airgap.sh save FOLDER | push FOLDER REGISTRY'
action=${1:?$usage} folder=${2:?$usage}
here=$(dirname "$0")

# images: a line for each, its name in values.yaml and where it is
images() { sed -n '/^images:/,/^$/s/^  \([a-z-]*\): *\([^ #]*\).*/\1 \2/p' "${VALUES:-$here/values/values.yaml}"; }

# origin IMAGE: where it is, built here by podman, buildah or docker, or in a registry
origin() {
  for from in "containers-storage:localhost/$1" "containers-storage:$1" "docker-daemon:$1"; do
    if skopeo inspect --raw "$from" > /dev/null 2>&1; then echo "$from"; return; fi
  done
  echo "docker://$1"
}

# wheels: the lock's, for the images' Python (3.12 on bookworm, amd64), whatever runs here
wheels() {
  local fits=(any manylinux{1,2010,2014}_x86_64 manylinux_2_{5,12,17,24,26,27,28,31,34,35,36}_x86_64)
  python3 -m pip download -q --require-hashes --no-deps --only-binary :all: --python-version 3.12 \
    "${fits[@]/#/--platform=}" -r "${LOCK:-$here/../requirements.lock}" -d "$1"
}

case $action in
  list) images ;;
  save)
    mkdir -p "$folder/images" "$folder/wheels"
    images > "$folder/images.txt"
    while read -r name image; do
      rm -f "$folder/images/$name.tar"
      skopeo copy -q "$(origin "$image")" "oci-archive:$folder/images/$name.tar"
    done < "$folder/images.txt"
    wheels "$folder/wheels"
    (cd "$folder" && find images wheels -type f | sort | xargs sha256sum > SHA256SUMS)
    ;;
  push)
    registry=${3:?$usage}
    (cd "$folder" && sha256sum --quiet -c SHA256SUMS) >&2
    digest=$(mktemp)
    echo 'images:'
    while read -r name _; do
      skopeo copy -q --preserve-digests --digestfile "$digest" "oci-archive:$folder/images/$name.tar" \
        "docker://$registry/thorax/$name" >&2
      echo "  $name: $registry/thorax/$name@$(cat "$digest")"
    done < "$folder/images.txt"
    rm "$digest"
    ;;
  *) echo "$usage" >&2; exit 2 ;;
esac
