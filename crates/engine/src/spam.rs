//! How much one author can make us ask for on somebody else's repository.
//!
//! Each root (an issue, say) is an item on every upstream of its repo, and part of six filters. Fifty thousand issues by one key
//! would be five hundred chunks everywhere. What is over the budget comes home all the same, by what it tags of the repo (layer
//! 2); what others say about it comes as far as it tags the repo too. Only layer 3, filters that name the root, is left out.
//!
//! First come, first served, as with relays: a root that was found earlier is never pushed out by a later one, for each change of
//! what is asked for rebuilds live filters at every upstream, and the author of a flood would order them at will.

use std::collections::BTreeMap;

/// A root under one repo that it tags, in the order in which they came. The numbers mean nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRoot {
    pub repo: i64,
    /// None: the repo's own author or a maintainer, or nobody knows; there is no budget for these.
    pub author: Option<i64>,
}

/// Which of these are over the budget of `most` roots for each author on each repo. `before`: how many of each author on each
/// repo are within it.
#[must_use]
pub fn over(new: &[NewRoot], before: &BTreeMap<(i64, i64), usize>, most: usize) -> Vec<bool> {
    let mut counts: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    new.iter()
        .map(|root| {
            let Some(author) = root.author else { return false };
            let place = (root.repo, author);
            let count = counts.entry(place).or_insert_with(|| before.get(&place).copied().unwrap_or(0));
            let is_over = *count >= most;
            *count += usize::from(!is_over);
            is_over
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn roots() -> impl Strategy<Value = Vec<NewRoot>> {
        let root = (0..3_i64, proptest::option::of(0..4_i64)).prop_map(|(repo, author)| NewRoot { repo, author });
        proptest::collection::vec(root, 0..200)
    }

    /// The verdicts of these roots when they come in windows of `size`.
    fn in_windows(roots: &[NewRoot], size: usize, most: usize) -> Vec<bool> {
        let (mut before, mut verdicts) = (BTreeMap::new(), Vec::new());
        for window in roots.chunks(size) {
            let judged = over(window, &before, most);
            for (root, _) in window.iter().zip(&judged).filter(|(_, is_over)| !**is_over) {
                if let Some(author) = root.author {
                    *before.entry((root.repo, author)).or_default() += 1;
                }
            }
            verdicts.extend(judged);
        }
        verdicts
    }

    proptest! {
        #[test]
        fn x6_no_author_is_over_the_budget_nobody_else_pays_for_it_and_the_first_ones_stay(
            roots in roots(),
            size in 1..50_usize,
            most in 0..20_usize,
        ) {
            let verdicts = in_windows(&roots, size, most);
            prop_assert_eq!(&verdicts, &in_windows(&roots, 1, most), "whatever comes together");
            for repo in 0..3 {
                for author in 0..4 {
                    let of_this = |root: &NewRoot| root.repo == repo && root.author == Some(author);
                    let theirs: Vec<bool> =
                        roots.iter().zip(&verdicts).filter(|(root, _)| of_this(root)).map(|(_, over)| *over).collect();
                    let expected: Vec<bool> = (0..theirs.len()).map(|n| n >= most).collect();
                    prop_assert_eq!(theirs, expected);
                }
            }
            prop_assert!(roots.iter().zip(&verdicts).all(|(root, over)| root.author.is_some() || !over));
        }
    }
}
