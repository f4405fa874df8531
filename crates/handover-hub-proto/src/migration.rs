//! One process moves from the node that runs it to another, with its state and its mailbox.
//!
//! Three parties, any two of which may be one node. The **home** of its shard decides alone
//! ([`Movement`]), the **source** runs the process, the **target**
//! will. What a node takes part in as source or target is its [`Terminal`].
//!
//! ```text
//! home ─Prepare→ target: warms             ─Prepared→ home
//! home ─Depart→  source: freezes, sends its state straight to the target
//!                target: takes the state   ─Arrived→  home decides: the row says target
//! home ─Commit→  target: activates         ─Activated→ home
//! home ─Retire→  source: sends latecomers after it, drops its copy ─Retired→ home
//! ```
//!
//! Until the home decides, whatever fails ends with the source serving (H5); after that nothing
//! stops the target (H6) but its own death or failure. The source keeps its frozen copy until the
//! target serves, so that even then it can go on. The target keeps what it received until the source
//! goes on, so that the state is lost only with both.
//!
//! Every order names its attempt and its epoch, every attempt that reached the source ends with a
//! new epoch for whoever serves: an order of an earlier attempt finds no process under the epoch it
//! names, and changes nothing. Messages may be lost with their connection: the home says its last
//! order again, and what was done is reported again.

mod census;
mod departure;
mod landing;
mod message;
mod movement;
mod settings;
mod terminal;

pub use self::census::{Holding, Resolution, Stray, leftover, resolve};
pub use self::message::{Bid, Order, Purpose, Report, Word};
pub use self::movement::{Decision, GRANTS, Movement, Outcome, Plan, Reason};
pub use self::movement::{Effect as MovementEffect, Input as MovementInput};
pub use self::settings::{Deferral, Settings};
pub use self::terminal::{Effect as TerminalEffect, Terminal};

#[cfg(test)]
mod tests;
