#!/usr/bin/env bash
# Runs a command in a Debian 13 container, where the servers are local binaries. The tests that start, kill and configure their
# own servers then run on these versions (PostgreSQL 17, Redis 8, RabbitMQ 4, MariaDB 11.8):
#
#   scripts/engine/run.sh scripts/engine/in-debian.sh vitest run --project int test/binder/rabbitmq/conformance.int.test.ts
#
# REDIS_SERVER=valkey-server in the environment uses Valkey 8 instead of Redis.
#
# The checkout is mounted at its own path, with its node_modules; Kafka's jars come from the cache of this machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
jars=${XDG_CACHE_HOME:-$HOME/.cache}/concordat
mkdir -p "$jars"
exec docker run --rm --init --volume "$PWD:$PWD" --volume "$jars:/root/.cache/concordat" --workdir "$PWD" \
  --env "PATH=$PWD/node_modules/node/bin:$PWD/node_modules/.bin:/usr/sbin:/usr/bin:/sbin:/bin" \
  --env CONCORDAT_REQUIRE_SERVERS=1 --env REDIS_SERVER local/debian "$@"
