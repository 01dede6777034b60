//! Subjects: the names under which messages travel on the bus. Built and parsed here only.

use crate::link::{Epoch, UpstreamId};

/// Reports and discoveries, in the durable stream.
pub const DISCOVERY: &str = "discovery";

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
