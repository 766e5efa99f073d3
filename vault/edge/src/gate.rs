//! Which role may call which method, and at which listener. A method without a row is refused, whoever asks.
//!
//! What is *not* checked here: whose tenant, job or credential a call names. That is the use case's business, and
//! something foreign answers there like something absent.

use cofre_model::caller::Role;

use Role::{Auditor as A, FrontEnd as F, Operator as O, Privacy as P, Security as S, TenantAdmin as T, Worker as W};

/// Every role that a certificate can carry: methods of these rows give away nothing about anybody.
const ANY: &[Role] = &Role::ALL;

/// The table of `docs/reference/methods`: full method name, roles. Sorted as the services are listed there.
const TABLE: &[(&str, &[Role])] = &[
    ("/cofre.v1.DepositService/DepositKey", &[F]),
    ("/cofre.v1.DepositService/OpenEnrolment", &[F]),
    ("/cofre.v1.DepositService/Deposit", &[F]),
    ("/cofre.v1.DepositService/CancelEnrolment", &[F]),
    ("/cofre.v1.DepositService/CredentialState", &[F, T]),
    ("/cofre.v1.ConsentService/Notice", &[F]),
    ("/cofre.v1.ConsentService/Grant", &[F]),
    ("/cofre.v1.ConsentService/Revoke", &[F, T, P]),
    ("/cofre.v1.ConsentService/Receipt", &[F, P, A]),
    ("/cofre.v1.ReleaseService/Release", &[W]),
    ("/cofre.v1.ReleaseService/ReportOutcome", &[W]),
    ("/cofre.v1.ReleaseService/WatchLease", &[W]),
    ("/cofre.v1.RelayService/Open", &[W]),
    ("/cofre.v1.RelayService/AwaitAnswer", &[W]),
    ("/cofre.v1.RelayService/Conclude", &[W]),
    ("/cofre.v1.RelayService/Watch", &[F]),
    ("/cofre.v1.RelayService/Answer", &[F]),
    ("/cofre.v1.RelayService/Cancel", &[W, F]),
    ("/cofre.v1.PrivacyService/Erase", &[F, P]),
    ("/cofre.v1.PrivacyService/Certificate", &[F, P, A]),
    ("/cofre.v1.AuditService/Checkpoint", ANY),
    ("/cofre.v1.AuditService/Tile", ANY),
    ("/cofre.v1.AuditService/Prove", &[W, A]),
    ("/cofre.v1.AuditService/Entry", &[A]),
    ("/cofre.v1.AuditService/Search", &[A]),
    ("/cofre.v1.AuditService/Export", &[A]),
    ("/cofre.v1.AdminService/PutTenant", &[O]),
    ("/cofre.v1.AdminService/PutInstitution", &[O]),
    ("/cofre.v1.AdminService/PutTemplate", &[O]),
    ("/cofre.v1.AdminService/PutWorker", &[O]),
    ("/cofre.v1.SecurityService/Lockdown", &[S]),
    ("/cofre.v1.SecurityService/QuarantineWorker", &[S]),
    ("/cofre.v1.OperatorService/Status", &[O, A]),
    ("/cofre.v1.OperatorService/RotateDepositKey", &[O]),
    ("/cofre.v1.OperatorService/KeyStatus", &[O, A]),
    ("/cofre.v1.OperatorService/RewrapKeys", &[O]),
    ("/cofre.v1.OperatorService/RotateKeys", &[O]),
    ("/cofre.v1.OperatorService/StopKeyJob", &[O]),
    ("/cofre.v1.OperatorService/RetireKeys", &[O]),
    ("/cofre.v1.OperatorService/RetireTenantKeys", &[O]),
    ("/grpc.health.v1.Health/Check", ANY),
];

/// The two doors of a node. Each role comes in by one of them only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listener {
    /// Front ends, tenant administrators, workers and other nodes.
    TenantsAndWorkers,
    /// Security, auditors, operators, privacy officers and custodians.
    People,
}

impl Listener {
    /// Both.
    pub const ALL: [Self; 2] = [Self::TenantsAndWorkers, Self::People];

    /// The door of a role.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        match role {
            Role::FrontEnd | Role::TenantAdmin | Role::Worker | Role::Node => Self::TenantsAndWorkers,
            Role::Security | Role::Auditor | Role::Operator | Role::Privacy | Role::Custodian => Self::People,
        }
    }

    /// The name in configuration and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TenantsAndWorkers => "tenants_and_workers",
            Self::People => "people",
        }
    }

    /// Whether any role that comes in by this door may call `method`; a service without such a method need not be
    /// mounted here.
    #[must_use]
    pub fn serves(self, method: &str) -> bool {
        allowed(method).is_some_and(|roles| roles.iter().any(|role| Self::of(*role) == self))
    }
}

/// The roles that may call `method` (`/package.Service/Method`), or none where it has no row.
#[must_use]
pub fn allowed(method: &str) -> Option<&'static [Role]> {
    TABLE.iter().find(|(name, _)| *name == method).map(|(_, roles)| *roles)
}

/// The table's own copy of a listed method's name, safe for logs and metric labels.
#[must_use]
pub fn listed(method: &str) -> Option<&'static str> {
    TABLE.iter().find(|(name, _)| *name == method).map(|(name, _)| *name)
}

/// Every listed method, in the order of the table.
pub fn methods() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Whether a caller of `role` who came in by `listener` may call `method`.
#[must_use]
pub fn permits(listener: Listener, method: &str, role: Role) -> bool {
    Listener::of(role) == listener && allowed(method).is_some_and(|roles| roles.contains(&role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_one_row_and_at_least_one_role() {
        let mut seen = std::collections::BTreeSet::new();
        for (method, roles) in TABLE {
            assert!(seen.insert(*method), "{method} has two rows");
            assert!(!roles.is_empty(), "{method} admits nobody");
        }
        assert_eq!(seen.len(), 41);
    }

    #[test]
    fn near_misses_are_unlisted() {
        for method in [
            "",
            "/",
            "/cofre.v1.ReleaseService",
            "/cofre.v1.ReleaseService/",
            "/cofre.v1.ReleaseService/release",
            "/cofre.v1.ReleaseService/Release/",
            "//cofre.v1.ReleaseService/Release",
            "/cofre.v1.ReleaseService/%52elease",
            "/cofre.v1.ReleaseService/Release?x",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(allowed(method), None, "{method}");
        }
    }

    #[test]
    fn a_role_is_served_at_its_own_door_only() {
        for role in Role::ALL {
            for method in methods() {
                let at: Vec<_> = Listener::ALL.into_iter().filter(|door| permits(*door, method, role)).collect();
                let expected = if allowed(method).is_some_and(|roles| roles.contains(&role)) {
                    vec![Listener::of(role)]
                } else {
                    vec![]
                };
                assert_eq!(at, expected, "{role:?} {method}");
            }
        }
    }
}
