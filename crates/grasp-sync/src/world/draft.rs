//! An event before it is signed, built so that it reads like the NIP that describes it.

/// Kind, time, tags and content of an event to be.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) kind: u16,
    /// Unix seconds.
    pub(super) at: u64,
    pub(super) tags: Vec<Vec<String>>,
    pub(super) content: String,
}

impl Draft {
    pub(super) fn new(kind: u16, at: u64) -> Self {
        Self { kind, at, tags: Vec::new(), content: String::new() }
    }

    pub(super) fn tag<const N: usize>(mut self, parts: [&str; N]) -> Self {
        self.tags.push(parts.iter().map(|part| (*part).to_owned()).collect());
        self
    }

    /// One tag with many values.
    pub(super) fn list(mut self, name: &str, values: &[String]) -> Self {
        self.tags.push(std::iter::once(name.to_owned()).chain(values.iter().cloned()).collect());
        self
    }

    /// Many tags with one value each.
    pub(super) fn each(mut self, name: &str, values: &[String]) -> Self {
        self.tags.extend(values.iter().map(|value| vec![name.to_owned(), value.clone()]));
        self
    }

    pub(super) fn content(mut self, content: impl Into<String>) -> Self {
        self.content = content.into();
        self
    }

    /// Applies a step only when it is wanted.
    pub(super) fn when(self, wanted: bool, step: impl FnOnce(Self) -> Self) -> Self {
        if wanted { step(self) } else { self }
    }
}
