//! The live filters of an upstream in words: how many are allowed, who says so, and what that makes of them.

use model::{Arrangement, LimitFrom, LimitShown, LiveBudget};

/// How many live subscriptions the link may have, and by whose word.
pub(super) fn allowed(budget: &LiveBudget) -> String {
    let LiveBudget { live, reserve, from, largest: _, arranged: _ } = budget;
    let whose = match from {
        LimitFrom::Ours => return format!("{live}, by our own `live_limit`"),
        LimitFrom::Stated => "as its NIP-11 states",
        LimitFrom::Shown(Some(LimitShown::Closed)) => "as its CLOSED of one more has shown",
        LimitFrom::Shown(Some(LimitShown::Notice)) => "as its NOTICE about one more has shown",
        LimitFrom::Shown(Some(LimitShown::Silence)) => "as its silence about one more has shown",
        LimitFrom::Shown(None) => "as it has shown",
    };
    format!("{live}, and {reserve} in reserve for history, {whose}")
}

/// What became of the chunks, and why.
pub(super) fn arranged(arranged: Arrangement) -> String {
    match arranged {
        Arrangement::Tails => "each chunk of up to 100 items has filters of its own".to_owned(),
        Arrangement::Larger { refs, limit: _ } => format!("larger filters, of up to {refs} items: those of 100 have no room"),
        Arrangement::Broad { first, last, limit: _ } => {
            format!("one broad filter by kinds for chunks {first} to {last}: theirs have no room, and it is a GRASP peer")
        }
        Arrangement::Polled { first, last, limit: _ } => {
            format!("chunks {first} to {last} are polled in rotation: their filters have no room")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(from: LimitFrom, reserve: usize) -> String {
        allowed(&LiveBudget { live: 17, reserve, from, largest: 100, arranged: Arrangement::Tails })
    }

    #[test]
    fn a_limit_is_told_with_whose_word_it_is() {
        let shown = |by| told(LimitFrom::Shown(by), 3);
        let all = [
            (told(LimitFrom::Ours, 0), "17, by our own `live_limit`"),
            (told(LimitFrom::Stated, 3), "17, and 3 in reserve for history, as its NIP-11 states"),
            (shown(Some(LimitShown::Closed)), "17, and 3 in reserve for history, as its CLOSED of one more has shown"),
            (shown(Some(LimitShown::Notice)), "17, and 3 in reserve for history, as its NOTICE about one more has shown"),
            (shown(Some(LimitShown::Silence)), "17, and 3 in reserve for history, as its silence about one more has shown"),
            (shown(None), "17, and 3 in reserve for history, as it has shown"),
        ];
        for (told, words) in all {
            assert_eq!(told, words);
        }
    }

    #[test]
    fn an_arrangement_is_told_with_its_reason() {
        let limit = 17;
        let all = [
            (Arrangement::Tails, "each chunk of up to 100 items has filters of its own"),
            (Arrangement::Larger { refs: 270, limit }, "larger filters, of up to 270 items: those of 100 have no room"),
            (
                Arrangement::Broad { first: 5, last: 8, limit },
                "one broad filter by kinds for chunks 5 to 8: theirs have no room, and it is a GRASP peer",
            ),
            (
                Arrangement::Polled { first: 5, last: 8, limit },
                "chunks 5 to 8 are polled in rotation: their filters have no room",
            ),
        ];
        for (choice, words) in all {
            assert_eq!(arranged(choice), words);
        }
    }
}
