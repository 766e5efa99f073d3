//! The walls around a custody host, closed before the vendor's module is loaded: no other program, no other process, no
//! file but what a module needs, and, unless the configuration says otherwise, no network. Applied by the only thread to
//! itself, inherited by every thread the module starts; it cannot be undone.
//!
//! What this does not hold: a module may map code (loading it is mapping code), and may use every byte that is in the
//! process, the keys it unwraps included. The walls keep it from carrying them anywhere.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cofre_envelope::hygiene;
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, PathFdError, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::{Profile, Sandbox};

/// The newest set of Landlock rights the walls are made of; a kernel with fewer enforces those it has.
const RIGHTS: ABI = ABI::V6;

/// Why the walls do not stand.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fallen {
    #[error(transparent)]
    Hygiene(#[from] hygiene::Refused),
    #[error("{0}: {1}")]
    Process(&'static str, io::Error),
    #[error("{} is named in `sandbox`, and {why}", place.display())]
    Place { place: PathBuf, why: String },
    #[error("landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    #[error("the kernel has no Landlock")]
    NoLandlock,
    #[error("landlock: {0}")]
    Path(#[from] PathFdError),
    #[error("seccomp: {0}")]
    Filter(#[from] seccompiler::BackendError),
    #[error("seccomp: {0}")]
    Install(#[from] seccompiler::Error),
    #[error("{0} threads run; the walls hold the calling one only")]
    Threads(usize),
}

/// What every host gives up before it has read a byte: core dumps, tracing, privileges, and life after its vault.
pub(super) fn at_birth() -> Result<(), Fallen> {
    close_inherited()?;
    // Where memory runs out, the kernel is to end this process before the vault. Not everywhere to be had.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    hygiene::lock_process().all()?;
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| Fallen::Process("death signal", errno.into()))?;
    for (what, resource, most) in LIMITS {
        // A stricter limit that was set from outside stands.
        let most = getrlimit(*resource).maximum.map_or(*most, |set| set.min(*most));
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(*resource, limit).map_err(|errno| Fallen::Process(what, errno.into()))?;
    }
    Ok(())
}

/// What else the vault had open when it started this process is none of the module's business, whatever library forgot
/// to mark it.
#[expect(unsafe_code, reason = "descriptors are closed by their numbers, whoever left them open")]
fn close_inherited() -> Result<(), Fallen> {
    // SAFETY: called first in the process, before anything in it opened a descriptor; the three standard ones stay.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(Fallen::Process("inherited descriptors", io::Error::last_os_error())),
    }
}

/// Bounds for a module that leaks or runs wild: far above what a token needs, far below what harms the vault.
const LIMITS: &[(&str, Resource, u64)] = &[
    ("limit of open files", Resource::Nofile, 512),
    ("limit of private memory", Resource::Data, 1 << 30),
    ("limit of file size", Resource::Fsize, 1 << 28),
];

/// Closes the walls around this process and says what is enforced.
pub(super) fn close(sandbox: &Sandbox, module: &Path) -> Result<String, Fallen> {
    let always =
        "no new privileges, not dumpable, no core, dies with its vault, limits on files, private memory and file size";
    if sandbox.profile == Profile::Off {
        return Ok(format!("profile off: {always}"));
    }
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    // A machine without /proc does not say; there the caller is known to be the only thread.
    if threads > 1 {
        return Err(Fallen::Threads(threads));
    }
    let (readable, writable) = places(sandbox, module)?;
    let status = restrict(sandbox.profile, &readable, &writable)?;
    let refused = REFUSED.len() + ARCH_REFUSED.len() + offline(sandbox.profile).len();
    let limited = limited(sandbox.profile)?;
    let count = limited.len();
    for part in apart()? {
        seccompiler::apply_filter(&part)?;
    }
    seccompiler::apply_filter(&program(sandbox.profile, limited)?)?;
    Ok(format!(
        "profile {}: landlock {status}, {} places readable, {} writable, {refused} system calls refused, {count} \
         limited, {always}",
        sandbox.profile.as_str(),
        readable.len(),
        writable.len(),
    ))
}

/// What a library of the system needs to run: code, its list, the sources of randomness, time, names and certificates.
/// Never all of /etc: the vault's own keys and PINs may lie there.
const SYSTEM: &[&str] = &[
    "/usr",
    "/lib",
    "/lib64",
    "/lib32",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
    "/etc/crypto-policies",
    "/etc/softhsm",
    "/etc/softhsm2.conf",
    "/dev/null",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/sys/devices/system/cpu",
];

/// What names on a network need.
const NAMES: &[&str] = &[
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/run/systemd/resolve",
];

/// Places to read and places to write: the system's, the module itself, what the configuration names, and files that the
/// environment names, which is what the configuration let through. Never a folder by its variable alone: `$HOME` or
/// `$STATE_DIRECTORY` may hold anything.
fn places(sandbox: &Sandbox, module: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Fallen> {
    for named in sandbox.readable.iter().chain(&sandbox.writable) {
        let missing = |why| Fallen::Place { place: named.clone(), why };
        match named.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(missing("is not there".to_owned())),
            Err(error) => return Err(missing(error.to_string())),
        }
    }
    let mut readable: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    if sandbox.profile == Profile::Network {
        readable.extend(NAMES.iter().map(PathBuf::from));
    }
    readable.push(module.to_owned());
    readable.extend(sandbox.readable.iter().cloned());
    let named = std::env::vars_os().map(|(_, value)| PathBuf::from(value));
    readable.extend(named.filter(|path| path.is_absolute() && path.is_file()));
    Ok((readable, sandbox.writable.clone()))
}

fn restrict(profile: Profile, readable: &[PathBuf], writable: &[PathBuf]) -> Result<&'static str, Fallen> {
    let scopes = match profile {
        // Services of this machine may listen on an abstract socket.
        Profile::Network => Scope::Signal.into(),
        Profile::Files | Profile::Off => Scope::from_all(RIGHTS),
    };
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))?
        .scope(scopes)?
        .create()?;
    // Devices are beyond what a token in files needs; a network's client may have one.
    for path in readable {
        rules = allow(rules, path, AccessFs::from_read(RIGHTS))?;
    }
    let write = AccessFs::from_all(RIGHTS) & !AccessFs::Execute & !AccessFs::MakeChar & !AccessFs::MakeBlock;
    for path in writable {
        rules = allow(rules, path, write)?;
    }
    match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Ok("full"),
        RulesetStatus::PartiallyEnforced => Ok("as far as this kernel has it"),
        RulesetStatus::NotEnforced => Err(Fallen::NoLandlock),
    }
}

