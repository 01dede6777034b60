//! What every adapter of the store must do, and must still do when it is asked over the bus. The cases know nothing but the
//! port and a clock that they turn; an adapter joins by saying how it is opened.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases {
    pub(crate) mod claims;
    pub(crate) mod discovery;
    pub(crate) mod explained;
    pub(crate) mod gone;
    pub(crate) mod leases;
    pub(crate) mod ledger;
    pub(crate) mod links;
    pub(crate) mod relays;
    pub(crate) mod remote;
    mod replicas;
    pub(crate) mod reports;
    pub(crate) mod restarts;
    pub(crate) mod snapshots;
    pub(crate) mod sweeps;
    pub(crate) mod waiting;
    pub(crate) mod world;
}

use std::collections::BTreeMap;
use std::sync::Arc;

use cases::remote::ThroughTheBus;
use cases::world::{Backend, World};
use state::postgres::Time;
use state::{PostgresStore, Settings, SqliteStore, Store};

/// Files in a folder of its own for each case.
struct SqliteFile(tempfile::TempDir);

#[async_trait::async_trait]
impl Backend for SqliteFile {
    async fn open(&self, database: &str, settings: Settings) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.0.path().join(database), settings).await.unwrap())
    }
}

/// Databases of a throw-away server, by the name that the case gives them.
#[derive(Default)]
struct PostgresServer(tokio::sync::Mutex<BTreeMap<String, String>>);

#[async_trait::async_trait]
impl Backend for PostgresServer {
    async fn open(&self, database: &str, settings: Settings) -> Arc<dyn Store> {
        let mut urls = self.0.lock().await;
        let url = urls.entry(database.to_owned()).or_insert_with(testkit::postgres::database);
        let time = Time::Given(Arc::clone(&settings.clock));
        Arc::new(PostgresStore::connect(url, settings, time).await.unwrap())
    }

    fn outlives_its_process(&self) -> bool {
        true
    }
}

/// Every case for every adapter.
macro_rules! conformance {
    ([$($adapter:ident: $backend:expr),*] $cases:tt) => {
        $(adapter! { $adapter, $backend, $cases })*
    };
}

macro_rules! adapter {
    ($adapter:ident, $backend:expr, { $($file:ident { $($case:ident)* })* }) => {
        mod $adapter {
            use super::*;
            $($(
                #[tokio::test]
                async fn $case() {
                    cases::$file::$case(World::new($backend).await).await;
                }
            )*)*
        }
    };
}

fn sqlite_file() -> SqliteFile {
    SqliteFile(tempfile::tempdir().unwrap())
}

