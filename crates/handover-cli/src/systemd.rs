//! The systemd that is installed here, and how its unit files are written.

use std::process::{Command, Stdio};

/// A version of systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32);

impl Version {
    /// The oldest that units are written for: `FDPOLL=0` and `BARRIER=1` are of 246.
    pub(crate) const OLDEST: Self = Self(246);
    /// `Type=notify-reload` (systemd.service(5)).
    pub(crate) const NOTIFY_RELOAD: Self = Self(253);
    /// `FileDescriptorStorePreserve=` (systemd.service(5)).
    pub(crate) const STORE_PRESERVE: Self = Self(254);

    /// What `systemctl --version` says. `None` where there is none.
    pub(crate) fn installed() -> Option<Self> {
        let mut command = Command::new("systemctl");
        let output = command
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// From its first line: `systemd 252 (252.38-1~deb12u1)`.
    fn parse(text: &str) -> Option<Self> {
        let number = text.strip_prefix("systemd ")?.split_whitespace().next()?;
        // Of a release candidate: `255~rc1`.
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().map(Self)
    }
}

/// A word of `ExecStart=` as systemd reads it back: specifiers, variables and quotes mean
/// themselves (systemd.unit(5), systemd.service(5), "Command lines").
pub(crate) fn quoted(word: &str) -> String {
    let doubled = word.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@+%$[]~".contains(c);
    if !doubled.is_empty() && doubled.chars().all(plain) {
        return doubled;
    }
    let escaped = doubled
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
        .replace('\t', "\\t");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_number_after_the_name() {
        let text = "systemd 252 (252.38-1~deb12u1)\n+PAM +AUDIT\n";
        assert_eq!(Version::parse(text), Some(Version(252)));
        assert_eq!(Version::parse("systemd 255~rc1\n"), Some(Version(255)));
        for bad in ["", "systemd", "systemd x", "elogind 252"] {
            assert_eq!(Version::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn words_mean_themselves() {
        assert_eq!(quoted("http=[::]:80"), "http=[::]:80");
        assert_eq!(quoted("100%"), "100%%");
        assert_eq!(quoted("$HOME"), "$$HOME");
        assert_eq!(quoted(""), "\"\"");
        assert_eq!(quoted("a b;c"), "\"a b;c\"");
        assert_eq!(quoted("say \"x\\y\""), r#""say \"x\\y\"""#);
    }
}
