//! The commands, one file per family. A command parses, calls once, and says what became of it.

mod audit;
mod keys;
mod operate;
mod privacy;
mod secure;
mod verify;

use std::future::Future;

use clap::Subcommand;

use crate::answer::Answer;
use crate::failure::Failure;

/// Everything `cofre` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Verify an export of the register, offline.
    ///
    /// Order, gaps, truncation, times, the signature, and every entry up to the signed root; then which intents have no
    /// outcome. Exit code 0 if it verifies, 1 if not. Without --key it is only shown to agree with itself, and the
    /// answer says so.
    Verify(verify::Verify),
    /// Verify the proof that an entry stands in the register, offline.
    VerifyProof(verify::VerifyProof),
    /// Auditor: read, search, prove and export the register.
    Audit(audit::Audit),
    /// Operator or auditor: the state of the node that answers.
    Status(operate::Status),
    /// Operator: register or change a tenant.
    ///
    /// The file holds slug, legal_name, home_region, recipients (a list of names), and [[signing_keys]] with kind ("job"
    /// or "attendance"), public_key (Ed25519, 64 hex characters) and not_after (RFC 3339). Every key is needed but
    /// custody_set (who is to hold a new tenant's key, such as any_of(hsm-1)) and warm_for_seconds (how long it may stay
    /// warm), for which the node has its own.
    Tenant(operate::Tenant),
    /// Operator: register or change an institution.
    ///
    /// The file holds id (ins_…), name, country (ISO 3166-1 alpha-2), lockout_threshold, unattended_from and
    /// unattended_to (minutes of the day, UTC) and suspended (true or false). Every key is needed.
    Institution(operate::Institution),
    /// Operator: add a version of an institution's login form.
    ///
    /// The file holds institution (ins_…), version, and [[fields]] in the order of the form, each with key, pattern,
    /// required, secret, signing_factor, identifies and release_form. Every key is needed.
    Template(operate::Template),
    /// Operator: register or change a worker.
    ///
    /// The file holds spiffe_id and [[scopes]], each with tenant (ten_…) and institution (ins_…). Every key is needed.
    Worker(operate::Worker),
    /// Operator: deposit keys of tenants.
    DepositKey(operate::DepositKey),
    /// Operator: move tenant keys from custodian to custodian, and retire what was left. Custodian: take part in a key
    /// ceremony, offline; the keys are made by `cofred keys init`.
    Keys(keys::Keys),
    /// Security: stop releases in a scope, at once.
    Lockdown(secure::Lockdown),
    /// Security: take all trust from a worker, at once.
    Quarantine(secure::Quarantine),
    /// Privacy officer: erase a person's logins, for good.
    Erase(privacy::Erase),
    /// Privacy officer: the signed certificate of an erasure.
    Certificate(privacy::Certificate),
    /// Privacy officer: withdraw a consent on a person's behalf.
    Revoke(privacy::Revoke),
}

impl Command {
    /// Runs it.
    ///
    /// # Errors
    /// [`Failure`], which carries the exit code.
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Verify(command) => command.run(),
            Self::VerifyProof(command) => command.run(),
            Self::Audit(command) => wait(command.run()),
            Self::Status(command) => wait(command.run()),
            Self::Tenant(command) => wait(command.run()),
            Self::Institution(command) => wait(command.run()),
            Self::Template(command) => wait(command.run()),
            Self::Worker(command) => wait(command.run()),
            Self::DepositKey(command) => wait(command.run()),
            Self::Keys(command) => wait(command.run()),
            Self::Lockdown(command) => wait(command.run()),
            Self::Quarantine(command) => wait(command.run()),
            Self::Erase(command) => wait(command.run()),
            Self::Certificate(command) => wait(command.run()),
            Self::Revoke(command) => wait(command.run()),
        }
    }
}

fn wait(work: impl Future<Output = Result<Answer, Failure>>) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::Failed(format!("runtime: {why}")))?;
    runtime.block_on(work)
}
