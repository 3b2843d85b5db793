#!/usr/bin/env bash
# The tests that .ci/run runs on scripts/engine/run.sh: each server once, and what differs most between the majors of each.
#
#   scripts/engine/run.sh --servers postgres,redis,rabbitmq scripts/engine/short-check.sh REPORT.json
set -euo pipefail
cd "$(dirname "$0")/../.."
report=${1:?the file for the report}
# From here on it counts.
[ -z "${ENGINE_BEGAN:-}" ] || touch "$ENGINE_BEGAN"
export CONCORDAT_SERVERS=docker CONCORDAT_REQUIRE_SERVERS=1
unset POSTGRES_URL REDIS_URL RABBITMQ_URL KAFKA_BROKERS MARIADB_URL
exec timeout --kill-after=30 "${SHORT_CHECK_SECONDS:-170}" node_modules/.bin/vitest run --config test/support/suite/short-check.config.ts \
  --reporter=default --reporter=json --outputFile.json="$report"
