//! The bank's books: who has an account, how often somebody guessed wrong, who is signed in. No network and no clock: `now` is
//! always an argument, in seconds since 1970.
//!
//! The rules are each institution's own: so many wrong entries in a row lock the access for so many hours, wrong codes count
//! like wrong passwords, a code dies after its time or after one use, a session after five idle minutes.

use std::collections::HashMap;

use cofre_testkit::institutions::{Institution, ScaKind};
use serde::{Deserialize, Serialize};

use super::codes::{self, CodesError};
use super::form::Form;
use account::Account;
use phone::Phone;

mod account;
mod enrol;
mod phone;
#[cfg(test)]
mod tests;

pub use account::{AccountStats, Behaviour};
pub use enrol::{EnrolError, Enrolled, Enrolment};
pub(super) use phone::{AppCode, Message};

/// A session ends after this many idle seconds (RTS Article 4(3)(d): five minutes).
const IDLE: u64 = 300;

/// A session cookie's digest; the cookie itself is only in the client's hands.
pub(super) type SessionKey = [u8; 32];

/// Everything the bank knows.
pub(super) struct Books {
    institutions: Vec<Institution>,
    accounts: Vec<Account>,
    phones: HashMap<String, Phone>,
    sessions: HashMap<SessionKey, Session>,
    strangers: u64,
    transfer_hits: u64,
}

/// Somebody who passed the login form.
struct Session {
    institution: String,
    account: usize,
    waiting_for: Option<Code>,
    last_used: u64,
}

/// The code a session waits for.
enum Code {
    /// One sent by SMS, good until the moment given.
    Sent { digits: String, until: u64 },
    /// One the investor's app or device shows.
    Shown,
}

/// What the site answers to a form.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Answer {
    /// The session is open.
    SignedIn,
    /// A second factor is asked.
    CodeNeeded {
        /// How the code reaches the investor.
        kind: ScaKind,
        /// Its digits.
        length: u32,
        /// When waiting for it ends.
        expires_at: u64,
        /// Where it went, masked.
        hint: String,
    },
    /// The login is not known or not right.
    WrongLogin {
        /// Entries left before the access is locked.
        attempts_left: u32,
    },
    /// The code is not right.
    WrongCode {
        /// Entries left before the access is locked.
        attempts_left: u32,
    },
    /// The code came too late; log in again.
    CodeExpired,
    /// The access is locked.
    Locked {
        /// Until when.
        until: u64,
    },
    /// A new password is demanded.
    PasswordExpired,
    /// A required field is missing or empty.
    FieldMissing {
        /// Its key.
        field: String,
    },
    /// There is no session.
    SignInFirst,
    /// The site is closed.
    SiteDown,
}

/// An answer, and the cookie to set when a session begins.
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) cookie: Option<String>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, cookie: None }
    }
}

/// All counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Logins tried with identifiers no account has.
    pub strangers: u64,
    /// Requests for a transfer page, signed in or not. Must stay 0.
    pub transfer_hits: u64,
    /// Sessions open now, those waiting for a code included.
    pub sessions_open: u64,
    /// Sum of all accounts' complete sign-ins.
    pub sign_ins: u64,
    /// Sum of all accounts' wrong logins.
    pub wrong_logins: u64,
    /// Sum of all accounts' lock-outs.
    pub lockouts: u64,
    /// Sum of all accounts' codes sent by SMS.
    pub codes_sent: u64,
    /// Times a field that can sign orders came with a login. Must stay 0.
    pub signing_factors: u64,
    /// The counts of each account.
    pub accounts: Vec<AccountStats>,
}

impl Books {
    pub(super) fn new(institutions: Vec<Institution>) -> Self {
        Self {
            institutions,
            accounts: Vec::new(),
            phones: HashMap::new(),
            sessions: HashMap::new(),
            strangers: 0,
            transfer_hits: 0,
        }
    }

