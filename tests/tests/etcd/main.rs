//! The etcd engine against a real etcd: killed, stopped, slow, full, led by another, compacted,
//! behind TLS, with users.

mod claims;
mod faults;
mod fences;
mod refusals;
mod seat;
