//! Feeds a body with everything of its corpus, in plain tests. The crates whose bodies these are take this file in.

use std::path::Path;

/// # Panics
/// Where the body does, and where there is no corpus.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test may read files")]
pub(super) fn replay(target: &str, body: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(corpus).expect("the corpus is committed").collect();
    assert!(!files.is_empty());
    files.into_iter().for_each(|file| body(&std::fs::read(file.expect("listed").path()).expect("a file")));
}
