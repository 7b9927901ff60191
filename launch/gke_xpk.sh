#!/usr/bin/env bash
# Trains on TPU slices of a GKE cluster with xpk (pip install xpk): run, list, stop. xpk packs this checkout into a
# container on BASE_IMAGE, which must hold the installed requirements with the extra 'tpu'.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: CLUSTER=... ZONE=... WORKLOAD=... launch/gke_xpk.sh [--dry_run] ACTION [...]

actions:
  run TRAIN OPTIONS...   start the workload; --config and --workdir=gs://BUCKET/RUN are required
  list                   the cluster's workloads, and where their logs are
  stop                   end the workload: its hosts get SIGTERM, save and end

  --dry_run              print the commands, run nothing

settings (environment):
  CLUSTER                name of the GKE cluster                            (required)
  ZONE                   its zone                                           (required)
  WORKLOAD               name of the job, yours to choose                   (run, stop)
  TPU_TYPE               for example v5litepod-256                          (run)
  BASE_IMAGE             image with Python and the requirements             (run)
  SLICES                 how many slices; default 1
  RESTARTS               how often a preempted job starts again; default 10
  PROJECT                default: gcloud's current project
TEXT
}

fail() { echo "launch/gke_xpk.sh: $1" >&2; exit 2; }
# After other words it would be passed on to training, and the commands would run.
for word in "${@:2}"; do [[ $word != --dry_run ]] || fail "--dry_run comes first: launch/gke_xpk.sh --dry_run ..."; done

dry_run=false
if [[ ${1:-} == --dry_run ]]; then dry_run=true; shift; fi
action=${1:-}
[[ $# -eq 0 ]] || shift
required=(CLUSTER ZONE)
case $action in
  run) required+=(WORKLOAD TPU_TYPE BASE_IMAGE) ;;
  stop) required+=(WORKLOAD) ;;
  list) ;;
  -h | --help) usage; exit 0 ;;
  *) fail "name an action: run, list or stop (--help explains)" ;;
esac
for name in "${required[@]}"; do [[ -n ${!name:-} ]] || fail "set $name (--help explains)"; done

place=("--cluster=$CLUSTER" "--zone=$ZONE")
[[ -z ${PROJECT:-} ]] || place+=("--project=$PROJECT")

execute() {
  if $dry_run; then echo "+ $(printf '%q ' "$@")"; else "$@"; fi
}

case $action in
  run)
    [[ " $*" == *" --config"* ]] || fail "name a configuration: --config=configs/NAME.py"
    [[ " $*" == *" --workdir"* ]] || fail "name a folder for the run that all hosts see: --workdir=gs://BUCKET/RUN"
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    train="python -m satxlate_jax train $(printf '%q ' "$@")--distributed"
    execute xpk workload create "${place[@]}" "--workload=$WORKLOAD" "--tpu-type=$TPU_TYPE" \
      "--num-slices=${SLICES:-1}" "--max-restarts=${RESTARTS:-10}" "--base-docker-image=$BASE_IMAGE" \
      "--script-dir=$root" "--command=$train"
    ;;
  list) execute xpk workload list "${place[@]}" ;;
  stop) execute xpk workload delete "${place[@]}" "--workload=$WORKLOAD" ;;
esac
