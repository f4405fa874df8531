//! No file past what one reads in a sitting, no function past a screen.

use crate::exceptions::{self, judge};
use crate::source::{code, words};
use crate::{require_none, tree};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// Names and lengths of the functions of a source text, from `fn` to the closing brace.
fn functions(text: &str) -> Vec<(String, usize)> {
    let code = code(text);
    let mut found = Vec::new();
    let mut words = words(&code).peekable();
    while let Some((start, word)) = words.next() {
        let Some(&(at, name)) = words.peek().filter(|_| word == "fn") else {
            continue;
        };
        // `fn(u8)` is a type and has no name.
        if !code[start + word.len()..at].trim().is_empty() {
            continue;
        }
        if let Some(length) = body_end(&code[at..]) {
            let lines = code[start..at + length].lines().count();
            found.push((name.to_owned(), lines));
        }
    }
    found
}

/// The offset past the body of the function whose name starts here; none when it has no body, as
/// in a trait.
fn body_end(code: &str) -> Option<usize> {
    let mut inside = 0usize;
    let mut depth = 0usize;
    for (at, c) in code.char_indices() {
        match c {
            // The `;` in `[u8; 4]` ends nothing.
            '(' | '[' if depth == 0 => inside += 1,
            ')' | ']' if depth == 0 => inside = inside.checked_sub(1)?,
            ';' | '}' if depth == 0 && inside == 0 => return None,
            '{' if inside == 0 => depth += 1,
            '}' if depth == 1 => return Some(at + 1),
            '}' if depth > 0 => depth -= 1,
            _ => {}
        }
    }
    None
}

#[test]
fn functions_are_measured() {
    let text = "trait A { fn a(&self) -> [u8; 4]; }\n\
                struct B { f: fn(u8) -> u8, g: u8 }\n\
                impl B {\n  fn b<T>(t: [T; 2]) -> T\n  where T: Copy, {\n    \
                let s = \"}\";\n    if true { t[0] } else { t[1] }\n  }\n}\n";
    let found = functions(text);
    assert!(found.contains(&("b".to_owned(), 5)), "{found:?}");
    assert!(found.iter().all(|(name, _)| name != "a"), "{found:?}");
}

#[test]
fn the_repository_has_no_long_file() {
    let measured: Vec<_> = tree::rust()
        .into_iter()
        .map(|file| (file.path, file.text.lines().count()))
        .collect();
    let exceptions = exceptions::all();
    let files: Vec<_> = exceptions
        .iter()
        .filter(|exception| !exception.place.contains("::"))
        .collect();
    require_none(&judge(&measured, FILE_LINES, &files));
}

#[test]
fn the_repository_has_no_long_function() {
    let mut measured = Vec::new();
    for file in tree::rust() {
        for (name, lines) in functions(&file.text) {
            measured.push((format!("{}::{name}", file.path), lines));
        }
    }
    assert!(
        measured.len() > 100,
        "the measuring is broken: {} functions",
        measured.len()
    );
    let exceptions = exceptions::all();
    let functions: Vec<_> = exceptions
        .iter()
        .filter(|exception| exception.place.contains("::"))
        .collect();
    require_none(&judge(&measured, FUNCTION_LINES, &functions));
}
