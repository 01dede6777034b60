//! Small worlds whose end is worked out by hand.

use nostr::key::Keys;

use super::super::draft::Draft;
use super::super::people::{Dice, Pen, keys};
use super::*;

const ONE: &str = "ws://one.test/";
const TWO: &str = "ws://two.test/";

/// Two people who write to two relays.
struct Desk {
    pen: Pen,
    alice: Keys,
    bob: Keys,
    one: Vec<Event>,
    two: Vec<Event>,
}

impl Desk {
    fn new() -> Self {
        let mut dice = Dice::new(3);
        let (alice, bob) = (keys(&mut dice), keys(&mut dice));
        Self { pen: Pen::new(), alice, bob, one: Vec::new(), two: Vec::new() }
    }

    fn alice(&self, draft: Draft) -> Event {
        self.pen.write(&self.alice, draft)
    }

    fn bob(&self, draft: Draft) -> Event {
        self.pen.write(&self.bob, draft)
    }

    fn repo(&self, name: &str) -> String {
        format!("30617:{}:{name}", self.alice.public_key().to_hex())
    }

    /// Alice's announcement, `day` days after the start.
    fn announce(&self, name: &str, relays: &[&str], day: u64) -> Event {
        let relays: Vec<String> = relays.iter().map(|url| (*url).to_owned()).collect();
        self.alice(at(30617, day).tag(["d", name]).list("relays", &relays))
    }

    fn home(&self) -> BTreeSet<EventId> {
        let upstreams = [(ONE.to_owned(), held(&self.one, NOW)), (TWO.to_owned(), held(&self.two, NOW))];
        expected_home(&upstreams, &[ONE.to_owned()], &[], NOW)
    }
}

fn at(kind: u16, day: u64) -> Draft {
    Draft::new(kind, NOW - 1_000 * 24 * HOUR + day * 24 * HOUR)
}

fn ids(events: &[&Event]) -> BTreeSet<EventId> {
    events.iter().map(|event| event.id).collect()
}

#[test]
fn a_relay_that_nobody_lists_gives_nothing() {
    let mut desk = Desk::new();
    let (repo, elsewhere) = (desk.announce("a", &[ONE], 1), desk.announce("b", &[TWO], 1));
    let issue = desk.bob(at(1621, 2).tag(["a", &desk.repo("a")]));
    desk.one = vec![repo.clone()];
    desk.two = vec![elsewhere, issue];
    assert_eq!(desk.home(), ids(&[&repo]));
}

#[test]
fn a_listed_relay_gives_its_announcements_which_may_list_the_first() {
    let mut desk = Desk::new();
    let (repo, led_to) = (desk.announce("a", &["WS://TWO.test"], 1), desk.announce("b", &["ws://one.test"], 1));
    let issue = desk.bob(at(1621, 2).tag(["a", &desk.repo("b")]));
    let state = desk.bob(at(30618, 2).tag(["d", "of a stranger"]));
    desk.one = vec![repo.clone(), issue.clone()];
    desk.two = vec![led_to.clone(), state.clone()];
    assert_eq!(desk.home(), ids(&[&repo, &led_to, &issue, &state]));
}

#[test]
fn events_about_a_repository_come_only_from_relays_it_lists() {
    let mut desk = Desk::new();
    let (first, second) = (desk.announce("a", &[ONE], 1), desk.announce("b", &[TWO], 1));
    let astray = desk.bob(at(1621, 2).tag(["a", &desk.repo("a")]));
    let quote = desk.bob(at(1, 2).tag(["q", &desk.repo("b")]));
    let comment = desk.bob(at(1111, 2).tag(["A", &desk.repo("b")]));
    desk.one = vec![first.clone(), second.clone()];
    desk.two = vec![astray, quote.clone(), comment.clone()];
    assert_eq!(desk.home(), ids(&[&first, &second, &quote, &comment]));
}

