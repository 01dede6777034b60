//! Words of strangers, fit to be shown to a person on one line: no control letters, no changes of direction, no flood.

/// Letters of a stranger's text that are shown in a table or on a page.
pub(crate) const SHOWN: usize = 300;

/// One line of at most `most` letters. What would move the cursor, hide or turn the text around it stands as `�`; what is cut
/// off stands as `…`.
pub(crate) fn line(text: &str, most: usize) -> String {
    let mut letters = text.chars().map(|letter| if is_tricky(letter) { '\u{fffd}' } else { letter });
    let mut shown: String = letters.by_ref().take(most).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Control letters, marks that turn or isolate direction, invisible joiners, tags and line separators.
fn is_tricky(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_hides_or_turns_text_is_taken_out_and_the_rest_stays() {
        assert_eq!(line("a\u{1b}[2Jb\r\nc", SHOWN), "a�[2Jb��c");
        assert_eq!(line("evil\u{202e}txt.exe\u{2066}x\u{200b}y", SHOWN), "evil�txt.exe�x�y");
        assert_eq!(line("Grüße, 世界 <b>", SHOWN), "Grüße, 世界 <b>");
    }

    #[test]
    fn a_flood_is_cut() {
        let shown = line(&"w".repeat(100_000), 10);
        assert_eq!(shown, format!("{}…", "w".repeat(10)));
        assert_eq!(line("1234567890", 10), "1234567890");
    }
}
