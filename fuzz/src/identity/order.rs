//! Certificates built to order, and what an honest reader has to think of each. The signature is nobody's: chains are
//! verified elsewhere.

use crate::input::Input;

/// Names from good to odd; a certificate picks among them.
pub(super) const NAMES: [&[u8]; 20] = [
    b"spiffe://cofre.test/worker/pool-a/w1",
    b"spiffe://cofre.test/tenant/acme/frontend/web-1",
    b"spiffe://cofre.test/tenant/acme/admin/ana",
    b"spiffe://cofre.test/person/security/sol",
    b"spiffe://cofre.test/node/eu-nl/n1",
    b"spiffe://cofre.test",
    b"spiffe://Cofre.test/worker/a/b",
    b"spiffe://cofre.test.evil/worker/a/b",
    b"spiffe://cofre.test:443/worker/a/b",
    b"spiffe://cofre.test/worker/a%2fb/c",
    b"spiffe://cofre.test/worker/a/../b",
    b"spiffe://cofre.test/worker/a//b",
    b"spiffe://cofre.test/worker/a/b/",
    b"spiffe://cofre.test/person/root/x",
    b"spiffe://cofre.test/worker/a/b\0",
    b"spiffe://cofre.test/worker/\xc3\xa4/b",
    b"spiffe://cofre.test/worker/\xff/b",
    b"SPIFFE://cofre.test/worker/a/b",
    b"https://cofre.test/worker/a/b",
    b"",
];

/// The rules of a name, told again: whole bytes, no folding, no decoding.
pub(super) fn is_identity(name: &[u8]) -> bool {
    let Some(path) = name.strip_prefix(b"spiffe://cofre.test/") else { return false };
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let slug = |part: &[u8]| {
        (1..=63).contains(&part.len())
            && part[0] != b'-'
            && part.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    };
    match parts.as_slice() {
        [b"tenant", tenant, b"frontend" | b"admin", name] => slug(tenant) && slug(name),
        [b"worker" | b"node", home, name] => slug(home) && slug(name),
        [b"person", b"security" | b"auditor" | b"operator" | b"privacy" | b"custodian", name] => slug(name),
        _ => false,
    }
}

/// An extension that is in the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Names,
    KeyUsage,
    Purposes,
    Basic,
    Unknown,
}

/// One extension to order, with the choices of its content.
#[derive(Debug, Clone, Copy)]
struct Extension {
    kind: Kind,
    critical: bool,
    content: u8,
}

/// What a certificate is to be.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// 0 is version 1, 2 is version 3.
    version: u8,
    extensions: Vec<Extension>,
    /// The alternative names: kind (URI where true, else DNS) and text.
    names: Vec<(bool, Vec<u8>)>,
    padding: usize,
}

impl Order {
    /// The choices of a good certificate.
    pub(super) const GOOD: [u8; 18] = [0, 4, 1, 1, 0x80, 2, 0, 2, 3, 0, 0, 0, 0, 0, 1, 1, 0, 0];

    pub(super) fn good() -> Self {
        Self::from(&mut Input::new(&Self::GOOD))
    }

    /// Version, number of extensions, then kind, criticality and content of each, then the names, then padding.
    pub(super) fn from(input: &mut Input<'_>) -> Self {
        let version = if input.byte() % 8 == 3 { 0 } else { 2 };
        let mut extensions = Vec::new();
        for _ in 0..input.byte() % 7 {
            let kind = match input.byte() % 5 {
                0 => Kind::Names,
                1 => Kind::KeyUsage,
                2 => Kind::Purposes,
                3 => Kind::Basic,
                _ => Kind::Unknown,
            };
            extensions.push(Extension { kind, critical: input.flag(), content: input.byte() });
        }
        let mut names = Vec::new();
        for _ in 0..input.byte() % 4 {
            let uri = input.byte() % 4 != 0;
            let name = match input.byte() {
                255 => input.chunk().to_vec(),
                which => NAMES[usize::from(which) % NAMES.len()].to_vec(),
            };
            names.push((uri, name));
        }
        Self { version, extensions, names, padding: usize::from(input.byte()) * 48 }
    }

