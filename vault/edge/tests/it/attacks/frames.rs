//! HTTP/2 by hand (RFC 9113): frames written one by one, a header block of literals (RFC 7541, 6.2.2), and a reader that
//! only counts what comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;

use crate::support::within;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const ACK: u8 = 0x1;

/// ENHANCE_YOUR_CALM (RFC 9113, 7).
pub(super) const CALM: u32 = 0xb;
/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, 6.5.2).
pub(super) const INITIAL_WINDOW: u16 = 4;

/// The window before anybody says otherwise (RFC 9113, 6.9.2).
const WINDOW: i64 = 65_535;
/// The largest frame before anybody says otherwise (RFC 9113, 4.2).
pub(super) const FRAME: usize = 16_384;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(super) fn setting(id: u16, value: u32) -> Vec<u8> {
    [id.to_be_bytes().as_slice(), &value.to_be_bytes()].concat()
}

/// A literal without indexing, or one that is kept in the dynamic table.
pub(super) fn literal(kept: bool, name: &str, value: &[u8]) -> Vec<u8> {
    [&[if kept { 0x40 } else { 0 }], string(name.as_bytes()).as_slice(), &string(value)].concat()
}

/// A string literal without Huffman code: a 7-bit prefix, then seven bits a byte (RFC 7541, 5.1 and 5.2).
fn string(bytes: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    if bytes.len() < 127 {
        coded.push(u8::try_from(bytes.len()).expect("short"));
    } else {
        coded.push(127);
        let mut rest = bytes.len() - 127;
        while rest >= 128 {
            coded.push(u8::try_from(rest % 128).expect("seven bits") | 0x80);
            rest /= 128;
        }
        coded.push(u8::try_from(rest).expect("seven bits"));
    }
    coded.extend_from_slice(bytes);
    coded
}

/// The head of a gRPC call.
pub(super) fn head(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "vault"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields.iter().flat_map(|(name, value)| literal(false, name, value.as_bytes())).collect()
}

/// What came back.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    /// Heads of answers, trailers apart.
    pub(super) heads: usize,
    /// Streams that the vault reset for an error.
    pub(super) resets: usize,
    /// Bytes of answers.
    pub(super) data: usize,
    pub(super) pongs: usize,
    /// The code of a GOAWAY.
    pub(super) goaway: Option<u32>,
    pub(super) closed: bool,
    answered: BTreeSet<u32>,
    ended: BTreeSet<u32>,
    connection: i64,
    streams: BTreeMap<u32, i64>,
    of_stream: BTreeMap<u32, usize>,
    initial: i64,
}

impl Seen {
    /// Streams that are over.
    pub(super) fn ended(&self) -> usize {
        self.ended.len()
    }

    /// Bytes of the answer on `stream`.
    pub(super) fn data_of(&self, stream: u32) -> usize {
        self.of_stream.get(&stream).copied().unwrap_or_default()
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let number = |at: usize| {
            payload.get(at..at + 4).map_or(0, |four| u32::from_be_bytes(four.try_into().expect("four bytes")))
        };
        match kind {
            DATA => {
                self.data += payload.len();
                *self.of_stream.entry(stream).or_default() += payload.len();
            }
            HEADERS => {
                self.heads += usize::from(self.answered.insert(stream));
                if flags & END_STREAM != 0 {
                    self.ended.insert(stream);
                }
            }
            RST_STREAM => {
                // NO_ERROR follows an answer that did not need the whole request (RFC 9113, 8.1).
                self.resets += usize::from(number(0) != 0);
                self.ended.insert(stream);
            }
            PING if flags & ACK != 0 => self.pongs += 1,
            GOAWAY => self.goaway = Some(number(4)),
            WINDOW_UPDATE if stream == 0 => self.connection += i64::from(number(0)),
            WINDOW_UPDATE => *self.streams.entry(stream).or_default() += i64::from(number(0)),
            SETTINGS if flags & ACK == 0 => {
                for each in payload.chunks_exact(6) {
                    if each[..2] == INITIAL_WINDOW.to_be_bytes() {
                        self.initial = i64::from(u32::from_be_bytes(each[2..6].try_into().expect("four bytes")));
                    }
                }
            }
            _ => {}
        }
    }
}

/// One connection, spoken by hand.
pub(super) struct Wire {
    write: WriteHalf<TlsStream<TcpStream>>,
    /// Held back where the peer reads nothing.
    unread: Option<ReadHalf<TlsStream<TcpStream>>>,
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    next: u32,
    sent: BTreeMap<u32, i64>,
}

