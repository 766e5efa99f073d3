//! The rows: what goes wrong, and what callers may see of it.

use std::time::Duration;

use cofre_custody::Cause;
use rustix::process::Signal;

use super::{Asks, Row, World};
use crate::bench::faults;

/// Long enough for a host to be started anew on a busy machine.
const CALM: Duration = Duration::from_secs(20);
/// For causes that are waited for.
const BRIEF: Duration = Duration::from_secs(2);

fn nothing(_: &World) {}

/// A keyring row that is not what it should be. Nothing is wrong with the module.
const fn bad_row(what: &'static str, asks: Asks, seen: &'static [Cause]) -> Row {
    Row { what, deadline: CALM, begin: nothing, end: nothing, asks, seen, always: true }
}

/// Puts the files of a token away; a host that holds them open ends.
fn away(world: &World) {
    let tokens = world.folder.tokens();
    std::fs::rename(&tokens, tokens.with_extension("away")).expect("moved away");
    world.signal(Signal::KILL);
}

fn back(world: &World) {
    let tokens = world.folder.tokens();
    std::fs::rename(tokens.with_extension("away"), &tokens).expect("moved back");
}

fn swap(world: &World) {
    away(world);
    std::fs::rename(world.other.tokens(), world.folder.tokens()).expect("another in its place");
    world.signal(Signal::KILL);
}

fn swap_back(world: &World) {
    std::fs::rename(world.folder.tokens(), world.other.tokens()).expect("taken out");
    back(world);
    world.signal(Signal::KILL);
}

/// What every module can suffer.
pub(super) const ANY: &[Row] = &[
    Row {
        what: "process killed",
        deadline: CALM,
        begin: |world| world.signal(Signal::KILL),
        end: nothing,
        asks: Asks::Good,
        seen: &[Cause::Crashed],
        always: false,
    },
    Row {
        what: "module crashed",
        deadline: CALM,
        begin: |world| world.signal(Signal::SEGV),
        end: nothing,
        asks: Asks::Good,
        seen: &[Cause::Crashed],
        always: false,
    },
    Row {
        what: "process stopped",
        deadline: BRIEF,
        begin: |world| world.signal(Signal::STOP),
        end: nothing,
        asks: Asks::Good,
        seen: &[Cause::Timeout, Cause::Crashed, Cause::Busy],
        always: false,
    },
    Row {
        what: "token's files away",
        deadline: CALM,
        begin: away,
        end: back,
        asks: Asks::Good,
        seen: &[
            Cause::TokenAbsent,
            Cause::Unprotected,
            Cause::ModuleUnusable,
            Cause::Transient,
            Cause::Crashed,
            Cause::KeyMissing,
        ],
        always: true,
    },
    Row {
        what: "another token of the same label",
        deadline: CALM,
        begin: swap,
        end: swap_back,
        asks: Asks::Good,
        // A host that is started between two renames finds no token, or none yet.
        seen: &[
            Cause::KeyMissing,
            Cause::TokenAbsent,
            Cause::Unprotected,
            Cause::ModuleUnusable,
            Cause::Transient,
            Cause::Crashed,
        ],
        always: true,
    },
    bad_row("a damaged row", Asks::Damaged, &[Cause::Integrity]),
    bad_row("a row of another tenant", Asks::OfAnotherTenant, &[Cause::Integrity]),
    bad_row("a row of another key", Asks::OfAnotherKey, &[Cause::KeyMissing]),
    bad_row("a row of another mechanism", Asks::OfAnotherMechanism, &[Cause::KeyMissing]),
];

fn plan(world: &World, function: &str, rest: &str) {
    faults(&world.child, &format!("[[rule]]\nfunction = \"{function}\"\n{rest}\n"));
}

fn over(world: &World) {
    faults(&world.child, "");
}

/// A return code as long as the cause lasts.
macro_rules! answers {
    ($function:literal, $code:literal, $always:literal, $($seen:ident),+) => {
        Row {
            what: concat!($function, " answers ", $code),
            deadline: CALM,
            begin: |world| plan(world, $function, concat!("return = \"", $code, "\"")),
            end: over,
            asks: Asks::Good,
            seen: &[$(Cause::$seen),+],
            always: $always,
        }
    };
}

