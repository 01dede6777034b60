#!/usr/bin/env bash
# Makes the secrets of a fleet in deploy/secrets, or in the directory that is given: random passwords, and the URLs that
# hold them. What is there already stays as it is, so it may run at any time.
#
# The files are readable by everybody, because the services run under users of their own; the directory is not.
set -euo pipefail
directory="${1:-$(dirname "$0")/secrets}"

umask 077
mkdir -p "$directory"
chmod 700 "$directory"
cd "$directory"

# 192 bits, in letters that need no quoting anywhere; a letter first, or NATS may read a number.
random_password() { printf 'p%s' "$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')"; }

# Writes standard input to a file that is not there yet: keep <file>
keep() {
    if [[ -e $1 ]]; then
        cat >/dev/null
    else
        cat >"$1.new"
        chmod 444 "$1.new"
        mv "$1.new" "$1"
        echo "made $directory/$1"
    fi
}

random_password | keep pg_password
printf 'postgres://sync:%s@postgres:5432/sync' "$(<pg_password)" | keep database_url
for service in state planner connector; do
    printf 'nats://%s:%s@nats:4222' "$service" "$(random_password)" | keep "nats_$service"
done
for service in state planner connector; do
    password="$(<"nats_$service")"
    password="${password#nats://*:}"
    printf '%s_password: "%s"\n' "$service" "${password%@*}"
done | keep nats_passwords.conf
