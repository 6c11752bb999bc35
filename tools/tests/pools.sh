#!/usr/bin/env bash
# Brings real batch systems up, runs the end-to-end tests of tools/tests/pools.rs on them, and takes them down.
#
#   tools/tests/pools.sh [condor] [condor-hosts] [slurm] [ssh] [local]     default: all of them
#
# Needs root (HTCondor's and Slurm's jobs run as users of their own), and
#   MINICONDOR, MINISLURM   the scripts that make the pools (default: ../shared/bin beside this checkout)
#   POOLS                   a folder that their users can enter; kept between runs (default: /tmp/ringmw-pools)
# What is missing is an error, never a skipped test.
set -euo pipefail
cd "$(dirname "$0")/../.."

die() { echo "pools.sh: $*" >&2; exit 1; }
wanted=("$@")
[ $# -gt 0 ] || wanted=(local ssh condor condor-hosts slurm)
POOLS=${POOLS:-/tmp/ringmw-pools}
MINICONDOR=${MINICONDOR:-$(realpath -m ../shared/bin/minicondor)}
MINISLURM=${MINISLURM:-$(realpath -m ../shared/bin/minislurm)}

cargo build --locked -p ringmw-tools
cargo build --locked -p ringmw-examples --examples
test=$(cargo test --locked -p ringmw-tools --test pools --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\/pools-[^"]*\)".*/\1/p' | tail -n 1)
[ -x "$test" ] || die "cargo built no test program"

mkdir -p "$POOLS/bin"; chmod 755 "$POOLS" "$POOLS/bin"
for program in target/debug/ringmw target/debug/examples/{ping,waves,test-picky} "$test"; do
  name=$(basename "$program"); [ "$program" != "$test" ] || name=pools
  cp "$program" "$POOLS/bin/$name.new"
  strip -g "$POOLS/bin/$name.new" 2>/dev/null || true
  chmod 755 "$POOLS/bin/$name.new"; mv "$POOLS/bin/$name.new" "$POOLS/bin/$name"
done

down=()
finish() { for command in "${down[@]}"; do $command || true; done; }
trap finish EXIT

tests() {   # tests SYSTEM WORK COMMAND..: the system's tests, by their names' first word
  local system=$1 work=$2; shift 2
  printf '\n== %s\n' "$system"
  "$@" env RINGMW_POOLS="$system" RINGMW_POOLS_BIN="$POOLS/bin" RINGMW_POOLS_WORK="$work" \
    "$POOLS/bin/pools" "${system//-/_}_" ${system:+$([ "$system" != condor ] || echo --skip condor_hosts)} --nocapture
}

for system in "${wanted[@]}"; do
  case $system in
  local)
    mkdir -p "$POOLS/work"; tests local "$POOLS/work" ;;
  condor | condor-hosts)
    [ -x "$MINICONDOR" ] || die "no minicondor at $MINICONDOR"
    pool=$POOLS/$system; hosts=0; [ "$system" = condor ] || hosts=4
    down+=("$MINICONDOR down $pool")
    MINICONDOR_HOSTS=$hosts MINICONDOR_CACHE=$POOLS/debs "$MINICONDOR" up "$pool" 12
    tests "$system" "$pool/work" "$MINICONDOR" exec "$pool"
    "$MINICONDOR" down "$pool" ;;
  slurm)
    [ -x "$MINISLURM" ] || die "no minislurm at $MINISLURM"
    pool=$POOLS/slurm
    down+=("$MINISLURM down $pool")
    MINISLURM_CACHE=$POOLS/debs "$MINISLURM" up "$pool" 12
    tests slurm "$pool/work" "$MINISLURM" exec "$pool" ;;
  ssh)
    command -v ssh >/dev/null || die "no ssh (package openssh-client)"
    command -v ssh-keygen >/dev/null || die "no ssh-keygen (package openssh-client)"
    sshd=$(command -v sshd || echo /usr/sbin/sshd)
    if [ ! -x "$sshd" ]; then
      # Debian's, unpacked, not installed.
      root=$POOLS/sshd
      [ -x "$root/usr/sbin/sshd" ] || {
        mkdir -p "$root"
        (cd "$root" && apt-get -qq download openssh-server libwrap0) || die "no sshd, and its package cannot be had"
        for deb in "$root"/*.deb; do dpkg-deb -x "$deb" "$root"; done
      }
      sshd=$root/usr/sbin/sshd
    fi
    keys=$POOLS/ssh; rm -rf "$keys"; mkdir -p "$keys"; chmod 700 "$keys"
    ssh-keygen -q -t ed25519 -N '' -f "$keys/host"; ssh-keygen -q -t ed25519 -N '' -f "$keys/user"
    cp "$keys/user.pub" "$keys/authorized"; port=$((20000 + RANDOM % 10000))
    # What the package's installation would make.
    mkdir -p /run/sshd
    id -u sshd >/dev/null 2>&1 || useradd --system --no-create-home --home-dir /run/sshd --shell /usr/sbin/nologin sshd
    libs=; [ -z "${root:-}" ] || libs=$(echo "$root"/usr/lib/*-linux-gnu):$(echo "$root"/lib/*-linux-gnu)
    LD_LIBRARY_PATH=$libs "$sshd" -D -e -f /dev/null -p "$port" -h "$keys/host" -o ListenAddress=127.0.0.1 \
      -o ListenAddress=127.0.0.2 -o "AuthorizedKeysFile=$keys/authorized" -o StrictModes=no -o UsePAM=no \
      -o PidFile=none -o PermitRootLogin=prohibit-password -o PasswordAuthentication=no 2>"$keys/log" &
    daemon=$!; down+=("kill $daemon")
    for i in {1..100}; do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.1; done
    export RINGMW_POOLS_FARM=$keys/farm
    for host in 127.0.0.1 127.0.0.2; do
      "$POOLS/bin/ringmw" farm --farm "$keys/farm" add "$host" --slots 6 --port "$port" --identity "$keys/user" \
        --dir "$keys/far" --ssh-option StrictHostKeyChecking=no --ssh-option "UserKnownHostsFile=$keys/known" \
        --ssh-option LogLevel=ERROR >/dev/null
    done
    mkdir -p "$POOLS/work"; tests ssh "$POOLS/work" ;;
  *) die "$system is none of condor, condor-hosts, slurm, ssh, local" ;;
  esac
done
echo "pools.sh: all passed on ${wanted[*]}"
