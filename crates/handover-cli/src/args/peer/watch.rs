//! Arguments of `peer watch`.

use super::NetworkArgs;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `peer watch`.
#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Follow this service only; may be repeated
    #[arg(long, short, value_name = "NAME")]
    pub(crate) service: Vec<String>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// One JSON object a line, one for each change
    #[arg(long)]
    pub(crate) json: bool,
    /// Run this by the shell after each change; runs never overlap, the latest state wins
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: Option<String>,
    /// Render this template (Jinja) after each change, before --exec
    #[arg(long, value_name = "FILE", requires = "output")]
    pub(crate) template: Option<PathBuf>,
    /// Where the rendered template goes; replaced at once, never half written
    #[arg(long, value_name = "FILE", requires = "template")]
    pub(crate) output: Option<PathBuf>,
}
