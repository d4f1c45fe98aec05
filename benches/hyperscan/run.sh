#!/bin/sh
# Finds the same patterns in the same texts with Crewgate and with Hyperscan (Debian's libhyperscan-dev, block mode), one after
# the other, three times, and prints the medians in processor time and their ratio. Texts: ../shared/pii, where present.
set -eu
cd "$(dirname "$0")/../.."
profile=${1:-pii-basic}
target=${CARGO_TARGET_DIR:-target}
work=$target/hyperscan
mkdir -p "$work"
[ -d ../shared/pii ] && shared=../shared/pii || shared=${CREWGATE_PII:-}
if [ -z "$shared" ]; then
    echo "../shared/pii is absent: nothing to compare on" >&2
    exit 1
fi
if ! cc -O2 -o "$work/scan" benches/hyperscan/scan.c -lhs; then
    echo "libhyperscan is absent: apt-get install libhyperscan-dev" >&2
    exit 1
fi
cargo build -q --release -p crewgate-masking --example engine
ours=$target/release/examples/engine
"$ours" "$profile" patterns > "$work/patterns.tsv"
texts() {
    python3 -c '
import json, sys
for path in sys.argv[1:]:
    for line in open(path, encoding="utf-8"):
        print(json.loads(line).get("text", ""))' "$@"
}
texts "$shared/clean/crewai_prose.jsonl" > "$work/prose"
texts "$shared/clean/crewai_json.jsonl" > "$work/json"
texts "$shared/clean/crewai_sse.jsonl" > "$work/sse"
texts "$shared"/dev/*.jsonl > "$work/dense"
median() { printf '%s\n' "$@" | sort -n | sed -n 2p; }
for text in prose dense json sse; do
    a="" b=""
    for _ in 1 2 3; do
        a="$a $("$ours" "$profile" time "$work/$text")"
        b="$b $("$work/scan" "$work/patterns.tsv" "$work/$text" 2> "$work/log")"
    done
    a=$(median $a) b=$(median $b)
    echo "$text: ours $a MB/s, hyperscan $b MB/s, ratio $(echo "$a $b" | awk '{ printf "%.1f", $1 / $2 }')"
done
tail -n 1 "$work/log"
