//! Reads and writes jute, the encoding of requests, replies and logged transactions.

/// A cursor over encoded bytes. `None` means that the bytes end too early or make no sense.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub fn boolean(&mut self) -> Option<bool> {
        Some(self.take(1)?[0] != 0)
    }

    pub fn int(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    pub fn long(&mut self) -> Option<i64> {
        self.take(8)?.try_into().ok().map(i64::from_be_bytes)
    }

    /// A buffer; the inner `None` is null, which differs from empty.
    pub fn buffer(&mut self) -> Option<Option<&'a [u8]>> {
        match self.int()? {
            -1 => Some(None),
            length => self.take(usize::try_from(length).ok()?).map(Some),
        }
    }

    /// A string; null reads as empty where that makes no difference.
    pub fn text_or_null(&mut self) -> Option<String> {
        let bytes = self.buffer()?.unwrap_or_default();
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A string that must be there, such as a path.
    pub fn text(&mut self) -> Option<String> {
        let bytes = self.buffer()??;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A vector; the inner `None` is null.
    pub fn vector<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Option<Vec<T>>> {
        match self.int()? {
            -1 => Some(None),
            count => (0..count)
                .map(|_| item(self))
                .collect::<Option<Vec<T>>>()
                .map(Some),
        }
    }
}

/// Collects encoded bytes.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    pub fn done(self) -> Vec<u8> {
        self.bytes
    }

    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.bytes.push(u8::from(value));
        self
    }

    pub fn int(&mut self, value: i32) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn long(&mut self, value: i64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub fn buffer(&mut self, value: Option<&[u8]>) -> &mut Self {
        match value {
            None => self.int(-1),
            Some(bytes) => self.count(bytes.len()).raw(bytes),
        }
    }

    pub fn text(&mut self, value: &str) -> &mut Self {
        self.buffer(Some(value.as_bytes()))
    }

    pub fn texts<T: AsRef<str>>(&mut self, values: impl ExactSizeIterator<Item = T>) -> &mut Self {
        self.count(values.len());
        for value in values {
            self.text(value.as_ref());
        }
        self
    }

    pub fn count(&mut self, count: usize) -> &mut Self {
        self.int(i32::try_from(count).expect("a record is smaller than 2 GiB"))
    }
}
