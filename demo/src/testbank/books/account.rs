//! One customer's account: what they know, what they hold, how often somebody was wrong.

use cofre_testkit::institutions::{Institution, LoginField, ScaKind};
use serde::{Deserialize, Serialize};

use super::phone::AppCode;
use super::{Answer, Form};
use crate::testbank::codes::{self, KnownSecret, Seed};

/// What a site does whatever is typed, for tests and demonstrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// `LOCKED`: the access is locked for the institution's usual time.
    Locked,
    /// `EXPIRED_PASSWORD`: a new password is demanded.
    ExpiredPassword,
    /// `SITE_DOWN`: the site answers 503.
    SiteDown,
}

impl Behaviour {
    const ALL: [Self; 3] = [Self::Locked, Self::ExpiredPassword, Self::SiteDown];

    /// The behaviour of this name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.word() == word)
    }

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Locked => "LOCKED",
            Self::ExpiredPassword => "EXPIRED_PASSWORD",
            Self::SiteDown => "SITE_DOWN",
        }
    }

    /// The behaviour a secret value of the form asks for by starting with its name.
    pub(super) fn asked_for(institution: &Institution, form: &Form) -> Option<Self> {
        secrets(institution, form)
            .find_map(|value| Self::ALL.into_iter().find(|b| value.starts_with(b.word().as_bytes())))
    }

    pub(super) fn answer(self, institution: &Institution, now: u64) -> Answer {
        match self {
            Self::Locked => Answer::Locked { until: now.saturating_add(institution.lockout_seconds()) },
            Self::ExpiredPassword => Answer::PasswordExpired,
            Self::SiteDown => Answer::SiteDown,
        }
    }
}

/// The values that say whose login it is, in the order of the form.
pub(super) struct Identifiers(Vec<Vec<u8>>);

impl Identifiers {
    pub(super) fn of(institution: &Institution, form: &Form) -> Self {
        Self(identifying(institution, form).map(<[u8]>::to_vec).collect())
    }

    pub(super) fn is_of(&self, institution: &Institution, form: &Form) -> bool {
        identifying(institution, form).eq(self.0.iter().map(Vec::as_slice))
    }
}

fn identifying<'a>(institution: &'a Institution, form: &'a Form) -> impl Iterator<Item = &'a [u8]> {
    values(institution, form, |f| !f.secret)
}

/// The secret values of a form, in the order of the institution's fields.
pub(super) fn secrets<'a>(institution: &'a Institution, form: &'a Form) -> impl Iterator<Item = &'a [u8]> {
    values(institution, form, |f| f.secret)
}

fn values<'a>(
    institution: &'a Institution,
    form: &'a Form,
    wanted: fn(&LoginField) -> bool,
) -> impl Iterator<Item = &'a [u8]> {
    institution.login_fields().filter(move |f| wanted(f)).map(|f| form.value(&f.key).unwrap_or_default())
}

/// A customer's account at one institution.
pub(in crate::testbank) struct Account {
    pub(in crate::testbank) name: String,
    pub(super) institution: String,
    pub(super) phone: String,
    pub(super) identifiers: Identifiers,
    pub(super) known: KnownSecret,
    pub(super) held: Seed,
    pub(super) behaviour: Option<Behaviour>,
    pub(super) tries: Tries,
    pub(in crate::testbank) counts: Counts,
}

/// What decides the next answer.
#[derive(Default)]
pub(super) struct Tries {
    wrong_logins: u32,
    wrong_codes: u32,
    locked_until: u64,
    /// The last time step whose code was taken: none is taken twice (RFC 6238 section 5.2).
    last_step: Option<u64>,
}

/// What is only counted.
#[derive(Default)]
pub(in crate::testbank) struct Counts {
    pub(super) sign_ins: u64,
    pub(super) wrong_logins: u64,
    pub(super) wrong_codes: u64,
    pub(super) codes_sent: u64,
    pub(super) lockouts: u64,
    pub(super) transfer_hits: u64,
    pub(super) signing_factors: u64,
    pub(in crate::testbank) positions_read: u64,
}

