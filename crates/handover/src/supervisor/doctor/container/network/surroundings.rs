//! By what a network namespace can be told: the host's, or a container's own.

use std::fs;
use std::path::Path;

use handover_sys::interface::Interface;

/// Bridges that only the namespace of a host has: of balena's engine and supervisor, of docker.
const BRIDGES: [&str; 4] = ["supervisor0", "balena0", "docker0", "resin-dns"];

/// The inode of the first pid namespace of a kernel (`PROC_PID_INIT_INO`, linux/proc_ns.h).
const FIRST_PIDS: &str = "pid:[4026531836]";

/// What speaks for the one, and for the other.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) host: Vec<String>,
    pub(super) own: Vec<String>,
}

impl Surroundings {
    pub(super) fn of(all: &[Interface]) -> Self {
        let mut signs = Self::default();
        signs.look_at_links(all, Path::new("/sys/class/net"));
        signs.ask_the_first_process();
        signs
    }

    fn look_at_links(&mut self, all: &[Interface], class: &Path) {
        for one in all {
            if BRIDGES.contains(&one.name.as_str()) {
                self.host.push(format!("{} is here", one.name));
            }
        }
        // In a namespace whose own /sys is not mounted these would be of another one.
        let names = fs::read_dir(class).into_iter().flatten().flatten();
        let named = names.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
        let shown: Vec<_> = named.map(|entry| entry.file_name()).collect();
        let is_shown = |one: &Interface| shown.iter().any(|name| *name == *one.name);
        if shown.len() != all.len() || !all.iter().all(is_shown) {
            return;
        }
        for one in all {
            let at = class.join(&one.name);
            if at.join("device").exists() {
                self.host.push(format!("{} is a device", one.name));
            } else if is_end_of_a_pair(&at, one.index) && one.name.starts_with("eth") {
                self.own.push(format!("{} is one end of a pair", one.name));
            }
        }
    }

    /// It tells only where it is the machine's, not the container's.
    fn ask_the_first_process(&mut self) {
        let link = |path: &str| fs::read_link(path).ok();
        let pids = link("/proc/self/ns/pid");
        if pids.as_deref() != Some(Path::new(FIRST_PIDS)) {
            return;
        }
        let (own, first) = (link("/proc/self/ns/net"), link("/proc/1/ns/net"));
        match (own, first) {
            (Some(own), Some(first)) if own == first => {
                self.host.push("it is the one of process 1".to_owned());
            }
            (Some(_), Some(_)) => self.own.push("it is not the one of process 1".to_owned()),
            _ => {}
        }
    }
}

/// Of a veth and what is like it, the other end has another index.
fn is_end_of_a_pair(at: &Path, index: u32) -> bool {
    let other = fs::read_to_string(at.join("iflink")).ok();
    let other = other.and_then(|text| text.trim().parse::<u32>().ok());
    other.is_some_and(|other| other != index)
}
