//! Processes of this node that end.

use alloc::string::String;

use super::hosting::{Here, Phase};
use super::{Effect, HostOrder, Node};
use crate::event::Event;
use crate::identity::{Epoch, ProcessId};
use crate::message::{Departed, Item};
use crate::migration::Holding;
use crate::row::Rows;

impl Here {
    /// What a home is told of one that is being stopped.
    pub(super) fn ending(&self) -> Option<Holding> {
        let (epoch, for_good) = (self.epoch, self.phase == Phase::Ending);
        match self.phase {
            Phase::Ending | Phase::Leaving => Some(Holding::Ending { epoch, for_good }),
            Phase::Starting | Phase::Active => None,
        }
    }
}

impl<R: Rows> Node<R> {
    /// Nothing that is here goes on.
    pub(crate) fn stop_all(&mut self) {
        for local in self.hosting.shards.values_mut() {
            for (process, here) in &mut local.here {
                if here.phase == Phase::Ending {
                    continue;
                }
                here.phase = Phase::Leaving;
                let (process, epoch) = (process.clone(), here.epoch);
                let order = HostOrder::Stop { process, epoch };
                self.effects.push_back(Effect::Host(order));
            }
        }
    }

    /// A process here has ended.
    pub(super) fn ended(&mut self, process: ProcessId, epoch: Epoch, crash: Option<String>) {
        let shard = self.shard_of(&process);
        let known = self.hosting.get(shard, &process);
        let Some(phase) = known
            .filter(|here| here.epoch == epoch)
            .map(|here| here.phase)
        else {
            return;
        };
        self.hosting.remove(shard, &process);
        if let Some(reason) = crash {
            self.effects.push_back(Effect::Report(Event::Crashed {
                process: process.clone(),
                reason,
                restarted: false,
            }));
        }
        let gone = Departed {
            process: process.clone(),
            epoch,
        };
        if phase != Phase::Leaving {
            self.hosting.departed(shard, &gone);
        }
        let item = match phase {
            Phase::Ending | Phase::Leaving => Item::Ended { process, epoch },
            Phase::Starting | Phase::Active => Item::Departed(gone),
        };
        if let Some(home) = self.hosting.home(shard) {
            self.outbox.say(home, item);
        }
    }
}
