//! What containers say to each other: bytes that never change, bytes that are refused, who is
//! younger, and how machines on one network hand over.

#[path = "container/bytes.rs"]
mod bytes;
#[path = "container/desk.rs"]
mod desk;
#[path = "container/events.rs"]
mod events;
#[path = "container/handing_over.rs"]
mod handing_over;
#[path = "container/old_wire.rs"]
mod old_wire;
#[path = "container/order.rs"]
mod order;
#[path = "container/samples.rs"]
mod samples;
#[path = "container/strangers.rs"]
mod strangers;
