#!/usr/bin/env bash
# The tests that .ci/run runs on scripts/engine/run.sh: each server in a container once, then what differs most between its majors.
#
#   scripts/engine/run.sh --servers postgres,redis,rabbitmq scripts/engine/short-check.sh FOLDER
#
# The reports are FOLDER/engine.json and FOLDER/servers.json.
set -euo pipefail
cd "$(dirname "$0")/../.."
reports=${1:?the folder for the reports}
mkdir -p "$reports"
# From here on it counts.
touch "$reports/began"
export CONCORDAT_SERVERS=docker CONCORDAT_REQUIRE_SERVERS=1
unset POSTGRES_URL REDIS_URL RABBITMQ_URL KAFKA_BROKERS MARIADB_URL

vitest() {
  local report=$1
  shift
  timeout --foreground --kill-after=30 90 node_modules/.bin/node node_modules/vitest/vitest.mjs run "$@" \
    --reporter=default --reporter=json --outputFile.json="$reports/$report.json"
}

code=0
vitest engine --config test/support/suite/engine.config.ts test/support/servers/containers.engine.test.ts --retry=1 || code=1
vitest servers --project int --maxWorkers=1 test/core/pg.int.test.ts test/locks/redis/redis.int.test.ts \
  test/binder/rabbitmq/subscribe.int.test.ts || code=1
exit "$code"
