#!/usr/bin/env bash
# Trains on nodes that PBS gives (NASA HECC and others), one process per node with all of its GPUs.
#
#   SELECT='2:model=mil_a100:ncpus=32:ngpus=4' WALLTIME=8:00:00 launch/pbs.sh --config=... --workdir=...
#
# Called on a login node it submits itself; in the job it starts the processes. Compute nodes need no internet: build the
# data and the environment beforehand. The first node of the node file is the coordinator. Two minutes before the time
# limit the processes are told to stop: they save and end; submit the same command again to continue.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: SELECT=... WALLTIME=H:MM:SS launch/pbs.sh [--dry_run] TRAIN OPTIONS...

  --dry_run   print the commands, run nothing (in a job, or with PBS_NODEFILE set: those of the job)

settings (environment):
  SELECT      nodes, as in qsub -l select=..., for example 2:model=mil_a100:ncpus=32:ngpus=4   (required)
  WALLTIME    time limit H:MM:SS                                                               (required)
  QUEUE       queue; default the site's
  GROUP       account to charge (qsub -W group_list); default yours
  ARRAY       indices of an array job, for example 0-15; {i} in the options is then the index
  PYTHON      default: the python on PATH when submitting
  PORT        where the coordinator listens; default 12355

TRAIN OPTIONS as `satxlate train` takes them; --config and --workdir (on a file system that all nodes share) are required.
TEXT
}

fail() { echo "launch/pbs.sh: $1" >&2; exit 2; }
# After other words it would be passed on to training, and the commands would run.
for word in "${@:2}"; do [[ $word != --dry_run ]] || fail "--dry_run comes first: launch/pbs.sh --dry_run ..."; done

dry_run=false
case ${1:-} in
  --dry_run) dry_run=true; shift ;;
  -h | --help) usage; exit 0 ;;
esac
[[ " $*" == *" --config"* ]] || fail "name a configuration: --config=configs/NAME.py"
[[ " $*" == *" --workdir"* ]] || fail "name a folder for the run, shared by all nodes: --workdir=RUN"

submit() {
  [[ -n ${SELECT:-} ]] || fail "set SELECT to the nodes wanted, for example 2:ncpus=32:ngpus=4"
  [[ ${WALLTIME:-} =~ ^[0-9]+:[0-5][0-9]:[0-5][0-9]$ ]] || fail "set WALLTIME to the time limit, H:MM:SS"
  local hours minutes seconds script python
  IFS=: read -r hours minutes seconds <<< "$WALLTIME"
  ((10#$hours * 3600 + 10#$minutes * 60 + 10#$seconds > 300)) || fail "WALLTIME $WALLTIME is shorter than five minutes"
  script=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$(basename "${BASH_SOURCE[0]}")
  python=${PYTHON:-$(command -v python)} || fail "no python on PATH; set PYTHON"
  local seconds_to_train=$((10#$hours * 3600 + 10#$minutes * 60 + 10#$seconds - 120))
  local job=(qsub -N satxlate -j oe -l "select=$SELECT" -l "walltime=$WALLTIME")
  [[ -z ${QUEUE:-} ]] || job+=(-q "$QUEUE")
  [[ -z ${GROUP:-} ]] || job+=(-W "group_list=$GROUP")
  [[ -z ${ARRAY:-} ]] || job+=(-J "$ARRAY")
  job+=(-- /usr/bin/env "SATXLATE_IN_JOB=$PWD" "SECONDS_TO_TRAIN=$seconds_to_train" "PYTHON=$python"
    "PORT=${PORT:-12355}" /bin/bash "$script" "$@")
  if $dry_run; then
    echo "+ $(printf '%q ' "${job[@]}")"
  else
    "${job[@]}"
  fi
}

run_job() {
  [[ -r ${PBS_NODEFILE:-} ]] || fail "PBS_NODEFILE names no readable file"
  local folder=${SATXLATE_IN_JOB:-$PWD} options=() nodes=() index
  local word
  for word in "$@"; do options+=("${word//\{i\}/${PBS_ARRAY_INDEX:-0}}"); done
  mapfile -t nodes < <(awk '!seen[$0]++' "$PBS_NODEFILE")
  cd "$folder" || fail "no folder $folder on this node"
  local processes=()
  stop_all() { for index in "${processes[@]}"; do kill -TERM "$index" 2> /dev/null || true; done; }
  trap stop_all TERM INT
  for index in "${!nodes[@]}"; do
    local train=("${PYTHON:-python}" -m satxlate_jax train "${options[@]}")
    if [[ ${#nodes[@]} -gt 1 ]]; then
      train+=("--coordinator=${nodes[0]}:${PORT:-12355}" "--num_processes=${#nodes[@]}" "--process_id=$index")
    fi
    # The first process runs here: a signal that reaches it stops all of them, at the same step.
    local start=()
    if [[ $index != 0 ]]; then
      start=(ssh -o BatchMode=yes "${nodes[$index]}" "cd $(printf '%q' "$folder") && exec $(printf '%q ' "${train[@]}")")
    else
      start=(timeout --signal=TERM --kill-after=110 "${SECONDS_TO_TRAIN:-0}" "${train[@]}")
    fi
    if $dry_run; then
      echo "+ $(printf '%q ' "${start[@]}")"
    else
      "${start[@]}" &
      processes+=($!)
    fi
  done
  if $dry_run; then return; fi
  local code
  while true; do # a signal to this shell ends the wait, not the process
    code=0
    wait "${processes[0]}" || code=$?
    kill -0 "${processes[0]}" 2> /dev/null || break
  done
  if [[ $code == 124 ]]; then code=0; fi # timeout's way to say that it had to send the signal
  if [[ $code != 0 ]]; then stop_all; fi
  wait || true
  exit "$code"
}

if [[ -n ${PBS_NODEFILE:-} ]]; then run_job "$@"; else submit "$@"; fi
