//! The only way for words onto the page: markup is ours and known when the program is built, everything else is escaped.

use url::form_urlencoded::byte_serialize;

use crate::plain;

/// A piece of a page that grows.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Markup of ours.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// What was made here.
    pub(super) fn add(&mut self, piece: Self) -> &mut Self {
        self.0.push_str(&piece.0);
        self
    }

    /// Words on one line, of whoever: without what could turn or hide what stands around them, and not too many.
    pub(super) fn text(&mut self, words: &str) -> &mut Self {
        self.escaped(&plain::line(words, plain::SHOWN))
    }

    /// Words of a stranger, whose direction is their own.
    pub(super) fn strange(&mut self, words: &str) -> &mut Self {
        self.raw("<bdi>").text(words).raw("</bdi>")
    }

    /// Lines of text as they are.
    pub(super) fn lines(&mut self, text: &str) -> &mut Self {
        for line in text.lines() {
            self.escaped(&plain::line(line, 4 * plain::SHOWN)).raw("\n");
        }
        self
    }

    /// The path of the page of one subject, to stand in an attribute.
    pub(super) fn path_of(&mut self, subject: &str) -> &mut Self {
        let encoded: String = byte_serialize(subject.as_bytes()).collect();
        self.raw("/explain?what=").escaped(&encoded)
    }

    /// A link to the page of one subject.
    pub(super) fn link(&mut self, subject: &str) -> &mut Self {
        self.raw("<a href=\"").path_of(subject).raw("\">").strange(subject).raw("</a>")
    }

    /// Whole, for attributes that must not be cut.
    pub(super) fn escaped(&mut self, text: &str) -> &mut Self {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                letter => self.0.push(letter),
            }
        }
        self
    }

    pub(super) fn done(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_strangers_make_no_markup_whatever_they_hold() {
        let mut html = Html::new();
        html.strange("<script>alert('x')</script>&\" onload=\"\u{202e}");
        let expected = "<bdi>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot; onload=&quot;\u{fffd}</bdi>";
        assert_eq!(html.done(), expected);
    }

    #[test]
    fn a_link_to_any_subject_stays_inside_its_attribute() {
        let mut html = Html::new();
        html.link("30617:00:a\"><b & c");
        let expected =
            "<a href=\"/explain?what=30617%3A00%3Aa%22%3E%3Cb+%26+c\"><bdi>30617:00:a&quot;&gt;&lt;b &amp; c</bdi></a>";
        assert_eq!(html.done(), expected);
    }
}
