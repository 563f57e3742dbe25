#!/bin/bash
# Prints a Java class path on which Apache ZooKeeper's own server and clients run; fetches it at first use.
#
#   apache.sh [3.9.5]  ZooKeeper 3.9.5 with Curator 5.9, out of the jars that the Python package pyspark 4.3.0
#                      carries (a download of 450 MB, of which 23 MB stay)
#   apache.sh 3.8.0    Debian's own packages of ZooKeeper 3.8.0, installed on the machine
#
#   java -cp "$(apache.sh)" org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg
#   java -cp "$(apache.sh)" org.apache.zookeeper.ZooKeeperMain -server 127.0.0.1:2181
#
# ZKSERVER_TEST_CACHE names the folder that keeps downloads (default: the user's cache folder). With a filled
# folder nothing is fetched, so that the tests run offline.
set -euo pipefail

main() {
  local version=${1:-3.9.5}
  case $version in
    3.9.5) from_pyspark "$version" 4.3.0 ;;
    3.8.0) from_debian ;;
    *) echo "apache.sh: no ZooKeeper $version here; ask for 3.9.5 or 3.8.0" >&2; exit 2 ;;
  esac
}

from_pyspark() {
  local home=${ZKSERVER_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/apache-zookeeper/$1
  mkdir -p "${home%/*}"
  # One fetch at a time: two test runs that start together must not unpack over each other.
  exec 9> "$home.lock"
  flock 9
  [ -f "$home/complete" ] || fetch_pyspark "$home" "$2" >&2
  exec 9>&-
  echo "$home:$home/*"
}

# The source archive is the only form of pyspark with the jars in it.
fetch_pyspark() {
  local home=$1 archive=pyspark-$2.tar.gz jars=pyspark-$2/deps/jars patterns=() name
  scratch=$(mktemp -d "$home.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  for name in zookeeper- curator- netty- slf4j-api- log4j-api- log4j-core- \
    log4j-slf4j2-impl- snappy-java- metrics-core- commons-cli- commons-io- jackson-core-2 jackson-databind- \
    jackson-annotations- jline-2 guava- failureaccess- audience-annotations-; do
    patterns+=("$jars/$name*.jar")
  done
  echo "apache.sh: fetching ZooKeeper's jars, 450 MB, once"
  python3 -m pip download --quiet --no-deps --no-binary :all: --dest "$scratch" "pyspark==$2"
  rm -rf "$home"
  mkdir "$home"
  tar -xzf "$scratch/$archive" -C "$home" --strip-components 3 --wildcards "${patterns[@]}"
  # Native parts of other machines are most of netty.
  find "$home" -name 'netty-*' \( -name '*osx*' -o -name '*windows*' -o -name '*riscv64*' \) -delete
  cat > "$home/log4j2.properties" << 'END'
status = off
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %-5p [%t:%c{1}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
END
  touch "$home/complete"
}

from_debian() {
  local jar path=/etc/zookeeper/conf
  if ! dpkg -s zookeeper libzookeeper-java > /dev/null 2>&1; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y zookeeper libzookeeper-java; } >&2
  fi
  for jar in zookeeper zookeeper-jute slf4j-api slf4j-nop metrics-core snappy-java commons-cli commons-io \
    jline2 jackson-core jackson-databind jackson-annotations; do
    path+=:/usr/share/java/$jar.jar
  done
  for jar in /usr/share/java/netty-*.jar; do path+=:$jar; done
  echo "$path"
}

main "$@"
