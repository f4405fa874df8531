//! How well-known programs stop without cutting anybody off.

use std::path::Path;

use handover_sys::Signal;

/// What a program does on its stop signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It stops to listen, finishes what it has, and goes.
    Graceful,
    /// Its runtime has a handler for the signal and ends the program in it, unless the program has
    /// a handler of its own, which cannot be seen from outside.
    Abrupt,
}

/// A program that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) signal: Signal,
    pub(super) manner: Manner,
}

/// File names of programs, with the signal that stops each gracefully.
///
/// Sources: nginx.org "Controlling nginx"; httpd.apache.org "Stopping and Restarting"; HAProxy's
/// management guide, "Stopping and restarting"; php-fpm(8); the manuals of lighttpd, gunicorn
/// ("Signal Handling"), uvicorn ("Deployment"), Puma ("Signals"), Unicorn ("SIGNALS"), Caddy
/// ("Command Line", signals).
const GRACEFUL: &[(&str, Signal)] = &[
    ("nginx", Signal::QUIT),
    ("openresty", Signal::QUIT),
    ("angie", Signal::QUIT),
    ("httpd", Signal::WINCH),
    ("apache2", Signal::WINCH),
    ("haproxy", Signal::USR1),
    ("php-fpm", Signal::QUIT),
    ("lighttpd", Signal::INT),
    ("gunicorn", Signal::TERM),
    ("uvicorn", Signal::TERM),
    ("hypercorn", Signal::TERM),
    ("puma", Signal::TERM),
    ("unicorn", Signal::QUIT),
    ("caddy", Signal::TERM),
];

/// File names of programs that end at once although they handle the signal. Node exits in its
/// handler of SIGTERM (`SignalExit` in `src/node.cc`); a JVM runs shutdown hooks and halts; uWSGI
/// reloads on SIGTERM and ends on SIGQUIT (its documentation, "Managing the uWSGI server").
const ABRUPT: &[(&str, Signal)] = &[
    ("node", Signal::TERM),
    ("nodejs", Signal::TERM),
    ("deno", Signal::TERM),
    ("bun", Signal::TERM),
    ("java", Signal::TERM),
    ("uwsgi", Signal::QUIT),
];

/// Signals that hardly a program handles for its own sake. Go's runtime handles every one it can
/// (its package os/signal).
const ONLY_RUNTIMES: [i32; 5] = [
    rustix::process::Signal::XCPU.as_raw(),
    rustix::process::Signal::XFSZ.as_raw(),
    rustix::process::Signal::VTALARM.as_raw(),
    rustix::process::Signal::SYS.as_raw(),
    rustix::process::Signal::POWER.as_raw(),
];

/// The program that this executable, command's name or script is.
pub(super) fn find(executable: &str, name: &str, command: &[String]) -> Option<Known> {
    let file = |path: &str| {
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        Some(Path::new(path).file_name()?.to_str()?.to_owned())
    };
    // A script's interpreter comes first, an option such as `-m` before a module's name.
    let words = command.iter().take(3).map(String::as_str);
    let names: Vec<String> = [executable, name]
        .into_iter()
        .chain(words)
        .filter_map(file)
        .collect();
    let find = |table: &[(&str, Signal)], manner| {
        let mut known = table.iter();
        let found = known.find(|(known, _)| names.iter().any(|name| is_it(name, known)))?;
        let signal = found.1;
        Some(Known { signal, manner })
    };
    find(GRACEFUL, Manner::Graceful).or_else(|| find(ABRUPT, Manner::Abrupt))
}

/// `php-fpm8.2` is `php-fpm`, but `node_exporter` is not `node`.
fn is_it(name: &str, known: &str) -> bool {
    let rest = name.strip_prefix(known);
    rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// Whether a runtime has taken all signals, so that a handler means nothing.
pub(super) fn catches_everything(caught: impl Fn(i32) -> bool) -> bool {
    ONLY_RUNTIMES.into_iter().all(caught)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(executable: &str, name: &str, command: &[&str]) -> Option<(Signal, Manner)> {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        find(executable, name, &command).map(|known| (known.signal, known.manner))
    }

    #[test]
    fn programs_are_known_by_file_name_and_by_script() {
        let graceful = |signal| Some((signal, Manner::Graceful));
        let master = ["nginx: master process"];
        assert_eq!(
            signal("/usr/sbin/nginx (deleted)", "nginx", &master),
            graceful(Signal::QUIT)
        );
        assert_eq!(
            signal("/usr/sbin/php-fpm8.2", "php-fpm8.2", &[]),
            graceful(Signal::QUIT)
        );
        let gunicorn = ["/usr/bin/python3", "/venv/bin/gunicorn", "app:app"];
        assert_eq!(
            signal("/usr/bin/python3.11", "gunicorn", &gunicorn),
            graceful(Signal::TERM)
        );
        let module = ["python3", "-m", "uvicorn"];
        assert_eq!(
            signal("/usr/bin/python3.11", "python3", &module),
            graceful(Signal::TERM)
        );
        assert_eq!(
            signal("/usr/bin/node", "node", &["node", "server.js"]),
            Some((Signal::TERM, Manner::Abrupt))
        );
    }

    #[test]
    fn others_are_not() {
        let server = ["python3", "-m", "http.server"];
        assert_eq!(signal("/usr/bin/python3.11", "python3", &server), None);
        assert_eq!(signal("/usr/bin/node_exporter", "node_exporter", &[]), None);
    }

    #[test]
    fn a_runtime_that_catches_everything_is_known_by_that() {
        assert!(catches_everything(|_| true));
        assert!(!catches_everything(|signal| signal == Signal::TERM.number()));
    }
}
