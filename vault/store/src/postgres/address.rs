//! Where a PostgreSQL database is and who asks: parsed from the keyword/value text that PostgreSQL's own tools take.
//! Unlike theirs, an unknown keyword, a weak TLS mode or a password in the text is refused, and nothing is taken from
//! the environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// The keywords of a connection text.
const KEYWORDS: [&str; 8] = ["host", "port", "dbname", "user", "sslmode", "sslrootcert", "sslcert", "sslkey"];
/// The port PostgreSQL listens on unless told otherwise.
const PORT: u16 = 5432;
/// Variables that the driver reads and no setting of ours could undo.
const VARIABLES: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

/// How the server proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// It does not: a socket in a folder, or a loopback address.
    Off,
    /// By a certificate of a known authority, for whatever name.
    Ca,
    /// By a certificate of a known authority for the host's name.
    Full,
}

/// One database of a PostgreSQL server and the role that asks. Clones share the password; the last one wipes it.
#[derive(Clone)]
pub struct Postgres {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) tls: Tls,
    pub(crate) root: Option<PathBuf>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) password: Option<Arc<Zeroizing<String>>>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SECURITY: without the password.
        f.debug_struct("Postgres")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Why a connection text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A keyword nobody knows.
    #[error("unknown keyword {keyword:?}: known are host, port, dbname, user, sslmode, sslrootcert, sslcert, sslkey")]
    Unknown {
        /// Which.
        keyword: String,
    },
    /// A keyword given twice.
    #[error("{keyword} is given twice")]
    Twice {
        /// Which.
        keyword: &'static str,
    },
    /// A password in the text.
    #[error("a password does not belong in the connection text: give it by `password`")]
    Password,
    /// A keyword that has to be given.
    #[error("{keyword} is missing")]
    Missing {
        /// Which.
        keyword: &'static str,
    },
    /// A value that cannot be.
    #[error("{keyword} has to be {expected}")]
    Value {
        /// Of which keyword.
        keyword: &'static str,
        /// What is taken.
        expected: &'static str,
    },
    /// No `keyword = value`, or a quote that does not end.
    #[error("the text is not a list of `keyword=value` with quotes that end")]
    Syntax,
    /// An environment variable that would change the connection.
    #[error("the environment variable {variable} would change the connection: unset it")]
    Environment {
        /// Which.
        variable: &'static str,
    },
}

impl Postgres {
    /// Parses a connection text such as `host=db1 dbname=cofre_records user=cofre_records`. A host that starts with a
    /// slash is the folder of a socket, and needs no TLS; any other is asked for a certificate of its name
    /// (`sslmode=verify-full`) unless told otherwise.
    ///
    /// # Errors
    /// What is wrong with the text, by keyword.
    pub fn parse(text: &str, password: Option<Zeroizing<String>>) -> Result<Self, AddressError> {
        Self::parse_beside(text, password, |variable| std::env::var_os(variable).is_some())
    }

    fn parse_beside(
        text: &str,
        password: Option<Zeroizing<String>>,
        is_set: impl Fn(&str) -> bool,
    ) -> Result<Self, AddressError> {
        if let Some(variable) = VARIABLES.into_iter().find(|variable| is_set(variable)) {
            return Err(AddressError::Environment { variable });
        }
        let given = Given::read(text)?;
        let host = given.needed("host")?;
        let socket = Path::new(&host).is_absolute();
        let tls = tls(given.value("sslmode"), socket)?;
        let identity = match (given.value("sslcert"), given.value("sslkey")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (Some(_), None) => return Err(AddressError::Missing { keyword: "sslkey" }),
            (None, Some(_)) => return Err(AddressError::Missing { keyword: "sslcert" }),
        };
        let root = given.value("sslrootcert").map(PathBuf::from);
        if tls == Tls::Off && (root.is_some() || identity.is_some()) {
            let expected = "verify-full or verify-ca where certificates are given";
            return Err(AddressError::Value { keyword: "sslmode", expected });
        }
        Ok(Self {
            port: port(given.value("port"))?,
            database: given.needed("dbname")?,
            user: given.needed("user")?,
            host,
            tls,
            root,
            identity,
            password: password.map(Arc::new),
        })
    }

