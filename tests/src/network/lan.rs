//! Several devices on one LAN.

use std::sync::Arc;

use super::{Container, Namespace};

/// Devices whose `eth0` are on one wire.
#[derive(Debug)]
pub struct Lan {
    _wire: Namespace,
    devices: Vec<Device>,
}

/// One device: a kernel, as far as its containers can tell.
#[derive(Debug)]
pub struct Device {
    network: Arc<Namespace>,
    boot_id: String,
}

impl Lan {
    /// `count` devices. Each has `eth0` on the LAN, which is where its default route leads, and the
    /// bridge `supervisor0`, which no other device sees, as balenaOS makes it.
    #[must_use]
    pub fn of(count: u8) -> Self {
        let lan = Self::without_bridges(count);
        for device in &lan.devices {
            device.add_bridge();
        }
        lan
    }

    /// The same before `supervisor0` was made: see [`Device::add_bridge`].
    #[must_use]
    pub fn without_bridges(count: u8) -> Self {
        let wire = Namespace::new();
        // As with `Bridge`: nobody here asks who wants which group.
        wire.ip([
            "link add lan type bridge mcast_snooping 0",
            "link set lan up",
        ]);
        let devices = (1..=count).map(|number| Device::new(&wire, number));
        let devices = devices.collect();
        Self {
            _wire: wire,
            devices,
        }
    }

    /// The devices, in order.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }
}

impl Device {
    fn new(wire: &Namespace, number: u8) -> Self {
        let network = Arc::new(Namespace::new());
        wire.ip([
            format!(
                "link add veth{number} type veth peer name eth0 netns {}",
                network.pid()
            ),
            format!("link set veth{number} master lan up"),
        ]);
        network.ip([
            format!("address add 192.168.77.{number}/24 dev eth0"),
            "link set eth0 up".to_owned(),
            "route add default via 192.168.77.254".to_owned(),
        ]);
        network.until_up("eth0");
        wire.until_up(&format!("veth{number}"));
        Self {
            network,
            boot_id: format!("00000000-0000-4000-8000-{number:012}"),
        }
    }

    /// Makes `supervisor0`.
    ///
    /// # Panics
    /// When it is there.
    pub fn add_bridge(&self) {
        self.network.ip([
            "link add supervisor0 type bridge",
            "address add 10.114.104.1/25 dev supervisor0",
            "link set supervisor0 up",
        ]);
    }

    /// Its own network.
    #[must_use]
    pub fn network(&self) -> &Arc<Namespace> {
        &self.network
    }

    /// A container in the host's network (`network_mode: host`).
    #[must_use]
    pub fn container(&self) -> Container {
        Container::on(Arc::clone(&self.network)).boot_id(&self.boot_id)
    }
}
