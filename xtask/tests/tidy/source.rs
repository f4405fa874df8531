//! Rust source with the text that is no code blanked out: enough of a lexer to find functions
//! and keywords, not a parser.

/// The code of a source text: comments, strings and characters become spaces, lines stay where
/// they are.
pub(crate) fn code(text: &str) -> String {
    let mut blank = Blank {
        rest: text.chars().collect(),
        at: 0,
        code: String::new(),
    };
    while let Some(next) = blank.peek(0) {
        match (next, blank.peek(1)) {
            ('/', Some('/')) => blank.line_comment(),
            ('/', Some('*')) => blank.block_comment(),
            ('"', _) => blank.string(),
            ('r', Some('"' | '#')) if blank.raw_string_starts() => blank.raw_string(),
            ('\'', _) if blank.character_starts() => blank.character(),
            _ => blank.keep(),
        }
    }
    blank.code
}

struct Blank {
    rest: Vec<char>,
    at: usize,
    code: String,
}

impl Blank {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn keep(&mut self) {
        self.code.extend(self.peek(0));
        self.at += 1;
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(skipped) = self.peek(0) {
                self.code.push(if skipped == '\n' { '\n' } else { ' ' });
                self.at += 1;
            }
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|next| next != '\n') {
            self.skip(1);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    self.skip(1);
                    continue;
                }
            }
            self.skip(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.skip(1);
        while let Some(next) = self.peek(0) {
            self.skip(if next == '\\' { 2 } else { 1 });
            if next == '"' {
                return;
            }
        }
    }

    /// `r"`, `r#"`; but not the raw identifier `r#type`, nor a word that ends in `r`.
    fn raw_string_starts(&self) -> bool {
        let before = self
            .at
            .checked_sub(1)
            .and_then(|before| self.rest.get(before));
        let in_word = before.is_some_and(|c| (c.is_alphanumeric() || *c == '_') && *c != 'b');
        !in_word && self.peek(1 + self.hashes(1)) == Some('"')
    }

    fn hashes(&self, ahead: usize) -> usize {
        self.rest
            .iter()
            .skip(self.at + ahead)
            .take_while(|next| **next == '#')
            .count()
    }

    fn raw_string(&mut self) {
        let hashes = self.hashes(1);
        self.skip(2 + hashes);
        while let Some(next) = self.peek(0) {
            let closes = next == '"' && self.hashes(1) >= hashes;
            self.skip(if closes { 1 + hashes } else { 1 });
            if closes {
                return;
            }
        }
    }

    /// A character, not a lifetime.
    fn character_starts(&self) -> bool {
        self.peek(1) == Some('\\') || self.peek(2) == Some('\'')
    }

    fn character(&mut self) {
        self.skip(if self.peek(1) == Some('\\') { 3 } else { 2 });
        while self.peek(0).is_some_and(|next| next != '\'') {
            self.skip(1);
        }
        self.skip(1);
    }
}

/// The words of a code: identifiers, keywords and numbers, each with its offset.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let within = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(within)?;
        let length = code[start..]
            .find(|c| !within(c))
            .unwrap_or(code.len() - start);
        rest = start + length;
        Some((start, &code[start..rest]))
    })
}

#[test]
fn code_is_told_from_text() {
    let text =
        "a\"fn \\\" x\"b /* fn /* y */ z */ c // fn\nd r#\"fn \" \"# e '\\'' '{' &'a f br\"g\"";
    let kept = |text| code(text).split_whitespace().collect::<String>();
    assert_eq!(kept(text), "abcde&'afb");
    assert_eq!(code(text).lines().count(), text.lines().count());
    assert_eq!(kept("r#type \"x\" var \"y\""), "r#typevar");
}

#[test]
fn words_have_their_place() {
    let found: Vec<_> = words("fn a_1(b)").collect();
    assert_eq!(found, [(0, "fn"), (3, "a_1"), (7, "b")]);
}
