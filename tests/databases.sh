#!/bin/sh
# Installs the servers of others that tests use where they find them: MariaDB and Redis, Debian's packages, where that is permitted.
# The tests start them by themselves, on sockets in folders of their own; the services of the system are not needed.
set -eu
missing=""
command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || missing="$missing mariadb-server-core"
command -v my_print_defaults >/dev/null || missing="$missing mariadb-client-core" # without it no tables of users can be made
command -v redis-server >/dev/null || missing="$missing redis-server"
if [ -z "$missing" ]; then
  echo "MariaDB and Redis are installed"
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "install them yourself, as you may:$missing; the tests name what they skip without" >&2
  exit 1
fi
apt-get update -q
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
