//! The points at which a hub calls code of its user, and in what order.
//!
//! | here | ProcessHub 0.4 | 0.5 and later |
//! |---|---|---|
//! | [`BeforeJoin`](Hook::BeforeJoin), [`AfterJoin`](Hook::AfterJoin) | `pre_cluster_join`, `post_cluster_join` | `pre_node_join`, `post_node_join` |
//! | [`BeforeLeave`](Hook::BeforeLeave), [`AfterLeave`](Hook::AfterLeave) | `pre_cluster_leave`, `post_cluster_leave` | `pre_node_leave`, `post_node_leave` |
//! | [`Registered`](Hook::Registered) | `registry_pid_insert` | `child_registered` |
//! | [`Unregistered`](Hook::Unregistered) | `registry_pid_remove` | `child_unregistered` |
//! | [`Moved`](Hook::Moved) | `children_migrated` | `migration_completed` |
//! | [`Forwarded`](Hook::Forwarded) | `forwarded_migration` | `children_forwarded` |
//! | [`Suspension`](Hook::Suspension) | `priority_state_updated` | – |
//! | [`BeforeRedistribution`](Hook::BeforeRedistribution), [`AfterRedistribution`](Hook::AfterRedistribution) | `pre_nodes_redistribution`, `post_nodes_redistribution` | `pre_redistribution`, `post_redistribution` |
//! | [`BeforeStart`](Hook::BeforeStart), [`AfterStart`](Hook::AfterStart) | `pre_children_start`, `post_children_start` | the same |
//! | [`BeforeRoles`](Hook::BeforeRoles) | `pre_children_redistribution` | the same |
//! | [`Started`](Hook::Started) | `process_startups` | the same |
//! | [`Restarted`](Hook::Restarted) | `child_process_pid_update` | `child_pid_updated` |
//! | [`Shutdown`](Hook::Shutdown) | `coordinator_shutdown` | the same |
//! | [`Scores`](Hook::Scores) | `scoreboard_updated` | the same |
//! | [`AlterSpec`](Hook::AlterSpec) | `child_data_alter` | the same |
//! | [`HandedOver`](Hook::HandedOver) | – | `handover_delivered` |
//! | [`Deferred`](Hook::Deferred) | – | `migration_deferred` |
//! | [`Emptied`](Hook::Emptied) | – | `drain_completed` |
//!
//! Where ProcessHub calls once for a batch of children, a hub calls once for each.
//!
//! What a slow handler or one that panics does is for the driver: `handover_hub::Occasion` says it, and
//! has what handlers are called with. The node waits for the hooks whose names begin with `Before`, for
//! `Shutdown`, and, in the start that it belongs to, for `AlterSpec`. It calls the others after the
//! fact.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! hooks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(, $old:literal)*;)*) => {
        /// A point at which code of the user is called; see the table of [this module](self).
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Hook {
            $($(#[$doc])* $variant,)*
        }

        impl Hook {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// ProcessHub's names of it, of any version.
            #[must_use]
            pub const fn process_hub(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($old),*],)*
                }
            }
        }
    };
}

