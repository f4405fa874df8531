//! nginx takes listening sockets from its predecessor by the variable `NGINX`, which lists their
//! descriptors (`ngx_add_inherited_sockets` in `src/core/nginx.c`). Whoever sets it can hand sockets
//! to an unmodified nginx. One that finds it stays in the foreground, whatever `daemon` says.

use std::path::Path;

/// The variable's name.
pub(super) const VARIABLE: &str = "NGINX";

/// Where passed listeners begin, as with `LISTEN_FDS`.
const FIRST: usize = 3;

/// nginx and what is built from it under another name.
const NAMES: [&str; 4] = ["nginx", "openresty", "angie", "freenginx"];

/// Whether this command line starts nginx: directly, or by a shell that it names it to.
///
/// Not for every program, because one that starts an nginx of its own would pass descriptors on
/// that mean something else by then.
pub(super) fn is_it(argv: &[String]) -> bool {
    let named = |word: &str| {
        let file = Path::new(word).file_name().and_then(|file| file.to_str());
        file.is_some_and(|file| NAMES.iter().any(|name| file.starts_with(name)))
    };
    argv.iter().enumerate().any(|(at, word)| match at {
        0 => named(word),
        // `sh -c "exec nginx …"`
        _ => argv[0].ends_with("sh") && word.split_whitespace().any(named),
    })
}

/// Its value for so many listeners: each number with a semicolon after it.
pub(super) fn value(listeners: usize) -> String {
    (FIRST..FIRST + listeners)
        .map(|number| format!("{number};"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(words: &[&str]) -> bool {
        let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        is_it(&argv)
    }

    #[test]
    fn nginx_is_known_by_its_name_and_behind_a_shell() {
        assert!(is(&["/usr/sbin/nginx", "-c", "/etc/nginx/nginx.conf"]));
        assert!(is(&["/opt/nginx-1.27/sbin/nginx-debug"]));
        assert!(is(&["/bin/sh", "-c", "exec nginx -g 'daemon off;'"]));
        assert!(!is(&["./server", "--config", "nginx"]));
        assert!(!is(&["/bin/sh", "-c", "exec ./server"]));
        assert!(!is(&[]));
    }

    #[test]
    fn every_descriptor_is_followed_by_a_semicolon() {
        assert_eq!(value(2), "3;4;");
        assert_eq!(value(0), "");
    }
}
