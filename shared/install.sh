#!/bin/sh
# Installs one service into /opt/thorax, in the build stage of its image: `install.sh gateway`.
# The lock is the constraint: versions and hashes are its own, and only what the service needs is installed.
set -eu
pip install --no-cache-dir uv==0.13.9
python -m venv --without-pip /opt/thorax
uv pip install --no-cache --compile-bytecode --python /opt/thorax/bin/python \
  --constraint requirements.lock --build-constraint requirements.lock ./shared "./$1"
