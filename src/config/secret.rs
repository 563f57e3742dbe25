//! Values that must never reach a log line, an error text or a printed configuration.
//! Invariant: a [`Secret`] shows its content to nobody who does not call [`Secret::expose`].

/// A value without a readable `Debug` or any `Display`: formatting it prints `<secret>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The value itself, for the one place that compares or uses it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

// Structures that hold a secret derive `Debug`; this keeps that derive possible and silent.
impl<T> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new("super:hash".to_owned());
        assert_eq!(format!("{secret:?}"), "<secret>");
        assert_eq!(format!("{:?}", Some(&secret)), "Some(<secret>)");
        assert_eq!(secret.expose(), "super:hash");
    }
}
