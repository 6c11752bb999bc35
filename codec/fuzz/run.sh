#!/usr/bin/env bash
# Runs every fuzz target for SECONDS each (60), two at a time, from the corpus in the repository.
#
# With cargo-fuzz on the stable toolchain; where that cannot run, with the stable driver over the same functions,
# and says so. Exits with 1 when something was found; what cargo-fuzz found lies in codec/fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
targets=(frames handshake task_batch result_batch control secret_proof secret_records audit_line resource_file)

fall_back() {
    printf '\n%s\n' \
        "!! NOT FUZZED BY COVERAGE: $1." \
        "!! The stable driver runs the same targets over mutations of their corpus instead." >&2
    RINGMW_FUZZ_SECONDS=$seconds cargo test --release -p ringmw-codec --test fuzz --locked -- --nocapture
    exit
}

if ! cargo fuzz --version >/dev/null 2>&1; then
    printf 'installing cargo-fuzz\n' >&2
    cargo install --quiet cargo-fuzz || fall_back "cargo-fuzz is not installed, and cannot be (cargo install cargo-fuzz)"
fi
# libFuzzer's instrumentation is unstable in name only: the stable compiler has it, and this lets it be asked for.
export RUSTC_BOOTSTRAP=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! (cd codec && cargo fuzz build -O -a) >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fall_back "cargo-fuzz could not build the targets (it wants a C++ compiler), see above"
fi

run() {
    local target=$1 log
    log=$(mktemp)
    # What is discovered goes to codec/fuzz/found; the corpus in the repository stays as it is.
    mkdir -p "codec/fuzz/found/$target"
    if (cd codec && cargo fuzz run -O -a "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1) >"$log" 2>&1; then
        printf '%s: %s, nothing found\n' "$target" "$(sed -n 's/^Done \(.*\)/\1/p' "$log")"
        rm -f "$log"
        return
    fi
    printf '%s: FOUND\n%s\n' "$target" "$(tail -n 40 "$log")" >&2
    rm -f "$log"
    return 1
}
export -f run
export seconds
# xargs says with 123 that one of them failed.
printf '%s\n' "${targets[@]}" | xargs -P 2 -I {} bash -c 'run {}' || exit 1
