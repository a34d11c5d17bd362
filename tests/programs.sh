#!/bin/sh
# Installs what tests use of others where they find it, Debian's packages, where that is permitted:
#   sh tests/programs.sh servers   MariaDB, Redis, nginx, PgBouncer
#   sh tests/programs.sh browser   Chromium, and letters for both languages of the console
# The tests start them by themselves, on sockets and ports of their own and with folders of their own; the services of the system
# are not needed.
set -eu
missing=""

# The package is wanted where its program (the first argument) is not found. Debian keeps servers where not everybody looks.
wanted() {
  PATH="$PATH:/usr/sbin" command -v "$1" >/dev/null || missing="$missing $2"
}

case "${1:-}" in
  servers)
    wanted mariadbd mariadb-server-core
    wanted my_print_defaults mariadb-client-core # without it no tables of users can be made
    wanted redis-server redis-server
    wanted nginx nginx-light
    wanted pgbouncer pgbouncer
    ;;
  browser)
    wanted chromium chromium
    # Chinese would be boxes: on the pictures, and as wide as nothing real.
    [ -d /usr/share/fonts/opentype/noto ] || missing="$missing fonts-noto-cjk"
    [ -d /usr/share/fonts/truetype/dejavu ] || missing="$missing fonts-dejavu-core"
    ;;
  *)
    echo "sh tests/programs.sh servers|browser" >&2
    exit 2
    ;;
esac
if [ -z "$missing" ]; then
  echo "$1: all is installed"
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "install them yourself, as you may:$missing; the tests name what they skip without" >&2
  exit 1
fi
apt-get update -q
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
