//! The checker of histories; one file per property.

/// How strict the checks are.
#[derive(Clone, Debug)]
pub struct Options {
    /// The operations of a failed multi stand in the log as they were before the failure. Apache's servers
    /// may overwrite them in place.
    pub exact_failed_multi: bool,
    /// A reply shows the state at exactly its zxid; otherwise any state up to the session's next reply.
    pub exact_reads: bool,
    /// Servers ask a quorum before they answer `sync`.
    pub quorum_sync: bool,
    /// `user:digest` of the super user.
    pub super_digest: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            exact_failed_multi: true,
            exact_reads: true,
            quorum_sync: false,
            super_digest: None,
        }
    }
}

/// A property that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Such as "I5".
    pub invariant: &'static str,
    pub text: String,
}

/// A connection that a client opens.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Any number that tells the servers apart.
    pub server: u64,
    /// The client's address as the server sees it, such as "127.0.0.1".
    pub address: &'a str,
    pub at: u64,
    /// The ConnectRequest.
    pub frame: &'a [u8],
}

/// Is told a history and finds what a correct service could not have done.
pub struct Checker {
    options: Options,
    violations: Vec<Violation>,
}

impl Checker {
    pub fn new(options: Options) -> Checker {
        Checker {
            options,
            violations: Vec::new(),
        }
    }

    /// A client sends a ConnectRequest. Numbers of connections are never used again.
    pub fn opened(&mut self, _conn: u64, _opened: Opened<'_>) {}

    /// Tells the session of a connection before its ConnectResponse is told.
    pub fn bound(&mut self, _conn: u64, _session: i64) {}

    /// A client sends a request.
    pub fn request(&mut self, _conn: u64, _at: u64, _frame: &[u8]) {}

    /// The next committed transaction: header, record, perhaps digest.
    pub fn entry(&mut self, _txn: &[u8]) {}

    /// A client receives a ConnectResponse, reply or event.
    pub fn received(&mut self, _conn: u64, _at: u64, _frame: &[u8]) {}

    /// Everything has been told.
    pub fn finish(&mut self) {}

    /// What was found so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}
