//! A one-off reading of one relay: a set of filters, each to its proven end, by the dialer, the session, the exchanges and the
//! walks that keep home complete. Opens nothing live, writes nothing, tells nobody who we are.
//!
//! What the other side is known to hold is dropped unseen; what it lacks comes back verified.

mod held;
mod link;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::gate::CopyFault;
use engine::room::Room;
use engine::rules::REDIAL_SECS;
use ipnet::IpNet;
use model::{BatchCounts, DownClass, Event, EventId, Filter, Incomplete, Kind, Learned, Method, RelayUrl, Role};
use tokio::time::{Instant, sleep, timeout};

use crate::Unreachable;
use crate::dial::{Dialer, Reach};
use crate::document::{self, Documents};
use crate::hosts::Hosts;
use crate::names::Names;
use crate::verify::Verifier;
pub use held::Held;
use link::Link;

/// Links in a row that may end before everything is read; a relay that hangs up on NIP-77 is read by pages on the next one.
const MOST_LINKS: u32 = 3;
/// How long the relay's information document is waited for: it says how much a filter may hold.
const DOCUMENT_LIMIT: Duration = Duration::from_secs(5);

/// On what terms relays are read.
#[derive(Debug, Clone)]
pub struct SurveyTerms {
    /// As in [`crate::Settings`].
    pub allow_non_public: Vec<IpNet>,
    pub look_up_names: bool,
    pub onion_proxy: Option<SocketAddr>,
    pub contact: Option<String>,
}

/// Reads relays, each on the word that named it.
#[derive(Debug)]
pub struct Surveyor {
    dialer: Arc<Dialer>,
    documents: Documents,
    hosts: Hosts,
    verifier: Verifier,
}

/// One relay that is being read, over one link after the other.
#[derive(Debug)]
pub struct Survey<'a> {
    surveyor: &'a Surveyor,
    url: RelayUrl,
    role: Role,
    learned: Learned,
    link: Option<Link>,
    /// When the last link ended: some relays ban whoever comes back at once.
    ended: Option<Instant>,
}

/// What is read, and when it is enough.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Each to be read to its proven end.
    pub filters: Vec<Filter>,
    pub method: Method,
    /// What is held elsewhere: not verified, not given back, not downloaded where NIP-77 works.
    pub held: Arc<Held>,
    /// Then what is not read yet stays unread.
    pub until: Option<Instant>,
    /// Bytes of events (as JSON) that may be lacking elsewhere: a stranger's relay is not to fill our memory.
    pub most_bytes: usize,
    pub tally: Arc<Tally>,
}

/// What the web server of a relay says.
#[derive(Debug)]
pub struct Web {
    /// Its `Date` header, as it came.
    pub date: Option<String>,
    /// The information document (NIP-11), or why there is none. Bounded, and a stranger's.
    pub document: Result<Vec<u8>, String>,
}

/// How far a reading is, for whoever looks on.
#[derive(Debug, Default)]
pub struct Tally {
    events: AtomicU64,
    filters_read: AtomicU64,
    filters: AtomicU64,
}

/// What a reading brought.
#[derive(Debug, Default)]
pub struct Surveyed {
    /// Sound events that are not held elsewhere, each once, without their content.
    pub lacking: Vec<Lacking>,
    /// Copies that are not what they say, of events of which no sound copy came.
    pub faulty: BTreeMap<EventId, (Kind, CopyFault)>,
    /// Ids that the relay named in an exchange and did not serve.
    pub not_served: BTreeSet<EventId>,
    /// How the reading of each filter ended, in their order.
    pub ends: Vec<End>,
    pub counts: BatchCounts,
    /// Why not everything was read: there was no link, or no more.
    pub broken: Option<Unreachable>,
}

/// An event that is not held elsewhere.
#[derive(Debug, Clone)]
pub struct Lacking {
    /// Verified; its content is empty.
    pub event: Event,
    /// Length of its JSON as it came.
    pub bytes: usize,
    /// Length of its content, in characters.
    pub content_chars: usize,
}

/// How the reading of a filter ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Read to its proven end.
    Complete(Method),
    Incomplete {
        why: Incomplete,
        detail: String,
    },
    /// The link ended before.
    Unread,
}

impl Tally {
    /// EVENT frames so far, filters that are read, and all of them.
    #[must_use]
    pub fn figures(&self) -> [u64; 3] {
        [&self.events, &self.filters_read, &self.filters].map(|figure| figure.load(Ordering::Relaxed))
    }
}

impl Surveyed {
    /// Whether every filter was read to its proven end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.broken.is_none() && self.ends.iter().all(|end| matches!(end, End::Complete(_)))
    }
}

impl Surveyor {
    #[must_use]
    pub fn new(terms: SurveyTerms) -> Self {
        crate::install_crypto();
        let SurveyTerms { allow_non_public, look_up_names, onion_proxy, contact } = terms;
        let names = if look_up_names { Names::System } else { Names::Nobody };
        let reach = Reach { allow_non_public, names, onion_proxy };
        let dialer = Arc::new(Dialer::new(reach, contact.as_deref()));
        let documents = Documents::new(Arc::clone(&dialer));
        Self { dialer, documents, hosts: Hosts::new(), verifier: Verifier::new() }
    }