    /// The name an honest reader takes it for; nothing where it has to refuse.
    pub(super) fn identity(&self) -> Option<String> {
        let one = |kind: Kind| {
            let mut all = self.extensions.iter().filter(|extension| extension.kind == kind);
            all.next().filter(|_| all.next().is_none())
        };
        for (place, extension) in self.extensions.iter().enumerate() {
            let repeated = self.extensions[..place].iter().any(|earlier| earlier.kind == extension.kind);
            let authority = extension.kind == Kind::Basic && extension.content & 1 == 1;
            let unknown = extension.kind == Kind::Unknown && extension.critical;
            if repeated || authority || unknown {
                return None;
            }
        }
        let usage = one(Kind::KeyUsage)?;
        let (signs, certifies) = (usage.content & 0x80 != 0, usage.content & 0x06 != 0);
        one(Kind::Names)?;
        let client = one(Kind::Purposes)?.content & 2 == 2;
        let uris: Vec<&Vec<u8>> = self.names.iter().filter(|(uri, _)| *uri).map(|(_, name)| name).collect();
        let [uri] = uris.as_slice() else { return None };
        let legible = self.names.iter().all(|(_, name)| name.is_ascii());
        let good = self.version == 2 && usage.critical && signs && !certifies && client && legible && is_identity(uri);
        good.then(|| String::from_utf8_lossy(uri).into_owned())
    }

    /// The certificate.
    pub(super) fn der(&self) -> Vec<u8> {
        let algorithm = seq(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])]);
        let name = seq(&[]);
        let validity = seq(&[tlv(0x17, b"260101000000Z"), tlv(0x17, b"270101000000Z")]);
        let p256 = seq(&[
            oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]),
            oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
        ]);
        let key = seq(&[p256, tlv(0x03, &[&[0, 4][..], &[7; 64]].concat())]);
        let mut parts = Vec::new();
        if self.version > 0 {
            parts.push(tlv(0xa0, &tlv(0x02, &[self.version])));
        }
        parts.extend([tlv(0x02, &[1]), algorithm.clone(), name.clone(), validity, name, key]);
        if !self.extensions.is_empty() {
            let all: Vec<Vec<u8>> = self.extensions.iter().map(|extension| self.extension(*extension)).collect();
            parts.push(tlv(0xa3, &seq(&all)));
        }
        seq(&[seq(&parts), algorithm, tlv(0x03, &[0, 0x30, 0])])
    }

    fn extension(&self, Extension { kind, critical, content }: Extension) -> Vec<u8> {
        let (number, value): (&[u8], Vec<u8>) = match kind {
            Kind::Names => {
                let names: Vec<Vec<u8>> =
                    self.names.iter().map(|(uri, name)| tlv(if *uri { 0x86 } else { 0x82 }, name)).collect();
                (&[0x55, 0x1d, 0x11], seq(&names))
            }
            // One byte of bits: digitalSignature 0x80 … keyCertSign 0x04, cRLSign 0x02.
            Kind::KeyUsage => (&[0x55, 0x1d, 0x0f], tlv(0x03, &[0, content])),
            Kind::Purposes => {
                let all = [(2, 2), (1, 1), (4, 3), (8, 9)];
                let named: Vec<Vec<u8>> = all
                    .iter()
                    .filter(|(bit, _)| content & bit != 0)
                    .map(|(_, last)| oid(&[0x2b, 6, 1, 5, 5, 7, 3, *last]))
                    .collect();
                (&[0x55, 0x1d, 0x25], seq(&named))
            }
            Kind::Basic => {
                let ca = if content & 1 == 1 { vec![tlv(0x01, &[0xff])] } else { Vec::new() };
                (&[0x55, 0x1d, 0x13], seq(&ca))
            }
            Kind::Unknown => (&[0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 1], tlv(0x04, &vec![0; self.padding])),
        };
        let mut parts = vec![oid(number)];
        if critical {
            parts.push(tlv(0x01, &[0xff]));
        }
        parts.push(tlv(0x04, &value));
        seq(&parts)
    }
}

fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn oid(bytes: &[u8]) -> Vec<u8> {
    tlv(0x06, bytes)
}

/// One DER element of up to 65,535 bytes.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = match content.len() {
        short @ 0..=0x7f => vec![tag, u8::try_from(short).unwrap_or(0x7f)],
        middle @ 0x80..=0xff => vec![tag, 0x81, u8::try_from(middle).unwrap_or(0xff)],
        long => {
            let [high, low] = u16::try_from(long).unwrap_or(u16::MAX).to_be_bytes();
            vec![tag, 0x82, high, low]
        }
    };
    element.extend_from_slice(content);
    element
}