impl Wire {
    /// Opens with a preface and `settings`, and counts what comes back.
    pub(super) async fn open(stream: TlsStream<TcpStream>, settings: &[u8]) -> Self {
        let mut wire = Self::unread(stream, settings).await;
        wire.read_on();
        within(wire.until(|seen| seen.initial != WINDOW || seen.closed)).await;
        // The vault's own windows hold from here on.
        assert!(wire.send(&frame(SETTINGS, ACK, 0, &[])).await, "{:?}", wire.seen());
        wire
    }

    /// The same, and reads nothing.
    pub(super) async fn unread(stream: TlsStream<TcpStream>, settings: &[u8]) -> Self {
        let (read, write) = tokio::io::split(stream);
        let seen = Seen { connection: WINDOW, initial: WINDOW, ..Seen::default() };
        let mut wire = Self {
            write,
            unread: Some(read),
            seen: Arc::new(Mutex::new(seen)),
            changed: Arc::default(),
            next: 1,
            sent: BTreeMap::new(),
        };
        let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0, settings).as_slice()].concat();
        assert!(wire.send(&preface).await, "the preface was not taken");
        wire
    }

    /// Reads from now on.
    pub(super) fn read_on(&mut self) {
        if let Some(read) = self.unread.take() {
            tokio::spawn(count(read, Arc::clone(&self.seen), Arc::clone(&self.changed)));
        }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("whole")
    }

    /// False once the vault takes nothing more.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        !self.seen().closed && self.write.write_all(bytes).await.is_ok() && self.write.flush().await.is_ok()
    }

    /// The next stream of this side.
    pub(super) fn stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Opens a stream with the head of a call.
    pub(super) async fn call(&mut self, path: &str, flags: u8) -> Option<u32> {
        let stream = self.stream();
        self.send(&frame(HEADERS, END_HEADERS | flags, stream, &head(path))).await.then_some(stream)
    }

    /// One gRPC call with an empty message.
    pub(super) async fn ask(&mut self, path: &str) -> Option<u32> {
        let stream = self.call(path, 0).await?;
        self.data(stream, &[0; 5], END_STREAM).await.then_some(stream)
    }

    /// Sends data as the windows allow; false once the vault takes nothing more of it.
    pub(super) async fn data(&mut self, stream: u32, bytes: &[u8], flags: u8) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.room(stream).await.min(FRAME).min(rest.len());
            if room == 0 {
                return false;
            }
            let (now, later) = rest.split_at(room);
            let flags = if later.is_empty() { flags } else { 0 };
            if !self.send(&frame(DATA, flags, stream, now)).await {
                return false;
            }
            let spent = i64::try_from(room).expect("short");
            self.seen().connection -= spent;
            *self.sent.entry(stream).or_default() += spent;
            rest = later;
        }
        true
    }

    /// What may be sent on a stream, once that is something; zero where the vault ended it.
    async fn room(&self, stream: u32) -> usize {
        let sent = self.sent.get(&stream).copied().unwrap_or_default();
        let left = |seen: &Seen| {
            let of_stream = seen.initial + seen.streams.get(&stream).copied().unwrap_or_default() - sent;
            of_stream.min(seen.connection)
        };
        let over = |seen: &Seen| seen.closed || seen.ended.contains(&stream);
        within(self.until(|seen| left(seen) > 0 || over(seen))).await;
        let seen = self.seen();
        if over(&seen) { 0 } else { usize::try_from(left(&seen)).expect("room") }
    }

    pub(super) async fn until(&self, done: impl Fn(&Seen) -> bool) {
        loop {
            let changed = self.changed.notified();
            if done(&self.seen()) {
                return;
            }
            changed.await;
        }
    }

    /// Whether the connection lives: a PING is answered.
    pub(super) async fn lives(&mut self) -> bool {
        let before = self.seen().pongs;
        if !self.send(&frame(PING, 0, 0, b"are you?")).await {
            return false;
        }
        within(self.until(|seen| seen.pongs > before || seen.closed)).await;
        !self.seen().closed
    }

    /// Waits until the vault has closed the connection.
    pub(super) async fn closed(&self) -> Seen {
        within(self.until(|seen| seen.closed)).await;
        self.seen().clone()
    }
}

async fn count(mut read: ReadHalf<TlsStream<TcpStream>>, seen: Arc<Mutex<Seen>>, changed: Arc<Notify>) {
    let mut head = [0; 9];
    while read.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).expect("short")];
        if read.read_exact(&mut payload).await.is_err() {
            break;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        seen.lock().expect("whole").take(head[3], head[4], stream, &payload);
        changed.notify_waiters();
    }
    seen.lock().expect("whole").closed = true;
    changed.notify_waiters();
}
