//! Arms are taken away.
use crate::seen::Arm;
/// Result.
#[derive(Debug, Default)]
pub struct Found {
    /// Noticed.
    pub noticed: Vec<(Arm, String)>,
    /// Not.
    pub unnoticed: Vec<Arm>,
}
/// Try.
pub fn deprive() -> Result<Found, String> {
    Ok(Found::default())
}
