//! A fleet on the stage: its relays, what it is to bring home, and what must be true of it at the end, whatever happened.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::EventId;
use testkit::fleet::{Fleet, Process, Role};
use testkit::{ChaosProxy, wait_for, wait_until};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Crowd, PATIENCE, Relay, Signed, ids};

/// Fleets that run at the same time: their bounds are measured.
static FLEETS: Semaphore = Semaphore::const_new(2);

/// Relays that nobody alive works for. Those that are never dialed have no owner.
const NOT_OWNED: &str = "
    SELECT r.url FROM relay r WHERE NOT r.refused AND NOT EXISTS (
        SELECT 1 FROM worker w WHERE w.name = r.owner AND w.incarnation = r.owner_inc
            AND w.expires_at_ms > extract(epoch FROM clock_timestamp()) * 1000)";
const OWNERS: &str = "SELECT r.url || ' ' || coalesce(r.owner, '-') FROM relay r WHERE NOT r.refused ORDER BY r.url";
const NOT_CONFIRMED: &str = "
    SELECT r.url, c.status, count(*) FROM coverage c JOIN relay r ON r.id = c.relay
    WHERE NOT r.refused AND c.status <> 2 GROUP BY 1, 2";
const NOT_UP: &str = "SELECT url FROM relay WHERE NOT refused AND NOT (link = 'up' AND caught_up)";

const NOT_LINKED: &str = "SELECT url FROM relay WHERE NOT refused AND (link = 'down' OR moved_at_ms IS NOT NULL)";

/// Keeps a record of who had which epoch.
const AUDIT: &str = "
    CREATE TABLE audit (number bigint GENERATED ALWAYS AS IDENTITY, relay bigint, epoch bigint, owner_inc text);
    CREATE FUNCTION audit_relay() RETURNS trigger AS $$ BEGIN
        IF NEW.epoch <> OLD.epoch OR NEW.owner_inc IS DISTINCT FROM OLD.owner_inc THEN
            INSERT INTO audit (relay, epoch, owner_inc) VALUES (NEW.id, NEW.epoch, NEW.owner_inc);
        END IF;
        RETURN NEW;
    END $$ LANGUAGE plpgsql;
    CREATE TRIGGER audit_relay AFTER UPDATE ON relay FOR EACH ROW EXECUTE FUNCTION audit_relay();";
const EPOCHS_OF_TWO: &str = "
    SELECT relay, epoch FROM audit WHERE owner_inc IS NOT NULL GROUP BY 1, 2 HAVING count(DISTINCT owner_inc) > 1";
const EPOCHS_THAT_SHRANK: &str = "
    SELECT relay, epoch FROM (
        SELECT relay, epoch, lag(epoch) OVER (PARTITION BY relay ORDER BY number) AS before FROM audit) a
    WHERE epoch < before";
const EPOCHS: &str = "SELECT DISTINCT relay, epoch FROM audit WHERE owner_inc IS NOT NULL";

/// A place among the fleets that run.
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    FLEETS.acquire().await.expect("it is never closed")
}

/// How large a deployment is.
pub(crate) struct Size {
    pub(crate) upstreams: usize,
    pub(crate) repositories_each: usize,
    pub(crate) comments_each: usize,
}

pub(crate) struct Deployment {
    pub(crate) fleet: Fleet,
    pub(crate) home: Relay,
    pub(crate) upstreams: Vec<Relay>,
    pub(crate) crowds: Vec<Crowd>,
    published: Vec<Signed>,
    _turn: SemaphorePermit<'static>,
}

impl Deployment {
    /// Servers and relays; no process runs yet.
    pub(crate) async fn of(size: &Size) -> Self {
        let home = Relay::counting().await;
        let url = home.url();
        Self::keeping(home, &url, size).await
    }

    /// The same, with home behind a proxy.
    pub(crate) async fn with_home_behind_a_proxy(size: &Size) -> (Self, ChaosProxy) {
        let home = Relay::counting().await;
        let proxy = ChaosProxy::start(&home.url()).await;
        (Self::keeping(home, &proxy.url(), size).await, proxy)
    }

    async fn keeping(home: Relay, home_url: &str, size: &Size) -> Self {
        let turn = turn().await;
        let (mut upstreams, mut crowds) = (Vec::new(), Vec::new());
        for number in 0..size.upstreams {
            // Each on a host of its own, for a host's upstreams stay together.
            let host = u16::try_from(number + 2).expect("a stage has few upstreams");
            let upstream = Relay::on_host(host, number % 3 != 2).await;
            let author = u32::from(host);
            let crowd = Crowd::by_author(author, size.repositories_each, size.comments_each, &[upstream.url()]);
            upstream.has_held(crowd.events()).await;
            upstreams.push(upstream);
            crowds.push(crowd);
        }
        let bootstrap: Vec<String> = upstreams.iter().map(Relay::url).collect();
        let fleet = Fleet::of(env!("CARGO_BIN_EXE_grasp-sync")).keeping(home_url).pulling_from(&bootstrap).started().await;
        fleet.sql(AUDIT).await;
        Self { fleet, home, upstreams, crowds, published: Vec::new(), _turn: turn }
    }

    pub(crate) fn add(&mut self, role: Role, count: usize) -> Vec<Process> {
        (0..count).map(|_| self.fleet.add(role)).collect()
    }

    pub(crate) fn expected(&self) -> BTreeSet<EventId> {
        self.crowds.iter().flat_map(Crowd::ids).chain(ids(&self.published)).collect()
    }

