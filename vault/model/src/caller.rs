//! Who calls: SPIFFE identities, parsed strictly, and the [`Caller`] that only a verified certificate makes.

use std::fmt;

use crate::id::{IdError, Slug};

/// The role an identity's path gives, and nothing else gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Enrolment front end of one tenant.
    FrontEnd,
    /// Extraction worker.
    Worker,
    /// Administrator of one tenant.
    TenantAdmin,
    /// Security team.
    Security,
    /// Auditor.
    Auditor,
    /// Operator.
    Operator,
    /// Privacy officer.
    Privacy,
    /// Key custodian.
    Custodian,
    /// A vault node.
    Node,
}

impl Role {
    /// Every role, in the order of the method table.
    pub const ALL: [Self; 9] = [
        Self::FrontEnd,
        Self::Worker,
        Self::TenantAdmin,
        Self::Security,
        Self::Auditor,
        Self::Operator,
        Self::Privacy,
        Self::Custodian,
        Self::Node,
    ];
}

/// Why a URI is not an identity of this deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not `spiffe://<trust domain>/…`.
    #[error("identity must be a spiffe:// URI of this deployment's trust domain")]
    TrustDomain,
    /// The path is none of the forms this deployment knows.
    #[error("identity path is none of the known forms")]
    Path,
    /// A segment of the path is malformed.
    #[error("identity path segment: {0}")]
    Segment(#[from] IdError),
}

/// The path of an identity, by form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityPath {
    /// `tenant/<slug>/frontend/<name>`
    FrontEnd {
        /// The tenant it is bound to.
        tenant: Slug,
        /// Its name.
        name: Slug,
    },
    /// `tenant/<slug>/admin/<name>`
    TenantAdmin {
        /// The tenant it is bound to.
        tenant: Slug,
        /// Its name.
        name: Slug,
    },
    /// `worker/<pool>/<name>`
    Worker {
        /// The pool it runs in.
        pool: Slug,
        /// Its name.
        name: Slug,
    },
    /// `person/<security|auditor|operator|privacy|custodian>/<name>`
    Person {
        /// One of the five personal roles.
        role: Role,
        /// The person's name.
        name: Slug,
    },
    /// `node/<region>/<name>`
    Node {
        /// The region it serves.
        region: Slug,
        /// Its name.
        name: Slug,
    },
}

/// A SPIFFE identity of this deployment. Its text is canonical: parsing and printing give back the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: String,
    path: IdentityPath,
}

impl SpiffeId {
    /// Parses `uri`, which must lie in `trust_domain` exactly (SPIFFE-ID, section 2; no folding, no decoding).
    ///
    /// # Errors
    /// [`IdentityError`] names what is wrong with it.
    pub fn parse(uri: &str, trust_domain: &str) -> Result<Self, IdentityError> {
        let rest = uri.strip_prefix("spiffe://").ok_or(IdentityError::TrustDomain)?;
        let rest = rest.strip_prefix(trust_domain).ok_or(IdentityError::TrustDomain)?;
        let rest = rest.strip_prefix('/').ok_or(IdentityError::TrustDomain)?;
        let mut segments = rest.split('/');
        let mut next = || segments.next().ok_or(IdentityError::Path);
        let path = match next()? {
            "tenant" => {
                let tenant = Slug::try_from(next()?)?;
                match next()? {
                    "frontend" => IdentityPath::FrontEnd { tenant, name: Slug::try_from(next()?)? },
                    "admin" => IdentityPath::TenantAdmin { tenant, name: Slug::try_from(next()?)? },
                    _ => return Err(IdentityError::Path),
                }
            }
            "worker" => IdentityPath::Worker { pool: Slug::try_from(next()?)?, name: Slug::try_from(next()?)? },
            "node" => IdentityPath::Node { region: Slug::try_from(next()?)?, name: Slug::try_from(next()?)? },
            "person" => {
                let role = match next()? {
                    "security" => Role::Security,
                    "auditor" => Role::Auditor,
                    "operator" => Role::Operator,
                    "privacy" => Role::Privacy,
                    "custodian" => Role::Custodian,
                    _ => return Err(IdentityError::Path),
                };
                IdentityPath::Person { role, name: Slug::try_from(next()?)? }
            }
            _ => return Err(IdentityError::Path),
        };
        if segments.next().is_some() {
            return Err(IdentityError::Path);
        }
        Ok(Self { trust_domain: trust_domain.to_owned(), path })
    }

    /// The path by form.
    #[must_use]
    pub fn path(&self) -> &IdentityPath {
        &self.path
    }

