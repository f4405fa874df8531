//! handover-verify
