//! What `fuzz/` feeds with noise: messages of the bus. Never part of the program: built for tests and with the feature `fuzzing`.

pub use crate::nats::message;

#[cfg(test)]
mod tests {
    #[test]
    fn whatever_is_read_from_the_bus_is_written_as_it_was() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/message");
        let files: Vec<_> = std::fs::read_dir(corpus).expect("the corpus is committed").collect();
        assert!(!files.is_empty());
        files.into_iter().for_each(|file| super::message(&std::fs::read(file.expect("listed").path()).expect("a file")));
    }
}
