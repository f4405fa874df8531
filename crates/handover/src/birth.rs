//! What an instance is from its start, whoever drives it.

use std::path::PathBuf;

use handover_proto::identity::InstanceId;
use handover_proto::settings::Ladder;

use crate::conversation::Counterpart;
use crate::inheritance::Inheritance;
use crate::notice::Notice;
use crate::pool::Pool;
use crate::takeover::Host;

/// Made of what the process inherited, and of its part in takeovers.
pub(crate) struct Birth {
    /// A coordinator's name for the service, else the program's.
    pub(crate) name: String,
    pub(crate) id: Option<InstanceId>,
    pub(crate) counterpart: Counterpart,
    pub(crate) pool: Pool,
    /// For the driver.
    pub(crate) notice: Notice,
    /// For the handles, which say that the program is ready.
    pub(crate) own: Notice,
    pub(crate) beside_handoff: bool,
}

impl Birth {
    /// `control`: see [`Counterpart::take`].
    pub(crate) fn new(
        mut inheritance: Inheritance,
        name: String,
        control: Option<PathBuf>,
        ladder: Option<Ladder>,
        host: Option<&Host>,
    ) -> Self {
        let counterpart = Counterpart::take(&mut inheritance, control, ladder);
        let started = counterpart.instance();
        // Whoever speaks the native protocol to a supervisor does not need to be told twice.
        let supervised = started.is_some() && host.is_none();
        let notice = Notice::new(inheritance.notify.filter(|_| !supervised));
        // A successor says that it is ready when it is the one that systemd listens to.
        let own = match host {
            Some(host) if host.within => Notice::default(),
            _ => notice.clone(),
        };
        Self {
            name: inheritance.service.unwrap_or(name),
            id: started.or(host.map(|host| host.instance)),
            counterpart,
            pool: Pool::new(inheritance.listeners).with_files(inheritance.files),
            notice,
            own,
            beside_handoff: inheritance.beside_handoff,
        }
    }
}
