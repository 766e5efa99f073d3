use super::*;

#[test]
fn a_slug_cannot_lead_elsewhere() {
    for slug in ["", "..", "a/transfer", "banc-valles?x", "BANC", "a%2f"] {
        assert!(!page::is_slug(slug), "{slug}");
    }
    assert!(page::is_slug("banc-valles"));
}

#[test]
fn a_form_is_encoded_in_a_buffer_that_never_grew() {
    let body = form::encode_wiped(&[("user", b"ana"), ("password", b"a&b =\xff")]);
    assert_eq!(body.as_slice(), b"user=ana&password=a%26b%20%3D%FF");
    assert!(body.len() <= body.capacity());
    let worst = form::encode_wiped(&[("p", &[0xff; 300])]);
    assert!(worst.len() <= 3 * 301 + 2 && worst.len() > 900);
}

#[test]
fn only_guarded_cookies_are_kept() {
    let mut cookies = Cookies::default();
    let mut headers = http::HeaderMap::new();
    for line in ["a=1; Secure; HttpOnly", "b=2; HttpOnly", "c=3; Secure", "d=4; secure; httponly; Path=/x"] {
        headers.append(http::header::SET_COOKIE, line.parse().unwrap());
    }
    cookies.keep(&headers);
    assert_eq!(cookies.header().unwrap().as_bytes(), b"a=1; d=4");
    let mut ending = http::HeaderMap::new();
    ending.append(http::header::SET_COOKIE, "a=; Max-Age=0; Secure; HttpOnly".parse().unwrap());
    cookies.keep(&ending);
    assert_eq!(cookies.header().unwrap().as_bytes(), b"d=4");
    cookies.clear();
    assert!(cookies.header().is_none());
}

#[test]
fn isins_need_their_check_digit() {
    for isin in ["US0378331005", "ES0113900J37", "FR0000120271", "DE000BASF111"] {
        assert!(Isin::try_from(isin.to_owned()).is_ok(), "{isin}");
    }
    for isin in ["US0378331006", "ES0113900J3", "es0113900j37", "120000120271", "US03783310é5"] {
        assert_eq!(Isin::try_from(isin.to_owned()), Err(NotAnIsin), "{isin}");
    }
}

mod wiping {
    //! The body must reach the transport in its own buffer and be let go of as soon as it is written.

    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use super::*;
    use hyper::rt::{Read, ReadBufCursor, Write};

    /// A request body that says when it is dropped.
    struct Watched {
        bytes: zeroize::Zeroizing<Vec<u8>>,
        dropped: Arc<AtomicBool>,
    }

    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            self.dropped.store(true, Ordering::SeqCst);
        }
    }

    /// A transport that notes whether the body arrives at its own address, and never answers.
    struct Spy {
        body_at: usize,
        seen: Arc<AtomicUsize>,
    }

    impl Read for Spy {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }
    }

    impl Write for Spy {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn is_write_vectored(&self) -> bool {
            true
        }
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[std::io::IoSlice<'_>],
        ) -> Poll<std::io::Result<usize>> {
            let own = bufs.iter().filter(|b| b.as_ptr().addr() == self.body_at).count();
            self.seen.fetch_add(own, Ordering::SeqCst);
            Poll::Ready(Ok(bufs.iter().map(|b| b.len()).sum()))
        }
    }

    #[tokio::test]
    async fn a_written_body_is_never_copied_and_is_let_go() {
        let (dropped, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let bytes = form::encode_wiped(&[("password", b"correct horse battery")]);
        let spy = Spy { body_at: bytes.as_ptr().addr(), seen: Arc::clone(&seen) };
        let body = Bytes::from_owner(Watched { bytes, dropped: Arc::clone(&dropped) });
        let (mut sender, connection) = http1::Builder::new().writev(true).handshake(spy).await.unwrap();
        let task = tokio::spawn(connection);
        let request = Request::post("/x/login").header(HOST, "x").body(Full::new(body)).unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(200), sender.send_request(request)).await;
        assert!(answer.is_err(), "the spy never answers");
        assert_eq!(seen.load(Ordering::SeqCst), 1, "the body went out from its own buffer, once");
        assert!(dropped.load(Ordering::SeqCst), "the buffer was wiped although no answer came");
        task.abort();
    }
}
