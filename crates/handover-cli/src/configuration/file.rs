//! The layer from a file.

use super::keys;
use super::merge::{Effective, Origin};
use super::{ConfigError, suggest};
use std::borrow::Cow;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The largest file that is read: a configuration is pages, not a database.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads a file into the layer below what is there already.
pub(super) fn read(path: &Path, into: &mut Effective) -> Result<(), ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_FILE {
        let reason = format!("it has {size} bytes, at most {MAX_FILE} are read");
        return Err(ConfigError::NotToml {
            path: path.to_owned(),
            reason,
        });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(path, &text, into)
}

fn parse(path: &Path, text: &str, into: &mut Effective) -> Result<(), ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::NotToml {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    })?;
    let file = File { path, text };
    for (name, value) in table.get_ref() {
        file.entry(name, value.get_ref(), into)?;
    }
    Ok(())
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn origin(&self, at: usize) -> Origin {
        let before = self.text.get(..at).unwrap_or(self.text);
        Origin::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
        }
    }

    fn entry(
        &self,
        name: &Spanned<Cow<'_, str>>,
        value: &DeValue<'_>,
        into: &mut Effective,
    ) -> Result<(), ConfigError> {
        let origin = self.origin(name.span().start);
        match keys::find(name.get_ref()) {
            Some(key) => into.set(key, owned(value), origin),
            None => Err(ConfigError::UnknownKey {
                suggestion: suggest(name.get_ref()),
                key: name.get_ref().to_string(),
                origin,
            }),
        }
    }
}

/// The same value without its place.
fn owned(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => {
            match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => toml::Value::Integer(number),
                // Too long for any count: the check of kinds refuses it as text.
                Err(_) => toml::Value::String(number.as_str().to_owned()),
            }
        }
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => toml::Value::Float(number),
            Err(_) => toml::Value::String(number.as_str().to_owned()),
        },
        DeValue::Boolean(value) => toml::Value::Boolean(*value),
        DeValue::Datetime(when) => toml::Value::Datetime(*when),
        DeValue::Array(values) => {
            toml::Value::Array(values.iter().map(|value| owned(value.get_ref())).collect())
        }
        DeValue::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(name, value)| (name.get_ref().to_string(), owned(value.get_ref())))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Effective, ConfigError> {
        let mut effective = Effective::default();
        parse(Path::new("h.toml"), text, &mut effective)?;
        Ok(effective)
    }

    fn complaint(text: &str) -> String {
        parsed(text).unwrap_err().to_string()
    }

    #[test]
    fn values_know_their_line() {
        let text = "program = [\"./x\", \"-v\"]\n\n\nready-timeout = \"1m\"\n";
        let effective = parsed(text).unwrap();
        let setting = effective.get("ready-timeout").unwrap();
        assert_eq!(setting.value.as_str(), Some("1m"));
        assert_eq!(setting.origin.to_string(), "h.toml, line 4");
    }

    #[test]
    fn bad_files_are_told_what_is_wrong_and_where() {
        insta::assert_snapshot!(
            [
                complaint("lisenters = []\n"),
                complaint("\n\nredy-timeout = \"30s\"\n"),
                complaint("ready_timeout = \"30s\"\n"),
                complaint("[settings]\nready = \"30s\"\n"),
                complaint("colour = \"red\"\n"),
                complaint("program = \"./x\"\n"),
                complaint("program = []\n"),
                complaint("ready-timeout = 30\n"),
                complaint("ready-timeout = \"30\"\n"),
                complaint("mode = \"exclusiv\"\n"),
                complaint("listeners = [80]\n"),
                complaint("restart-limit = -1\n"),
                complaint("[env]\nA = 1\n"),
                complaint("program = [\n"),
            ]
            .join("\n---\n")
        );
    }
}
