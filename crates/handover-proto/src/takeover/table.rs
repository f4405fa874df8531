//! Which message has which kind, and which fields by which tags.

use alloc::string::String;
use alloc::vec::Vec;

use super::message::{Answer, Ask, Passed, RefusedFor};
use super::{MAX_SERVICE, kind};
use crate::frame::cut;
use crate::frame::fields::Writer;
use crate::frame::table::{Row, Wire, table};
use crate::identity::{Generation, InstanceId, InstancePid};
use crate::manifest::ListenerEntry;
use crate::phase::{Mode, Phase};

table! {
    Ask from "whoever connects", opposite Answer, shortened by shortened_ask;
    TAKE Take {
        1 required service: String,
        2 required pid: InstancePid,
        3 defaulted network: Option<u64>,
        4 required oldest: u16,
        5 required newest: u16,
    }
    UPGRADE Upgrade {}
    UNDO Undo {}
    STATUS Status {}
}

table! {
    Answer from "an incumbent", opposite Ask, shortened by shortened_answer;
    GRANTED Granted {
        1 required instance: InstanceId,
        2 required generation: Generation,
        3 required listeners: u32,
    }
    LISTENERS Listeners { 1 required entries: Vec<Passed>, }
    REFUSED Refused { 1 required cause: RefusedFor, 2 required reason: String, }
    PROGRESS Progress { 1 required text: String, }
    FINISHED Finished { 1 required code: u8, 2 required word: String, 3 required text: String, }
    SERVING Serving {
        1 required service: String,
        2 required pid: InstancePid,
        3 required instance: InstanceId,
        4 required generation: Generation,
        5 required phase: Phase,
        6 required mode: Mode,
        7 defaulted program: String,
        8 defaulted uptime_ms: u64,
        9 defaulted listeners: Vec<ListenerEntry>,
        10 defaulted successor: Option<InstancePid>,
    }
}

fn shortened_ask(ask: &Ask, _room: usize) -> Ask {
    match ask {
        Ask::Take {
            service,
            pid,
            network,
            oldest,
            newest,
        } => Ask::Take {
            service: cut(service, MAX_SERVICE),
            pid: *pid,
            network: *network,
            oldest: *oldest,
            newest: *newest,
        },
        Ask::Upgrade | Ask::Undo | Ask::Status => ask.clone(),
    }
}

/// Every message is listed, so that one with new words is not forgotten.
fn shortened_answer(answer: &Answer, room: usize) -> Answer {
    match answer {
        Answer::Refused { cause, reason } => Answer::Refused {
            cause: *cause,
            reason: cut(reason, room),
        },
        Answer::Progress { text } => Answer::Progress {
            text: cut(text, room),
        },
        Answer::Finished { code, word, text } => Answer::Finished {
            code: *code,
            word: word.clone(),
            text: cut(text, room),
        },
        Answer::Serving {
            service,
            pid,
            instance,
            generation,
            phase,
            mode,
            program,
            uptime_ms,
            successor,
            ..
        } => Answer::Serving {
            service: cut(service, MAX_SERVICE),
            pid: *pid,
            instance: *instance,
            generation: *generation,
            phase: *phase,
            mode: *mode,
            program: cut(program, room / 2),
            uptime_ms: *uptime_ms,
            // Nothing is decided by them; half a list would be a wrong one.
            listeners: Vec::new(),
            successor: *successor,
        },
        Answer::Granted { .. } | Answer::Listeners { .. } => answer.clone(),
    }
}