    /// Somebody opens an issue on every upstream.
    pub(crate) async fn publish_everywhere(&mut self, text: &str) -> BTreeSet<EventId> {
        let issues: Vec<Signed> = self.crowds.iter().map(|crowd| crowd.issue(text)).collect();
        for (upstream, issue) in self.upstreams.iter().zip(&issues) {
            upstream.receives([issue]).await;
        }
        let published = ids(&issues);
        self.published.extend(issues);
        published
    }

    /// Until a backfill is well under way.
    pub(crate) async fn until_some_is_home(&self) {
        let part = self.expected().len() / 5;
        wait_until("some of it to be at home", PATIENCE, || async { self.home.held().await.len() > part }).await;
    }

    /// Until home holds all of these. Answers how long that took.
    pub(crate) async fn until_home_has_all(&self, wanted: &BTreeSet<EventId>, limit: Duration) -> Duration {
        let began = Instant::now();
        wait_for("home to have what was published", limit, || async {
            let missing = wanted.difference(&self.home.held().await).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} missing", wanted.len())) }
        })
        .await;
        began.elapsed()
    }

    /// Every epoch that any worker was ever given, as the database remembers it.
    pub(crate) async fn epochs(&self) -> BTreeSet<String> {
        self.fleet.sql(EPOCHS).await.into_iter().collect()
    }

    /// Until somebody alive owns every upstream. Answers how long that took.
    pub(crate) async fn until_owned(&self, limit: Duration) -> Duration {
        self.until(limit, "every upstream to be owned", &format!("{NOT_OWNED} UNION {}", self.not_all_known())).await
    }

    /// A row while upstreams are not in the tables yet: what is not there is owned by nobody, too.
    fn not_all_known(&self) -> String {
        format!("SELECT 'only ' || count(*) FROM relay HAVING count(*) <= {}", self.upstreams.len())
    }

    /// Until every link stands, with its gap filled.
    pub(crate) async fn until_up(&self, limit: Duration) -> Duration {
        self.until(limit, "every link to be up", NOT_UP).await
    }

    /// Until a statement finds nothing any more.
    pub(crate) async fn until(&self, limit: Duration, what: &str, rows: &str) -> Duration {
        let began = Instant::now();
        wait_for(what, limit, || async {
            let left = self.fleet.sql(rows).await;
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
        began.elapsed()
    }

    /// Until home holds everything and every item is confirmed on every upstream.
    pub(crate) async fn until_complete(&self, limit: Duration) -> Duration {
        let began = Instant::now();
        let expected = self.expected();
        wait_for("home to be complete", limit, || async {
            let held = self.home.held().await;
            let missing = expected.difference(&held).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} missing", expected.len())) }
        })
        .await;
        self.until(limit.saturating_sub(began.elapsed()), "every item to be confirmed", NOT_CONFIRMED).await;
        began.elapsed()
    }

    /// Which upstream whose is, one a line.
    pub(crate) async fn owners(&self) -> Vec<String> {
        self.fleet.sql(OWNERS).await
    }

    pub(crate) async fn owned_by(&self, worker: &Process) -> usize {
        let suffix = format!(" {}", worker.name());
        self.owners().await.iter().filter(|line| line.ends_with(&suffix)).count()
    }

    /// Until every upstream is owned by one of these, and none of them has more than its share (a tenth above the mean).
    pub(crate) async fn until_spread(&self, workers: &[Process], limit: Duration) -> Duration {
        let began = Instant::now();
        wait_for("the upstreams to be spread", limit, || async {
            let owners = self.owners().await;
            let most = (owners.len() * 11).div_ceil(workers.len() * 10);
            let of = |worker: &Process| owners.iter().filter(|line| line.ends_with(&format!(" {}", worker.name()))).count();
            let shares: Vec<usize> = workers.iter().map(of).collect();
            let is_all = owners.len() > self.upstreams.len() && shares.iter().sum::<usize>() == owners.len();
            let is_spread = is_all && shares.iter().all(|share| *share <= most);
            if is_spread { Ok(()) } else { Err(owners) }
        })
        .await;
        began.elapsed()
    }

    /// Until every upstream has found its owner, and that one has a link to it.
    pub(crate) async fn until_linked(&self, workers: &[Process], limit: Duration) {
        self.until_spread(workers, limit).await;
        self.until(limit, "every upstream to have a link", NOT_LINKED).await;
    }

    /// Until somebody else alive owns what this worker had.
    pub(crate) async fn until_handed_over(&self, worker: &str, limit: Duration) -> Duration {
        let rows = format!("{NOT_OWNED} UNION SELECT url FROM relay WHERE owner = '{worker}'");
        self.until(limit, "every upstream to be handed over", &rows).await
    }

    /// Events that upstreams have sent more than once, by upstream.
    pub(crate) fn sent_twice(&self) -> Vec<u64> {
        let surplus =
            |(upstream, crowd): (&Relay, &Crowd)| upstream.traffic().events_sent.saturating_sub(crowd.events().count() as u64);
        self.upstreams.iter().zip(&self.crowds).map(surplus).collect()
    }

    /// What must be true at the end, whatever happened: home holds what it should and nothing else; no epoch was two
    /// workers', and epochs only grew.
    pub(crate) async fn check(&self) {
        assert_eq!(self.home.held().await, self.expected(), "home holds exactly what it should");
        assert_eq!(self.fleet.sql(EPOCHS_OF_TWO).await, [""; 0], "an epoch was handed out twice");
        assert_eq!(self.fleet.sql(EPOCHS_THAT_SHRANK).await, [""; 0], "epochs only grow");
        assert!(!self.epochs().await.is_empty(), "the record was kept");
    }
}