#[test]
fn replies_to_a_root_come_from_every_relay_of_its_repository_but_replies_to_replies_do_not() {
    let mut desk = Desk::new();
    let repo = desk.announce("a", &[ONE, TWO], 1);
    let root = desk.bob(at(1618, 2).tag(["a", "30617:00:unknown"]).tag(["a", &desk.repo("a")]));
    let update = desk.bob(at(1619, 3).tag(["E", &root.id.to_hex()]));
    let status = desk.alice(at(1631, 4).tag(["e", &root.id.to_hex()]));
    // An update without an address is no root, so what tags only it stays away.
    let lost = desk.bob(at(1, 5).tag(["e", &update.id.to_hex()]));
    desk.one = vec![repo.clone(), root.clone(), lost];
    desk.two = vec![update.clone(), status.clone()];
    assert_eq!(desk.home(), ids(&[&repo, &root, &update, &status]));
}

#[test]
fn the_newest_announcement_decides_and_the_older_one_does_not_stay() {
    let mut desk = Desk::new();
    let (old, new) = (desk.announce("a", &[ONE], 1), desk.announce("a", &[ONE, TWO], 9));
    let issue = desk.bob(at(1621, 2).tag(["a", &desk.repo("a")]));
    let led_by = desk.announce("b", &[TWO], 1);
    desk.one = vec![old, led_by.clone()];
    desk.two = vec![new.clone(), issue.clone()];
    assert_eq!(desk.home(), ids(&[&new, &led_by, &issue]));
}

#[test]
fn a_deletion_that_is_found_removes_what_it_names_and_stays() {
    let mut desk = Desk::new();
    let repo = desk.announce("a", &[ONE, TWO], 1);
    let root = desk.bob(at(1621, 2).tag(["a", &desk.repo("a")]));
    let deletion = desk.bob(at(5, 3).tag(["e", &root.id.to_hex()]));
    desk.one = vec![repo.clone(), root];
    desk.two = vec![deletion.clone()];
    assert_eq!(desk.home(), ids(&[&repo, &deletion]));
}

#[test]
fn what_home_held_before_counts_and_stays() {
    let desk = Desk::new();
    let (repo, own) = (desk.announce("a", &[TWO], 1), desk.bob(at(1, 1)));
    let issue = desk.bob(at(1621, 2).tag(["a", &desk.repo("a")]));
    let upstreams = [(TWO.to_owned(), vec![issue.clone()])];
    let before = [repo.clone(), own.clone()];
    assert_eq!(expected_home(&upstreams, &[], &before, NOW), ids(&[&repo, &own, &issue]));
}

#[test]
fn a_relay_holds_the_newest_version_and_of_two_of_one_second_the_lower_id() {
    let desk = Desk::new();
    let (old, new) = (desk.announce("a", &[ONE], 1), desk.announce("a", &[ONE], 2));
    let (one, two) = (desk.announce("b", &[ONE], 1), desk.announce("b", &[TWO], 1));
    let lower = if one.id < two.id { one.clone() } else { two.clone() };
    for order in [[&old, &new, &one, &two], [&two, &one, &new, &old]] {
        let held = held(&order.map(Clone::clone), NOW);
        assert_eq!(held.iter().map(|event| event.id).collect::<BTreeSet<_>>(), ids(&[&new, &lower]));
    }
}

#[test]
fn a_relay_holds_nothing_that_is_deleted_expired_protected_or_ephemeral() {
    let desk = Desk::new();
    let past = (NOW - 1).to_string();
    let gone = desk.bob(at(1, 1));
    let deletion = desk.bob(at(5, 2).tag(["e", &gone.id.to_hex()]));
    let again = desk.bob(at(5, 3).tag(["e", &deletion.id.to_hex()]));
    let early = desk.announce("a", &[ONE], 1);
    let withdrawal = desk.alice(at(5, 5).tag(["a", &desk.repo("a")]));
    let late = desk.announce("a", &[ONE], 6);
    let others = desk.alice(at(1, 1));
    let vain = desk.bob(at(5, 2).tag(["e", &others.id.to_hex()]));
    let events = [
        gone,
        deletion.clone(),
        again.clone(),
        early,
        withdrawal.clone(),
        late.clone(),
        others.clone(),
        vain.clone(),
        desk.bob(at(1, 1).tag(["expiration", &past])),
        desk.bob(at(1, 1).tag(["-"])),
        desk.bob(at(20_001, 1)),
    ];
    let held = held(&events, NOW);
    let expected = ids(&[&deletion, &again, &withdrawal, &late, &others, &vain]);
    assert_eq!(held.iter().map(|event| event.id).collect::<BTreeSet<_>>(), expected);
}