    /// The institution at this path.
    pub(super) fn institution(&self, slug: &str) -> Option<&Institution> {
        self.institutions.iter().find(|i| i.slug == slug)
    }

    /// Takes a login form.
    pub(super) fn sign_in(&mut self, slug: &str, form: &Form, now: u64) -> Result<Reply, CodesError> {
        let Some(institution) = self.institutions.iter().find(|i| i.slug == slug) else {
            return Ok(Answer::SignInFirst.into());
        };
        let missing = |key: &str| form.value(key).is_none_or(<[u8]>::is_empty);
        if let Some(field) = institution.login_fields().find(|f| missing(&f.key)) {
            return Ok(Answer::FieldMissing { field: field.key.clone() }.into());
        }
        let on_demand = Behaviour::asked_for(institution, form);
        let found = self.accounts.iter().position(|a| a.institution == slug && a.identifiers.is_of(institution, form));
        let behaviour = on_demand.or_else(|| found.and_then(|n| self.accounts.get(n)).and_then(|a| a.behaviour));
        if let Some(behaviour) = behaviour {
            return Ok(behaviour.answer(institution, now).into());
        }
        let Some((number, account)) = found.and_then(|n| Some((n, self.accounts.get_mut(n)?))) else {
            self.strangers += 1;
            return Ok(Answer::WrongLogin { attempts_left: institution.lockout_threshold - 1 }.into());
        };
        if let Some(refusal) = account.check_secrets(institution, form, now) {
            return Ok(refusal.into());
        }
        let step = self.ask_second_factor(number, slug, now)?;
        self.open_session(number, slug, step, now)
    }

    /// Starts the second factor: sends the SMS, or asks for what the app or device shows. `None` when no factor is asked.
    fn ask_second_factor(&mut self, number: usize, slug: &str, now: u64) -> Result<Option<(Code, Answer)>, CodesError> {
        let (Some(sca), Some(account)) = (self.institution(slug).map(|i| i.sca), self.accounts.get_mut(number)) else {
            return Ok(None);
        };
        let (code, expires_at, hint) = match sca.kind {
            ScaKind::None => return Ok(None),
            ScaKind::SmsOtp => {
                let digits = codes::random_code(sca.code_length)?;
                let until = now.saturating_add(sca.code_ttl_seconds);
                account.counts.codes_sent += 1;
                if let Some(phone) = self.phones.get_mut(&account.phone) {
                    phone.deliver(slug, &digits, now, until);
                }
                (Code::Sent { digits, until }, until, phone::masked(&account.phone))
            }
            ScaKind::TotpApp => (Code::Shown, now.saturating_add(IDLE), "authenticator".to_owned()),
            ScaKind::HardwareToken => (Code::Shown, now.saturating_add(IDLE), "device".to_owned()),
        };
        let answer = Answer::CodeNeeded { kind: sca.kind, length: sca.code_length, expires_at, hint };
        Ok(Some((code, answer)))
    }

    fn open_session(
        &mut self,
        account: usize,
        slug: &str,
        step: Option<(Code, Answer)>,
        now: u64,
    ) -> Result<Reply, CodesError> {
        let cookie = hex::encode(codes::random::<32>()?);
        let (waiting_for, answer) = match step {
            Some((code, answer)) => (Some(code), answer),
            None => (None, Answer::SignedIn),
        };
        if waiting_for.is_none() {
            self.signed_in(account);
        }
        let session = Session { institution: slug.to_owned(), account, waiting_for, last_used: now };
        self.sessions.insert(codes::digest(cookie.as_bytes()), session);
        Ok(Reply { answer, cookie: Some(cookie) })
    }

    fn signed_in(&mut self, account: usize) {
        if let Some(account) = self.accounts.get_mut(account) {
            account.signed_in();
        }
    }

