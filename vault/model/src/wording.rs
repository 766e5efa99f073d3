//! Closed lists that consents, jobs, policies and ledger entries share. Each value has one text and one number;
//! the number is the protobuf one, and 0 is never a value.

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value, in the order of its numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text used in ledger entries, policies and messages.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The number on the wire; never 0.
            #[must_use]
            pub const fn number(self) -> i32 {
                match self { $(Self::$variant => $number,)* }
            }

            /// From the number on the wire; 0 and unknown numbers are nothing.
            #[must_use]
            pub const fn from_number(number: i32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// From its exact text.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}
pub(crate) use words;

words! {
    /// What the data may be used for (GDPR, Article 5(1)(b)). There is no payment purpose, by design.
    Purpose {
        /// Show an investor's wealth across institutions.
        WealthAggregation = 1 "WEALTH_AGGREGATION",
        /// Prepare tax statements.
        TaxReporting = 2 "TAX_REPORTING",
        /// Assess suitability under MiFID II.
        Suitability = 3 "SUITABILITY",
    }

    /// A kind of data that a consent can name.
    Scope {
        /// Who the person is.
        Identity = 1 "IDENTITY",
        /// List of accounts.
        Accounts = 2 "ACCOUNTS",
        /// Account balances.
        Balances = 3 "BALANCES",
        /// Account transactions.
        Transactions = 4 "TRANSACTIONS",
        /// Payment cards.
        Cards = 5 "CARDS",
        /// Portfolios.
        Portfolios = 6 "PORTFOLIOS",
        /// Positions in financial instruments.
        Positions = 7 "POSITIONS",
        /// Transactions in financial instruments.
        InvestmentTransactions = 8 "INVESTMENT_TRANSACTIONS",
        /// Loans and other debts.
        Liabilities = 9 "LIABILITIES",
        /// Holders of accounts.
        Holders = 10 "HOLDERS",
        /// Documents.
        Documents = 11 "DOCUMENTS",
        /// Suitability answers.
        Suitability = 12 "SUITABILITY",
    }

    /// The class of stored secret; each class has a data key of its own.
    Class {
        /// The fields of a login form.
        Login = 1 "LOGIN",
        /// A TOTP seed: of it only codes ever leave.
        TotpSeed = 2 "TOTP_SEED",
    }

    /// The form in which a field may leave.
    Form {
        /// The whole value.
        Full = 1 "FULL",
        /// Only the characters at named positions.
        Positions = 2 "POSITIONS",
        /// Only a code derived from it.
        Code = 3 "CODE",
    }

    /// Whether the investor is present (RTS 2018/389, Article 36(5)(a)).
    Attendance {
        /// The investor actively asks; proven by a signed statement used once.
        Attended = 1 "ATTENDED",
        /// Nobody is present.
        Unattended = 2 "UNATTENDED",
    }

    /// Language of a notice. A missing language blocks the screen; nothing falls back.
    Locale {
        /// Spanish.
        Es = 1 "es",
        /// English.
        En = 2 "en",
        /// French.
        Fr = 3 "fr",
        /// Portuguese.
        Pt = 4 "pt",
    }

    /// How a login at the institution went, as the worker reports it.
    Outcome {
        /// Logged in and read.
        Ok = 1 "OK",
        /// The institution asked for a second factor that could not be had.
        ScaRequired = 2 "SCA_REQUIRED",
        /// The institution refused the secret. It is never tried again.
        WrongSecret = 3 "WRONG_SECRET",
        /// The institution has locked the login.
        Locked = 4 "LOCKED",
        /// The password has expired.
        PasswordExpired = 5 "PASSWORD_EXPIRED",
        /// The investor has to do something at the institution.
        UserAction = 6 "USER_ACTION",
        /// The site is down.
        SiteUnavailable = 7 "SITE_UNAVAILABLE",
        /// The site refuses automated visitors.
        BlockedBySite = 8 "BLOCKED_BY_SITE",
        /// A second factor that cannot be relayed.
        UnsupportedSca = 9 "UNSUPPORTED_SCA",
        /// Cancelled by the investor, the vault or the worker.
        Cancelled = 10 "CANCELLED",
        /// The worker failed.
        Internal = 11 "INTERNAL",
    }

    /// Kind of a second-factor challenge whose answer is a typed text code.
    ScaKind {
        /// Code sent by SMS.
        SmsOtp = 1 "SMS_OTP",
        /// Code shown by an authenticator app.
        TotpApp = 2 "TOTP_APP",
        /// Code shown by a hardware device.
        HardwareToken = 3 "HARDWARE_TOKEN",
        /// Code shown in the bank's own app.
        AppCode = 4 "APP_CODE",
    }
}

/// A set of data scopes, ordered and free of repeats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSet(std::collections::BTreeSet<Scope>);

impl ScopeSet {
    /// Whether every scope of `self` is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether no scope is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    /// The texts joined by commas, for a column or a canonical statement.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.iter().map(Scope::as_str).collect::<Vec<_>>().join(",")
    }

    /// From comma-joined texts; an unknown word is refused.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        text.split(',').map(Scope::from_text).collect::<Option<_>>().map(Self)
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_go_both_ways_and_zero_is_nothing() {
        for scope in Scope::ALL {
            assert_eq!(Scope::from_number(scope.number()), Some(*scope));
            assert_eq!(Scope::from_text(scope.as_str()), Some(*scope));
        }
        assert_eq!(Scope::from_number(0), None);
        assert_eq!(Purpose::from_text("PAYMENT"), None);
    }

    #[test]
    fn scope_sets_compare_and_survive_their_text() {
        let small: ScopeSet = [Scope::Positions].into_iter().collect();
        let large: ScopeSet = [Scope::Positions, Scope::Accounts].into_iter().collect();
        assert!(small.is_subset(&large) && !large.is_subset(&small));
        assert_eq!(ScopeSet::from_text(&large.to_text()), Some(large));
        assert_eq!(ScopeSet::from_text("POSITIONS,"), None);
    }
}
