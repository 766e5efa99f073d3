//! How a visit can go, as types: nobody downstream reads the bank's words.

use http::StatusCode;
use serde::Deserialize;

/// Longest hint taken from a bank, in characters.
const HINT: usize = 64;

/// How a login ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginOutcome {
    /// The session is open.
    Ok,
    /// A typed code is asked.
    ScaRequired {
        /// How the code reaches the investor.
        kind: SecondFactor,
        /// Its digits.
        length: u32,
        /// When the bank stops waiting, in seconds since 1970.
        expires_at: u64,
        /// Where it went, as the bank masks it. Bank text: show it as plain text only.
        hint: String,
    },
    /// The bank refused the login. It must not be tried again.
    WrongSecret,
    /// The bank has locked the access.
    Locked {
        /// Until when, in seconds since 1970.
        until: u64,
    },
    /// The investor must choose a new password at the bank.
    PasswordExpired,
    /// The site is closed or does not answer.
    SiteUnavailable,
}

/// How a second-factor code was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeOutcome {
    /// The session is open.
    Ok,
    /// The code is wrong; the session still waits.
    WrongCode {
        /// Entries left before the bank locks the access.
        attempts_left: u32,
    },
    /// The code came too late; a new login is needed.
    CodeExpired,
    /// The bank has locked the access.
    Locked {
        /// Until when, in seconds since 1970.
        until: u64,
    },
    /// The session that waited for the code has ended.
    SessionEnded,
    /// The site is closed or does not answer.
    SiteUnavailable,
}

/// Second factors answered by a typed code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecondFactor {
    /// A code sent by SMS.
    SmsOtp,
    /// A code of the investor's authenticator app.
    TotpApp,
    /// A code shown by a device of the bank's.
    HardwareToken,
}

/// What went wrong with a bank's site, beyond the usual outcomes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    /// The institution's name cannot stand in a path.
    #[error("institution: use lower-case letters, digits and hyphens, at most 64")]
    Slug,
    /// The server's name is not a name.
    #[error("server_name is not a DNS name or an address")]
    Name,
    /// The authority cannot be used.
    #[error("ca_pem holds no usable certificate")]
    Root,
    /// The server's certificate is not of the authority given, or not for the name given.
    #[error("the bank's certificate is not trusted; nothing was sent")]
    NotTrusted,
    /// The site is closed or does not answer.
    #[error("the bank's site is closed or does not answer")]
    SiteUnavailable,
    /// A field is not on the login form.
    #[error("the login form has no field {field}; the template needs a new version, nothing was sent")]
    FormChanged {
        /// Its key.
        field: String,
    },
    /// There is no session, or it has ended.
    #[error("there is no open session at the bank")]
    NotSignedIn,
    /// A status that this page never gives.
    #[error("the {page} page answered {status}")]
    Unexpected {
        /// Which page.
        page: &'static str,
        /// What it said.
        status: StatusCode,
    },
    /// A body that is too large or not of the expected shape.
    #[error("the {page} page cannot be read")]
    Unreadable {
        /// Which page.
        page: &'static str,
    },
}

/// The words of the bank, taken by their name.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Said {
    SignedIn,
    CodeNeeded { kind: SecondFactor, length: u32, expires_at: u64, hint: String },
    WrongLogin,
    WrongCode { attempts_left: u32 },
    CodeExpired,
    Locked { until: u64 },
    PasswordExpired,
    FieldMissing { field: String },
    SignInFirst,
}

impl Said {
    pub(super) fn after_login(self, status: StatusCode) -> Result<LoginOutcome, BankError> {
        match self {
            Self::SignedIn => Ok(LoginOutcome::Ok),
            Self::CodeNeeded { kind, length, expires_at, hint } => {
                let hint = hint.chars().filter(|c| !c.is_control()).take(HINT).collect();
                Ok(LoginOutcome::ScaRequired { kind, length, expires_at, hint })
            }
            Self::WrongLogin => Ok(LoginOutcome::WrongSecret),
            Self::Locked { until } => Ok(LoginOutcome::Locked { until }),
            Self::PasswordExpired => Ok(LoginOutcome::PasswordExpired),
            Self::FieldMissing { field } => Err(BankError::FormChanged { field }),
            Self::WrongCode { .. } | Self::CodeExpired | Self::SignInFirst => {
                Err(BankError::Unexpected { page: "login", status })
            }
        }
    }

    pub(super) fn after_code(self, status: StatusCode) -> Result<CodeOutcome, BankError> {
        match self {
            Self::SignedIn => Ok(CodeOutcome::Ok),
            Self::WrongCode { attempts_left } => Ok(CodeOutcome::WrongCode { attempts_left }),
            Self::CodeExpired => Ok(CodeOutcome::CodeExpired),
            Self::Locked { until } => Ok(CodeOutcome::Locked { until }),
            Self::SignInFirst => Ok(CodeOutcome::SessionEnded),
            Self::FieldMissing { field } => Err(BankError::FormChanged { field }),
            Self::CodeNeeded { .. } | Self::WrongLogin | Self::PasswordExpired => {
                Err(BankError::Unexpected { page: "second factor", status })
            }
        }
    }
}
