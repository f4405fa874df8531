//! What is left of moves that a home does not make.

use alloc::vec::Vec;

use super::host_at;
use crate::identity::{Epoch, NodeId, ShardId};
use crate::message::Change;
use crate::migration::{Report, Stray, Word, leftover};
use crate::node::{HostFailure, Node};
use crate::row::{Host, Row, Rows};

impl<R: Rows> Node<R> {
    /// Ends what is left of a move that this home does not make.
    pub(super) fn left_over(&mut self, shard: ShardId, from: NodeId, report: &Report) {
        let row = self.rows.get(&report.process);
        let serves = row.as_ref().and_then(Row::active);
        if let Word::Resumed { epoch, result } | Word::Activated { epoch, result } = &report.word
            && result.is_ok()
        {
            self.gone_on(shard, from, report, row.as_ref(), *epoch);
            return;
        }
        if self.resume_unmerged(shard, &report.process, from, report.attempt) {
            return;
        }
        if let Word::Departed { epoch, result } = &report.word
            && self.is_apart(serves, from)
            && match result {
                Ok(()) => serves.is_some_and(|host| host.epoch <= *epoch),
                // It reached nobody.
                Err(failure) => matches!(failure, HostFailure::Transfer(_)),
            }
        {
            self.goes_on_beside(shard, &report.process, from, report.attempt);
            return;
        }
        if let Word::Departed {
            result: Err(failure),
            ..
        } = &report.word
            && !matches!(failure, HostFailure::Transfer(_))
            && serves.is_some_and(|host| host.node != from)
        {
            // It did not freeze, so there is nothing to retire: what runs there is counted.
            self.count_again(shard, from);
            return;
        }
        let Some(stray) = report.stray() else {
            return;
        };
        if let Stray::Departing { epoch } = stray
            && self.end_if_over(shard, &report.process, from, epoch)
        {
            // It stood still for a merge while its child was stopped.
            return;
        }
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let grant = home.epoch();
        if let Some(bid) = leftover(serves, from, stray, grant) {
            self.order(shard, from, (report.attempt, &report.process), bid);
        }
    }

    /// A process serves by an order that this home did not give.
    fn gone_on(
        &mut self,
        shard: ShardId,
        from: NodeId,
        report: &Report,
        row: Option<&Row>,
        epoch: Epoch,
    ) {
        let resumed = matches!(report.word, Word::Resumed { .. });
        let listed = row.and_then(|row| Some((row, host_at(row, from)?)));
        if let Some((row, host)) = listed.filter(|(_, host)| resumed && epoch > host.epoch) {
            let others = row.hosts().iter().filter(|host| host.node != from);
            let mut hosts: Vec<Host> = others.copied().collect();
            hosts.insert(0, Host { epoch, ..host });
            self.publish(shard, Change::Put(row.with_hosts(&hosts)));
            return;
        }
        if resumed && self.resumed_unmerged(shard, &report.process, from, epoch) {
            return;
        }
        if listed.is_none() {
            // This home may not have known of it when it counted: it runs beside who was kept.
            self.count_again(shard, from);
        }
    }
}
