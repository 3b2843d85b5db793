#!/usr/bin/env bash
# Runs one command with a private Docker engine that has the images of compose.yaml:
#
#   scripts/engine/run.sh [--servers postgres,redis] COMMAND...
#
# The script pulls no image. It builds them from Debian 13 packages (PostgreSQL 17, Redis 8, RabbitMQ 4, MariaDB 11.8) and Kafka's
# jars, under the names that the tests and compose.yaml use. They are not copies of the official images: no Alpine, no modules.
#
# The script needs Debian and root. The engine has its own network namespace, mount namespace and /run: its socket, bridge,
# iptables rules and ports exist only for COMMAND, which reaches no other network. At the end, the script removes the containers,
# the engine and its files. The packages it installed stay.
#
#   ENGINE_CACHE=FOLDER   keeps the images for the next run (1 to 2 GB)
#   ENGINE_NODE=FILE      the Node program in the image node:24-bookworm-slim; default: the one in node_modules
#
# Exit code: that of COMMAND; 75 when this machine cannot run an engine or install its packages, after a line that begins "no engine:".
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
servers=postgres,redis,rabbitmq,kafka,mariadb
if [ "${1:-}" = --servers ]; then
  servers=${2:?--servers needs names, such as postgres,redis}
  shift 2
fi
[ $# -gt 0 ] || { echo 'usage: scripts/engine/run.sh [--servers postgres,redis] COMMAND...' >&2; exit 2; }
IFS=, read -ra kinds <<<"$servers"
for kind in "${kinds[@]}"; do
  [ -d "$here/images/$kind" ] || { echo "--servers: there is no image of \"$kind\", choose from $(ls "$here/images" | paste -sd,)" >&2; exit 2; }
done

UNAVAILABLE=75
no_engine() { echo "no engine: $*" >&2; exit "$UNAVAILABLE"; }
step() { printf '== engine: %s (%s s)\n' "$*" "$SECONDS" >&2; }

# --------------------------------------------------------------------------------------------------- what the machine must allow
command -v apt-get >/dev/null || no_engine 'this is no Debian: there is no apt-get'
[ "$(id -u)" = 0 ] || no_engine 'an engine needs root'
unshare --net --mount --propagation private true 2>/dev/null || no_engine 'root may not create network and mount namespaces here (CAP_SYS_ADMIN)'
unshare --net --mount --propagation private sh -c 'mount -t tmpfs none /mnt' 2>/dev/null || no_engine 'root may not mount here'
[ -d /sys/fs/cgroup ] && [ -n "$(ls /sys/fs/cgroup)" ] || no_engine 'no cgroups are mounted at /sys/fs/cgroup'

kept=${ENGINE_CACHE:-}
work=${kept:-$(mktemp -d "${TMPDIR:-/tmp}/concordat-engine.XXXXXX")}
mkdir -p "$work"
work=$(cd "$work" && pwd)
export DEBIAN_FRONTEND=noninteractive DOCKER_BUILDKIT=0 DOCKER_CONFIG=$work/config
unset DOCKER_HOST
engine=''
policy=/usr/sbin/policy-rc.d
made_policy=''
# A separate cgroup, so that the cleanup touches no other engine on this machine.
cgroup=concordat-engine-$$

cleanup() {
  local code=$?
  trap - EXIT INT TERM
  set +e
  [ -z "$made_policy" ] || rm -f "$policy"
  if [ -n "$engine" ] && kill -0 "$engine" 2>/dev/null; then
    inside sh -c 'ids=$(docker ps -aq); [ -z "$ids" ] || docker rm -fv $ids' >/dev/null 2>&1
    kill -TERM "$engine"
    for _ in $(seq 80); do kill -0 "$engine" 2>/dev/null || break; sleep 0.25; done
    kill -KILL "$engine" 2>/dev/null
  fi
  find /sys/fs/cgroup -path "*/$cgroup*" -depth -type d -exec rmdir {} + 2>/dev/null
  rm -rf --one-file-system "$work/exec" "$work/context"
  # --one-file-system: deletes nothing behind a mount that remains.
  [ -n "$kept" ] || rm -rf --one-file-system "$work"
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ------------------------------------------------------------------------------------------------------------------- packages
# The engine package would start an engine on this machine. The policy prevents that.
install_packages() {
  local code=0
  if [ ! -e "$policy" ]; then
    made_policy=1
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"$work/apt.log" 2>&1 || code=$?
  [ -z "$made_policy" ] || rm -f "$policy"
  made_policy=''
  [ "$code" = 0 ] || no_engine "apt-get cannot install $*: $(tail -n 1 "$work/apt.log")"
}

step packages
packages=()
command -v dockerd >/dev/null || packages+=(docker.io)
command -v iptables >/dev/null || packages+=(iptables)
command -v mmdebstrap >/dev/null || packages+=(mmdebstrap)
[ ${#packages[@]} = 0 ] || install_packages "${packages[@]}"

# ----------------------------------------------------------------------------------------------- one file system for all images
declare -A server_packages=([postgres]=postgresql [redis]=redis-server,valkey-server [rabbitmq]=rabbitmq-server [kafka]=openjdk-21-jre-headless
  [mariadb]=mariadb-server)
debian=$work/debian-$(printf '%s\n' "${kinds[@]}" | sort | paste -sd-).tar

make_debian() {
  local mirror include=gosu kind
  for kind in "${kinds[@]}"; do include+=,${server_packages[$kind]}; done
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | awk '$2 !~ /-/ { print $1; exit }')
  mkdir -p "$work/debs"
  # Creates no default PostgreSQL cluster and installs no documentation. The Compose plugin is one static program, for the CLI of
  # this machine.
  mmdebstrap --quiet --mode=root --format=tar --variant=minbase \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook='mkdir -p "$1/etc/postgresql-common" "$1/usr/share/man/man1" "$1/usr/share/man/man7"' \
    --essential-hook='echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
    --customize-hook='chroot "$1" sh -c "mkdir /debs && cd /debs && apt-get download -qq docker-compose"' \
    --customize-hook="sync-out /debs '$work/debs'" --customize-hook='rm -rf "$1/debs"' \
    --include="$include" trixie "$debian.part" "$mirror" >"$work/mmdebstrap.log" 2>&1 ||
    no_engine "mmdebstrap cannot make Debian 13 from $mirror: $(tail -n 1 "$work/mmdebstrap.log")"
  dpkg -x "$work"/debs/docker-compose_*.deb "$work/compose"
  mv "$debian.part" "$debian"
}

step "Debian 13 with $servers"
[ -e "$debian" ] || make_debian
mkdir -p "$DOCKER_CONFIG/cli-plugins"
ln -sf "$work/compose/usr/libexec/docker/cli-plugins/docker-compose" "$DOCKER_CONFIG/cli-plugins/docker-compose"

kafka_version=$(sed -n "s/.*CONCORDAT_KAFKA_VERSION'\] || '\([^']*\)'.*/\1/p" "$here/../../test/support/servers/kafka-jars.ts")
kafka_jars=$work/kafka-$kafka_version

fetch_kafka() {
  command -v mvn >/dev/null || install_packages maven default-jre-headless
  local part=$kafka_jars.part
  rm -rf "$part"
  mkdir -p "$part"
  artifact() { printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>' "$@"; }
  cat >"$part/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>concordat</groupId><artifactId>kafka-image</artifactId><version>1</version><dependencies>
$(artifact org.apache.kafka kafka_2.13 "$kafka_version")$(artifact org.apache.kafka kafka-tools "$kafka_version")$(artifact org.slf4j slf4j-simple 1.7.36)
</dependencies></project>
POM
  mvn -B -q -f "$part/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$part/libs" >"$work/maven.log" 2>&1 ||
    no_engine "Maven cannot fetch Kafka $kafka_version: $(grep -m 1 ERROR "$work/maven.log" || true)"
  mv "$part" "$kafka_jars"
}

if [[ " ${kinds[*]} " == *' kafka '* ]] && [ ! -e "$kafka_jars" ]; then
  step "Kafka $kafka_version"
  fetch_kafka
fi

# --------------------------------------------------------------------------------------------------------------------- engine
step start
# The engine ends when this script ends for any reason.
setsid setpriv --pdeathsig TERM unshare --net --mount --propagation private bash -ec '
  ip link set lo up
  mount -t tmpfs none /run
  touch /run/concordat-engine
  mkdir -p /etc/docker && mount -t tmpfs none /etc/docker
  exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/dockerd.pid" -H unix:///var/run/docker.sock \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$2"
' engine "$work" "$cgroup" >"$work/dockerd.log" 2>&1 </dev/null &
engine=$!
# Refuses to run before the namespaces exist: the command would reach the machine itself, which may have an engine.
inside() {
  nsenter --target "$engine" --net --mount -- \
    sh -c 'test -e /run/concordat-engine || exit 74; cd "$0" && exec "$@"' "$PWD" "$@"
}
answers=''
for _ in $(seq 120); do
  if inside docker info >/dev/null 2>&1; then answers=1; break; fi
  kill -0 "$engine" 2>/dev/null || break
  sleep 0.25
done
[ -n "$answers" ] || no_engine "dockerd did not start: $(grep -v level=info "$work/dockerd.log" | tail -n 1 | cut -c 1-300)"
step "$(inside docker info --format 'Docker {{.ServerVersion}}, {{.Driver}}, cgroup v{{.CgroupVersion}}')"

# --------------------------------------------------------------------------------------------------------------------- images
build() { inside docker build -q -t "$1" "$2" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }; }
base=local/debian:$(basename "$debian" .tar)
inside docker image inspect "$base" >/dev/null 2>&1 || inside docker import "$debian" "$base" >/dev/null 2>"$work/import.log" ||
  no_engine "docker import failed: $(tail -n 1 "$work/import.log")"
inside docker tag "$base" local/debian
inside docker run --rm local/debian true 2>"$work/probe.log" || no_engine "containers do not run here: $(tail -n 1 "$work/probe.log")"
for kind in "${kinds[@]}"; do
  context=$work/context/$kind
  mkdir -p "$work/context"
  cp -r "$here/images/$kind" "$context"
  [ "$kind" != kafka ] || cp -r "$kafka_jars/libs" "$context/libs"
  # Reads the name from compose.yaml, so that a tag changed there is built here.
  name=$(sed -n "s/^ *image: \(\(apache\/\)\?$kind:.*\)/\1/p" "$here/../../compose.yaml")
  build "$name" "$context"
done
node=${ENGINE_NODE:-$here/../../node_modules/node/bin/node}
if [ -x "$node" ]; then
  mkdir -p "$work/context/node"
  cp -L "$node" "$work/context/node/node"
  printf 'FROM local/debian\nCOPY node /usr/local/bin/node\nRUN useradd --create-home --uid 1000 node\nCMD ["node"]\n' >"$work/context/node/Dockerfile"
  build node:24-bookworm-slim "$work/context/node"
fi
step "images: $(inside docker images --format '{{.Repository}}:{{.Tag}}' | grep -v -e ^local/ -e none | sort | paste -sd' ')"

# -------------------------------------------------------------------------------------------------------------------- command
# Without a registry there is no image of the reaper. The host is set because /.dockerenv makes testcontainers use the bridge.
export TESTCONTAINERS_RYUK_DISABLED=true TESTCONTAINERS_HOST_OVERRIDE=localhost ENGINE_SERVERS=$servers
code=0
inside "$@" || code=$?
left=$(inside docker ps -aq | wc -l)
[ "$left" = 0 ] || echo "engine: the command left $left containers behind; they are removed" >&2
exit "$code"
