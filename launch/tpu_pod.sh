#!/usr/bin/env bash
# Trains on a Cloud TPU slice, one process per host, with gcloud on your own machine: create, setup, run, logs, stop,
# delete. To go on after a preemption: create, setup, and run with the same options.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: TPU_NAME=... TPU_ZONE=... launch/tpu_pod.sh [--dry_run] ACTION [...]

actions:
  create                 make the slice (TPU_TYPE and TPU_RUNTIME required; TPU_SPOT=true for a preemptible one)
  setup                  copy this checkout to all hosts and install it with the extra 'tpu'
  run TRAIN OPTIONS...   start training on all hosts; --config and --workdir=gs://BUCKET/RUN are required
  logs                   follow the first host's output
  stop                   tell all hosts to stop: they save and end
  delete                 delete the slice

  --dry_run              print the commands, run nothing

settings (environment):
  TPU_NAME               name of the slice, yours to choose                      (required)
  TPU_ZONE               for example us-west4-a                                  (required)
  TPU_TYPE               for example v5litepod-16, v6e-64                        (create)
  TPU_RUNTIME            for example v2-alpha-tpuv5-lite, v2-alpha-tpuv6e        (create)
  TPU_PROJECT            default: gcloud's current project
TEXT
}

fail() { echo "launch/tpu_pod.sh: $1" >&2; exit 2; }
# After other words it would be passed on to training, and the commands would run.
for word in "${@:2}"; do [[ $word != --dry_run ]] || fail "--dry_run comes first: launch/tpu_pod.sh --dry_run ..."; done

dry_run=false
if [[ ${1:-} == --dry_run ]]; then dry_run=true; shift; fi
action=${1:-}
[[ $# -eq 0 ]] || shift
case $action in
  create | setup | run | logs | stop | delete) ;;
  -h | --help) usage; exit 0 ;;
  *) fail "name an action: create, setup, run, logs, stop or delete (--help explains)" ;;
esac
required=(TPU_NAME TPU_ZONE)
[[ $action != create ]] || required+=(TPU_TYPE TPU_RUNTIME)
for name in "${required[@]}"; do [[ -n ${!name:-} ]] || fail "set $name (--help explains)"; done

place=("--zone=$TPU_ZONE")
[[ -z ${TPU_PROJECT:-} ]] || place+=("--project=$TPU_PROJECT")

execute() {
  if $dry_run; then echo "+ $(printf '%q ' "$@")"; else "$@"; fi
}

gcloud_tpu() { # COMMAND ARGUMENTS...
  local command=$1
  shift
  execute gcloud compute tpus tpu-vm "$command" "$@" "${place[@]}"
}

on_hosts() { # WHICH COMMAND
  gcloud_tpu ssh "$TPU_NAME" "--worker=$1" "--command=$2"
}

case $action in
  create)
    options=("--accelerator-type=$TPU_TYPE" "--version=$TPU_RUNTIME")
    [[ ${TPU_SPOT:-false} != true ]] || options+=(--spot)
    gcloud_tpu create "$TPU_NAME" "${options[@]}"
    ;;
  setup)
    folder=FOLDER
    $dry_run || folder=$(mktemp -d)
    archive=$folder/satxlate.tar.gz
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    execute git -C "$root" archive --format=tar.gz "--output=$archive" HEAD
    gcloud_tpu scp "$archive" "$TPU_NAME:satxlate.tar.gz" --worker=all
    on_hosts all "mkdir -p satxlate && tar -xzf satxlate.tar.gz -C satxlate && cd satxlate \
&& python3 -m venv .venv && .venv/bin/pip install -q -U pip && .venv/bin/pip install -q -e '.[tpu]'"
    $dry_run || rm -r "$folder"
    ;;
  run)
    [[ " $*" == *" --config"* ]] || fail "name a configuration: --config=configs/NAME.py"
    [[ " $*" == *" --workdir"* ]] || fail "name a folder for the run that all hosts see: --workdir=gs://BUCKET/RUN"
    train=".venv/bin/python -m satxlate_jax train $(printf '%q ' "$@")--distributed"
    on_hosts all "cd satxlate && { nohup $train > train.log 2>&1 < /dev/null & echo \$! > train.pid; }"
    ;;
  logs) on_hosts 0 "tail -n 50 -f satxlate/train.log" ;;
  stop) on_hosts all "kill -TERM \$(cat satxlate/train.pid)" ;;
  delete) gcloud_tpu delete "$TPU_NAME" --quiet ;;
esac
