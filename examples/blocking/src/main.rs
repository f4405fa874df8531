//! A journal over TCP with plain threads: each line a client sends is appended to one file and
//! answered with the owner's epoch and the number of the line. One process at a time writes.
//!
//! `example-blocking [DIRECTORY [ADDRESS]]`, by default ./journal-data and 127.0.0.1:7000.
#![forbid(unsafe_code)]

mod journal;

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use handover::blocking::{Connection, Instance};
use handover::{Lease, LeaseError};
use journal::{Journal, Keeper};

/// How often a thread that waits for its client looks whether it should go.
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (directory, address) = (argument("journal-data"), argument("127.0.0.1:7000"));
    std::fs::create_dir_all(&directory)?;
    let journal = Arc::new(Journal::in_directory(&directory));

    // All that handing over takes, besides the hooks in journal.rs:
    let instance = Instance::start("journal")?;
    let listener = instance.tcp("lines", address)?; // inherited, or bound
    let lease = instance.own(&directory, Keeper::of(&journal))?;
    eprintln!("serving {}", listener.local_addr());
    for connection in listener.incoming() {
        let connection = connection?;
        let (instance, journal, lease) = (instance.clone(), Arc::clone(&journal), lease.clone());
        std::thread::spawn(move || {
            if let Err(error) = converse(&connection, &instance, &journal, &lease) {
                eprintln!("{}: {error}", connection.peer());
            }
        });
    }
    // The drain has begun; when this returns, the journal is closed and the lease is released.
    instance.retired();
    Ok(())
}

fn converse(
    connection: &Connection,
    instance: &Instance,
    journal: &Journal,
    lease: &Lease,
) -> io::Result<()> {
    connection.set_read_timeout(Some(LOOK_EVERY))?;
    let mut reader = BufReader::new(connection);
    let mut line = Vec::new();
    loop {
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            // The end of the stream within a line: it was not sent.
            Ok(_) if line.last() != Some(&b'\n') => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if line.is_empty() && instance.draining_within(Duration::ZERO) {
                    return Ok(());
                }
                continue;
            }
            Err(error) => return Err(error),
        }
        // During a handover this waits until it is decided who writes.
        let permit = match lease.enter_blocking() {
            Ok(permit) => permit,
            // Not answered, not written: the client asks again, and meets the new owner.
            Err(LeaseError::HandedOver) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        let number = journal.append(&line)?;
        let answer = format!("{} {number}\n", permit.epoch().0);
        drop(permit);
        (&mut { connection }).write_all(answer.as_bytes())?;
        line.clear();
        // Between two lines is the moment to go: the client connects to the new owner.
        if instance.asks_to_reconnect() && reader.buffer().is_empty() {
            return Ok(());
        }
    }
}
