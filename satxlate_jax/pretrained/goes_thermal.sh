#!/usr/bin/env bash
# Makes the run that comes with the package, satxlate_jax/pretrained/goes_thermal.npz, again, and its scores.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: satxlate_jax/pretrained/goes_thermal.sh [--dry_run] L1G_ROOT WORK

  --dry_run  print the commands, run nothing
  L1G_ROOT   folder of real GOES-16 and GOES-17 tiles, with h09v03 of GOES-17 to score on
  WORK       folder for data sets, run and scores

The Python is $PYTHON (default: python). Minutes on a CPU. The card, goes_thermal.md, is written by hand from the scores.
TEXT
}

fail() { echo "satxlate_jax/pretrained/goes_thermal.sh: $1" >&2; exit 2; }

dry_run=false
while [[ ${1:-} == -* ]]; do
  case $1 in
    --dry_run) dry_run=true; shift ;;
    -h | --help) usage; exit 0 ;;
    *) fail "there is no option $1; --help explains" ;;
  esac
done
[[ $# -eq 2 ]] || fail "give L1G_ROOT and WORK; --help explains"
root=$1 work=$2 python=${PYTHON:-python}
step() { echo "+ $*"; $dry_run || "$@"; }

for each in "G16 7,8,9,10,12,16" "G17 8,9,10,16"; do
  read -r name bands <<<"$each"
  config="{\"name\": \"${name}_ir\", \"satellite\": \"$name\", \"bands\": [$bands], \"split_by\": \"tile\"}"
  step "$python" -m tensorflow_datasets.scripts.cli.main build datasets/geonex_l1g --config="$config" \
    --manual_dir="$root" --data_dir="$work/data"
done
step "$python" -m satxlate_jax train --config=configs/real_g16g17_ir_flow.py --workdir="$work/goes_thermal" \
  --config.data.dir="$work/data"
for day in 300 335; do
  step "$python" -m satxlate_jax evaluate --checkpoint "$work/goes_thermal" --l1g "$root" --source G17 --target G16 \
    --truth source --tiles h09v03 --days "$day" --baselines linear,quadratic --output "$work/scores_$day"
done
step "$python" -m satxlate_jax runs --pack "$work/goes_thermal" --output satxlate_jax/pretrained/goes_thermal.npz