    /// The role the path gives.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.path {
            IdentityPath::FrontEnd { .. } => Role::FrontEnd,
            IdentityPath::TenantAdmin { .. } => Role::TenantAdmin,
            IdentityPath::Worker { .. } => Role::Worker,
            IdentityPath::Person { role, .. } => *role,
            IdentityPath::Node { .. } => Role::Node,
        }
    }

    /// The tenant a front end or tenant administrator is bound to.
    #[must_use]
    pub fn tenant(&self) -> Option<&Slug> {
        match &self.path {
            IdentityPath::FrontEnd { tenant, .. } | IdentityPath::TenantAdmin { tenant, .. } => Some(tenant),
            IdentityPath::Worker { .. } | IdentityPath::Person { .. } | IdentityPath::Node { .. } => None,
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/", self.trust_domain)?;
        match &self.path {
            IdentityPath::FrontEnd { tenant, name } => write!(f, "tenant/{tenant}/frontend/{name}"),
            IdentityPath::TenantAdmin { tenant, name } => write!(f, "tenant/{tenant}/admin/{name}"),
            IdentityPath::Worker { pool, name } => write!(f, "worker/{pool}/{name}"),
            IdentityPath::Node { region, name } => write!(f, "node/{region}/{name}"),
            IdentityPath::Person { role, name } => {
                let role = match role {
                    Role::Security => "security",
                    Role::Auditor => "auditor",
                    Role::Operator => "operator",
                    Role::Privacy => "privacy",
                    // INVARIANT: `parse` makes Person only with one of five roles.
                    Role::Custodian | Role::FrontEnd | Role::Worker | Role::TenantAdmin | Role::Node => "custodian",
                };
                write!(f, "person/{role}/{name}")
            }
        }
    }
}

/// An authenticated caller: the peer of a TLS connection whose certificate chain was verified.
///
/// ```compile_fail
/// # use cofre_model::caller::{Caller, SpiffeId};
/// fn forge(identity: SpiffeId) -> Caller {
///     Caller { identity, fingerprint: [0; 32] } // private fields
/// }
/// ```
/// The passing twin: a caller can be read by whoever is handed one.
/// ```
/// # use cofre_model::caller::{Caller, Role};
/// fn role(caller: &Caller) -> Role {
///     caller.identity().role()
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    identity: SpiffeId,
    fingerprint: [u8; 32],
}

impl Caller {
    /// For the counter alone, after the chain, the revocation list and the single URI SAN were checked.
    /// `fingerprint` is SHA-256 over the leaf certificate's DER. Clippy refuses this call anywhere else.
    #[must_use]
    pub fn from_verified_chain(identity: SpiffeId, fingerprint: [u8; 32]) -> Self {
        Self { identity, fingerprint }
    }

    /// The identity the certificate proves.
    #[must_use]
    pub fn identity(&self) -> &SpiffeId {
        &self.identity
    }

    /// SHA-256 over the leaf certificate's DER.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_prints_as_it_parsed() {
        for uri in [
            "spiffe://cofre.test/tenant/acme/frontend/web-1",
            "spiffe://cofre.test/tenant/acme/admin/ana",
            "spiffe://cofre.test/worker/pool-a/w1",
            "spiffe://cofre.test/person/security/sol",
            "spiffe://cofre.test/person/auditor/ada",
            "spiffe://cofre.test/person/operator/otto",
            "spiffe://cofre.test/person/privacy/pia",
            "spiffe://cofre.test/person/custodian/carl",
            "spiffe://cofre.test/node/eu-nl/n1",
        ] {
            assert_eq!(SpiffeId::parse(uri, "cofre.test").map(|id| id.to_string()), Ok(uri.to_owned()));
        }
    }

    #[test]
    fn odd_identities_are_refused_never_folded() {
        for uri in [
            "spiffe://cofre.test",
            "spiffe://cofre.test/",
            "spiffe://Cofre.test/worker/a/b",
            "SPIFFE://cofre.test/worker/a/b",
            "spiffe://cofre.test.evil/worker/a/b",
            "spiffe://other.test/worker/a/b",
            "spiffe://cofre.test:443/worker/a/b",
            "spiffe://u@cofre.test/worker/a/b",
            "spiffe://cofre.test/worker/a/b/",
            "spiffe://cofre.test/worker/a//b",
            "spiffe://cofre.test/worker/a/../b",
            "spiffe://cofre.test/worker/a%2fb/c",
            "spiffe://cofre.test/worker/A/b",
            "spiffe://cofre.test/worker/a",
            "spiffe://cofre.test/person/root/x",
            "https://cofre.test/worker/a/b",
        ] {
            assert!(SpiffeId::parse(uri, "cofre.test").is_err(), "{uri} was accepted");
        }
    }
}
