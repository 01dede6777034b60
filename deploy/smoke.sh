#!/usr/bin/env bash
# Tries the fleet of docker-compose.yml for real, on a made-up network that leads nowhere: up, scale, kill a connector,
# restart NATS, restart Postgres, publish, and at the end coverage is complete and home holds exactly what it should.
# Prints a line for each step, with the seconds since the start and those that the step took; ends with 0 only if
# everything held. Takes its containers, networks and volumes away again, however it ends.
#
#   deploy/smoke.sh
#   SMOKE_BINARY=target/release/grasp-sync deploy/smoke.sh    with a binary that is built already
#   SMOKE_KEEP=1 deploy/smoke.sh                              leaves the fleet there, to look at
#
# Needs Docker, Compose (v2, or 1.29) and python3. Linux x86-64 or arm64; any user that may use Docker.
set -euo pipefail
cd "$(dirname "$0")/.."

# What is tried is never a fleet that somebody runs: names, addresses and image are its own.
prefix="${SMOKE_PREFIX:-10.213.241}"
export COMPOSE_PROJECT_NAME=grasp-sync-smoke COMPOSE_PROFILES=demo TAG=smoke
export RELAYS_PREFIX="$prefix" RELAYS_INTERNAL=true
export GRASP_SYNC_HOME="ws://$prefix.10:7447" GRASP_SYNC_BOOTSTRAP="ws://$prefix.11:7447" GRASP_SYNC_HOME_ALIASES=
export GRASP_SYNC_ALLOW_NON_PUBLIC="$prefix.0/24" GRASP_SYNC_LOOK_UP_NAMES=false GRASP_SYNC_LOG=info
export DEMO_UPSTREAMS="--upstream ws://$prefix.11:7447 --upstream ws://$prefix.12:7447"
DEMO_SIZE="${SMOKE_SIZE:---repos 400 --roots 8000 --replies 32000} --now $(date +%s)"
export DEMO_SIZE

if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
quiet="$(mktemp)"
verdict="$(mktemp)"
began="$(date +%s.%N)"
step_began="$began"

since() { python3 -c "import sys, time; print(f'{time.time() - float(sys.argv[1]):.1f}')" "$1"; }
say() { printf '%7s s  %s\n' "$(since "$began")" "$*"; }
begin() { step_began="$(date +%s.%N)"; }
# What was reached, and how long that took from `begin`.
reached() { say "$* ($(since "$step_began") s)"; }
fail() {
    say "FAILED: $*"
    exit 1
}

run() { "${compose[@]}" "$@" >"$quiet" 2>&1 || { cat "$quiet" >&2; fail "${compose[*]} $*"; }; }
# The containers of a service: containers <service> [-a, those that have ended too]
containers() {
    docker ps -q --no-trunc "${@:2}" --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --filter "label=com.docker.compose.service=$1" --filter "label=com.docker.compose.oneoff=False"
}
one() { containers "$1" | head -1; }

clean_up() {
    local code=$?
    trap - EXIT INT TERM
    if [[ $code -ne 0 ]]; then
        echo "--- the last words of every service" >&2
        "${compose[@]}" ps >&2 || true
        "${compose[@]}" logs --no-color --tail=25 >&2 || true
    fi
    if [[ -z ${SMOKE_KEEP:-} ]]; then
        "${compose[@]}" down --volumes --remove-orphans --timeout 30 >"$quiet" 2>&1 || cat "$quiet" >&2
    fi
    rm -f "$quiet" "$verdict"
    exit "$code"
}

# Tries a command every half second until it succeeds: wait_for <seconds> <what> <command…>
wait_for() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [[ $SECONDS -lt $until ]] || fail "waited in vain for: $what"
        sleep 0.5
    done
}

