//! What holds for any order of discoveries, reports, drops and refusals.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::relay::{Negentropy, Which};
use common::world::{World, hold};
use common::{START, at, comment, issue, reply, root_seen, seen, url};
use engine::book::{Book, Status};
use engine::plan::{Plan, plan};
use engine::rules::Policy;
use engine::{invariants, targets};
use model::{
    Ask, BatchCounts, BatchId, BatchOutcome, Discovery, DownClass, Event, Incomplete, Item, LinkView, LiveFilter, Method,
    Removal, RepoSeen, Report, RootSeen, Said, Slot, Snapshot, UpstreamId,
};
use proptest::prelude::*;

const RELAYS: [&str; 3] = ["wss://a.example", "wss://b.example", "wss://c.example"];

mod discoveries {
    use super::*;

    /// A version of one of a few repos.
    fn version() -> impl Strategy<Value = RepoSeen> {
        (0_u8..5, 1_u64..6, proptest::sample::subsequence(RELAYS.to_vec(), 0..=3))
            .prop_map(|(n, created_at, relays)| seen(&format!("r{n}"), created_at, &relays))
    }

    fn a_root() -> impl Strategy<Value = RootSeen> {
        (0_u32..8, proptest::sample::subsequence(vec!["r0", "r1", "r2", "r3", "unknown"], 1..=3))
            // An id stands for one event: the repos follow from it.
            .prop_map(|(n, _)| root_seen(n, &[["r0", "r1", "r2", "unknown"][n as usize % 4], ["r3", "r4"][n as usize % 2]]))
    }

    fn removal() -> impl Strategy<Value = Removal> {
        (0_u8..5, 1_u64..6).prop_map(|(n, until)| Removal { addr: common::addr(&format!("r{n}")), until: at(until) })
    }

    #[derive(Debug, Clone)]
    enum Found {
        Repo(RepoSeen),
        Root(RootSeen),
        Removal(Removal),
    }

    fn found() -> impl Strategy<Value = Found> {
        prop_oneof![5 => version().prop_map(Found::Repo), 3 => a_root().prop_map(Found::Root), 1 => removal().prop_map(Found::Removal)]
    }

    /// Windows of so many discoveries each.
    fn book_of(found: &[Found], window: usize) -> Book {
        let mut book = Book::new(Policy::default());
        for chunk in found.chunks(window) {
            let mut discovery = Discovery::default();
            for found in chunk.iter().cloned() {
                match found {
                    Found::Repo(repo) => discovery.repos.push(repo),
                    Found::Root(root) => discovery.roots.push(root),
                    Found::Removal(removal) => discovery.removals.push(removal),
                }
            }
            book.discover(&discovery, at(START));
        }
        book
    }

    fn targets_of(book: &Book) -> BTreeMap<String, BTreeSet<Item>> {
        let targets =
            book.relays().map(|(_, relay)| (relay.url.to_string(), relay.rows().map(|(item, _)| item.clone()).collect()));
        targets.filter(|(_, items): &(String, BTreeSet<Item>)| !items.is_empty()).collect()
    }

    /// The same in one piece: versions that a removal reaches do not exist.
    fn expected(found: &[Found]) -> BTreeMap<String, BTreeSet<Item>> {
        let removals: Vec<&Removal> =
            found.iter().filter_map(|found| if let Found::Removal(removal) = found { Some(removal) } else { None }).collect();
        let is_gone = |seen: &RepoSeen| removals.iter().any(|gone| gone.addr == seen.addr && seen.created_at <= gone.until);
        let repos = found.iter().filter_map(|found| if let Found::Repo(repo) = found { Some(repo) } else { None });
        let roots = found.iter().filter_map(|found| if let Found::Root(root) = found { Some(root) } else { None });
        targets::targets(repos.filter(|repo| !is_gone(repo)), roots)
            .into_iter()
            .map(|(url, items)| (url.to_string(), items))
            .collect()
    }

    proptest! {
        #[test]
        fn s03_the_targets_of_the_book_are_the_targets_in_one_piece(found in proptest::collection::vec(found(), 0..40), window in 1_usize..9) {
            prop_assert_eq!(targets_of(&book_of(&found, window)), expected(&found));
        }

        #[test]
        fn s03_order_and_repetition_of_discoveries_change_nothing(
            (found, shuffled) in proptest::collection::vec(found(), 0..30).prop_flat_map(|found| {
                let repeated: Vec<Found> = found.iter().chain(&found).cloned().collect();
                (Just(found), Just(repeated).prop_shuffle())
            }),
            windows in (1_usize..9, 1_usize..9),
        ) {
            prop_assert_eq!(targets_of(&book_of(&found, windows.0)), targets_of(&book_of(&shuffled, windows.1)));
        }
    }
}