    /// What the web server of a relay says: its clock, and the relay's information document as it stands there.
    ///
    /// # Errors
    /// It cannot be asked, and why.
    pub async fn web(&self, url: &RelayUrl, role: Role) -> Result<Web, String> {
        let answered = document::ask_once(&self.dialer, url, role).await.map_err(|why| why.to_string())?;
        let document = answered.body.map_err(|why| why.to_string());
        Ok(Web { date: answered.date, document: document.map(|bytes| bytes.to_vec()) })
    }

    /// What a relay says of itself (NIP-11), or why that is not known.
    pub async fn document(&self, url: &RelayUrl, role: Role) -> Learned {
        self.documents.look(url, role).await
    }

    /// Dials a relay. `role`: listed relays are dialed on the word of an announcement, others on the operator's. `learned`: what
    /// is known of it already.
    ///
    /// # Errors
    /// There is no link, and why.
    pub async fn open(&self, url: &RelayUrl, role: Role, learned: Learned) -> Result<Survey<'_>, Unreachable> {
        let mut survey = Survey { surveyor: self, url: url.clone(), role, learned, link: None, ended: None };
        let looked = timeout(DOCUMENT_LIMIT, self.document(url, role));
        let (dialed, looked) = tokio::join!(survey.dial(), looked);
        let link = dialed?;
        if let Ok(stated) = looked {
            survey.learned.absorb(stated);
        }
        survey.link = Some(link.knowing(&survey.learned));
        Ok(survey)
    }
}

impl Survey<'_> {
    /// What filters may hold here.
    #[must_use]
    pub fn room(&self) -> Room {
        Room::of(&self.learned)
    }

    /// What is known of the relay.
    #[must_use]
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Reads, over as many links as it needs and as are granted.
    pub async fn read(&mut self, reading: &Reading) -> Surveyed {
        let mut gathered = Gathered::new(reading);
        let mut broken = None;
        for _ in 0..MOST_LINKS {
            broken = self.read_on(reading, &mut gathered).await.err();
            let is_worth_another = broken.as_ref().is_some_and(|why| is_worth_another_link(why.class));
            if !is_worth_another || is_over(reading.until) {
                break;
            }
        }
        gathered.surveyed(broken)
    }

    async fn read_on(&mut self, reading: &Reading, gathered: &mut Gathered) -> Result<(), Unreachable> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                if let Some(ended) = self.ended {
                    sleep(Duration::from_secs(REDIAL_SECS).saturating_sub(ended.elapsed())).await;
                }
                self.dial().await?
            }
        };
        let means = (&self.surveyor.hosts, &self.surveyor.verifier);
        let ended = link.read(reading, gathered, means).await;
        self.learned.absorb(link.learned().clone());
        match ended {
            Ok(()) => self.link = Some(link),
            Err(_) => self.ended = Some(Instant::now()),
        }
        ended
    }

    async fn dial(&self) -> Result<Link, Unreachable> {
        let dialed = self.surveyor.dialer.dial(&self.url, self.role).await;
        let socket = dialed.map_err(|error| Unreachable { class: error.class(), detail: error.to_string() })?;
        let host = self.surveyor.hosts.share(&self.url, Role::Listed);
        Ok(Link::new(socket, host, &self.learned))
    }
}

/// The peer, or the way to it, ended the link; another may do better.
fn is_worth_another_link(class: DownClass) -> bool {
    match class {
        DownClass::Closed | DownClass::Protocol | DownClass::Silent => true,
        DownClass::NotDialable
        | DownClass::Dns
        | DownClass::Refused
        | DownClass::Tls
        | DownClass::HttpStatus
        | DownClass::Auth
        | DownClass::Payment
        | DownClass::Policy
        | DownClass::Timeout
        | DownClass::Empty
        | DownClass::Released
        | DownClass::Banned => false,
    }
}

fn is_over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

/// What a reading has brought so far, over all its links.
#[derive(Debug)]
struct Gathered {
    /// Sound events that came.
    seen: HashSet<EventId>,
    /// Ids that exchanges named.
    named: BTreeSet<EventId>,
    bytes: usize,
    /// None while it is being read.
    ends: Vec<Option<End>>,
    surveyed: Surveyed,
}

impl Gathered {
    fn new(reading: &Reading) -> Self {
        reading.tally.filters.fetch_add(reading.filters.len() as u64, Ordering::Relaxed);
        Self {
            seen: HashSet::new(),
            named: BTreeSet::new(),
            bytes: 0,
            ends: vec![None; reading.filters.len()],
            surveyed: Surveyed::default(),
        }
    }

    fn unread(&self) -> impl Iterator<Item = usize> {
        self.ends.iter().enumerate().filter(|(_, end)| end.is_none()).map(|(index, _)| index)
    }

    fn surveyed(self, broken: Option<Unreachable>) -> Surveyed {
        let Self { seen, named, bytes: _, ends, mut surveyed } = self;
        surveyed.faulty.retain(|id, _| !seen.contains(id));
        if broken.is_none() {
            let is_served = |id: &EventId| seen.contains(id) || surveyed.faulty.contains_key(id);
            surveyed.not_served = named.into_iter().filter(|id| !is_served(id)).collect();
        }
        surveyed.ends = ends.into_iter().map(|end| end.unwrap_or(End::Unread)).collect();
        surveyed.broken = broken;
        surveyed
    }
}
