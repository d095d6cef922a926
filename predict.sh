#!/bin/sh
# The challenge's entry point: segment every scan in inputs/ into outputs/.
cd "$(dirname "$0")" || exit 1
exec python -m inference -i inputs -o outputs "$@"