mod plans {
    use super::*;

    const A: UpstreamId = UpstreamId(1);

    /// What happens to one upstream.
    #[derive(Debug, Clone)]
    enum Step {
        Repos { from: u32, count: u32 },
        Leave { from: u32, count: u32 },
        Roots { from: u32, count: u32 },
        Up { after_secs: u64 },
        Down,
        Opened,
        CaughtUp,
        Ended { nth: usize, complete: bool },
        EndAll,
        Wait { secs: u64 },
        Refresh,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u32..400, 1_u32..160).prop_map(|(from, count)| Step::Repos { from, count }),
            2 => (0_u32..400, 1_u32..160).prop_map(|(from, count)| Step::Leave { from, count }),
            3 => (0_u32..400, 1_u32..160).prop_map(|(from, count)| Step::Roots { from, count }),
            2 => prop_oneof![Just(10_u64), Just(2_000)].prop_map(|after_secs| Step::Up { after_secs }),
            1 => Just(Step::Down),
            3 => Just(Step::Opened),
            2 => Just(Step::CaughtUp),
            3 => (0_usize..4, any::<bool>()).prop_map(|(nth, complete)| Step::Ended { nth, complete }),
            4 => Just(Step::EndAll),
            2 => (1_u64..400).prop_map(|secs| Step::Wait { secs }),
            1 => Just(Step::Refresh),
        ]
    }

    /// One upstream, its planner, and the slots that its orders have opened on the wire.
    struct Bench {
        book: Book,
        secs: u64,
        sequence: u64,
        versions: u64,
        slots: BTreeSet<Slot>,
        rebuilds: usize,
    }

    impl Bench {
        fn new(live_limit: usize) -> Self {
            let policy = Policy { live_limit, ..Policy::default() };
            let mut book = Book::new(policy);
            book.name_relays(&[(url(RELAYS[0]), model::Role::Bootstrap)], at(START));
            Self { book, secs: START, sequence: 0, versions: 1, slots: BTreeSet::new(), rebuilds: 0 }
        }

        fn look(&self) -> Snapshot {
            self.book.snapshot(A, at(self.secs)).unwrap()
        }

        fn plan(&self, look: &Snapshot) -> Plan {
            plan(look, self.book.policy(), 0)
        }

        fn is_up(&self) -> bool {
            self.book.relay(A).unwrap().is_up()
        }

        fn say(&mut self, said: Said) {
            self.sequence += 1;
            let epoch = self.book.relay(A).unwrap().epoch;
            self.book.report(&Report { upstream: A, epoch, sequence: self.sequence, said }, at(self.secs), 0).unwrap();
        }

        fn repos(&mut self, from: u32, count: u32, relays: &[&str]) {
            self.versions += 1;
            let repos = (from..from + count).map(|n| RepoSeen {
                addr: common::addr(&format!("r{n:03}")),
                event: common::id(n),
                created_at: at(self.versions),
                relays: relays.iter().map(|relay| url(relay)).collect(),
                maintainers: vec![],
                private: false,
            });
            let discovery = Discovery { repos: repos.collect(), ..Discovery::default() };
            self.book.discover(&discovery, at(self.secs));
        }

        fn end(&mut self, batch: BatchId, complete: bool) {
            let outcome = if complete {
                BatchOutcome::Complete
            } else {
                BatchOutcome::Incomplete { why: Incomplete::Closed, detail: String::new() }
            };
            self.say(Said::BatchEnded { batch, outcome, method: Method::Req, counts: BatchCounts::default() });
        }

        fn take(&mut self, step: &Step) {
            match step {
                Step::Repos { from, count } => self.repos(*from, *count, &RELAYS[..1]),
                Step::Leave { from, count } => self.repos(*from, *count, &RELAYS[1..2]),
                Step::Roots { from, count } => {
                    let roots = (*from..from + count).map(|n| root_seen(n, &[&format!("r{n:03}")])).collect();
                    self.book.discover(&Discovery { roots, ..Discovery::default() }, at(self.secs));
                }
                Step::Up { after_secs } => {
                    self.secs += after_secs;
                    self.book.up(A, at(self.secs), 0).unwrap();
                    self.sequence = 0;
                    self.slots.clear();
                }
                Step::Down => self.say(Said::Down { class: DownClass::Closed, detail: String::new() }),
                Step::Opened => self.say(Said::Opened),
                Step::CaughtUp => self.say(Said::CaughtUp),
                Step::Ended { nth, complete } => {
                    let batch = self.book.relay(A).unwrap().batches().nth(*nth).map(|(id, _)| id);
                    batch.into_iter().for_each(|batch| self.end(batch, *complete));
                }
                Step::EndAll => self.end_all(),
                Step::Wait { secs } => {
                    self.secs += secs;
                    self.book.sweep(at(self.secs));
                }
                Step::Refresh => self.secs = self.secs.max(self.look().refresh_at.as_secs().min(self.secs + 100_000)),
            }
        }

        fn end_all(&mut self) {
            let batches: Vec<BatchId> = self.book.relay(A).unwrap().batches().map(|(id, _)| id).collect();
            for batch in batches {
                self.end(batch, true);
            }
        }

        /// Plans, claims and orders until nothing is left to do now.
        fn activate(&mut self) {
            for _ in 0..20 {
                let look = self.look();
                let plan = self.plan(&look);
                assert_eq!(plan, self.plan(&look), "a plan of one look is one plan");
                let rebuilds_now = plan.asks.iter().any(|ask| matches!(ask, Ask::Rebuild { .. }));
                let is_over = plan.refresh.is_none() && plan.rechunk.is_empty() && plan.batches.is_empty() && !rebuilds_now;
                let (before, rebuilds) = (self.chunks(), self.rebuilds);
                let asks = self.carry_out(&look, plan);
                self.hold_chunks(&before, self.rebuilds > rebuilds);
                self.wire(&asks);
                invariants::of_book(&self.book).unwrap();
                if is_over {
                    return;
                }
            }
            panic!("it plans for ever: {}", self.plan(&self.look()).report);
        }

        fn carry_out(&mut self, look: &Snapshot, plan: Plan) -> Vec<Ask> {
            let claimed: Vec<Item> = plan.batches.iter().flat_map(|batch| batch.draft.items.clone()).collect();
            assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), claimed.len(), "an item is asked for twice");
            self.rebuilds += usize::from(!plan.rechunk.is_empty());
            let granted = match plan.claim(look) {
                Some(claim) => self.book.claim(&claim, at(self.secs)).unwrap().batches,
                None => Vec::new(),
            };
            assert!(granted.iter().all(Option::is_some), "what one planner plans is granted");
            let again = self.plan(&self.look());
            let asked: BTreeSet<&Item> = again.batches.iter().flat_map(|batch| &batch.draft.items).collect();
            assert!(claimed.iter().all(|item| !asked.contains(item)), "what is pending is asked for again");
            plan.orders(&granted)
        }

        fn chunks(&self) -> BTreeMap<Item, u32> {
            let rows = self.book.relay(A).unwrap().rows();
            rows.filter_map(|(item, row)| row.chunk.map(|chunk| (item.clone(), chunk))).collect()
        }

        /// An item changes its chunk by a rebuild and by nothing else.
        fn hold_chunks(&self, before: &BTreeMap<Item, u32>, is_rebuilt: bool) {
            let after = self.chunks();
            let moved =
                before.iter().any(|(item, chunk)| after.get(item).is_some_and(|now| now != chunk) || !after.contains_key(item));
            assert!(!moved || is_rebuilt, "an item changed its chunk");
        }

        /// What the orders open and close, and what their filters name.
        fn wire(&mut self, asks: &[Ask]) {
            for ask in asks {
                let (live, history) = match ask {
                    Ask::Fetch { live, history, .. } => (live, history.as_slice()),
                    Ask::CatchUp { live, .. } | Ask::Rebuild { live, .. } => (live, [].as_slice()),
                    Ask::OpenAnnouncements { .. } | Ask::HangUp { .. } => continue,
                };
                if let Ask::Rebuild { layout, .. } = ask {
                    self.slots.clear();
                    self.say(Said::Rebuilt { layout: *layout });
                }
                self.slots.extend(live.iter().map(|live| live.slot));
                invariants::i04_no_filter_names_too_many(live.iter().map(|live| &live.filter).chain(history)).unwrap();
                live.iter().for_each(|live| self.hold_members(live));
            }
            let limit = self.book.policy().live_limit;
            assert!(self.slots.len() < limit, "I3: {} live subscriptions and layer 1, {limit} are allowed", self.slots.len());
        }

        /// A live filter names every covered member of its chunk.
        fn hold_members(&self, live: &LiveFilter) {
            let named = live.filter.generic_tags.values().next().unwrap();
            let rows = self.book.relay(A).unwrap().rows();
            let members = rows.filter(|(item, row)| {
                item.kind() == live.slot.family.items && row.chunk == Some(live.slot.chunk) && row.status != Status::Wanted
            });
            for (item, _) in members {
                assert!(named.contains(&item.key()), "{item} is covered and not live in its chunk {}", live.slot.chunk);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        /// Whatever happens: plans end, nothing is asked for twice, chunks hold at most 100 and are stable, live filters name
        /// all that is covered in their chunk, and no order opens more than the limit allows.
        #[test]
        fn plans_are_idempotent_and_keep_chunks_and_limits(
            steps in proptest::collection::vec(step(), 1..40),
            limit in prop_oneof![Just(7_usize), Just(13), Just(70)],
        ) {
            let mut bench = Bench::new(limit);
            bench.take(&Step::Up { after_secs: 0 });
            for step in &steps {
                bench.take(step);
                bench.activate();
            }
        }

        /// Once the session answers everything, everything is confirmed and nothing more is planned.
        #[test]
        fn i10_a_fixpoint_is_reached_and_asks_for_nothing(
            steps in proptest::collection::vec(step(), 1..30),
            limit in prop_oneof![Just(7_usize), Just(13), Just(70)],
        ) {
            let mut bench = Bench::new(limit);
            for step in &steps {
                bench.take(step);
                bench.activate();
            }
            if !bench.is_up() {
                bench.take(&Step::Up { after_secs: 10 });
            }
            for _ in 0..40 {
                bench.activate();
                for step in [Step::Opened, Step::CaughtUp, Step::EndAll, Step::Wait { secs: 3_600 }] {
                    bench.take(&step);
                }
            }
            bench.activate();
            invariants::i09_every_target_is_confirmed(&bench.book).unwrap();
            invariants::i10_settled_asks_for_nothing(&bench.plan(&bench.look())).unwrap();
            let is_open = matches!(bench.look().link, LinkView::Up { opened: true, caught_up: true, .. });
            prop_assert!(is_open);
        }
    }
}

