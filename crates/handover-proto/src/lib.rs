//! handover-proto
