//! The few cookies of one visit, in memory only and wiped with it. Cookies that scripts or plain HTTP could read are not kept:
//! no bank worth visiting sets its session so.

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

/// More cookies than any site here sets; later ones are ignored.
const MOST: usize = 8;
/// Longest cookie kept, name and value.
const LONGEST: usize = 4096;

/// Name and value of each cookie.
#[derive(Default)]
pub(super) struct Cookies(Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>);

impl Cookies {
    /// Keeps, replaces or drops cookies as a response says.
    pub(super) fn keep(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE) {
            self.keep_one(line.as_bytes());
        }
    }

    fn keep_one(&mut self, line: &[u8]) {
        let mut parts = line.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let Some((name, value)) = parts.next().and_then(split_pair) else {
            return;
        };
        let (mut secure, mut hidden, mut ended) = (false, false, false);
        for attribute in parts {
            secure |= attribute.eq_ignore_ascii_case(b"secure");
            hidden |= attribute.eq_ignore_ascii_case(b"httponly");
            ended |= attribute.eq_ignore_ascii_case(b"max-age=0");
        }
        if !secure || !hidden || line.len() > LONGEST {
            return;
        }
        self.0.retain(|(known, _)| known != name);
        if !ended && self.0.len() < MOST {
            self.0.push((name.to_vec(), Zeroizing::new(value.to_vec())));
        }
    }

    /// The `Cookie` header for the next request.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let pairs: Vec<&[u8]> =
            self.0.iter().flat_map(|(name, value)| [b"; ".as_slice(), name, b"=", value.as_slice()]).skip(1).collect();
        let line = Zeroizing::new(pairs.concat());
        let mut header = HeaderValue::from_bytes(&line).ok().filter(|_| !line.is_empty())?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn split_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|b| *b == b'=')?;
    let (name, value) = pair.split_at(at);
    Some((name, value.get(1..)?)).filter(|(name, _)| !name.is_empty())
}