/// A place of the system that is not there needs no rule; those that the configuration names are there.
fn allow(rules: RulesetCreated, path: &Path, access: landlock::BitFlags<AccessFs>) -> Result<RulesetCreated, Fallen> {
    if !path.exists() {
        return Ok(rules);
    }
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(RIGHTS) };
    Ok(rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?)
}

/// Refused whatever the arguments: other programs and processes, mounts, namespaces, the kernel; and what changes a file
/// by its name without opening it, which Landlock lets pass or did in its first versions.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
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
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_truncate,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_utimensat,
    SETXATTRAT,
    REMOVEXATTRAT,
    FILE_SETATTR,
];

/// Calls newer than the C library's list; the numbers are the same on every architecture.
const SETXATTRAT: libc::c_long = 463;
const REMOVEXATTRAT: libc::c_long = 466;
const FILE_SETATTR: libc::c_long = 469;

/// Older calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
const ARCH_REFUSED: &[libc::c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const ARCH_REFUSED: &[libc::c_long] = &[];

/// Refused besides where no network is wanted: every socket but the one the host was born with.
fn offline(profile: Profile) -> &'static [libc::c_long] {
    match profile {
        Profile::Files => &[
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            // Memory and queues that another process of this user could open.
            libc::SYS_shmget,
            libc::SYS_shmat,
            libc::SYS_msgget,
            libc::SYS_msgsnd,
            libc::SYS_msgrcv,
            libc::SYS_semget,
            libc::SYS_mq_open,
        ],
        Profile::Network | Profile::Off => &[],
    }
}

/// Not in the C library's list for every architecture (linux/fcntl.h, asm-generic/sockios.h and ioctls.h).
const F_SETSIG: libc::c_int = 10;
const F_SETOWN_EX: libc::c_int = 15;
const FIOSETOWN: libc::c_int = 0x8901;
const SIOCSPGRP: libc::c_int = 0x8902;
const TIOCSTI: libc::c_int = 0x5412;

