//! Compose files, as far as `handover doctor` looks at them.

mod yaml;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use handover::supervisor::doctor::{Composed, Mount};
use yaml::Node;
pub(crate) use yaml::YamlError;

/// Real ones have a few KiB.
const SIZE: u64 = 1 << 20;

/// Why a service of a compose file cannot be examined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComposeError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} has more than {SIZE} bytes: it is no compose file")]
    TooLong { path: PathBuf },
    #[error("{path} is not YAML: {reason}")]
    Yaml { path: PathBuf, reason: YamlError },
    #[error("{path} has no services: it is no compose file")]
    NoServices { path: PathBuf },
    #[error("{path} has no service {wanted}; it has {found}")]
    NoSuchService {
        path: PathBuf,
        wanted: String,
        found: String,
    },
    #[error("{path} has several services: name one with --service: {found}")]
    Ambiguous { path: PathBuf, found: String },
}

/// Reads one service of a file: the one that is named, else the only one there is, else the only
/// one that is handed over. `variable` answers for the shell that would deploy it.
///
/// Other files (`extends`, overrides, `.env`) are not looked at.
pub(crate) fn read(
    path: &Path,
    service: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Composed, ComposeError> {
    let failed = |source| ComposeError::Read {
        path: path.into(),
        source,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let length = file.take(SIZE + 1).read_to_string(&mut text);
    if length.map_err(failed)? as u64 > SIZE {
        return Err(ComposeError::TooLong { path: path.into() });
    }
    let root = yaml::read(&text).map_err(|reason| ComposeError::Yaml {
        path: path.into(),
        reason,
    })?;
    let (name, node) = choose(&root, path, service)?;
    let texts = Texts {
        variable: &variable,
    };
    Ok(texts.service(name, node))
}

fn choose<'a>(
    root: &'a Node,
    path: &Path,
    wanted: Option<&str>,
) -> Result<(&'a str, &'a Node), ComposeError> {
    let services = match root.get("services") {
        Some(Node::Map(services)) if !services.is_empty() => services,
        _ => return Err(ComposeError::NoServices { path: path.into() }),
    };
    let services: BTreeMap<&str, &Node> = services
        .iter()
        .map(|(name, node)| (name.as_str(), node))
        .collect();
    let found = || services.keys().copied().collect::<Vec<_>>().join(", ");
    if let Some(wanted) = wanted {
        let known = services.get_key_value(wanted);
        return known.map(|(name, node)| (*name, *node)).ok_or_else(|| {
            ComposeError::NoSuchService {
                path: path.into(),
                wanted: wanted.to_owned(),
                found: found(),
            }
        });
    }
    let mut all = services.iter().map(|(name, node)| (*name, *node));
    let mut ours = all.clone().filter(|(_, node)| is_handed_over(node));
    match (all.next(), all.next(), ours.next(), ours.next()) {
        (Some(only), None, ..) | (_, _, Some(only), None) => Ok(only),
        _ => Err(ComposeError::Ambiguous {
            path: path.into(),
            found: found(),
        }),
    }
}

/// It says so itself, by its label or by its command.
fn is_handed_over(node: &Node) -> bool {
    let as_they_are = Texts {
        variable: &|_| None,
    };
    let service = as_they_are.service("", node);
    let strategy = service.labels.get("io.balena.update.strategy");
    let program = service.command.first();
    strategy.is_some_and(|strategy| strategy == "hand-over")
        || program.is_some_and(|program| program.rsplit('/').next() == Some("handover"))
}

/// Reads what may be written in several ways.
struct Texts<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Texts<'_> {
    fn service(&self, name: &str, node: &Node) -> Composed {
        let text = |key: &str| Some(self.filled(node.get(key)?.text()?));
        let mut command = self.words(node.get("entrypoint"));
        // Alone it goes to the entry point of the image, which is not known.
        if !command.is_empty() {
            command.extend(self.words(node.get("command")));
        } else if let words @ [_, ..] = self.words(node.get("command")).as_slice()
            && words[0].rsplit('/').next() == Some("handover")
        {
            command = words.to_vec();
        }
        Composed {
            name: name.to_owned(),
            restart: text("restart"),
            network_mode: text("network_mode"),
            stop_grace_period: text("stop_grace_period"),
            labels: self.pairs(node.get("labels")),
            environment: self.pairs(node.get("environment")),
            command,
            mounts: self.mounts(node.get("volumes")),
            published: self.ports(node.get("ports")),
        }
    }

    /// With variables put in, as compose does: `$X`, `${X}`, `${X-default}`, `${X:-default}`,
    /// `$$`. One without a value stays as it is written.
    fn filled(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                filled.push('$');
                rest = after;
                continue;
            }
            let (whole, name, default) = reference(after);
            rest = &after[whole..];
            let value = (self.variable)(name);
            match value
                .as_deref()
                .filter(|value| !value.is_empty())
                .or(default)
            {
                Some(value) if !name.is_empty() => filled.push_str(value),
                _ => filled.push_str(&text[text.len() - after.len() - 1..text.len() - rest.len()]),
            }
        }
        filled + rest
    }

    fn list(&self, node: Option<&Node>) -> Vec<String> {
        let Some(Node::List(items)) = node else {
            return Vec::new();
        };
        let texts = items.iter().filter_map(Node::text);
        texts.map(|text| self.filled(text)).collect()
    }

    /// A list of words, or a line of them.
    fn words(&self, node: Option<&Node>) -> Vec<String> {
        match node.and_then(Node::text) {
            Some(line) => split(&self.filled(line)),
            None => self.list(node),
        }
    }

    /// A mapping, or a list of `key=value`.
    fn pairs(&self, node: Option<&Node>) -> BTreeMap<String, String> {
        let Some(Node::Map(pairs)) = node else {
            let items = self.list(node).into_iter();
            return items
                .map(|item| match item.split_once('=') {
                    Some((key, value)) => (key.to_owned(), value.to_owned()),
                    None => (item, String::new()),
                })
                .collect();
        };
        pairs
            .iter()
            .map(|(key, value)| (key.clone(), self.filled(value.text().unwrap_or_default())))
            .collect()
    }

    /// `source:target:options`, `target`, or the long form.
    fn mounts(&self, node: Option<&Node>) -> Vec<Mount> {
        let Some(Node::List(items)) = node else {
            return Vec::new();
        };
        let long = |item: &Node, key: &str| Some(self.filled(item.get(key)?.text()?));
        let mount = |item: &Node| match item.text() {
            Some(text) => {
                let text = self.filled(text);
                let mut parts = text.split(':').map(str::to_owned);
                let first = parts.next()?;
                Some(match parts.next() {
                    Some(target) => Mount {
                        source: Some(first),
                        target,
                    },
                    None => Mount {
                        source: None,
                        target: first,
                    },
                })
            }
            None => Some(Mount {
                source: long(item, "source")
                    .filter(|_| long(item, "type").as_deref() != Some("tmpfs")),
                target: long(item, "target")?,
            }),
        };
        items.iter().filter_map(mount).collect()
    }

    /// Those of the host: `8080:80`, `127.0.0.1:8080:80`; not `80`, which takes any that is free.
    fn ports(&self, node: Option<&Node>) -> Vec<String> {
        let Some(Node::List(items)) = node else {
            return Vec::new();
        };
        let port = |item: &Node| match item.text() {
            Some(text) => Some(self.filled(text)).filter(|text| text.contains(':')),
            None => Some(self.filled(item.get("published")?.text()?)),
        };
        items.iter().filter_map(port).collect()
    }
}

/// What stands behind a `$`: how long it is, the variable, the default.
fn reference(text: &str) -> (usize, &str, Option<&str>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let Some(braced) = text.strip_prefix('{') else {
        let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
        return (end, &text[..end], None);
    };
    let Some(end) = braced.find('}') else {
        return (0, "", None);
    };
    let inner = &braced[..end];
    let name = inner.find(|c| !is_name(c)).unwrap_or(inner.len());
    let (name, behind) = inner.split_at(name);
    let default = behind.strip_prefix(":-").or(behind.strip_prefix('-'));
    (end + 2, name, default)
}

/// Words of a line as a shell splits them: at spaces, but not inside of quotes.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (_, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => {
                let next = letters.next();
                word.get_or_insert_default().extend(next);
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests;
