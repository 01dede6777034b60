# What `just` runs, CI runs (.ci/run), but for what needs the network or takes long.

compose := `docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose`

_default:
    @just --list --unsorted

# Format, lints with warnings denied, the walls between the crates, and what they depend on
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test -p grasp-sync --test directions
    scripts/sim-mutants --check
    scripts/check-dependencies

# Write docs/reference anew from the code
reference:
    GRASP_SYNC_WRITE_REFERENCE=1 cargo test -p grasp-sync --test reference

# Check the rules of deploy/observability with Prometheus' own tool, and run their tests
alerts:
    cd deploy/observability && promtool check config --syntax-only prometheus.yml && promtool check rules rules.yml alerts.yml && promtool test rules alerts_test.yml

# Every test but the slow suite; installs what the tests start
test *arguments:
    scripts/test {{arguments}}

# Simulate so many stories of faults, or replay one: just sim 2000, just sim --seed 7
sim *arguments:
    scripts/sim {{arguments}}

# Break one rule after the other and see whether the simulation notices
sim-mutants *arguments:
    scripts/sim-mutants {{arguments}}

# The suite against nostr-rs-relay, which takes minutes to build the first time
test-slow *arguments:
    scripts/test-nostr-rs-relay {{arguments}}

# The page in a real browser; installs one the first time
test-page *arguments:
    scripts/test-page {{arguments}}

# What single decisions and words cost, in time and allocations; of one: just bench-micro plan
bench-micro *arguments:
    cargo bench -p grasp-sync-engine --bench decisions -- {{arguments}}
    cargo bench -p grasp-sync-model --bench words -- {{arguments}}

# Build a small network in one process, and sync it
demo *arguments:
    cargo run --release -p grasp-sync -- demo {{arguments}}

# The fleet of docker-compose.yml with its demo: just up --scale connector=3
up *arguments:
    deploy/secrets.sh
    {{compose}} up -d --build {{arguments}}

# Ends it, and takes its data away
down:
    {{compose}} down --volumes --remove-orphans

# Breaks a fleet of its own and sees it become complete
smoke:
    deploy/smoke.sh

fmt:
    cargo fmt
