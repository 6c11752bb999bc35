#!/usr/bin/env bash
# The audit commands over made trails whose truth is known: are the findings right, and does every figure of a window
# agree with a recount of the trail's text?
#
#   tools/tests/stories.sh          in full: 1,000 calm stories, 50 of each trouble, 200 windows of each kind (35 minutes on two
#                                  cores that others use too)
#   tools/tests/stories.sh small    100, 5 and 10 (a minute)
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1:-full}" in
  full) stories=1000,50,0 windows=200 ;;
  small) stories=100,5,0 windows=10 ;;
  *) printf 'usage: %s [full|small]\n' "$0" >&2; exit 2 ;;
esac
RINGMW_AUDIT_STORIES=$stories RINGMW_AUDIT_WINDOWS=$windows \
  cargo test --release --locked --workspace --test audit stor
