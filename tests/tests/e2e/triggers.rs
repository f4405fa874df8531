//! What makes an upgrade happen, and what happens when triggers pile up.
