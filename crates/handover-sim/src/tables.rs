//! Tables.
/// Print.
pub fn markdown() -> Result<String, String> {
    Ok(String::new())
}
