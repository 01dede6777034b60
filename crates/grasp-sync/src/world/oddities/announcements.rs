//! Odd announcements and states (oddities 1 to 7).

use super::{Cabinet, OWNER, STRANGER};
use crate::world::draft::Draft;

pub(super) const BASE: &str = "cabinet";

pub(super) fn add(cabinet: &mut Cabinet<'_>) {
    let base = cabinet.announcement(BASE, 400).tag(["r", &"e".repeat(40), "euc"]);
    cabinet.show("base", OWNER, base, &[0]);
    add_relay_lists(cabinet);
    add_clones(cabinet);
    add_bodies(cabinet);
    add_identifiers(cabinet);
    add_maintainers(cabinet);
    add_states(cabinet);
}

fn add_relay_lists(cabinet: &mut Cabinet<'_>) {
    let at = cabinet.days_ago(300);
    let empty = Draft::new(30617, at).tag(["d", "relays-empty"]).tag(["relays"]);
    cabinet.show("relays tag without values", OWNER, empty, &[0]);
    let absent = Draft::new(30617, at).tag(["d", "relays-absent"]);
    cabinet.show("no relays tag", OWNER, absent, &[0]);
    let both = Draft::new(30617, at).tag(["d", "relays-empty-and-full"]).tag(["relays"]);
    let both = both.each("relays", &cabinet.urls());
    cabinet.show("an empty relays tag beside full ones", OWNER, both, &[0]);
    let garbage = cabinet.announcement("relays-garbage", 300).each("relays", &owned(&GARBAGE));
    cabinet.show("garbage among the relays", OWNER, garbage, &[0]);
    let private = cabinet.announcement("relays-private", 300).list("relays", &owned(&PRIVATE));
    cabinet.show("private ranges among the relays", OWNER, private, &[0]);
    let paths: Vec<String> = (0..4).map(|room| format!("wss://rooms.world.invalid/room/{room}")).collect();
    let paths = cabinet.announcement("relays-with-paths", 300).list("relays", &paths);
    cabinet.show("many relays of one host, told apart by path", OWNER, paths, &[0]);
}

/// No relay can be read out of these.
const GARBAGE: [&str; 14] = [
    "",
    "wss:",
    "wss://://x",
    "wss://https//x",
    "wss://user@relay.world.invalid",
    "wss://a.world.invalid wss://b.world.invalid",
    "wss://a,b/",
    "wss://relay.world.invalid:99999",
    "ftp://relay.world.invalid",
    "nostr:nrelay1qqqq",
    "git@relay.world.invalid:x",
    "https://site.world.invalid/users/a",
    "30617:abc:name",
    "wss://relay.world.invalid%0A/",
];

/// Nobody may dial these on a stranger's word.
const PRIVATE: [&str; 6] = [
    "wss://169.254.169.254/",
    "ws://10.255.255.1:7777",
    "wss://192.168.0.1",
    "ws://[::1]:1/",
    "ws://0x7f000001:1",
    "wss://printer.local",
];

fn add_clones(cabinet: &mut Cabinet<'_>) {
    let several = cabinet
        .announcement("clone-several", 290)
        .tag(["clone", "https://git.world.invalid/a.git"])
        .tag(["clone", "https://git.world.invalid/b.git"]);
    cabinet.show("several clone tags", OWNER, several, &[0]);
    let odd = cabinet.announcement("clone-odd", 290).tag([
        "clone",
        "git@git.world.invalid:a/b.git",
        "nostr://npub1qqqq/relay.world.invalid/b",
        "htree://qqqq/b",
        "git.world.invalid/b",
        "https://git.world.invalid/prs/npub1qqqq/b.git",
    ]);
    cabinet.show("clone URLs that are not to be dialled", OWNER, odd, &[0]);
}