conformance! {
    [sqlite: sqlite_file(), postgres: PostgresServer::default(), through_the_bus: ThroughTheBus(sqlite_file())]
    {
        relays {
            a_bootstrap_relay_that_is_no_longer_named_becomes_listed
            another_home_takes_the_place_of_the_old_one_and_everything_is_its_target
            an_old_home_that_a_repo_lists_stays_as_an_upstream
            an_alias_of_home_is_never_an_upstream
            a_refused_url_is_shown_and_never_assigned
            a_refusal_ends_when_the_operator_allows_it
            an_upstream_that_states_home_s_key_is_our_own_relay
            why_an_upstream_is_none_outlives_the_end_of_its_link
            scenario_14_of_a_thousand_relays_in_one_announcement_few_are_dialed_and_the_rest_are_shown
            caps_are_those_of_today_and_bound_nothing_that_the_operator_allows
        }
        discovery {
            s03_targets_are_the_inversion_whatever_the_order_of_discoveries
            s03_repeating_a_discovery_changes_nothing
            x6_what_an_author_opens_beyond_a_budget_is_asked_for_nowhere_and_a_maintainer_has_none
            s03_an_announcement_that_drops_a_relay_shrinks_its_target
            s03_a_deletion_retires_a_repo_and_its_roots_on_every_upstream
            s03_a_deletion_does_not_touch_a_later_version
            s03_an_older_version_that_comes_late_changes_nothing
            s03_of_two_versions_of_one_second_the_lower_id_wins
            s03_roots_that_come_before_their_announcement_are_covered_with_it
            s03_a_confirmed_item_stays_confirmed_while_its_repo_stays_listed
            s02_a_discovery_names_the_upstreams_whose_coverage_changed
            scenario_13_a_new_version_adds_and_retires_upstreams_with_all_their_roots
            scenario_17_a_root_is_covered_under_each_of_its_repos_and_under_those_announced_later
            who_speaks_for_a_repo_is_told_by_its_identifier
            s16_an_upstream_is_empty_from_the_moment_its_last_item_goes
        }
        leases {
            a_worker_is_given_every_upstream_with_something_to_cover
            a_renewal_keeps_epochs_and_a_new_incarnation_raises_them
            a_lease_that_ran_out_is_not_revived
            epochs_are_never_below_the_clock
            a_worker_that_leaves_frees_its_upstreams_at_once
            an_empty_listed_upstream_is_let_go_when_its_link_is_down
            an_upstream_of_a_living_worker_is_nobody_elses
        }
        links {
            s08_first_contact_is_fresh
            s09_a_short_outage_is_caught_up_from_before_the_last_renewal
            s08_a_long_outage_is_fresh_and_everything_is_wanted_again
            s09_confirmed_stays_on_a_catch_up
            s09_a_link_that_never_caught_up_does_not_advance_last_up
            s09_last_up_never_passes_an_event_without_an_outcome
            a_link_that_a_killed_worker_left_up_is_good_to_its_last_renewal_and_said_to_be_unheld
            s15_a_link_that_comes_up_when_its_refresh_is_due_starts_fresh
            a_second_up_of_an_old_epoch_is_fenced
            s10_a_new_link_gives_back_what_the_unreported_end_of_the_old_one_left
            s04_those_whose_link_is_up_are_told_from_the_others
        }
        snapshots {
            s04_wanted_pending_and_confirmed_add_up_to_the_target
            missing_is_cut_and_in_order
            items_wait_for_home_but_not_long
            a_new_link_that_catches_up_is_shown_everything_it_covers
            tails_hold_the_newest_chunk_with_the_wanted_items_that_keep_their_place
            s14_a_consolidation_is_shown_everything_when_chunks_have_holes
            scenario_13_an_item_that_leaves_its_chunk_makes_a_rebuild_due_until_it_is_taken
            a_rebuild_is_due_on_a_link_that_is_up_and_a_new_link_needs_none
        }
        claims {
            a_draft_with_an_item_that_is_not_wanted_takes_nothing
            an_item_is_never_in_two_batches
            s12_a_refresh_forgets_that_negentropy_was_refused
            s15_a_refresh_wants_everything_again
            s14_new_chunks_replace_old_ones
            s14_new_chunks_make_a_rebuild_due_and_a_report_of_an_older_layout_does_not_settle_it
            a_claim_of_an_old_epoch_or_a_link_that_is_down_is_fenced
            an_upstream_is_planned_by_one_planner_at_a_time
        }
        reports {
            s10_the_end_of_a_link_gives_back_what_was_pending
            s13_a_complete_batch_confirms
            words_that_were_overtaken_count_once
            an_incomplete_batch_waits_longer_each_time
            a_batch_that_ended_cannot_end_again
            a_report_of_an_old_epoch_is_fenced
            a_repeated_sequence_changes_nothing
            x5_each_ban_is_longer_than_the_one_before_and_good_conduct_is_the_only_thing_that_heals_it
            s17_failures_add_up_and_a_useful_answer_clears_them
            s17_events_of_a_link_that_drops_before_a_batch_ends_heal_the_ladder
            s09_an_audit_follows_a_quick_reconnect_part_by_part_and_ends
            s09_an_audit_outlives_a_restart_and_is_not_put_off_by_it
            s09_there_is_no_audit_without_nip77_nor_beside_a_fresh_start
            s18_a_rate_limit_moves_the_next_ask_and_the_deadlines
            what_was_learned_is_kept_and_added_to
            what_home_confirms_is_free_for_the_other_upstreams
            a_batch_confirms_nothing_that_left_the_target
        }
        ledger {
            a_set_of_layer_1_is_made_of_kinds
            what_home_has_lost_is_forgotten_and_what_it_refused_is_not
            a_set_of_layers_2_and_3_is_made_of_the_refs_of_one_tag
            a_set_honours_since_and_until_and_home
            a_set_is_read_in_pages_without_gaps_or_repeats
            stored_wins_and_what_was_held_gives_way
            an_id_is_known_whatever_became_of_it
            status_counts_what_became_of_events
        }
        explained {
            an_event_is_explained_by_who_brought_it_first_and_by_what_became_of_it_last
            an_event_that_was_never_seen_is_expected_where_something_is_still_missing
            an_event_that_waits_is_explained_by_what_it_waits_for
            a_repo_is_explained_by_its_coverage_on_home_and_on_every_upstream_that_it_lists
            a_root_is_explained_by_where_it_is_covered_and_an_announcement_by_its_repo
            an_upstream_is_explained_by_its_batches_its_chunks_and_what_was_learned
            c1_every_upstream_with_something_to_cover_has_a_next_attempt
            l06_how_writes_to_home_go_is_added_up_over_the_workers_that_live
        }
        gone {
            participants_are_covered_where_their_repos_are_and_at_home
            nothing_is_asked_for_before_home_was_read_for_deletions
            a_set_of_deletions_is_made_of_their_authors_and_kinds
            scenario_15_what_is_deleted_bars_its_like_for_every_process_and_after_a_restart
            what_home_gave_up_is_not_asked_for_again_though_it_was_there
            scenario_13_an_announcement_deleted_by_its_id_or_with_its_author_ends_its_repo
            a_private_repo_is_covered_by_its_peers_only_and_barred_elsewhere
            a_repo_is_private_by_the_word_of_whom_it_names
            the_ids_of_what_is_private_are_in_no_set_for_an_upstream
            what_an_event_names_and_home_lacks_is_looked_for_once_it_did_not_come_by_itself
        }
        sweeps {
            a_batch_without_progress_goes_back_to_wanted
            progress_moves_the_deadline_of_its_batch
            an_expired_worker_ends_its_links
            the_sweep_names_what_there_is_to_plan_and_nothing_else
            i10_a_settled_upstream_is_not_named
        }
        waiting {
            scenario_16_what_waits_is_released_when_its_parent_lands_by_any_path
            what_was_released_waits_on_until_it_is_settled
            what_arrives_while_an_event_is_offered_is_not_missed
            what_waits_survives_a_restart
            what_waits_is_bounded_and_the_oldest_is_forgotten
            what_home_held_without_serving_it_is_offered_once_a_day
            a_change_of_policy_opens_exactly_what_policy_refused
            another_document_of_home_opens_exactly_what_its_terms_kept_out
            what_lay_ahead_may_come_again_when_its_moment_has_come
        }
        restarts {
            s10_a_restart_gives_back_what_was_pending_and_keeps_the_rest
            s09_a_restart_within_fifteen_minutes_is_a_quick_reconnect
            s17_failures_survive_a_restart
        }
    }
}

// A sequence that comes again with other words: no session says so, and the stream of the bus drops what it takes for a
// repetition.
conformance! {
    [sqlite_alone: sqlite_file(), postgres_alone: PostgresServer::default()]
    {
        reports {
            a_late_report_of_events_still_counts_for_the_ledger
        }
    }
}