is_healthy() { [[ $(docker inspect -f '{{.State.Health.Status}}' "$1") == healthy ]]; }
# All containers of a service, and so many of them.
are_healthy() {
    local ids
    mapfile -t ids < <(containers "$1")
    [[ ${#ids[@]} -eq $2 ]] || return 1
    for id in "${ids[@]}"; do is_healthy "$id" || return 1; done
}

status() { docker exec "$(one state)" grasp-sync status --json; }
# `confirmed items up caught-up`: items of the upstreams, links of all relays.
coverage() {
    status | python3 -c '
import json, sys
relays = json.load(sys.stdin)["upstreams"]
pulled = [one for one in relays if one["role"] != "home"]
confirmed = sum(one["confirmed"] for one in pulled)
up = [one["link"]["up"] for one in relays if "up" in one["link"]]
print(confirmed, confirmed + sum(one["wanted"] + one["pending"] for one in pulled), len(up), sum(one["caught_up"] for one in up))
'
}
told() {
    local confirmed items up caught_up
    read -r confirmed items up caught_up < <(coverage) || return 1
    echo "$confirmed of $items items confirmed, $up of 3 links up"
}
has_begun() {
    local confirmed items up caught_up
    read -r confirmed items up caught_up < <(coverage) && [[ $confirmed -gt 0 ]]
}
# The links that a connector has up, by its own word.
links_of() {
    docker exec "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/9464; printf "GET /metrics HTTP/1.0\r\n\r\n" >&3; cat <&3' |
        awk '/^grasp_sync_links[{ ]/ { links += $NF } END { print links + 0 }'
}
links_held() { for id in $(containers connector); do links_of "$id"; done | awk '{ links += $1 } END { print links + 0 }'; }
# The connector with the most links.
busiest() { for id in $(containers connector); do echo "$(links_of "$id") $id"; done | sort -rn | head -1 | cut -d' ' -f2; }
# By the word of the state service, and no fewer or more by that of the connectors that live.
are_links_up() {
    local confirmed items up caught_up
    read -r confirmed items up caught_up < <(coverage) && [[ $up -eq 3 && $(links_held) -eq 3 ]]
}
is_covered() {
    local confirmed items up caught_up
    read -r confirmed items up caught_up < <(coverage) && [[ $items -gt 0 && $confirmed -eq $items && $caught_up -eq 3 ]]
}
# Home is read while nothing is on its way, which it says itself, and the verdict is kept.
is_complete() { is_covered && "${compose[@]}" run --rm -T check >"$verdict" 2>/dev/null && is_covered; }

# Runs in a container, with bash alone: what the server answers to a message of the connector's: answer_to <subject>
answer_to() {
    docker exec "$(one connector)" bash -c '
        login="$(</run/secrets/nats_connector)"; login="${login#nats://}"; login="${login%@*}"
        exec 3<>/dev/tcp/nats/4222
        printf "CONNECT {\"user\":\"%s\",\"pass\":\"%s\",\"verbose\":false,\"pedantic\":false}\r\nPUB %s 0\r\n\r\nPING\r\n" \
            "${login%%:*}" "${login#*:}" "$1" >&3
        while read -r -t 5 line <&3; do
            [[ $line == INFO* ]] && continue
            echo "$line"
            [[ $line == PONG* ]] && break
        done' answer_to "$1"
}
is_refused() { [[ "$(answer_to "$1")" == *"Permissions Violation for Publish to \"$1\""* ]]; }
violations() { "${compose[@]}" logs --no-color 2>/dev/null | grep -ciE 'violation' || true; }

image() {
    if [[ -z ${SMOKE_BINARY:-} ]]; then
        run build migrate
        return
    fi
    # The final stage of the Dockerfile, with this binary in the place of the built one.
    local context
    context="$(mktemp -d)"
    strip --strip-debug -o "$context/grasp-sync" "$SMOKE_BINARY"
    { grep '^ARG BASE' deploy/Dockerfile && sed -n '/^FROM ${BASE}/,$p' deploy/Dockerfile | sed 's/--from=build //; s/COPY \//COPY /'; } >"$context/Dockerfile"
    docker build -t "grasp-sync:$TAG" "$context" >"$quiet" 2>&1 || { cat "$quiet" >&2; fail "docker build"; }
    rm -rf "$context"
}

reaches() { docker exec "$1" timeout 3 bash -c "exec 3<>/dev/tcp/$2/5432" 2>/dev/null; }
# Each container of ours: not root, nothing to write to, no capabilities.
hardening() {
    local id facts address
    for service in state planner connector home upstream-1 upstream-2; do
        for id in $(containers "$service"); do
            facts="$(docker inspect -f '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}' "$id")"
            [[ $facts == "10001:10001 true [ALL] [no-new-privileges"* ]] || fail "$service runs as: $facts"
            if docker exec "$id" bash -c 'echo >/written' 2>/dev/null; then fail "$service can write to its root"; fi
        done
    done
    for network in bus db relays; do
        [[ $(docker network inspect -f '{{.Internal}}' "${COMPOSE_PROJECT_NAME}_$network") == true ]] || fail "$network leads outside"
    done
    address="$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(one postgres)")"
    reaches "$(one state)" "$address" || fail "the state service does not reach Postgres at $address"
    if reaches "$(one connector)" "$address"; then fail "a connector reaches Postgres"; fi
}

# SIGTERM to all services of ours; every container that was not killed says 0.
stop_all() {
    local id code
    run stop connector planner state
    for service in connector planner state; do
        for id in $(containers "$service" -a); do
            [[ $id == "$killed" ]] && continue
            code="$(docker inspect -f '{{.State.ExitCode}}' "$id")"
            [[ $code == 0 ]] || fail "$service ended with $code"
        done
    done
}

trap clean_up EXIT INT TERM
"${compose[@]}" down --volumes --remove-orphans >"$quiet" 2>&1 || true
begin
deploy/secrets.sh >"$quiet"
image
reached "image grasp-sync:$TAG, $(docker image inspect -f '{{.Size}}' "grasp-sync:$TAG" | awk '{printf "%.0f MB", $1 / 1e6}') with its base"

begin
run up -d --no-build --scale connector=1
wait_for 90 "all services to be healthy" eval 'are_healthy state 1 && are_healthy planner 1 && are_healthy connector 1'
reached "up: Postgres, NATS, schema, state, planner, one connector, three relays with: $DEMO_SIZE"

begin
wait_for 60 "the first confirmed item" has_begun
reached "the sync has begun: $(told)"

begin
run up -d --no-build --no-recreate --scale connector=3
wait_for 60 "three healthy connectors" are_healthy connector 3
wait_for 60 "the links among three connectors" are_links_up
reached "scaled to three connectors: $(told)"

begin
killed="$(busiest)"
lost="$(links_of "$killed")"
[[ $lost -gt 0 ]] || fail "no connector has a link"
docker kill "$killed" >/dev/null
say "killed the connector with the most links, $lost (SIGKILL): $(told)"
wait_for 60 "the links of the killed connector to be up elsewhere" are_links_up
reached "its links are up elsewhere: $(told)"

begin
run restart nats
wait_for 60 "the links after the restart of NATS" are_links_up
reached "NATS restarted, all links up: $(told)"

begin
run restart postgres
wait_for 60 "the links after the restart of Postgres" are_links_up
reached "Postgres restarted, all links up: $(told)"

begin
wait_for 300 "complete coverage" is_covered
reached "covered: $(told)"
wait_for 60 "home equal to the expected set" is_complete
reached "$(tr -d '\r' <"$verdict")"

begin
run run --rm -T publish
published="$(grep -c ' on ws://' "$quiet")"
wait_for 120 "the live events at home" is_complete
reached "published $published live events: $(told); $(tr -d '\r' <"$verdict")"
[[ "$(docker exec "$(one state)" grasp-sync status | head -1)" == "complete: "* ]] || fail "grasp-sync status does not say complete"

begin
found="$(violations)"
[[ $found -eq 0 ]] || { "${compose[@]}" logs --no-color | grep -iE violation | head >&2; fail "$found lines tell of a violation of permissions"; }
reached "no message was refused"

begin
for subject in order.1.1 notice.1 query.claim '$JS.API.STREAM.DELETE.REPORTS'; do
    is_refused "$subject" || fail "a connector may publish $subject: $(answer_to "$subject")"
done
[[ "$(answer_to owners)" == *PONG* ]] || fail "the probe itself does not work"
is_refused owners && fail "the probe sees refusals everywhere"
[[ $(violations) -gt 0 ]] || fail "the log of NATS does not tell of refused messages, so their absence proved nothing"
refused="$(violations)"
reached "a connector's password gives no order, no notice, no claim, and deletes no stream"

begin
hardening
reached "uid 10001, read-only, no capabilities, no way out, no way to Postgres from a connector"

begin
stop_all
[[ $(violations) -eq $refused ]] || fail "a message was refused at the end"
reached "stopped in order, every exit code 0"

begin
[[ -n ${SMOKE_KEEP:-} ]] || run down --volumes --remove-orphans --timeout 30
reached "down"
say "PASSED"
