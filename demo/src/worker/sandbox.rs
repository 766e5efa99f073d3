//! The walls around one visit, closed before the login is asked for: no file, no other process, no new thread, TCP to
//! two ports and nothing else of the network. Applied by the process's only thread to itself; it cannot be undone.
//!
//! What this does not hold: addresses (Landlock knows ports), and calls that the kernel serves under the x32 numbers,
//! where it does at all. Addresses belong to the network around the process.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use serde::Serialize;

/// The newest set of Landlock rights the walls are made of: files, TCP ports, abstract sockets and signals.
const RIGHTS: ABI = ABI::V6;

/// Why the walls do not stand.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A limit of the process.
    #[error("{0} cannot be set: {1}")]
    Process(&'static str, rustix::io::Errno),
    /// Landlock.
    #[error("landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// The filter of system calls.
    #[error("seccomp: {0}")]
    Filter(#[from] seccompiler::BackendError),
    /// The filter could not be put in place.
    #[error("seccomp: {0}")]
    Install(#[from] seccompiler::Error),
    /// More threads than this one: they would stay outside.
    #[error("{0} threads run; the sandbox holds the calling one only")]
    Threads(usize),
}

/// What is enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enforced {
    /// Whether every wall stands.
    pub full: bool,
    /// Landlock: `full`, `partial` or `none`.
    pub landlock: &'static str,
    /// Files that can be opened.
    pub files: &'static str,
    /// TCP ports that can be connected to.
    pub tcp_connect: Vec<u16>,
    /// System calls that are refused whatever their arguments.
    pub calls_refused: usize,
    /// System calls that are refused for some of their arguments.
    pub calls_limited: usize,
    /// No privileges by executing.
    pub no_new_privs: bool,
    /// Whether other processes of the user may look inside.
    pub dumpable: bool,
    /// Largest core file, in bytes.
    pub core_limit: u64,
    /// Threads that run.
    pub threads: usize,
}

/// Closes the sandbox around this process, leaving `ports` open for TCP connections.
///
/// # Errors
/// [`SandboxError`]; the process must then not go on. A kernel without some of the rights is no error but
/// `full: false`.
pub fn enforce(ports: &[u16]) -> Result<Enforced, SandboxError> {
    let threads = threads();
    if threads != 1 {
        return Err(SandboxError::Threads(threads));
    }
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|errno| SandboxError::Process("core limit", errno))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|errno| SandboxError::Process("dumpable", errno))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| SandboxError::Process("no_new_privs", errno))?;
    let status = restrict(ports)?;
    let (refused, limited) = (REFUSED.len() + ARCH_REFUSED.len(), limited()?);
    let calls_limited = limited.len();
    seccompiler::apply_filter(&program(limited)?)?;
    Ok(Enforced {
        full: status == RulesetStatus::FullyEnforced,
        landlock: match status {
            RulesetStatus::FullyEnforced => "full",
            RulesetStatus::PartiallyEnforced => "partial",
            RulesetStatus::NotEnforced => "none",
        },
        files: if status == RulesetStatus::NotEnforced { "any" } else { "none" },
        tcp_connect: ports.to_vec(),
        calls_refused: refused,
        calls_limited,
        no_new_privs: true,
        dumpable: false,
        core_limit: 0,
        threads,
    })
}

/// Threads of this process; 0 where the system does not say.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

fn restrict(ports: &[u16]) -> Result<RulesetStatus, SandboxError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))?
        .handle_access(AccessNet::from_all(RIGHTS))?
        .scope(Scope::from_all(RIGHTS))?
        .create()?;
    for port in ports {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Refused whatever the arguments: other processes, code and memory from elsewhere, mounts, namespaces, the kernel.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_memfd_create,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_bpf,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_personality,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
];

/// Older calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
const ARCH_REFUSED: &[libc::c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const ARCH_REFUSED: &[libc::c_long] = &[];

type Limited = BTreeMap<i64, Vec<SeccompRule>>;

/// Refused for some arguments: each rule names arguments that do not pass.
fn limited() -> Result<Limited, seccompiler::BackendError> {
    let number = |value: libc::c_int| u64::from(value.unsigned_abs());
    let bit = |argument, bit: libc::c_int| when(argument, Op::MaskedEq(number(bit)), number(bit));
    Ok(BTreeMap::from([
        (
            libc::SYS_socket,
            vec![
                both(when(0, Op::Ne, number(libc::AF_INET))?, when(0, Op::Ne, number(libc::AF_INET6))?)?,
                // The type without its flags has to be exactly SOCK_STREAM, which is 1.
                only(when(1, Op::MaskedEq(1), 0)?)?,
                only(when(1, Op::MaskedEq(2), 2)?)?,
                only(when(1, Op::MaskedEq(4), 4)?)?,
                only(when(1, Op::MaskedEq(8), 8)?)?,
                // SECURITY: Landlock watches TCP alone. Multipath TCP or SCTP would connect to any port.
                both(when(2, Op::Ne, 0)?, when(2, Op::Ne, number(libc::IPPROTO_TCP))?)?,
            ],
        ),
        // SECURITY: a fast open connects while it sends, past the check of connect.
        (libc::SYS_sendto, vec![only(bit(3, libc::MSG_FASTOPEN)?)?]),
        (libc::SYS_sendmsg, vec![only(bit(2, libc::MSG_FASTOPEN)?)?]),
        (libc::SYS_sendmmsg, vec![only(bit(3, libc::MSG_FASTOPEN)?)?]),
        (libc::SYS_mmap, vec![only(bit(2, libc::PROT_EXEC)?)?]),
        (libc::SYS_mprotect, vec![only(bit(2, libc::PROT_EXEC)?)?]),
        (libc::SYS_pkey_mprotect, vec![only(bit(2, libc::PROT_EXEC)?)?]),
    ]))
}

fn when(argument: u8, op: Op, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, Len::Dword, op, value)
}

fn only(condition: SeccompCondition) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![condition])
}

fn both(one: SeccompCondition, other: SeccompCondition) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![one, other])
}

/// The filter: refused calls answer EPERM, so that a library that merely tries lives on.
fn program(limited: Limited) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules = limited;
    rules.extend(REFUSED.iter().chain(ARCH_REFUSED).map(|call| (*call, Vec::new())));
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
}
