#!/usr/bin/env bash
# Runs a command in a container of Debian 13, whose servers are local binaries there. So do the tests that start, kill and configure
# servers of their own run on these versions (PostgreSQL 17, Redis 8, RabbitMQ 4, MariaDB 11.8):
#
#   scripts/engine/run.sh scripts/engine/in-debian.sh vitest run --project int test/binder/rabbitmq/conformance.int.test.ts
#
# REDIS_SERVER=valkey-server in the environment takes Valkey 8 for Redis.
#
# The checkout is mounted where it is, with what npm has installed; Kafka's jars are taken from this machine's cache.
set -euo pipefail
cd "$(dirname "$0")/../.."
jars=${XDG_CACHE_HOME:-$HOME/.cache}/concordat
mkdir -p "$jars"
exec docker run --rm --init --volume "$PWD:$PWD" --volume "$jars:/root/.cache/concordat" --workdir "$PWD" \
  --env "PATH=$PWD/node_modules/node/bin:$PWD/node_modules/.bin:/usr/sbin:/usr/bin:/sbin:/bin" \
  --env CONCORDAT_REQUIRE_SERVERS=1 --env REDIS_SERVER local/debian "$@"
