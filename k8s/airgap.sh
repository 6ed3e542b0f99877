#!/usr/bin/env bash
# For clusters without the internet. Where there is one:
#   airgap.sh save FOLDER                the images of values.yaml, as OCI archives with a list, and the wheels of the lock
# and inside, with what was saved:
#   airgap.sh push FOLDER REGISTRY       pushes the images, and prints `images:` for values.yaml, by digest
# VALUES names another values file. Needs podman; the wheels need python3.
set -euo pipefail
usage='usage: airgap.sh save FOLDER | push FOLDER REGISTRY'
action=${1:?$usage} folder=${2:?$usage}
here=$(dirname "$0")

# images: a line for each, its name in values.yaml and where it is
images() { sed -n '/^images:/,/^$/s/^  \([a-z-]*\): *\([^ #]*\).*/\1 \2/p' "${VALUES:-$here/values/values.yaml}"; }

case $action in
  list) images ;;
  save)
    mkdir -p "$folder/images" "$folder/wheels"
    images > "$folder/images.txt"
    while read -r name image; do
      podman image exists "$image" || podman pull -q "$image"
      podman save -q --format oci-archive -o "$folder/images/$name.tar" "$image"
    done < "$folder/images.txt"
    python3 -m pip download -q --require-hashes --no-deps -r "${LOCK:-$here/../requirements.lock}" -d "$folder/wheels"
    (cd "$folder" && find images wheels -type f | sort | xargs sha256sum > SHA256SUMS)
    ;;
  push)
    registry=${3:?$usage}
    (cd "$folder" && sha256sum --quiet -c SHA256SUMS) >&2
    digest=$(mktemp)
    echo 'images:'
    while read -r name _; do
      podman push -q --digestfile "$digest" "oci-archive:$folder/images/$name.tar" "$registry/thorax/$name" >&2
      echo "  $name: $registry/thorax/$name@$(cat "$digest")"
    done < "$folder/images.txt"
    rm "$digest"
    ;;
  *) echo "$usage" >&2; exit 2 ;;
esac
