//! What an event may wait for at home, when home refuses it for the lack of something (A3): the keys by which it is held, and
//! by which it is found again when one of them lands.

use model::{Event, MAX_IDENTIFIER_BYTES, RefTag, first_values, kinds, refs_of};

/// Keys of what `event` depends on, without repeats: ids in hex, addresses, and for announcements and states the identifier
/// under which somebody may name their author.
#[must_use]
pub fn parents_of(event: &Event) -> Vec<String> {
    let named = refs_of(event).into_iter().filter(|one| one.tag != RefTag::Quote).map(|one| one.value);
    let is_of_repo = event.kind == kinds::ANNOUNCEMENT || event.kind == kinds::STATE;
    let identifier = first_values(event, "d").next().unwrap_or_default();
    let announced = (is_of_repo && identifier.len() <= MAX_IDENTIFIER_BYTES).then(|| any_announcement_of(identifier));
    let mut parents: Vec<String> = Vec::new();
    for parent in named.chain(announced) {
        if !parents.contains(&parent) {
            parents.push(parent);
        }
    }
    parents
}

/// The key of "an announcement with this identifier, whoever made it". No address reads so: it has an author.
#[must_use]
pub fn any_announcement_of(identifier: &str) -> String {
    format!("30617::{identifier}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{addr, event};

    #[test]
    fn an_event_waits_for_what_it_names_and_a_state_for_any_announcement_of_its_name() {
        let (repo, root) = (addr("x:y").to_string(), "7".repeat(64));
        let comment: &[&[&str]] = &[&["A", &repo], &["a", &repo], &["E", &root], &["q", "other"], &["p", "somebody"]];
        assert_eq!(parents_of(&event(1111, 1, comment)), [repo, root]);
        for kind in [30617, 30618] {
            assert_eq!(parents_of(&event(kind, 1, &[&["d", "x:y"]])), ["30617::x:y"]);
        }
        assert_eq!(parents_of(&event(1621, 1, &[])), [] as [&str; 0]);
    }
}