type Limited = BTreeMap<i64, Vec<SeccompRule>>;

/// Refused for some arguments: each rule names arguments that do not pass.
fn limited(profile: Profile) -> Result<Limited, seccompiler::BackendError> {
    let number = |value: libc::c_int| u64::from(value.unsigned_abs());
    let when = |argument, op, value| SeccompCondition::new(argument, Len::Dword, op, value);
    // Threads of this process are allowed, processes are not.
    let process = when(0, Op::MaskedEq(number(libc::CLONE_THREAD)), 0)?;
    let mut limited = BTreeMap::from([(libc::SYS_clone, vec![SeccompRule::new(vec![process])?])]);
    // Signals to this process and limits of it, not of the vault or of other hosts.
    let this = number(rustix::process::getpid().as_raw_nonzero().get());
    for call in [libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        limited.insert(call, vec![SeccompRule::new(vec![when(0, Op::Ne, this)?])?]);
    }
    // A descriptor that is ready may signal whoever it is told to.
    let owners = [libc::F_SETOWN, F_SETSIG, F_SETOWN_EX].map(|command| (1, command));
    limited.insert(libc::SYS_fcntl, refused_where(&owners)?);
    let ways = [FIOSETOWN, SIOCSPGRP, TIOCSTI].map(|request| (1, request));
    limited.insert(libc::SYS_ioctl, refused_where(&ways)?);
    let another = SeccompRule::new(vec![when(0, Op::Ne, 0)?, when(0, Op::Ne, this)?])?;
    limited.insert(libc::SYS_prlimit64, vec![another]);
    // What was given up at birth stays so.
    let kept = [libc::PR_SET_DUMPABLE, libc::PR_SET_PDEATHSIG, libc::PR_SET_PTRACER];
    limited.insert(libc::SYS_prctl, refused_where(&kept.map(|option| (0, option)))?);
    if profile == Profile::Network {
        let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        let others = families.iter().map(|family| when(0, Op::Ne, number(*family))).collect::<Result<_, _>>()?;
        limited.insert(libc::SYS_socket, vec![SeccompRule::new(others)?]);
    }
    Ok(limited)
}

/// Rules that refuse a call whose argument of that place has that value.
fn refused_where(values: &[(u8, libc::c_int)]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |(place, value): &(u8, libc::c_int)| {
        let condition = SeccompCondition::new(*place, Len::Dword, Op::Eq, u64::from(value.unsigned_abs()))?;
        SeccompRule::new(vec![condition])
    };
    values.iter().map(rule).collect()
}

/// The filter: refused calls answer EPERM, so that a library that merely tries lives on.
fn program(profile: Profile, mut rules: Limited) -> Result<BpfProgram, seccompiler::BackendError> {
    let refused = REFUSED.iter().chain(ARCH_REFUSED).chain(offline(profile));
    rules.extend(refused.map(|call| (*call, Vec::new())));
    filter(rules, libc::EPERM)
}

/// The filters that answer that there is no such call.
fn apart() -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let mut parts = vec![no_new_thread_call()?];
    if cfg!(target_arch = "x86_64") {
        parts.push(no_second_numbering());
    }
    Ok(parts)
}

/// The same calls by other numbers (the x32 way of this architecture, from bit 30 on) would pass a list of numbers. The
/// operations are those of linux/bpf_common.h.
fn no_second_numbering() -> BpfProgram {
    const LOAD: u16 = 0x20;
    const JUMP_UNLESS_BELOW: u16 = 0x35;
    const ANSWER: u16 = 0x06;
    let step = |code, jf, k| seccompiler::sock_filter { code, jt: 0, jf, k };
    vec![
        step(LOAD, 0, 0),
        step(JUMP_UNLESS_BELOW, 1, 1 << 30),
        step(ANSWER, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        step(ANSWER, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// The arguments of `clone3` lie in memory, where no filter looks. To a C library that hears it does not exist, `clone`
/// is as good, and its arguments can be seen.
fn no_new_thread_call() -> Result<BpfProgram, seccompiler::BackendError> {
    filter(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

fn filter(rules: Limited, answer: libc::c_int) -> Result<BpfProgram, seccompiler::BackendError> {
    let refuse = SeccompAction::Errno(answer.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?.try_into()
}
