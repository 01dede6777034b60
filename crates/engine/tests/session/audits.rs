//! Audits (S9): what a catch-up cannot see, found by exchanges while nothing else is asked.

use super::*;

fn audit(shell: &mut Shell, part: u32) {
    let filters = engine::filters::history(ItemKind::Repo, &[common::repo("alpha")]);
    shell.order(Ask::Audit { part, filters });
}

/// Part, outcome and finds of each audit that is over.
fn audited(shell: &Shell) -> Vec<(u32, BatchOutcome, u64)> {
    let audited = |said: &Said| match said {
        Said::Audited { part, outcome, found } => Some((*part, outcome.clone(), *found)),
        Said::Opened
        | Said::Rebuilt { .. }
        | Said::CaughtUp
        | Said::Down { .. }
        | Said::BatchEnded { .. }
        | Said::Progress { .. }
        | Said::Learned { .. }
        | Said::Lost { .. }
        | Said::RateLimited { .. } => None,
    };
    shell.reports().filter_map(audited).collect()
}

#[test]
fn s09_an_audit_of_equal_sets_is_one_exchange_for_each_filter_and_nothing_else() {
    let mut shell = Shell::fresh(ModelRelay::with(history(10)));
    shell.ledger = Shell::ids_of(&history(10));
    audit(&mut shell, 1);
    assert_eq!(audited(&shell), [(1, BatchOutcome::Complete, 0)]);
    assert_eq!((shell.neg_opens().len(), shell.reqs(Which::Page).len(), shell.reqs(Which::Ids).len()), (3, 0, 0));
    assert_eq!(shell.ends(), [], "it is no batch");
    audit(&mut shell, 1);
    assert_eq!(audited(&shell).len(), 2, "once more is harmless");
    assert!(shell.session.is_idle());
}

#[test]
fn s09_an_audit_brings_home_what_is_dated_long_before() {
    let mut shell = Shell::fresh(ModelRelay::with(history(10)));
    shell.ledger = Shell::ids_of(&history(9));
    audit(&mut shell, 1);
    assert_eq!(audited(&shell), [(1, BatchOutcome::Complete, 1)]);
    assert_eq!(Shell::ids_of(&shell.landed), Shell::ids_of(&history(10)[9..]));
}

#[test]
fn s09_an_audit_that_is_ordered_again_while_it_is_under_way_is_under_way_once() {
    let mut shell = Shell::fresh(ModelRelay::with(history(10)));
    shell.loads_sets = false;
    audit(&mut shell, 1);
    audit(&mut shell, 1);
    audit(&mut shell, 2);
    assert_eq!(shell.loading().len(), 1, "one exchange at a time");
    shell.pass(30_000 * 4);
    assert_eq!(audited(&shell).len(), 1);
}

#[test]
fn s09_an_audit_gives_way_to_whatever_else_is_asked() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.relay.holds_eose = Some(Which::Page);
    shell.fetch(1, &["alpha"], Method::Req);
    shell.relay.negentropy = Negentropy::Works;
    audit(&mut shell, 1);
    shell.pass(10_000);
    assert_eq!(shell.neg_opens(), []);
    // The pages end idle, and with them the batch.
    shell.pass(30_000);
    assert_eq!((shell.ends().len(), audited(&shell).len()), (1, 1), "{:?}", shell.said);
}

#[test]
fn s09_a_relay_without_nip77_has_no_audit_and_is_not_paged_for_one() {
    for shape in [Negentropy::NegErr("blocked: no".into()), Negentropy::Silent, Negentropy::AnswersOnce] {
        let mut shell = Shell::fresh(ModelRelay { negentropy: shape.clone(), ..ModelRelay::with(history(3)) });
        audit(&mut shell, 1);
        shell.pass(120_000);
        let [(1, BatchOutcome::Incomplete { .. }, 0)] = audited(&shell)[..] else { panic!("{shape:?}: {:?}", shell.said) };
        assert_eq!(shell.reqs(Which::Page), []);
        assert!(shell.session.is_idle());
    }
}

#[test]
fn s09_an_audit_that_is_too_much_for_one_exchange_is_split() {
    let mut shell = Shell::fresh(ModelRelay { most_records: 4, ..ModelRelay::with(history(10)) });
    shell.ledger = Shell::ids_of(&history(9));
    audit(&mut shell, 1);
    shell.pass(10_000);
    assert_eq!(audited(&shell), [(1, BatchOutcome::Complete, 1)], "{:?}", shell.said);
    assert_eq!(shell.reqs(Which::Page), []);
}

#[test]
fn s09_a_part_without_items_is_over_at_once() {
    let mut shell = Shell::fresh(ModelRelay::with([]));
    shell.order(Ask::Audit { part: 7, filters: vec![] });
    assert_eq!(audited(&shell), [(7, BatchOutcome::Complete, 0)]);
}
