//! What containers say to each other: bytes that never change, bytes that are refused, and who is
//! younger.

#[path = "container/bytes.rs"]
mod bytes;
#[path = "container/events.rs"]
mod events;
#[path = "container/order.rs"]
mod order;
#[path = "container/samples.rs"]
mod samples;
