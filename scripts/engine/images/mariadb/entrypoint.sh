#!/bin/bash
# Starts MariaDB in the steps of the official image: a first server, on its socket only, creates the users (the first "ready"
# line), then the real server starts.
set -e
data=/var/lib/mysql
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$data" /run/mysqld
  chown mysql:mysql "$data" /run/mysqld
  exec gosu mysql "$0" "$@"
fi
if [ ! -d "$data/mysql" ]; then
  mariadb-install-db --auth-root-authentication-method=normal --skip-test-db --datadir="$data" >/dev/null
  mariadbd --skip-networking --datadir="$data" --socket=/run/mysqld/mysqld.sock &
  first=$!
  until mariadb-admin --socket=/run/mysqld/mysqld.sock --user=root ping >/dev/null 2>&1; do sleep 0.2; done
  mariadb --socket=/run/mysqld/mysqld.sock --user=root <<SQL
CREATE USER 'root'@'${MARIADB_ROOT_HOST:-%}';
GRANT ALL ON *.* TO 'root'@'${MARIADB_ROOT_HOST:-%}' WITH GRANT OPTION;
CREATE DATABASE IF NOT EXISTS \`${MARIADB_DATABASE:-test}\`;
SQL
  kill "$first"
  wait "$first" || true
fi
exec "$@" --datadir="$data" --bind-address=0.0.0.0
