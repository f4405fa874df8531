//! A program that was started with no thought of upgrades and is put under handover without a
//! restart: examined, planned for, taken charge of, retired.
//!
//! | file | what |
//! |---|---|
//! | `facts` | what the kernel says about it |
//! | `look` | asking the kernel |
//! | `plan` | what to do, decided from the facts alone |
//! | `naming` | what its listeners are called |
//! | `note` | what to know before it is done |
//! | `refusal` | why not |
//! | `programs` | how well-known programs stop |
//! | `taking` | its listening sockets, duplicated |
//! | `charge` | the supervisor's part: it is the incumbent of the first handover |
//! | `farewell` | stopping it without cutting anybody off |
//! | `paths` | its Unix sockets' paths, which it may remove |

mod charge;
mod facts;
mod farewell;
mod look;
mod naming;
mod note;
mod paths;
mod plan;
mod programs;
mod refusal;
mod taking;

pub use facts::{Access, Facts, Holder, Listening, Relation};
pub use look::{LookError, look};
pub use note::Note;
pub use plan::{Plan, PlannedListener, Retirement, Wish, plan};
pub use refusal::Refusal;

pub(super) use charge::{Stranger, StrangerRecord};
pub(super) use look::shares_namespace;
pub(super) use taking::{Taken, take};
