//! `seeds DIRECTORY`: writes `DIRECTORY/TARGET/seed-N` for every target, and prints the targets.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::{fs, io};

fn main() -> io::Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("expected a directory"))?;
    for (target, seeds) in handover_fuzz::seeds() {
        let directory = directory.join(target);
        fs::create_dir_all(&directory)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(directory.join(format!("seed-{number:02}")), seed)?;
        }
        println!("{target}");
    }
    Ok(())
}
