#!/usr/bin/env bash
# Brings real batch systems up, runs the end-to-end tests of tools/tests/pools on them, and takes them down.
#
#   tools/tests/pools.sh [small] [local] [ssh] [condor] [condor_hosts] [slurm]     default: all of them
#   tools/tests/pools.sh condor::NAME                                              the tests of that name alone
#
# `small` is the gate's size: two pools at a time, and without what another system shows in less time.
#
# Needs root (HTCondor's and Slurm's jobs run as users of their own), and
#   MINICONDOR, MINISLURM   the scripts that make the pools (default: those in tools/tests/pools)
#   POOLS                   a folder that their users can enter; kept between runs (default: /tmp/ringmw-pools)
#   RINGMW_POOLS_DOWN_S     how many seconds a master that comes back is down at least (default: until its slaves wait)
# ssh and sshd are installed by apt if they are not there. What is missing is an error, never a skipped test.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin

die() { echo "pools.sh: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "run it as root: the pools' jobs run as users of their own"
systems=(local ssh condor condor_hosts slurm)
# A crash loop is held on HTCondor in a third of the time; a suspended job waits for HTCondor's own timers; ten kills of
# four programs take a quarter of an hour.
slow=(slurm::a_master_that_aborts_is_held slurm::a_slave_that_is_refused_is_held condor::a_suspended_slave_is_vacated
  condor::programs_outlive_their_killed_masters)
skip=() size= asked=
if [ "${1-}" = small ]; then
  size=small
  for name in "${slow[@]}"; do skip+=(--skip "$name"); done
  shift
fi
[ $# -gt 0 ] || set -- "${systems[@]}"
for system; do
  [[ " ${systems[*]} " == *" ${system%%::*} "* ]] || die "$system is none of ${systems[*]}"
done
POOLS=$(realpath -m "${POOLS:-/tmp/ringmw-pools}")
MINICONDOR=${MINICONDOR:-$PWD/tools/tests/pools/minicondor}
MINISLURM=${MINISLURM:-$PWD/tools/tests/pools/minislurm}

# Whatever happens, nothing is left running.
down=() testing=
finish() {
  local command
  [ -z "$testing" ] || kill -- "-$testing" || true
  for command in "${down[@]}"; do $command || echo "pools.sh: $command failed" >&2; done
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

need() { .ci/need "$@"; }

build() {   # the programs, where the pools' users can read them
  # --workspace, so that the features are those of `cargo test --workspace`, whose build is taken over.
  cargo build --locked --workspace --bins --examples
  local test program name
  test=$(cargo test --locked --workspace --test pools --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/pools-[^"]*\)".*/\1/p' | tail -n 1)
  [ -x "$test" ] || die "cargo built no test program"
  mkdir -p "$POOLS/bin" "$POOLS/work"; chmod 755 "$POOLS" "$POOLS/bin"
  for program in target/debug/ringmw target/debug/examples/{ping,waves,test-picky,test-lives,monte-carlo-pi,search} "$test"; do
    name=$(basename "$program"); [ "$program" != "$test" ] || name=pools
    cp "$program" "$POOLS/bin/$name.new"
    # HTCondor sends the program with each job.
    strip -g "$POOLS/bin/$name.new" || die "no strip (package binutils)"
    chmod 755 "$POOLS/bin/$name.new"; mv "$POOLS/bin/$name.new" "$POOLS/bin/$name"
  done
}

tests() {   # tests SYSTEM WORK [COMMAND..]: those of the module of this name, or those that were asked for
  local system=$1 work=$2 began=$SECONDS; shift 2
  printf '\n== %s\n' "$system"
  # A process group of its own, and waited for: bash does not look at signals while a command runs.
  set -m
  "$@" env RINGMW_POOLS_BIN="$POOLS/bin" RINGMW_POOLS_WORK="$work" \
    "$POOLS/bin/pools" "${asked:-$system::}" "${skip[@]}" --ignored --nocapture &
  testing=$!
  set +m
  local code=0
  wait "$testing" || code=$?
  testing=
  [ $code = 0 ] || exit $code
  echo "$system took $((SECONDS - began)) s"
}

# Both of two lanes may fetch packages: never at once. The lock is not the daemons'.
one_at_a_time() { flock -o "$POOLS/lock" "$@"; }

condor() {   # condor SYSTEM HOSTS
  [ "$2" = 0 ] || need ip iproute2
  [ -x "$MINICONDOR" ] || die "no minicondor at $MINICONDOR"
  local pool=$POOLS/$1
  down+=("$MINICONDOR down $pool")
  MINICONDOR_HOSTS=$2 MINICONDOR_CACHE=$POOLS/debs one_at_a_time "$MINICONDOR" up "$pool" 12
  tests "$1" "$pool/work" "$MINICONDOR" exec "$pool"
  "$MINICONDOR" down "$pool"
}

slurm() {
  [ -x "$MINISLURM" ] || die "no minislurm at $MINISLURM"
  local pool=$POOLS/slurm
  down+=("$MINISLURM down $pool")
  MINISLURM_CACHE=$POOLS/debs one_at_a_time "$MINISLURM" up "$pool" 12
  tests slurm "$pool/work" "$MINISLURM" exec "$pool"
  "$MINISLURM" down "$pool"
}

ssh_farm() {   # a daemon of our own on two loopback addresses, with keys made for it
  need ssh openssh-client; need ssh-keygen openssh-client; need sshd openssh-server
  local keys=$POOLS/ssh port host
  rm -rf "$keys"; mkdir -p "$keys" /run/sshd; chmod 700 "$keys"
  ssh-keygen -q -t ed25519 -N '' -f "$keys/host"; ssh-keygen -q -t ed25519 -N '' -f "$keys/user"
  cp "$keys/user.pub" "$keys/authorized"
  # A port may be taken: the next one then.
  for port in {22022..22072}; do
    : >"$keys/log"
    "$(command -v sshd)" -D -e -f /dev/null -p "$port" -h "$keys/host" -o ListenAddress=127.0.0.1 \
      -o ListenAddress=127.0.0.2 -o "AuthorizedKeysFile=$keys/authorized" -o StrictModes=no -o UsePAM=no \
      -o PidFile=none -o PermitRootLogin=prohibit-password -o PasswordAuthentication=no 2>>"$keys/log" &
    sshd=$!
    until [ "$(grep -c '^Server listening' "$keys/log")" = 2 ] || ! kill -0 $sshd 2>/dev/null; do sleep 0.1; done
    ! kill -0 $sshd 2>/dev/null || break
    wait $sshd || true; sshd=
  done
  [ -n "$sshd" ] || die "sshd does not start: $(cat "$keys/log")"
  down+=("kill $sshd")
  for host in 127.0.0.1 127.0.0.2; do
    "$POOLS/bin/ringmw" farm --farm "$keys/farm" add "$host" --slots 6 --port "$port" --identity "$keys/user" \
      --dir "$keys/far" --ssh-option StrictHostKeyChecking=no --ssh-option "UserKnownHostsFile=$keys/known" \
      --ssh-option LogLevel=ERROR
  done
  RINGMW_POOLS_FARM=$keys/farm tests ssh "$POOLS/work"
}

[ -n "${RINGMW_POOLS_BUILT-}" ] || build

# Jobs of a pool wait most of the time: HTCondor's run beside the others'.
if [ "$size" = small ] && [[ " $* " == *" condor "* ]] && [ $# -gt 1 ]; then
  export RINGMW_POOLS_BUILT=1
  others=()
  for system; do [ "$system" = condor ] || others+=("$system"); done
  lanes=()
  tools/tests/pools.sh small condor & lanes+=($!)
  tools/tests/pools.sh small "${others[@]}" & lanes+=($!)
  down+=("kill ${lanes[*]}")
  code=0
  for lane in "${lanes[@]}"; do wait "$lane" || code=$?; done
  down=()
  [ $code = 0 ] || die "a lane failed with $code"
  set --
fi
for system; do
  asked=
  [[ "$system" != *::* ]] || asked=$system
  case ${system%%::*} in
  local) tests local "$POOLS/work" ;;
  ssh) ssh_farm ;;
  condor) condor condor 0 ;;
  condor_hosts) condor condor_hosts 4 ;;
  slurm) slurm ;;
  esac
done
echo "pools.sh: all passed${*:+ on $*} in $SECONDS s"
