//! What an investor holds in the hand: the SMS inbox, and what the authenticator shows.
//! A message is handed out once; whoever lacks the phone's token reads nothing.

use serde::Serialize;

use crate::testbank::codes;

/// Unread messages a phone keeps; older ones are dropped.
const UNREAD: usize = 16;

/// An SMS.
#[derive(Debug, Serialize)]
pub(in crate::testbank) struct Message {
    from: String,
    code: String,
    text: String,
    sent_at: u64,
    expires_at: u64,
}

/// A code on the display of an app or device.
#[derive(Debug, Serialize)]
pub(in crate::testbank) struct AppCode {
    pub(super) account: String,
    pub(super) institution: String,
    pub(super) code: String,
    pub(super) valid_until: u64,
}

/// A phone.
pub(super) struct Phone {
    token: [u8; 32],
    unread: Vec<Message>,
}

impl Phone {
    pub(super) fn new(token: &str) -> Self {
        Self { token: codes::digest(token.as_bytes()), unread: Vec::new() }
    }

    pub(super) fn opens_with(&self, token: &str) -> bool {
        codes::digest(token.as_bytes()) == self.token
    }

    /// Makes a new token the only one.
    pub(super) fn change_token(&mut self, token: &str) {
        self.token = codes::digest(token.as_bytes());
    }

    pub(super) fn deliver(&mut self, from: &str, code: &str, now: u64, until: u64) {
        if self.unread.len() == UNREAD {
            self.unread.remove(0);
        }
        self.unread.push(Message {
            from: from.to_owned(),
            code: code.to_owned(),
            text: format!("{from}: your access code is {code}. Never give it to anybody who calls you."),
            sent_at: now,
            expires_at: until,
        });
    }

    pub(super) fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.unread)
    }
}

/// A number as a bank shows it: the last two digits only.
pub(super) fn masked(number: &str) -> String {
    let tail: String = number.chars().skip(number.chars().count().saturating_sub(2)).collect();
    format!("••• {tail}")
}