fn add_bodies(cabinet: &mut Cabinet<'_>) {
    let content = cabinet.announcement("with-content", 280).content("An announcement should be empty here.");
    cabinet.show("announcement with content", OWNER, content, &[0]);
    let refs = cabinet.announcement("with-refs", 280).tag(["refs/heads/main", &"a".repeat(40)]);
    cabinet.show("announcement with refs", OWNER, refs, &[0]);
    let deleted = cabinet.announcement("home-made-deletion", 280).tag(["deleted", "true"]);
    cabinet.show("announcement with a home-made deletion", OWNER, deleted, &[0]);
    let stranger = cabinet.workshop.pubkey(STRANGER);
    let roles = cabinet.announcement("with-roles", 280).tag(["M", &stranger, "1", ""]).tag(["o", &stranger]);
    cabinet.show("announcement with roles", OWNER, roles, &[0]);
}

/// Each identifier has an issue of its own, so that only who keeps it whole finds that.
fn add_identifiers(cabinet: &mut Cabinet<'_>) {
    let long = "long-".repeat(40);
    let odd = [
        ("identifier is empty", ""),
        ("identifier with colons", "a:b::c"),
        ("identifier with blanks", " two  blanks "),
        ("identifier with emoji", "crab \u{1f980}\u{200d}\u{1f4bb}"),
        ("identifier with percent", "100%25"),
        ("identifier with slash", "group/name"),
        ("identifier in mixed case", "CamelCase"),
        ("identifier in lower case", "camelcase"),
        ("identifier of 200 bytes", &long),
    ];
    let last = cabinet.workshop.last_upstream();
    for (name, identifier) in odd {
        let announcement = cabinet.announcement(identifier, 270);
        cabinet.show(name, OWNER, announcement, &[0]);
        let issue = cabinet.issue(&cabinet.address(OWNER, identifier), 260);
        cabinet.workshop.publish(STRANGER, issue, &[last]);
    }
    let missing = Draft::new(30617, cabinet.days_ago(270)).list("relays", &cabinet.urls());
    cabinet.show("identifier is missing", STRANGER, missing, &[0]);
    let same = cabinet.announcement(BASE, 399).tag(["r", &"e".repeat(40), "euc"]);
    cabinet.show("the identifier of another's repository", STRANGER, same, &[0]);
}

fn add_maintainers(cabinet: &mut Cabinet<'_>) {
    let (owner, stranger) = (cabinet.workshop.pubkey(OWNER), cabinet.workshop.pubkey(STRANGER));
    let bad = owned(&["npub1qqqqqqqqqqqq", "not hex", &owner]);
    let odd = cabinet.announcement("maintained-oddly", 250).list("maintainers", &bad);
    cabinet.show("maintainers that are no keys, and the author", OWNER, odd, &[0]);
    let one = cabinet.announcement("maintained-in-turn", 250).list("maintainers", &[stranger]);
    cabinet.show("maintainers in a circle, one half", OWNER, one, &[0]);
    let other = cabinet.announcement("maintained-in-turn", 250).list("maintainers", &[owner]);
    cabinet.show("maintainers in a circle, other half", STRANGER, other, &[0]);
}

fn add_states(cabinet: &mut Cabinet<'_>) {
    let at = cabinet.days_ago(240);
    let last = cabinet.workshop.last_upstream();
    let bare = Draft::new(30618, at).tag(["d", "clone-several"]);
    cabinet.show("state without refs", OWNER, bare, &[last]);
    let mut wide = Draft::new(30618, at).tag(["d", "clone-odd"]);
    for branch in 0..120 {
        let commit = cabinet.workshop.dice.hex(40);
        wide = wide.tag([&format!("refs/heads/topic-{branch}"), &commit]);
    }
    cabinet.show("state with 120 refs and no HEAD", OWNER, wide, &[last]);
    let peeled = Draft::new(30618, at)
        .tag(["d", "with-content"])
        .tag(["HEAD", "ref: refs/heads/gone"])
        .tag(["refs/tags/v1", &"b".repeat(40)])
        .tag(["refs/tags/v1^{}", &"c".repeat(40)])
        .tag(["r", "refs/heads/main", &"d".repeat(40)]);
    cabinet.show("state with peeled tags and a HEAD to nowhere", OWNER, peeled, &[last]);
    let stranger = Draft::new(30618, at).tag(["d", BASE]).tag(["refs/heads/main", &"f".repeat(40)]);
    cabinet.show("state by a stranger", STRANGER + 1, stranger, &[last]);
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}
