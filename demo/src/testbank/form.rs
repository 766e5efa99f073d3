//! Reads and writes `application/x-www-form-urlencoded` bodies without ever making a `String` of a value: values may be passwords.

use zeroize::Zeroizing;

/// More fields than any form of ours has; the rest of a longer body is refused.
const MOST_FIELDS: usize = 32;

/// The fields of one submitted form. Values are wiped when dropped.
pub(super) struct Form {
    fields: Vec<(String, Zeroizing<Vec<u8>>)>,
}

impl Form {
    /// Reads a body; `None` when it is not a form.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Vec::new();
        for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|b| *b == b'=')?;
            let (key, value) = pair.split_at(at);
            let key = std::str::from_utf8(&decode(key)?).ok()?.to_owned();
            if fields.len() == MOST_FIELDS || fields.iter().any(|(k, _)| *k == key) {
                return None;
            }
            fields.push((key, decode(value.get(1..)?)?));
        }
        Some(Self { fields })
    }

    /// A form of these fields.
    pub(super) fn of(fields: &[(&str, &[u8])]) -> Self {
        let own = |(key, value): &(&str, &[u8])| ((*key).to_owned(), Zeroizing::new(value.to_vec()));
        Self { fields: fields.iter().map(own).collect() }
    }

    /// The value of a field.
    pub(super) fn value(&self, key: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_slice())
    }

    /// The value of a field that is plain text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.value(key).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// Every field.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(k, v)| (k.as_str(), v.as_slice()))
    }
}

/// A body of these fields, in a buffer of its final size.
pub(super) fn encode(fields: &[(&str, &[u8])]) -> Zeroizing<Vec<u8>> {
    let longest: usize = fields.iter().map(|(k, v)| k.len() + 2 + 3 * v.len()).sum();
    let mut body = Zeroizing::new(Vec::with_capacity(longest));
    for (key, value) in fields {
        body.extend_from_slice(key.as_bytes());
        body.push(b'=');
        for byte in *value {
            body.push(b'%');
            body.extend([byte >> 4, byte & 15].map(|half| if half < 10 { b'0' + half } else { b'A' + half - 10 }));
        }
        body.push(b'&');
    }
    body
}

/// Undoes percent-encoding; the buffer is made at full size once, so no copy is left behind by growth.
fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex_digit(*bytes.next()?)? << 4 | hex_digit(*bytes.next()?)?,
            plain => *plain,
        });
    }
    Some(out)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn reads_escapes_and_keeps_bytes() {
        let form = Form::parse(b"user=ana&password=a%26b+%3D%ff&empty=").unwrap();
        assert_eq!(form.value("user"), Some(b"ana".as_slice()));
        assert_eq!(form.value("password"), Some(b"a&b =\xff".as_slice()));
        assert_eq!(form.value("empty"), Some(b"".as_slice()));
        assert_eq!(form.text("password"), None);
        assert_eq!(form.fields().count(), 3);
    }

    #[test]
    fn reads_what_it_writes() {
        let body = super::encode(&[("field.user", b"ana"), ("pin", b"\x00%&=\xff")]);
        let form = Form::parse(&body).unwrap();
        assert_eq!(form.value("field.user"), Some(b"ana".as_slice()));
        assert_eq!(form.value("pin"), Some(b"\x00%&=\xff".as_slice()));
    }

    #[test]
    fn refuses_what_is_not_a_form() {
        for body in [b"user".as_slice(), b"a=1&a=2", b"a=%4", b"a=%zz"] {
            assert!(Form::parse(body).is_none(), "{body:?}");
        }
        let long: Vec<u8> = (0..40).flat_map(|n| format!("f{n}=1&").into_bytes()).collect();
        assert!(Form::parse(&long).is_none());
    }
}
