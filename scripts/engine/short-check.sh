#!/usr/bin/env bash
# Runs the tests that .ci/run needs from scripts/engine/run.sh: each server once in a container, then the tests of the largest
# differences between major versions.
#
#   scripts/engine/run.sh --servers postgres,redis,rabbitmq scripts/engine/short-check.sh FOLDER
#
# Writes the reports FOLDER/engine.json and FOLDER/servers.json.
set -euo pipefail
cd "$(dirname "$0")/../.."
reports=${1:?the folder for the reports}
mkdir -p "$reports"
# Tells .ci/run that the tests began: from here on, a failure counts.
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