/// The counts of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStats {
    /// The account's name, as [`Enrolled`](super::Enrolled) gave it.
    pub account: String,
    /// Slug of its institution.
    pub institution: String,
    /// Complete sign-ins, second factor included.
    pub sign_ins: u64,
    /// Logins with a wrong secret.
    pub wrong_logins: u64,
    /// Wrong second-factor codes.
    pub wrong_codes: u64,
    /// Codes sent by SMS.
    pub codes_sent: u64,
    /// Times the access was locked.
    pub lockouts: u64,
    /// End of the lock now in force.
    pub locked_until: Option<u64>,
    /// Sessions open now.
    pub sessions_open: u64,
    /// Times the positions were read.
    pub positions_read: u64,
    /// Requests for the transfer page in a session of this account. Must stay 0.
    pub transfer_hits: u64,
    /// Times a field that can sign orders came with a login. Must stay 0.
    pub signing_factors: u64,
}

impl Account {
    /// Compares the secrets; the answer when they do not pass, else `None`.
    pub(super) fn check_secrets(&mut self, institution: &Institution, form: &Form, now: u64) -> Option<Answer> {
        let signs = |f: &&LoginField| f.signing_factor && form.value(&f.key).is_some_and(|v| !v.is_empty());
        self.counts.signing_factors += institution.fields.iter().filter(signs).count() as u64;
        if now < self.tries.locked_until {
            return Some(Answer::Locked { until: self.tries.locked_until });
        }
        if self.known.is(secrets(institution, form)) {
            return None;
        }
        self.counts.wrong_logins += 1;
        self.tries.wrong_logins += 1;
        let attempts_left = institution.lockout_threshold.saturating_sub(self.tries.wrong_logins);
        Some(match attempts_left {
            0 => self.lock(institution, now),
            attempts_left => Answer::WrongLogin { attempts_left },
        })
    }

    /// Whether a code is the one an app or device shows, give or take one step, and not yet used.
    pub(super) fn accept_shown_code(&mut self, institution: &Institution, code: &[u8], now: u64) -> bool {
        let sca = institution.sca;
        let middle = codes::step(now, sca.code_ttl_seconds);
        let given = codes::digest(code);
        let fits = |step: &u64| {
            self.tries.last_step.is_none_or(|last| *step > last)
                && codes::digest(self.held.code(*step, sca.code_length).as_bytes()) == given
        };
        let step = (middle.saturating_sub(1)..=middle.saturating_add(1)).find(fits);
        if step.is_some() {
            self.tries.last_step = step;
        }
        step.is_some()
    }

    /// Counts a wrong code and says what follows.
    pub(super) fn wrong_code(&mut self, institution: &Institution, now: u64) -> Answer {
        self.counts.wrong_codes += 1;
        self.tries.wrong_codes += 1;
        match institution.lockout_threshold.saturating_sub(self.tries.wrong_codes) {
            0 => self.lock(institution, now),
            attempts_left => Answer::WrongCode { attempts_left },
        }
    }

    fn lock(&mut self, institution: &Institution, now: u64) -> Answer {
        let until = now.saturating_add(institution.lockout_seconds());
        self.tries = Tries { locked_until: until, last_step: self.tries.last_step, ..Tries::default() };
        self.counts.lockouts += 1;
        Answer::Locked { until }
    }

    /// A complete sign-in forgives earlier mistakes.
    pub(super) fn signed_in(&mut self) {
        self.tries.wrong_logins = 0;
        self.tries.wrong_codes = 0;
        self.counts.sign_ins += 1;
    }

    /// What the customer's app or device shows now; `None` when this institution uses neither.
    pub(super) fn shown_code(&self, institution: &Institution, now: u64) -> Option<AppCode> {
        let sca = institution.sca;
        if !matches!(sca.kind, ScaKind::TotpApp | ScaKind::HardwareToken) {
            return None;
        }
        let step = codes::step(now, sca.code_ttl_seconds);
        Some(AppCode {
            account: self.name.clone(),
            institution: self.institution.clone(),
            code: self.held.code(step, sca.code_length),
            valid_until: step.saturating_add(1).saturating_mul(sca.code_ttl_seconds),
        })
    }

    pub(super) fn stats(&self, sessions_open: u64, now: u64) -> AccountStats {
        AccountStats {
            account: self.name.clone(),
            institution: self.institution.clone(),
            sign_ins: self.counts.sign_ins,
            wrong_logins: self.counts.wrong_logins,
            wrong_codes: self.counts.wrong_codes,
            codes_sent: self.counts.codes_sent,
            lockouts: self.counts.lockouts,
            locked_until: Some(self.tries.locked_until).filter(|until| now < *until),
            sessions_open,
            positions_read: self.counts.positions_read,
            transfer_hits: self.counts.transfer_hits,
            signing_factors: self.counts.signing_factors,
        }
    }
}
