//! Event kinds by their NIP-34 names. Older texts mislabel 30618, 1618, 1619 and 1621; this table does not.

use nostr::prelude::Kind;

/// Repository announcement (NIP-34, addressable).
pub const ANNOUNCEMENT: Kind = Kind::Custom(30617);
/// Repository state: refs and HEAD (NIP-34, addressable). Has no `a` tag.
pub const STATE: Kind = Kind::Custom(30618);
/// Patch (NIP-34).
pub const PATCH: Kind = Kind::Custom(1617);
/// Pull request (NIP-34).
pub const PULL_REQUEST: Kind = Kind::Custom(1618);
/// Pull request update (NIP-34).
pub const PULL_REQUEST_UPDATE: Kind = Kind::Custom(1619);
/// Issue (NIP-34).
pub const ISSUE: Kind = Kind::Custom(1621);
/// Deletion request (NIP-09).
pub const DELETION: Kind = Kind::Custom(5);
/// Request to vanish (NIP-62).
pub const VANISH: Kind = Kind::Custom(62);

/// The kinds that start a conversation on a repo: an event of one of these that tags a wanted repo is a *root*.
pub const ROOTS: [Kind; 4] = [PATCH, PULL_REQUEST, PULL_REQUEST_UPDATE, ISSUE];

/// Whether an event of `kind` is a root.
#[must_use]
pub fn is_root(kind: Kind) -> bool {
    ROOTS.contains(&kind)
}
