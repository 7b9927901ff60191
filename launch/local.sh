#!/usr/bin/env bash
# Trains on this machine: a CPU, or all of its GPUs. One process drives all local devices; --processes starts several.
# Stop with Ctrl-C or kill (SIGTERM): every process saves and ends; the same command continues.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/local.sh [--dry_run] [--processes N] [--cpu_devices N] TRAIN OPTIONS...

  --dry_run        print the commands, run nothing
  --processes N    processes to start (default 1); with GPUs, process i gets GPU i
  --cpu_devices N  virtual CPU devices of each process (default 1), to try a mesh without accelerators
  TRAIN OPTIONS    as `satxlate train` takes them; --config and --workdir are required

The Python is $PYTHON (default: python).
TEXT
}

fail() { echo "launch/local.sh: $1" >&2; exit 2; }

dry_run=false processes=1 cpu_devices=""
while [[ $# -gt 0 ]]; do
  case $1 in
    --dry_run) dry_run=true; shift ;;
    --processes) processes=${2:-}; shift 2 || fail "--processes needs a number" ;;
    --processes=*) processes=${1#*=}; shift ;;
    --cpu_devices) cpu_devices=${2:-}; shift 2 || fail "--cpu_devices needs a number" ;;
    --cpu_devices=*) cpu_devices=${1#*=}; shift ;;
    -h | --help) usage; exit 0 ;;
    *) break ;;
  esac
done
[[ $processes =~ ^[1-9][0-9]*$ ]] || fail "--processes '$processes' is not a number"
[[ -z $cpu_devices || $cpu_devices =~ ^[1-9][0-9]*$ ]] || fail "--cpu_devices '$cpu_devices' is not a number"
[[ " $*" == *" --config"* ]] || fail "name a configuration: --config=configs/NAME.py"
[[ " $*" == *" --workdir"* ]] || fail "name a folder for the run: --workdir=RUN"

python=${PYTHON:-python}
if [[ -n $cpu_devices ]]; then
  export JAX_PLATFORMS=cpu
  export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$cpu_devices"
fi
if [[ $processes == 1 ]]; then
  if $dry_run; then
    echo "+ $(printf '%q ' "$python" -m satxlate_jax train "$@")"
    exit 0
  fi
  exec "$python" -m satxlate_jax train "$@"
fi

if $dry_run; then
  port=PORT
else
  port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')
fi
gpus=0
if [[ -z $cpu_devices ]] && command -v nvidia-smi > /dev/null; then gpus=$(nvidia-smi -L | wc -l); fi
((gpus == 0 || processes <= gpus)) || fail "--processes $processes, but there are $gpus GPUs"

pids=()
tell_all() { # SIGNAL
  for pid in "${pids[@]}"; do kill "-$1" "$pid" 2> /dev/null || true; done
}
trap 'tell_all TERM' TERM INT

for ((index = 0; index < processes; index++)); do
  command=("$python" -m satxlate_jax train "$@"
    "--coordinator=localhost:$port" "--num_processes=$processes" "--process_id=$index")
  if $dry_run; then
    ((gpus == 0)) || printf 'CUDA_VISIBLE_DEVICES=%s ' "$index"
    echo "+ $(printf '%q ' "${command[@]}")"
    continue
  fi
  ((gpus == 0)) || export CUDA_VISIBLE_DEVICES=$index
  "${command[@]}" &
  pids+=($!)
done

# Waits for all. One that fails takes the others with it after a while: they would wait for it.
status=0 patience=20
while [[ ${#pids[@]} -gt 0 ]]; do
  sleep 1 &
  wait $! || true
  left=()
  for pid in "${pids[@]}"; do
    if kill -0 "$pid" 2> /dev/null; then
      left+=("$pid")
    else
      code=0
      wait "$pid" || code=$?
      ((status != 0)) || status=$code
    fi
  done
  pids=(${left[@]+"${left[@]}"})
  if ((status != 0)); then
    patience=$((patience - 1))
    ((patience > 0)) || tell_all KILL
  fi
done
exit "$status"