hooks! {
    /// A node joined and nothing has been done about it: it is not among the members yet. On each
    /// node, for each member it learns of, itself too. With `Occasion::Joining`.
    BeforeJoin = "before_join", "pre_cluster_join", "pre_node_join";
    /// A node joined and homes have been worked out anew. On each node, for each member, itself too.
    /// With `Event::Joined`.
    AfterJoin = "after_join", "post_cluster_join", "post_node_join";
    /// A node is gone, having left or died, and nothing has been done about it: it is still among the
    /// members. On each other node. With `Occasion::Leaving`.
    BeforeLeave = "before_leave", "pre_cluster_leave", "pre_node_leave";
    /// A node is gone and homes have been worked out anew. On each other node. With `Event::Gone`.
    AfterLeave = "after_leave", "post_cluster_leave", "post_node_leave";
    /// A row got a new host, or a host another epoch. On each node. With `Event::Registered`.
    Registered = "registered", "registry_pid_insert", "child_registered";
    /// A row is gone. On each node. With `Event::Unregistered`.
    Unregistered = "unregistered", "registry_pid_remove", "child_unregistered";
    /// A process moved away: its move is decided. On the node it left. With `Occasion::Moved`.
    Moved = "moved", "children_migrated", "migration_completed";
    /// The start of a child was passed on: the node that was asked first is not its home any more, or
    /// is gone. On the node where the start was asked. With `Event::Forwarded`.
    Forwarded = "forwarded", "forwarded_migration", "children_forwarded";
    /// The node stands still, or goes on. On that node. With `Event::Suspended` or `Event::Continued`.
    Suspension = "suspension", "priority_state_updated";
    /// Members came or went, and homes change. On each node, before it claims or gives away a shard.
    /// With `Event::Redistributing`.
    BeforeRedistribution = "before_redistribution",
        "pre_nodes_redistribution", "pre_redistribution";
    /// This node owns the shards that it should, and has no move left to order; those that deferred
    /// or failed, and are tried again later, are not waited for. On each node, once for each
    /// `BeforeRedistribution` that was not followed by another. With `Event::Settled`.
    AfterRedistribution = "after_redistribution",
        "post_nodes_redistribution", "post_redistribution";
    /// A child is about to be constructed on this node from its argument, a checkpoint, or the state of
    /// a replica: since somebody asked, since the node that ran it is gone, or as a replica. Not one
    /// that moves here, nor one that crashed. On its host. With `Occasion::Child`.
    BeforeStart = "before_start", "pre_children_start";
    /// What came of it. On its host. With `Occasion::Start`.
    AfterStart = "after_start", "post_children_start";
    /// A replica is about to change its role. On its host. With `Occasion::Role`.
    BeforeRoles = "before_roles", "pre_children_redistribution";
    /// A child that was started on this node is registered: this node's rows name it. On its host.
    /// With `Event::Registered`.
    Started = "started", "process_startups";
    /// A process that crashed, or was done and is to run always, runs again on its node, from its
    /// argument or checkpoint. On its host. With `Event::Crashed`.
    Restarted = "restarted", "child_process_pid_update", "child_pid_updated";
    /// The node begins to leave: it was asked to, and everything is still there. On that node. Not
    /// when it is killed, or every handle of it is dropped. With `Occasion::Plain`.
    Shutdown = "shutdown", "coordinator_shutdown";
    /// The load balancer has a new board.
    Scores = "scores", "scoreboard_updated";
    /// A child's start was asked, or it was put on the list of declared children: what it is may be
    /// changed, but not its id. On the node where that was asked, once, before the home of the child
    /// hears of it; the row keeps what came out, and whoever starts the child later starts that. A
    /// handler that panics has changed nothing.
    AlterSpec = "alter_spec", "child_data_alter";
    /// A state arrived and its process took it: it moved here and answers, or took in the state of
    /// another copy. On its host. With `Occasion::HandedOver`.
    HandedOver = "handed_over", "handover_delivered";
    /// A process asked to move later. On its home. With `Event::Deferred`.
    Deferred = "deferred", "migration_deferred";
    /// Nothing is left to move away from a node that is evacuated or leaves, or its time is over. On
    /// that node. With `Event::Emptied`, which has the number of those that are still there.
    Emptied = "emptied", "drain_completed";
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No hook has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no hook {0:?}")]
pub struct UnknownHook(pub String);

/// By its name, or a name ProcessHub has for it.
impl FromStr for Hook {
    type Err = UnknownHook;

    fn from_str(name: &str) -> Result<Self, UnknownHook> {
        Self::ALL
            .iter()
            .copied()
            .find(|hook| hook.name() == name || hook.process_hub().contains(&name))
            .ok_or_else(|| UnknownHook(name.into()))
    }
}

/// A hook has a handler of this id already. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hook {hook} has a handler {id:?} already; remove it first, or name this one otherwise")]
pub struct HandlerTwice {
    /// Which hook.
    pub hook: Hook,
    /// The id that both have.
    pub id: String,
}

/// Code to be called. `H` is whatever the driver calls.
#[derive(Clone, Debug)]
pub struct Handler<H> {
    /// Unique among the handlers of a hook.
    pub id: String,
    /// Higher ones are called first, equal ones in the order in which they were added. The hub's own
    /// work at a hook has [`OWN`].
    pub priority: i32,
    /// What is called.
    pub call: H,
}

/// The priority of what the hub itself does at a hook, as ProcessHub has it: handlers above it run
/// before, the others after.
pub const OWN: i32 = 100;

/// All handlers of a node, whether there from the start or added while it runs.
#[derive(Clone, Debug)]
pub struct Hooks<H> {
    /// By hook, then as they are called.
    handlers: Vec<(Hook, Handler<H>)>,
}

impl<H> Default for Hooks<H> {
    fn default() -> Self {
        Self {
            handlers: Vec::new(),
        }
    }
}

impl<H> Hooks<H> {
    /// Adds a handler.
    ///
    /// # Errors
    ///
    /// [`HandlerTwice`] if the hook has one of that id.
    pub fn add(&mut self, hook: Hook, handler: Handler<H>) -> Result<(), HandlerTwice> {
        if self.of(hook).any(|known| known.id == handler.id) {
            return Err(HandlerTwice {
                hook,
                id: handler.id,
            });
        }
        let key = |hook: Hook, handler: &Handler<H>| (hook, Reverse(handler.priority));
        let after = key(hook, &handler);
        let place = self
            .handlers
            .partition_point(|(hook, known)| key(*hook, known) <= after);
        self.handlers.insert(place, (hook, handler));
        Ok(())
    }

    /// Removes a handler; none if there is none of that id.
    pub fn remove(&mut self, hook: Hook, id: &str) -> Option<Handler<H>> {
        let place = self
            .handlers
            .iter()
            .position(|(known, handler)| *known == hook && handler.id == id)?;
        Some(self.handlers.remove(place).1)
    }

    /// The handlers of a hook, in the order in which they are called.
    pub fn of(&self, hook: Hook) -> impl Iterator<Item = &Handler<H>> {
        let first = self.handlers.partition_point(|(known, _)| *known < hook);
        self.handlers[first..]
            .iter()
            .take_while(move |(known, _)| *known == hook)
            .map(|(_, handler)| handler)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(id: &str, priority: i32) -> Handler<u8> {
        Handler {
            id: id.into(),
            priority,
            call: 0,
        }
    }

    fn order(hooks: &Hooks<u8>, hook: Hook) -> Vec<&str> {
        hooks.of(hook).map(|handler| handler.id.as_str()).collect()
    }

    #[test]
    fn higher_priorities_run_first_and_equal_ones_as_added() {
        let mut hooks = Hooks::default();
        for (id, priority) in [("c", 0), ("a", OWN + 1), ("d", 0), ("e", -5), ("b", OWN)] {
            hooks.add(Hook::Started, handler(id, priority)).unwrap();
            hooks.add(Hook::AfterJoin, handler(id, -priority)).unwrap();
        }
        assert_eq!(order(&hooks, Hook::Started), ["a", "b", "c", "d", "e"]);
        assert_eq!(order(&hooks, Hook::AfterJoin), ["e", "c", "d", "b", "a"]);
        assert_eq!(order(&hooks, Hook::Moved), [""; 0]);
    }

    #[test]
    fn an_id_is_used_once_for_each_hook() {
        let mut hooks = Hooks::default();
        hooks.add(Hook::Started, handler("a", 0)).unwrap();
        let error = hooks.add(Hook::Started, handler("a", 9)).unwrap_err();
        assert_eq!((error.hook, error.id.as_str()), (Hook::Started, "a"));
        hooks.add(Hook::Moved, handler("a", 0)).unwrap();
        assert!(hooks.remove(Hook::Started, "b").is_none());
        assert!(hooks.remove(Hook::Started, "a").is_some());
        assert_eq!(order(&hooks, Hook::Moved), ["a"]);
        hooks.add(Hook::Started, handler("a", 9)).unwrap();
        assert_eq!(order(&hooks, Hook::Started), ["a"]);
    }

    #[test]
    fn every_name_means_one_hook() {
        for hook in Hook::ALL {
            assert_eq!(hook.name().parse(), Ok(*hook));
            for name in hook.process_hub() {
                assert_eq!(name.parse(), Ok(*hook), "{name}");
            }
            assert_eq!(
                serde_json::to_value(hook).unwrap(),
                serde_json::Value::from(hook.name())
            );
        }
        assert_eq!("x".parse::<Hook>(), Err(UnknownHook("x".into())));
    }

    /// Every hook of ProcessHub 0.4.1, as its documentation lists them.
    #[test]
    fn no_hook_of_process_hub_is_missing() {
        for name in [
            "pre_cluster_join",
            "post_cluster_join",
            "pre_cluster_leave",
            "post_cluster_leave",
            "registry_pid_insert",
            "registry_pid_remove",
            "children_migrated",
            "forwarded_migration",
            "priority_state_updated",
            "pre_nodes_redistribution",
            "post_nodes_redistribution",
            "pre_children_start",
            "post_children_start",
            "pre_children_redistribution",
            "process_startups",
            "child_process_pid_update",
            "coordinator_shutdown",
            "scoreboard_updated",
            "child_data_alter",
        ] {
            assert!(name.parse::<Hook>().is_ok(), "{name}");
        }
    }
}
