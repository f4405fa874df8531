//! YAML as a tree, with anchors, aliases and merge keys resolved. Nothing in a file can make it grow
//! or nest without limit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// A compose file of a hundred services has a few thousand; aliases of aliases would make billions.
const NODES: usize = 100_000;
/// A compose file nests about six deep.
const DEPTH: usize = 64;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// `null`, `~`, or nothing at all.
    Nothing,
    /// Any other scalar, as it is written.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file; of a key that is given twice, the last one counts.
    Map(Vec<(String, Node)>),
}

/// Why a text is not such a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum YamlError {
    #[error("line {line}: {found}")]
    Syntax { line: usize, found: String },
    #[error("line {line}: nested deeper than {DEPTH}")]
    TooDeep { line: usize },
    #[error("line {line}: more than {NODES} values, counting those that aliases repeat")]
    TooMany { line: usize },
    #[error("line {line}: an alias inside of what it stands for")]
    Circle { line: usize },
    #[error("line {line}: a key that is not a word")]
    BadKey { line: usize },
}

impl Node {
    /// The value of a key; none of what is not a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        let mut same = pairs.iter().rev().filter(|(name, _)| name == key);
        same.next().map(|(_, value)| value)
    }

    /// The scalar's text; none of anything else.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Nothing | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// With everything below it.
    fn count(&self) -> usize {
        1 + match self {
            Self::Nothing | Self::Text(_) => 0,
            Self::List(items) => items.iter().map(Self::count).sum(),
            Self::Map(pairs) => pairs.iter().map(|(_, value)| value.count()).sum(),
        }
    }

    /// How deep it nests: 1 for a scalar.
    fn depth(&self) -> usize {
        1 + match self {
            Self::Nothing | Self::Text(_) => 0,
            Self::List(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Map(pairs) => {
                let depths = pairs.iter().map(|(_, value)| value.depth());
                depths.max().unwrap_or(0)
            }
        }
    }
}

/// The first document of a text; [`Node::Nothing`] of an empty one.
pub(super) fn read(text: &str) -> Result<Node, YamlError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError::Syntax {
            line: error.marker().line(),
            found: error.info().to_owned(),
        })?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.take(event, span.start.line())?;
    }
    Ok(builder.root.unwrap_or(Node::Nothing))
}

/// A collection that is not closed yet.
struct Open {
    anchor: usize,
    items: Vec<Node>,
    /// Of a mapping, keys and values take turns in `items`.
    is_map: bool,
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                self.grow(1, line)?;
                self.place(scalar(text, style), anchor, line)
            }
            Event::SequenceStart(anchor, _) => self.begin(anchor, false, line),
            Event::MappingStart(anchor, _) => self.begin(anchor, true, line),
            Event::SequenceEnd | Event::MappingEnd => self.end(line),
            Event::Alias(anchor) => {
                let found = self.anchors.get(&anchor);
                let found = found.ok_or(YamlError::Circle { line })?;
                if self.open.len() + found.depth() > DEPTH {
                    return Err(YamlError::TooDeep { line });
                }
                let (size, node) = (found.count(), found.clone());
                self.grow(size, line)?;
                self.place(node, 0, line)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, anchor: usize, is_map: bool, line: usize) -> Result<(), YamlError> {
        if self.open.len() == DEPTH {
            return Err(YamlError::TooDeep { line });
        }
        self.grow(1, line)?;
        self.open.push(Open {
            anchor,
            items: Vec::new(),
            is_map,
        });
        Ok(())
    }

    fn end(&mut self, line: usize) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else {
            return Ok(()); // the parser opens what it closes
        };
        let node = match open.is_map {
            true => mapping(open.items, line)?,
            false => Node::List(open.items),
        };
        self.place(node, open.anchor, line)
    }

    fn grow(&mut self, by: usize, line: usize) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(by);
        match self.nodes > NODES {
            true => Err(YamlError::TooMany { line }),
            false => Ok(()),
        }
    }

    fn place(&mut self, node: Node, anchor: usize, line: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            // Kept once more, for the aliases.
            self.grow(node.count(), line)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Node {
    let plain = style == ScalarStyle::Plain;
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" if plain => Node::Nothing,
        _ => Node::Text(text.into_owned()),
    }
}

/// Keys and values, with `<<` put in front, so that what is given beside it wins.
fn mapping(items: Vec<Node>, line: usize) -> Result<Node, YamlError> {
    let mut merged = Vec::new();
    let mut pairs = Vec::new();
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        let Node::Text(key) = key else {
            return Err(YamlError::BadKey { line });
        };
        match (&*key, value) {
            ("<<", Node::Map(from)) => merged.splice(0..0, from).for_each(drop),
            // Of several, the first one wins.
            ("<<", Node::List(list)) => {
                for from in list.into_iter().rev() {
                    if let Node::Map(from) = from {
                        merged.extend(from);
                    }
                }
            }
            (_, value) => pairs.push((key, value)),
        }
    }
    merged.extend(pairs);
    Ok(Node::Map(merged))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(node: &'a Node, path: &[&str]) -> Option<&'a str> {
        let mut at = node;
        for key in path {
            at = at.get(key)?;
        }
        at.text()
    }

    #[test]
    fn what_an_alias_brings_is_there_and_what_stands_beside_it_wins() {
        let text = "x: &base {restart: always, init: true}\n\
                    y: &other {restart: 'no', user: root}\n\
                    web: {<<: *base, init: false}\n\
                    api: {<<: [*other, *base]}\n";
        let node = read(text).unwrap();
        assert_eq!(at(&node, &["web", "restart"]), Some("always"));
        assert_eq!(at(&node, &["web", "init"]), Some("false"));
        assert_eq!(at(&node, &["api", "restart"]), Some("no"));
        assert_eq!(at(&node, &["api", "init"]), Some("true"));
        assert_eq!(at(&node, &["api", "user"]), Some("root"));
    }

    #[test]
    fn nothing_is_told_from_an_empty_text() {
        let node = read("a:\nb: ''\nc: ~\nd: 'null'\n").unwrap();
        assert_eq!(node.get("a"), Some(&Node::Nothing));
        assert_eq!(at(&node, &["b"]), Some(""));
        assert_eq!(node.get("c"), Some(&Node::Nothing));
        assert_eq!(at(&node, &["d"]), Some("null"));
        assert_eq!(read(""), Ok(Node::Nothing));
    }

    #[test]
    fn what_would_grow_without_end_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = level - 1;
            let ten = vec![format!("*a{before}"); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{ten}]\n"));
        }
        assert!(matches!(read(&text), Err(YamlError::TooMany { .. })));
        let deep = "[".repeat(DEPTH + 1) + &"]".repeat(DEPTH + 1);
        assert!(matches!(read(&deep), Err(YamlError::TooDeep { .. })));
        let fits = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
        assert!(read(&fits).is_ok());
        let mut text = String::from("a0: &a0 [x]\n");
        for level in 1..=DEPTH {
            text.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(matches!(read(&text), Err(YamlError::TooDeep { .. })));
        assert!(matches!(read("a: &a [*a]"), Err(YamlError::Circle { .. })));
    }

    #[test]
    fn an_error_names_its_line() {
        let error = read("a: 1\nb: [1\n").unwrap_err();
        assert!(matches!(error, YamlError::Syntax { line, .. } if line >= 2));
        assert!(matches!(read("[a]: 1"), Err(YamlError::BadKey { .. })));
    }
}
