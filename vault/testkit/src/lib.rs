//! For tests only: a clock that moves by hand, a certificate authority, fixture institutions and throw-away tokens. Never shipped.