mod worlds {
    use super::*;

    /// What happens in a world of three relays.
    #[derive(Debug, Clone)]
    enum Step {
        Announce { repo: u8, relays: Vec<&'static str> },
        Issue { repo: u8, relay: usize },
        Comment { repo: u8, relay: usize },
        Reply { issue: usize, relay: usize },
        Up(usize),
        Down(usize),
        Wait { secs: u64 },
        Refuse { relay: usize, sort: Which, times: usize, text: &'static str },
        Close { relay: usize, nth: usize, text: &'static str },
        Mood { relay: usize, mood: Negentropy },
        Caps { relay: usize, page: usize, ids: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        let relay = || 0_usize..3;
        let text = || prop_oneof![Just("error: x"), Just("rate-limited: x"), Just("auth-required: x"), Just("")];
        let sort = prop_oneof![Just(Which::Live), Just(Which::Page), Just(Which::Ids)];
        let mood = prop_oneof![
            Just(Negentropy::Works),
            Just(Negentropy::Silent),
            Just(Negentropy::AnswersOnce),
            Just(Negentropy::NegErr("rate-limited: x".into())),
            Just(Negentropy::NegErr("blocked: x".into())),
            Just(Negentropy::Notice("bad msg: negentropy disabled".into())),
        ];
        prop_oneof![
            3 => (0_u8..4, proptest::sample::subsequence(RELAYS.to_vec(), 1..=3)).prop_map(|(repo, relays)| Step::Announce { repo, relays }),
            2 => (0_u8..4, relay()).prop_map(|(repo, relay)| Step::Issue { repo, relay }),
            4 => (0_u8..4, relay()).prop_map(|(repo, relay)| Step::Comment { repo, relay }),
            3 => (0_usize..6, relay()).prop_map(|(issue, relay)| Step::Reply { issue, relay }),
            4 => relay().prop_map(Step::Up),
            2 => relay().prop_map(Step::Down),
            4 => prop_oneof![0_u64..8, 20_u64..100, 800_u64..1_200].prop_map(|secs| Step::Wait { secs }),
            2 => (relay(), sort, 1_usize..4, text()).prop_map(|(relay, sort, times, text)| Step::Refuse { relay, sort, times, text }),
            2 => (relay(), 0_usize..9, text()).prop_map(|(relay, nth, text)| Step::Close { relay, nth, text }),
            1 => (relay(), mood).prop_map(|(relay, mood)| Step::Mood { relay, mood }),
            1 => (relay(), 20_usize..40, 3_usize..40).prop_map(|(relay, page, ids)| Step::Caps { relay, page, ids }),
        ]
    }

    struct Story {
        world: World,
        issues: Vec<Event>,
        made: usize,
    }

    impl Story {
        fn new() -> Self {
            Self { world: World::new(Policy::default()), issues: Vec::new(), made: 0 }
        }

        fn now(&self) -> u64 {
            self.world.now().as_secs()
        }

        fn take(&mut self, step: &Step) {
            self.made += 1;
            let (now, n) = (self.now(), self.made);
            match step {
                Step::Announce { repo, relays } => self.world.at_home(common::announcement(&format!("r{repo}"), now, relays)),
                Step::Issue { repo, relay } => {
                    let event = issue(&format!("r{repo}"), &format!("issue {n}"), now);
                    self.issues.push(event.clone());
                    self.world.publish(RELAYS[*relay], event);
                }
                Step::Comment { repo, relay } => self.world.publish(RELAYS[*relay], comment(&format!("r{repo}"), now, n)),
                Step::Reply { issue, relay } => {
                    if let Some(issue) = self.issues.get(*issue).cloned() {
                        self.world.publish(RELAYS[*relay], reply(&issue, now, n));
                    }
                }
                Step::Up(relay) => self.up(*relay),
                Step::Down(relay) => {
                    if self.world.shell(RELAYS[*relay]).is_some() {
                        self.world.down(RELAYS[*relay]);
                    }
                }
                Step::Wait { secs } => self.world.pass(secs * 1000),
                Step::Refuse { relay, sort, times, text } => {
                    self.world.relay(RELAYS[*relay]).refusals.push((*sort, *times, (*text).to_owned()));
                }
                Step::Close { relay, nth, text } => self.close(*relay, *nth, text),
                Step::Mood { relay, mood } => self.world.relay(RELAYS[*relay]).negentropy = mood.clone(),
                Step::Caps { relay, page, ids } => {
                    let relay = self.world.relay(RELAYS[*relay]);
                    (relay.page_cap, relay.ids_cap) = (*page, *ids);
                }
            }
            self.world.settle();
        }

        fn up(&mut self, relay: usize) {
            let is_known = self.world.book.number_of(&url(RELAYS[relay])).is_some();
            if is_known && self.world.shell(RELAYS[relay]).is_none() {
                self.world.up(RELAYS[relay]);
            }
        }

        fn close(&mut self, relay: usize, nth: usize, text: &str) {
            if let Some(shell) = self.world.shell(RELAYS[relay])
                && let Some(sub) = shell.relay.open.keys().nth(nth).cloned()
            {
                shell.close(&sub, text);
            }
        }

        /// Faults stop; everything comes up.
        fn calm(&mut self) {
            self.world.pass(6_000);
            for (n, address) in RELAYS.iter().enumerate() {
                let relay = self.world.relay(address);
                relay.refusals.clear();
                relay.negentropy = Negentropy::Works;
                self.up(n);
            }
        }

        /// What home is to hold: what any relay holds on the repos that list it, and on the issues of these.
        fn expected(&mut self) -> BTreeSet<model::EventId> {
            let mut expected = BTreeSet::new();
            for address in RELAYS {
                let Some(number) = self.world.book.number_of(&url(address)) else { continue };
                let items: Vec<Item> = self.world.book.relay(number).unwrap().rows().map(|(item, _)| item.clone()).collect();
                let filters: Vec<_> =
                    items.iter().flat_map(|item| engine::filters::history(item.kind(), std::slice::from_ref(item))).collect();
                let relay = self.world.relay(address);
                let is_asked = |event: &&Event| filters.iter().any(|filter| common::relay::is_match(filter, event));
                expected.extend(relay.events.iter().filter(is_asked).map(|event| event.id));
            }
            expected
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 400, ..ProptestConfig::default() })]

        /// I9: whatever went wrong, once faults stop every target is confirmed and home holds what its upstreams serve. The
        /// invariants of the world are asked after every step on the way.
        #[test]
        fn i09_once_faults_stop_everything_is_confirmed_and_home_is_complete(steps in proptest::collection::vec(step(), 1..40)) {
            let mut story = Story::new();
            for step in &steps {
                story.take(step);
            }
            story.calm();
            let settles = story.world.run(4 * 3_600_000);
            prop_assert!(settles, "it does not settle:\n{}", story.world.log);
            story.world.pass(6_000);
            prop_assert!(story.world.run(4 * 3_600_000), "it does not settle:\n{}", story.world.log);
            let home = story.world.home.keys().copied().collect();
            hold(invariants::i09_home_is_complete(&home, &story.expected()), &story.world.log);
            // Upstreams that became empty are hung up within two minutes.
            story.world.pass(120_000);
            let before = story.world.log.len();
            story.world.pass(600_000);
            prop_assert_eq!(&story.world.log[before..], "", "I10: a settled world goes on");
        }
    }
}
