//! Subjects: the names under which messages travel on the bus. Built and parsed here only.
//!
//! | subject | kind | from → to | carries |
//! |---|---|---|---|
//! | `notice.<upstream>` | core, one planner gets it | state → planner | nothing: look at this upstream |
//! | `order.<upstream>.<epoch>` | core | planner → session | an `Order` |
//! | `report.<upstream>` | stream `REPORTS`, one state replica gets it | session → state | a `Report` |
//! | `owners` | core, everybody gets it | state → connectors | nothing: workers came or went |
//! | `stored.<kind>` | core, everybody gets it | sink → third parties | a `Stored` |
//! | `git.<kind>` | core, everybody gets it | sink → third parties | a `GitWanted` |
//! | `query.<name>` | request, one state replica answers | any → state | a `Query`; the reply is an `Answer` |
//! | `door.<replica>` | core | any → one state replica | the parts of a question that is too large for one message |

use nostr::prelude::Kind;

use crate::link::{Epoch, UpstreamId};

/// All notices.
pub const NOTICES: &str = "notice.*";
/// All reports.
pub const REPORTS: &str = "report.*";
/// All questions.
pub const QUESTIONS: &str = "query.*";
/// Workers came or went.
pub const OWNERS: &str = "owners";

/// "Look at this upstream", for any planner.
#[must_use]
pub fn notice(upstream: UpstreamId) -> String {
    format!("notice.{upstream}")
}

/// Orders for one session: an older epoch's subject has no listener.
#[must_use]
pub fn order(upstream: UpstreamId, epoch: Epoch) -> String {
    format!("order.{upstream}.{epoch}")
}

/// Reports of one upstream's session.
#[must_use]
pub fn report(upstream: UpstreamId) -> String {
    format!("report.{upstream}")
}

/// Word of stored events of one kind.
#[must_use]
pub fn stored(kind: Kind) -> String {
    format!("stored.{kind}")
}

/// Word of git data that is wanted for events of one kind.
#[must_use]
pub fn git_wanted(kind: Kind) -> String {
    format!("git.{kind}")
}

/// A question by its [`Query::name`](crate::Query::name).
#[must_use]
pub fn question(name: &str) -> String {
    format!("query.{name}")
}

/// Where one state replica takes the parts of large questions.
#[must_use]
pub fn door(replica: &str) -> String {
    format!("door.{replica}")
}

/// The upstream that a `notice.<upstream>` names.
#[must_use]
pub fn upstream_of_notice(subject: &str) -> Option<UpstreamId> {
    subject.strip_prefix("notice.")?.parse().ok().map(UpstreamId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_subject_names_its_upstream_and_nothing_else_does() {
        assert_eq!(upstream_of_notice(&notice(UpstreamId(7))), Some(UpstreamId(7)));
        assert_eq!(upstream_of_notice("report.7"), None);
        assert_eq!(upstream_of_notice("notice.x"), None);
    }
}
