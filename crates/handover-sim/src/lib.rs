//! handover-sim
