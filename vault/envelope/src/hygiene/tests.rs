//! The protections last for the life of a process, so they are tested in a child: this test binary, run again for one
//! test with a variable that says so.

use super::*;

const IN_CHILD: &str = "COFRE_TEST_IN_CHILD";

#[test]
fn a_process_locks_itself() {
    if std::env::var_os(IN_CHILD).is_some() {
        return inside_the_child();
    }
    let child = std::process::Command::new(std::env::current_exe().expect("the test binary"))
        .args(["--exact", "hygiene::tests::a_process_locks_itself", "--nocapture"])
        .env(IN_CHILD, "1")
        .output()
        .expect("the test binary runs");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed") && said.contains("locked"), "{said}");
}

fn inside_the_child() {
    let report = lock_process();
    assert_eq!(report.all(), Ok(()));
    let core = rustix::process::getrlimit(Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    assert_eq!(rustix::process::dumpable_behavior().expect("can be asked"), DumpableBehavior::NotDumpable);
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("own status");
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
    println!("locked");
}

#[test]
fn one_refusal_is_enough() {
    let good = Report { core_dumps: Ok(()), dumpable: Ok(()), no_new_privs: Ok(()) };
    assert_eq!(good.all(), Ok(()));
    let refused = Refused::Dumpable(1);
    assert_eq!(Report { dumpable: Err(refused), ..good }.all(), Err(refused));
    assert_eq!(Report { no_new_privs: Err(Refused::NoNewPrivs(1)), ..good }.all(), Err(Refused::NoNewPrivs(1)));
    assert_eq!(Report { core_dumps: Err(Refused::CoreDumps(1)), ..good }.all(), Err(Refused::CoreDumps(1)));
}
