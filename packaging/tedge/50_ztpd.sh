#!/bin/sh
# Plugin of `tedge diag collect` (thin-edge.io): the archive of `ztpd report`, without position.
#
#   50_ztpd.sh collect --output-dir DIR [--config-dir DIR]
#
# Exit status 2: there is no ztpd here.
set -eu

command -v ztpd >/dev/null || exit 2
[ "${1:-}" = collect ] || { echo "usage: $0 collect --output-dir DIR" >&2; exit 64; }
shift
output=
while [ $# -gt 0 ]; do
    case $1 in
        --output-dir) output=${2:-} ;;
        --output-dir=*) output=${1#*=} ;;
    esac
    shift
done
[ -n "$output" ] || { echo "$0: --output-dir is missing" >&2; exit 64; }
exec ztpd report --output "$output/ztpd-report.tar.gz"
