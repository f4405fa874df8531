//! A file made from what is known, by a template.

use super::route::{Member, Route};
use handover_proto::container::roster::Roster;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A template, read once.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
}

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// The template cannot be read.
    #[error("cannot read the template {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// It is not in the language of templates.
    #[error("the template {} is wrong: {source:#}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The reason, with the line.
        source: minijinja::Error,
    },
}

/// A service, as templates see it.
#[derive(Debug, Serialize)]
struct Known {
    #[serde(flatten)]
    route: Route,
    instances: Vec<Member>,
}

/// All names of a template.
#[derive(Debug, Serialize)]
struct Names<'a> {
    services: &'a [Known],
    service: BTreeMap<&'a str, &'a Known>,
}

/// What the only template is called.
const NAME: &str = "template";

impl Template {
    /// Reads it.
    pub(super) fn read(path: &Path) -> Result<Self, TemplateError> {
        let failed = |source| TemplateError::Read {
            path: path.to_owned(),
            source,
        };
        let text = fs::read_to_string(path).map_err(failed)?;
        Self::new(text).map_err(|source| TemplateError::Syntax {
            path: path.to_owned(),
            source,
        })
    }

    fn new(text: String) -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(
            SyntaxConfig::builder()
                .keep_trailing_newline(true)
                .build()?,
        );
        // No escapes of HTML: what is made is a configuration.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_template_owned(NAME, text)?;
        Ok(Self { environment })
    }

    /// The text for what is known now.
    pub(super) fn render(&self, roster: &Roster) -> Result<String, minijinja::Error> {
        let known = roster.services().filter_map(|(name, service)| {
            Some(Known {
                route: Route::of(name, service)?,
                instances: service.instances().iter().map(Member::from).collect(),
            })
        });
        let services: Vec<Known> = known.collect();
        let by_name = services
            .iter()
            .map(|known| (known.route.name.as_str(), known));
        let names = Names {
            services: &services,
            service: by_name.collect(),
        };
        let template = self.environment.get_template(NAME)?;
        template.render(Serde(&names))
    }
}

/// Replaces a file at once, with the access rights that it has: whoever reads it reads the old text
/// or the new one. On failure the old one is there.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut beside = tempfile::NamedTempFile::new_in(directory)?;
    beside.write_all(text.as_bytes())?;
    let permissions = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions(),
        // As any file is made; a temporary one is for its owner only.
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    beside.as_file().set_permissions(permissions)?;
    beside.as_file().sync_all()?;
    beside.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::container::status::{State, StatusDatagram};
    use handover_proto::moment::Moment;
    use std::net::Ipv4Addr;

    fn roster() -> Roster {
        let mut roster = Roster::default();
        for (service, last, status) in [
            ("api", 2, State::Down),
            ("api", 3, State::Up),
            ("web", 4, State::Down),
        ] {
            let address = Ipv4Addr::new(10, 0, 0, last);
            let heard = StatusDatagram {
                started_ms: i64::from(last),
                service: service.to_owned(),
                addresses: vec![address],
                status,
            };
            roster.hear(Moment::ZERO, address, &heard).unwrap();
        }
        roster
    }

    fn rendered(text: &str) -> Result<String, minijinja::Error> {
        Template::new(text.to_owned())?.render(&roster())
    }

    #[test]
    fn a_template_sees_every_service_and_its_instances() {
        let text = "{% for s in services %}{{ s.name }} {{ s.status }} {{ s.address }} \
                    {{ s.up | join(',') }}{% for i in s.instances %} {{ i.address }}={{ i.status }}\
                    {% endfor %}\n{% endfor %}api at {{ service.api.address }}\n";
        assert_eq!(
            rendered(text).unwrap(),
            "api UP 10.0.0.3 10.0.0.3 10.0.0.3=UP 10.0.0.2=DOWN\n\
             web DOWN 10.0.0.4  10.0.0.4=DOWN\napi at 10.0.0.3\n"
        );
        let optional = "{% if service.db is defined %}db{% else %}no db{% endif %}";
        assert_eq!(rendered(optional).unwrap(), "no db");
    }

    #[test]
    fn what_is_not_known_is_an_error_and_not_an_empty_address() {
        assert!(rendered("server {{ service.db.address }}").is_err());
        assert!(rendered("{% for s in services %}{{ s.port }}{% endfor %}").is_err());
        assert!(Template::new("{% for %}".to_owned()).is_err());
    }

    #[test]
    fn a_file_is_replaced_with_the_rights_it_has() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made.cfg");
        replace(&path, "one").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(replace(&directory.path().join("no/where"), "x").is_err());
    }
}
