//! The pages a worker may ask for. There is no other way to make a path, so there is no path to a transfer.

use http::Method;

/// One allowed page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    LoginForm,
    Login,
    SecondFactor,
    Positions,
    Transactions,
    Logout,
}

impl Page {
    /// Its name in errors.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::LoginForm => "login form",
            Self::Login => "login",
            Self::SecondFactor => "second factor",
            Self::Positions => "positions",
            Self::Transactions => "transactions",
            Self::Logout => "logout",
        }
    }

    pub(super) const fn method(self) -> Method {
        match self {
            Self::LoginForm | Self::Positions | Self::Transactions => Method::GET,
            Self::Login | Self::SecondFactor | Self::Logout => Method::POST,
        }
    }

    pub(super) const fn accept(self) -> &'static str {
        match self {
            Self::LoginForm => "text/html",
            _ => "application/json",
        }
    }

    /// Its path on the site of the institution `slug`, which has passed [`is_slug`].
    pub(super) fn path(self, slug: &str) -> String {
        let last = match self {
            Self::LoginForm => "",
            Self::Login => "login",
            Self::SecondFactor => "second-factor",
            Self::Positions => "positions",
            Self::Transactions => "transactions",
            Self::Logout => "logout",
        };
        format!("/{slug}/{last}")
    }
}

/// Whether a slug can stand in a path without meaning anything else there.
pub(super) fn is_slug(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether a form has an input of this name.
pub(super) fn has_field(html: &[u8], key: &str) -> bool {
    let wanted = format!("name=\"{key}\"");
    html.windows(wanted.len()).any(|part| part == wanted.as_bytes())
}