    /// Takes the code of a session that waits for one.
    pub(super) fn submit_code(&mut self, slug: &str, key: SessionKey, code: &[u8], now: u64) -> Answer {
        self.drop_idle(now);
        let Some(session) = self.sessions.get_mut(&key).filter(|s| s.institution == slug) else {
            return Answer::SignInFirst;
        };
        let (Some(institution), Some(account)) =
            (self.institutions.iter().find(|i| i.slug == slug), self.accounts.get_mut(session.account))
        else {
            return Answer::SignInFirst;
        };
        session.last_used = now;
        let right = match &session.waiting_for {
            None => return Answer::SignedIn,
            Some(Code::Sent { until, .. }) if now >= *until => {
                self.sessions.remove(&key);
                return Answer::CodeExpired;
            }
            Some(Code::Sent { digits, .. }) => codes::digest(code) == codes::digest(digits.as_bytes()),
            Some(Code::Shown) => account.accept_shown_code(institution, code, now),
        };
        if right {
            session.waiting_for = None;
            account.signed_in();
            return Answer::SignedIn;
        }
        let refusal = account.wrong_code(institution, now);
        if matches!(refusal, Answer::Locked { .. }) {
            self.sessions.remove(&key);
        }
        refusal
    }

    /// The account whose complete session this is; using it starts its idle time anew.
    pub(super) fn signed_in_account(&mut self, slug: &str, key: SessionKey, now: u64) -> Option<&mut Account> {
        self.drop_idle(now);
        let session = self.sessions.get_mut(&key).filter(|s| s.institution == slug && s.waiting_for.is_none())?;
        session.last_used = now;
        self.accounts.get_mut(session.account)
    }

    /// Ends a session, complete or not.
    pub(super) fn sign_out(&mut self, key: SessionKey) {
        self.sessions.remove(&key);
    }

    /// Counts a request for the transfer page and ends the session it came with.
    pub(super) fn transfer_reached(&mut self, key: Option<SessionKey>) {
        self.transfer_hits += 1;
        let session = key.and_then(|k| self.sessions.remove(&k));
        if let Some(account) = session.and_then(|s| self.accounts.get_mut(s.account)) {
            account.counts.transfer_hits += 1;
        }
    }

    /// Hands out the unread messages of a phone, once. `None` for a wrong number or token.
    pub(super) fn inbox(&mut self, number: &str, token: &str) -> Option<Vec<Message>> {
        self.phones.get_mut(number).filter(|p| p.opens_with(token)).map(Phone::take)
    }

    /// What the authenticator app and the device of a phone's owner show now. `None` for a wrong number or token.
    pub(super) fn shown_codes(&self, number: &str, token: &str, now: u64) -> Option<Vec<AppCode>> {
        self.phones.get(number).filter(|p| p.opens_with(token))?;
        let mine = self.accounts.iter().filter(|a| a.phone == number);
        Some(mine.filter_map(|a| a.shown_code(self.institution(&a.institution)?, now)).collect())
    }

    /// All counts at this moment.
    pub(super) fn stats(&mut self, now: u64) -> Stats {
        self.drop_idle(now);
        let open_of = |number| self.sessions.values().filter(|s| s.account == number).count() as u64;
        let accounts: Vec<AccountStats> =
            self.accounts.iter().enumerate().map(|(number, account)| account.stats(open_of(number), now)).collect();
        let sum = |count: fn(&AccountStats) -> u64| accounts.iter().map(count).sum();
        Stats {
            strangers: self.strangers,
            transfer_hits: self.transfer_hits,
            sessions_open: self.sessions.len() as u64,
            sign_ins: sum(|a| a.sign_ins),
            wrong_logins: sum(|a| a.wrong_logins),
            lockouts: sum(|a| a.lockouts),
            codes_sent: sum(|a| a.codes_sent),
            signing_factors: sum(|a| a.signing_factors),
            accounts,
        }
    }

    fn drop_idle(&mut self, now: u64) {
        self.sessions.retain(|_, s| now < s.last_used.saturating_add(IDLE));
    }
}
