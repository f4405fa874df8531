//! Each of the two dies just before each of its effects: its coordinator's, its instance's.
