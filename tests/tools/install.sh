#!/bin/bash
# Installs what tests/all needs on a Debian machine, by package name; quick when all is there already.
#
#   install.sh [PART...]   parts: java kazoo node c rust faults counts systemd network zookeeper (default: all)
#
# System packages come from apt (as root, or through sudo); Python and Node packages go into a cache folder,
# which ZKSERVER_TEST_CACHE moves (default: the user's cache folder). The last line printed is that folder.
set -euo pipefail

cache=${ZKSERVER_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/zkserver-clients
kazoo=2.11.0
node_client=1.1.3

main() {
  local part parts=("$@")
  [ $# -gt 0 ] || parts=(java kazoo node c rust faults counts systemd network zookeeper)
  mkdir -p "$cache"
  exec 9> "$cache/lock"
  flock 9
  for part in "${parts[@]}"; do "part_$part" >&2; done
  echo "$cache"
}

part_java() {
  have javac || apt_install default-jdk-headless
  # The script that fetches Apache's jars needs pip.
  part_pip
  "$(dirname "$0")/apache.sh" 3.9.5 > /dev/null
}

part_pip() {
  python3 -m pip --version > /dev/null 2>&1 || apt_install python3-pip
}

part_kazoo() {
  local home=$cache/kazoo-$kazoo
  [ -f "$home/complete" ] && return
  part_pip
  python3 -m pip install --quiet --root-user-action ignore --upgrade --target "$home" "kazoo==$kazoo"
  touch "$home/complete"
}

part_node() {
  local home=$cache/node-$node_client
  have node || apt_install nodejs
  [ -f "$home/complete" ] && return
  have npm || apt_install npm
  npm install --silent --no-audit --no-fund --prefix "$home" "node-zookeeper-client@$node_client"
  touch "$home/complete"
}

part_c() {
  have cc || apt_install gcc libc6-dev
  [ -f /usr/include/zookeeper/zookeeper.h ] || apt_install libzookeeper-mt-dev
  [ -x /usr/lib/zookeeper/bin/cli_mt ] || apt_install zookeeper-bin
}

# System calls are made to fail by it.
part_faults() {
  have strace || apt_install strace
}

# Instructions are counted by valgrind, and put down to their lines by addr2line.
part_counts() {
  have valgrind || apt_install valgrind
  have addr2line || apt_install binutils
}

# Units are judged by systemd's own tool; it need not run.
part_systemd() {
  have systemd-analyze || apt_install systemd
  have runuser || apt_install util-linux
  python3 -c 'import yaml' 2> /dev/null || apt_install python3-yaml
}

# Members of an ensemble get namespaces, and filters between them.
part_network() {
  have ip || apt_install iproute2
  have nft || apt_install nftables
}

# Debian's own release of the server, beside Apache's newest.
part_zookeeper() {
  "$(dirname "$0")/apache.sh" 3.8.0 > /dev/null
}

part_rust() {
  have cargo || { echo "install.sh: cargo is missing; install Rust first" >&2; exit 1; }
}

have() { command -v "$1" > /dev/null; }

apt_install() {
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  # Package lists are fetched only when the first try fails: a fresh machine has none.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" || {
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
  }
}

main "$@"
