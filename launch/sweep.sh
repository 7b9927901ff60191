#!/usr/bin/env bash
# Starts one run per index, as an array job or one after the other: the 16 band-drop configurations, seeds, learning rates.
#
#   launch/sweep.sh slurm 0-15 --config=configs/drop_band.py:{i} --workdir=RUNS/drop_{i}
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/sweep.sh [--dry_run] slurm|pbs|local FIRST-LAST TRAIN OPTIONS...

{i} in the train options is the index. Settings are those of launch/slurm.sbatch (sbatch's own in SBATCH_..., as sbatch
reads them), launch/pbs.sh (SELECT, WALLTIME, ...) and launch/local.sh; `local` trains one run after the other.
TEXT
}

fail() { echo "launch/sweep.sh: $1" >&2; exit 2; }
# After other words it would be passed on to training, and the commands would run.
for word in "${@:2}"; do [[ $word != --dry_run ]] || fail "--dry_run comes first: launch/sweep.sh --dry_run ..."; done

dry=()
if [[ ${1:-} == --dry_run ]]; then dry=(--dry_run); shift; fi
machine=${1:-} indices=${2:-}
case $machine in
  slurm | pbs | local) ;;
  -h | --help) usage; exit 0 ;;
  *) fail "name where to run: slurm, pbs or local" ;;
esac
[[ $indices =~ ^([0-9]+)-([0-9]+)$ ]] || fail "'$indices' is no range of indices such as 0-15"
first=${BASH_REMATCH[1]} last=${BASH_REMATCH[2]}
((first <= last)) || fail "'$indices' is no range of indices such as 0-15"
shift 2
[[ " $*" == *"{i}"* ]] || fail "no {i} in the options: all runs would be the same"
[[ " $*" =~ \ --workdir[=\ ][^\ ]*\{i\} ]] || fail "the workdir must differ from run to run: --workdir=RUNS/{i}"

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case $machine in
  slurm)
    job=(sbatch "--array=$indices" "$folder/slurm.sbatch" "$@")
    if [[ ${#dry[@]} -gt 0 ]]; then echo "+ $(printf '%q ' "${job[@]}")"; else "${job[@]}"; fi
    ;;
  pbs) ARRAY=$indices "$folder/pbs.sh" ${dry[@]+"${dry[@]}"} "$@" ;;
  local)
    for ((index = first; index <= last; index++)); do
      options=()
      for word in "$@"; do options+=("${word//\{i\}/$index}"); done
      "$folder/local.sh" ${dry[@]+"${dry[@]}"} "${options[@]}"
    done
    ;;
esac