    /// The role that asks.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.user
    }

    /// The same database, asked as another role.
    #[must_use]
    pub fn as_role(&self, role: &str, password: Option<Zeroizing<String>>) -> Self {
        Self { user: role.to_owned(), password: password.map(Arc::new), ..self.clone() }
    }

    /// Whether both name the same database by the same host.
    #[must_use]
    pub fn is_same_database(&self, other: &Self) -> bool {
        (&self.host, self.port, &self.database) == (&other.host, other.port, &other.database)
    }

    /// Whether what is asked and answered could be read or changed on its way.
    pub(crate) fn is_exposed(&self) -> bool {
        let near = Path::new(&self.host).is_absolute()
            || self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.tls == Tls::Off && !near
    }
}

fn tls(word: Option<&str>, socket: bool) -> Result<Tls, AddressError> {
    match (word, socket) {
        (None | Some("disable"), true) | (Some("disable"), false) => Ok(Tls::Off),
        (None | Some("verify-full"), false) => Ok(Tls::Full),
        (Some("verify-ca"), false) => Ok(Tls::Ca),
        (Some(_), true) => Err(AddressError::Value { keyword: "sslmode", expected: "disable on a socket folder" }),
        (Some(_), false) => {
            Err(AddressError::Value { keyword: "sslmode", expected: "verify-full, verify-ca or disable" })
        }
    }
}

fn port(word: Option<&str>) -> Result<u16, AddressError> {
    match word.map(str::parse) {
        None => Ok(PORT),
        Some(Ok(port)) if port > 0 => Ok(port),
        Some(_) => Err(AddressError::Value { keyword: "port", expected: "a number from 1 to 65535" }),
    }
}

/// What a text gives, keyword by keyword.
#[derive(Default)]
struct Given([Option<String>; KEYWORDS.len()]);

impl Given {
    /// Reads `keyword = value` pairs: a value with spaces stands in single quotes, and a backslash keeps a quote or a
    /// backslash (PostgreSQL manual, section 34.1.1.1).
    fn read(text: &str) -> Result<Self, AddressError> {
        let mut given = Self::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (keyword, after) = rest.split_once('=').ok_or(AddressError::Syntax)?;
            let keyword = keyword.trim_end();
            let (value, after) = value(after.trim_start())?;
            given.put(keyword, value)?;
            rest = after.trim_start();
        }
        Ok(given)
    }

    fn put(&mut self, keyword: &str, value: String) -> Result<(), AddressError> {
        if keyword == "password" {
            return Err(AddressError::Password);
        }
        let place = KEYWORDS.iter().zip(&mut self.0).find(|(known, _)| **known == keyword);
        match place {
            None => Err(AddressError::Unknown { keyword: keyword.to_owned() }),
            Some((keyword, Some(_))) => Err(AddressError::Twice { keyword }),
            Some((_, empty)) => {
                *empty = Some(value);
                Ok(())
            }
        }
    }

    fn value(&self, keyword: &str) -> Option<&str> {
        KEYWORDS.iter().zip(&self.0).find(|(known, _)| **known == keyword).and_then(|(_, value)| value.as_deref())
    }

    fn needed(&self, keyword: &'static str) -> Result<String, AddressError> {
        match self.value(keyword) {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(AddressError::Missing { keyword }),
        }
    }
}

/// One value, and what stands after it.
fn value(text: &str) -> Result<(String, &str), AddressError> {
    let (quoted, text) = text.strip_prefix('\'').map_or((false, text), |inner| (true, inner));
    let mut value = String::new();
    let mut letters = text.chars();
    loop {
        match letters.next() {
            Some('\'') if quoted => break,
            Some(letter) if letter.is_whitespace() && !quoted => break,
            Some('\\') => value.push(letters.next().ok_or(AddressError::Syntax)?),
            Some(letter) => value.push(letter),
            None if quoted => return Err(AddressError::Syntax),
            None => break,
        }
    }
    Ok((value, letters.as_str()))
}
