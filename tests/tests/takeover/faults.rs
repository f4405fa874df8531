//! What goes wrong around a takeover.
