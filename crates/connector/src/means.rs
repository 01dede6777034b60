//! What every link of a process is made with: how it is dialed, who it says it is, what it asks beside.

use std::sync::Arc;

use model::{Assignment, Role};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, field, info_span};

use crate::dial::{DialError, Dialer, Socket};
use crate::document::{Documents, News, ask_for};
use crate::gates::Gates;
use crate::home_terms::HomeTerms;
use crate::identity::Identity;

#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) documents: Arc<Documents>,
    pub(crate) home_terms: HomeTerms,
    pub(crate) identity: Identity,
    /// New dials in a minute, at most.
    pub(crate) dials_per_minute: usize,
}

impl Means {
    pub(crate) fn new(dialer: Dialer, identity: Identity, dials_per_minute: usize) -> Self {
        let dialer = Arc::new(dialer);
        let documents = Arc::new(Documents::new(Arc::clone(&dialer)));
        Self { dialer, documents, home_terms: HomeTerms::new(), identity, dials_per_minute }
    }

    /// Opens a socket to an assigned upstream, in a span with the attributes of the semantic conventions for networks.
    pub(crate) async fn dial(&self, Assignment { url, role, .. }: &Assignment) -> Result<Socket, DialError> {
        let span = info_span!(
            "dial",
            otel.kind = "client",
            server.address = %url.host(),
            server.port = url.port(),
            network.protocol.name = url.scheme().as_str(),
            "error.type" = field::Empty,
        );
        let dialed = self.dialer.dial(url, *role).instrument(span.clone()).await;
        if let Err(error) = &dialed {
            span.record("error.type", error.class().as_str());
        }
        dialed
    }

    /// What will be known of the relay of a link that has just come up, and whoever asks for it, who ends with the link.
    pub(crate) fn news(&self, assignment: &Assignment, gates: &Gates) -> (News, Option<AbortOnDropHandle<()>>) {
        match assignment.role {
            Role::Home => {
                self.home_terms.remember(assignment.learned.stated.as_ref(), gates);
                self.home_terms.look_again();
                (self.home_terms.news(), None)
            }
            Role::Bootstrap | Role::Listed => ask_for(&self.documents, assignment),
        }
    }
}