/// What only the simulated module can be told to do.
pub(super) const SIMULATED: &[Row] = &[
    Row {
        what: "token removed",
        deadline: CALM,
        begin: |world| faults(&world.child, "removed = true\n"),
        end: over,
        asks: Asks::Good,
        seen: &[Cause::TokenAbsent],
        always: true,
    },
    answers!("C_Decrypt", "CKR_DEVICE_ERROR", true, Transient),
    answers!("C_Decrypt", "CKR_DEVICE_MEMORY", true, Transient),
    answers!("C_Decrypt", "CKR_HOST_MEMORY", true, Transient),
    answers!("C_Decrypt", "CKR_GENERAL_ERROR", true, Transient),
    answers!("C_Decrypt", "CKR_FUNCTION_FAILED", true, Transient),
    answers!("C_Decrypt", "CKR_ENCRYPTED_DATA_INVALID", true, Integrity, KeyMissing),
    answers!("C_DecryptInit", "CKR_SESSION_HANDLE_INVALID", true, Transient),
    answers!("C_DecryptInit", "CKR_SESSION_CLOSED", true, Transient),
    answers!("C_DecryptInit", "CKR_USER_NOT_LOGGED_IN", true, Transient),
    answers!("C_DecryptInit", "CKR_KEY_HANDLE_INVALID", true, Transient),
    answers!("C_DecryptInit", "CKR_OPERATION_ACTIVE", true, Transient),
    answers!("C_DecryptInit", "CKR_KEY_FUNCTION_NOT_PERMITTED", true, KeyDisabled),
    answers!("C_DecryptInit", "CKR_MECHANISM_INVALID", true, Unsupported),
    answers!("C_DecryptInit", "CKR_DEVICE_REMOVED", true, TokenAbsent),
    answers!("C_DecryptInit", "CKR_CRYPTOKI_NOT_INITIALIZED", true, ModuleUnusable),
    Row {
        what: "C_Decrypt answers a vendor's code",
        deadline: CALM,
        begin: |world| plan(world, "C_Decrypt", "return = 0x80000001"),
        end: over,
        asks: Asks::Good,
        seen: &[Cause::Transient],
        always: true,
    },
    Row {
        what: "every call answers CKR_GENERAL_ERROR, that which closes a session too",
        deadline: CALM,
        begin: |world| plan(world, "*", "return = \"CKR_GENERAL_ERROR\""),
        end: over,
        asks: Asks::Good,
        seen: &[Cause::Transient, Cause::Crashed, Cause::ModuleUnusable],
        always: true,
    },
    Row {
        what: "the work done and its answer lost",
        deadline: CALM,
        begin: |world| plan(world, "C_Decrypt", "return = \"CKR_DEVICE_ERROR\"\nwork_done = true"),
        end: over,
        asks: Asks::Good,
        seen: &[Cause::Transient],
        always: true,
    },
    Row {
        what: "every call hangs",
        deadline: BRIEF,
        begin: |world| plan(world, "C_DecryptInit", "latency_ms = 600000"),
        end: over,
        asks: Asks::Good,
        seen: &[Cause::Timeout, Cause::Crashed, Cause::Busy],
        always: true,
    },
    Row {
        what: "every call is slow",
        deadline: CALM,
        begin: |world| plan(world, "C_Decrypt", "latency_ms = 200"),
        end: over,
        asks: Asks::Good,
        seen: &[],
        always: false,
    },
    Row {
        what: "no session to be had",
        deadline: CALM,
        begin: |world| {
            faults(&world.child, "[[rule]]\nfunction = \"C_OpenSession\"\nreturn = \"CKR_SESSION_COUNT\"\n");
            world.signal(Signal::KILL);
        },
        end: over,
        asks: Asks::Good,
        seen: &[Cause::Busy, Cause::Crashed],
        always: true,
    },
    Row {
        what: "token removed while a host starts",
        deadline: CALM,
        begin: |world| {
            faults(&world.child, "removed = true\n");
            world.signal(Signal::KILL);
        },
        end: over,
        asks: Asks::Good,
        seen: &[Cause::TokenAbsent, Cause::Crashed],
        always: true,
    },
];
