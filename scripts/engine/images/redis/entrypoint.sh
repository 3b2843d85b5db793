#!/bin/sh
# The official image is compiled with protected mode off; Debian's program is not.
set -e
if [ "$1" = redis-server ]; then set -- "$@" --protected-mode no; fi
if [ "$(id -u)" = 0 ]; then
  chown -R redis:redis .
  exec gosu redis "$@"
fi
exec "$@"
