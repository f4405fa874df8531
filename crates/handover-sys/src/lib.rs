//! handover-sys
