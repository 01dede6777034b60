//! Odd times and odd lives (oddity 11): what a relay refuses, replaces or deletes.

use super::{Cabinet, DAY, OWNER, STRANGER};
use crate::world::draft::Draft;

pub(super) fn add(cabinet: &mut Cabinet<'_>) {
    add_moments(cabinet);
    add_refused(cabinet);
    add_versions(cabinet);
    add_deleted(cabinet);
}

fn add_moments(cabinet: &mut Cabinet<'_>) {
    let base = cabinet.home_base();
    let now = cabinet.workshop.now;
    let mut moment = |name, at| {
        let issue = Draft::new(1621, at).tag(["a", &base]).content("odd");
        cabinet.show(name, STRANGER, issue, &[0]);
    };
    moment("made in second 0", 0);
    moment("made four years ago", now.saturating_sub(4 * 365 * DAY));
    moment("made in the far future", now + 365 * DAY);
}

fn add_refused(cabinet: &mut Cabinet<'_>) {
    let base = cabinet.home_base();
    let all = cabinet.everywhere();
    let (past, future) = (cabinet.days_ago(1).to_string(), (cabinet.workshop.now + 365 * DAY).to_string());
    let expired = cabinet.issue(&base, 200).tag(["expiration", &past]);
    cabinet.show("expired", STRANGER, expired, &all);
    let expiring = cabinet.issue(&base, 200).tag(["expiration", &future]);
    cabinet.show("expires in a year", STRANGER, expiring, &all);
    let protected = cabinet.issue(&base, 200).tag(["-"]);
    cabinet.show("protected", STRANGER, protected, &all);
    let ephemeral = Draft::new(29_846, cabinet.days_ago(200)).tag(["a", &base]);
    cabinet.show("ephemeral", STRANGER, ephemeral, &all);
}

/// Versions lie on different upstreams where there are several; both list the same relays.
fn add_versions(cabinet: &mut Cabinet<'_>) {
    let last = cabinet.workshop.last_upstream();
    let old = cabinet.announcement("versioned", 190).tag(["description", "old"]);
    cabinet.show("superseded version", OWNER, old, &[last]);
    let new = cabinet.announcement("versioned", 180).tag(["description", "new"]);
    cabinet.show("newest version", OWNER, new, &[0]);
    let one = cabinet.announcement("twin", 170).tag(["description", "one"]);
    cabinet.show("one of two versions of one second", OWNER, one, &[0]);
    let other = cabinet.announcement("twin", 170).tag(["description", "other"]);
    cabinet.show("other of two versions of one second", OWNER, other, &[last]);
    let head = |commit: &str, at| Draft::new(30618, at).tag(["d", "versioned"]).tag(["refs/heads/main", commit]);
    let (old, new) = (head(&"1".repeat(40), cabinet.days_ago(189)), head(&"2".repeat(40), cabinet.days_ago(179)));
    cabinet.show("superseded state", OWNER, old, &[last]);
    cabinet.show("newest state", OWNER, new, &[0]);
}

/// Nothing hangs on the deleted ones, so that no order of arrival can change what is left.
fn add_deleted(cabinet: &mut Cabinet<'_>) {
    let base = cabinet.home_base();
    let all = cabinet.everywhere();
    let last = cabinet.workshop.last_upstream();
    let issue = cabinet.issue(&base, 160);
    let issue = cabinet.show("deleted issue", STRANGER, issue, &all);
    let deletion = Draft::new(5, cabinet.days_ago(159)).tag(["e", &issue.id.to_hex()]).tag(["k", "1621"]);
    cabinet.show("deletion of the issue, on one upstream", STRANGER, deletion, &[0]);
    let kept = cabinet.issue(&base, 158);
    let kept = cabinet.show("issue that a stranger would delete", STRANGER, kept, &[last]);
    let vain = Draft::new(5, cabinet.days_ago(157)).tag(["e", &kept.id.to_hex()]).tag(["k", "1621"]);
    cabinet.show("deletion by a stranger", OWNER, vain, &[last]);
    let withdrawn = cabinet.announcement("withdrawn", 156);
    cabinet.show("deleted announcement", OWNER, withdrawn, &all);
    let address = cabinet.address(OWNER, "withdrawn");
    let deletion = Draft::new(5, cabinet.days_ago(155)).tag(["a", &address]).tag(["k", "30617"]);
    cabinet.show("deletion of the announcement, on one upstream", OWNER, deletion, &[last]);
    let comment = Draft::new(1111, cabinet.days_ago(154)).tag(["A", &base]).tag(["K", "30617"]).content("odd");
    let comment = cabinet.show("deleted comment", STRANGER, comment, &all);
    let deletion = Draft::new(5, cabinet.days_ago(153)).tag(["e", &comment.id.to_hex()]).tag(["k", "1111"]);
    cabinet.show("deletion of the comment, everywhere", STRANGER, deletion, &all);
}
