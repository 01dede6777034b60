//! What a relay may do too much of: what an honest one does in a hurry is no breach, what a flood does ends the link.

use super::*;
use engine::conduct::Excess;

/// A session whose live filters stand and whose history is read.
fn settled() -> Shell {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(30)));
    shell.open_fresh(Method::Req);
    shell.fetch(1, &["alpha"], Method::Req);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    shell
}

/// How many of these frames it takes until the link is ended, of `most` at the same moment.
fn ends_after(shell: &mut Shell, most: usize, mut send: impl FnMut(&mut Shell, usize)) -> Option<usize> {
    (0..most).find(|n| {
        send(shell, *n);
        shell.quiet();
        shell.hung_up.is_some()
    })
}

fn stranger(n: usize) -> Event {
    event(Kind::TextNote, OLD + n as u64, &[], &format!("nobody asked for this: {n}"))
}

#[test]
fn x5_floods_of_every_sort_end_the_link_with_their_name_and_little_of_them_does_not() {
    type Sends = fn(&mut Shell, usize);
    let under_the_live_one: Sends = |shell, n| {
        let sub = live_sub(shell);
        shell.hear_event(&sub, stranger(n));
    };
    let floods: [(Excess, Sends, usize); 7] = [
        (Excess::Unasked, under_the_live_one, 4_000),
        (Excess::ForeignId, |shell, n| shell.hear_event("nobody-s", stranger(n)), 900),
        (Excess::Chatter, |shell, _| shell.hear(Frame::Notice { text: "welcome".into() }), 900),
        (Excess::Chatter, |shell, _| shell.hear(Frame::Eose { sub: "nobody-s".into(), hint: EoseHint::None }), 900),
        (Excess::Unreadable, |shell, n| shell.session.unreadable("s1", n as u64, shell.now()), 4_000),
        (Excess::Garbage, |shell, n| shell.session.garbage(Excess::Garbage, n as u64, shell.now()), 15),
        (Excess::Pings, |shell, _| shell.session.note(Excess::Pings, shell.now()), 90),
    ];
    for (excess, send, few) in floods {
        let mut shell = settled();
        assert_eq!(ends_after(&mut shell, few, send), None, "{excess:?}");
        assert_eq!(shell.breaches, []);
        assert!(ends_after(&mut shell, 4 * few, send).is_some(), "{excess:?}");
        assert_eq!((shell.hung_up, shell.breaches.first()), (Some(DownClass::Banned), Some(&excess)));
        assert!(shell.session.misconduct().contains(excess.as_str()), "{}", shell.session.misconduct());
    }
}

#[test]
fn x5_a_page_without_end_ends_the_link_and_one_that_knows_no_limit_does_not() {
    let mut shell = settled();
    shell.relay.holds_eose = Some(Which::Page);
    shell.fetch(2, &["beta"], Method::Req);
    let (_, sub, _) = shell.reqs(Which::Page).pop().unwrap();
    let whole = comments("beta", OLD, 5_000);
    for one in &whole {
        shell.hear_event(&sub, one.clone());
    }
    assert_eq!(shell.breaches, [], "ten times what was asked for");
    let mut endless = whole.iter().cycle();
    let ends = ends_after(&mut shell, 60_000, |shell, _| shell.hear_event(&sub, endless.next().unwrap().clone()));
    assert!(ends.is_some());
    assert_eq!(shell.breaches, [Excess::BeyondLimit; 3]);
}

#[test]
fn x5_live_events_that_are_new_are_no_excess_and_the_same_ones_over_and_over_are() {
    let mut shell = settled();
    let sub = live_sub(&shell);
    let burst = comments("alpha", START, 25_000);
    let ends = ends_after(&mut shell, burst.len(), |shell, n| shell.hear_event(&sub, burst[n].clone()));
    assert_eq!((ends, shell.breaches.len()), (None, 0), "five times the largest burst that is planned for");
    let ends = ends_after(&mut shell, 100_000, |shell, n| shell.hear_event(&sub, burst[n % 100].clone()));
    assert!(ends.is_some());
    assert_eq!(shell.breaches, [Excess::Repeats; 3]);
}

#[test]
fn what_the_oddest_honest_relay_says_goes_on_for_a_day() {
    let mut shell = settled();
    for _ in 0..24 * 60 {
        shell.pass(60_000);
        for n in 0..20 {
            let sub = live_sub(&shell);
            shell.hear_event(&sub, stranger(n));
            shell.hear(Frame::Notice { text: "welcome".into() });
            shell.hear(Frame::Auth { challenge: "who are you".into() });
            shell.session.note(Excess::Pings, shell.now());
        }
    }
    assert_eq!((shell.breaches.len(), shell.hung_up), (0, None));
}

#[test]
fn a_message_is_as_long_as_what_is_open_may_be_answered_with() {
    let mut relay = ModelRelay::with(history(30));
    relay.is_silent = true;
    let mut shell = Shell::fresh(relay);
    assert!(shell.session.takes(512 * 1024) && !shell.session.takes(512 * 1024 + 1));
    shell.order(Ask::Audit { part: 0, filters: vec![engine::filters::layer1(model::Role::Listed)] });
    assert!(shell.session.takes(1_250_000) && !shell.session.takes(1_250_001), "an exchange is open");
}

#[test]
fn i08_what_cannot_be_read_at_all_does_not_confirm_what_was_asked_for_meanwhile() {
    for excess in [None, Some(Excess::Garbage), Some(Excess::TooLong)] {
        let mut shell = Shell::fresh(ModelRelay::without_negentropy([]));
        shell.relay.holds_eose = Some(Which::Page);
        shell.fetch(1, &["alpha"], Method::Req);
        if let Some(excess) = excess {
            shell.session.garbage(excess, 7, shell.now());
        }
        shell.relay.holds_eose = None;
        for (_, sub, _) in shell.reqs(Which::Page) {
            shell.end_of(&sub);
        }
        let expected = excess.map(|_| Incomplete::Faulty);
        assert_eq!((incomplete(&shell, 1), shell.is_complete(1)), (expected, expected.is_none()));
    }
}
