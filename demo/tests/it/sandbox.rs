//! The worker's sandbox, tried from inside: the real binary closes its walls and then runs against them.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::Value;

const WORKER: &str = env!("CARGO_BIN_EXE_cofre-worker");

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).expect("lines of JSON");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn every_forbidden_attempt_is_refused_and_the_allowed_one_works() {
    let allowed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (allowed, other_at) = (allowed.local_addr().expect("bound"), other.local_addr().expect("bound"));
    let output = Command::new(WORKER)
        .args(["--self-test", &allowed.to_string(), &other_at.to_string()])
        .output()
        .expect("the worker runs");
    let said = lines(&output);
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0]["event"], "sandbox");
    assert_eq!(said[0]["full"], true, "{}", said[0]);
    assert_eq!(said[0]["threads"], 1);
    assert_eq!(said[1]["event"], "self_test");
    let attempts = said[1]["attempts"].as_array().expect("attempts");
    assert!(attempts.len() >= 15, "{}", attempts.len());
    for attempt in attempts {
        assert_eq!(attempt["worked"], attempt["allowed"], "{attempt}");
        if attempt["allowed"] == false {
            assert_eq!(attempt["said"], "permission denied", "{attempt}");
        }
    }
    assert!(output.status.success(), "{said:?}");
    other.set_nonblocking(true).expect("set");
    assert!(other.accept().is_err(), "a connection reached the port that was not allowed");
}

#[test]
fn a_ticket_that_does_not_parse_is_named_and_nothing_is_connected() {
    let folder = tempfile();
    let output = Command::new(WORKER).args(["--ticket", &folder]).output().expect("the worker runs");
    let said = lines(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["event"], "failed");
    assert!(said[0]["why"].as_str().is_some_and(|why| why.contains("vault")), "{}", said[0]);
    std::fs::remove_file(folder).expect("removed");
}

fn tempfile() -> String {
    let path = std::env::temp_dir().join(format!("cofre-ticket-{}.json", std::process::id()));
    std::fs::write(&path, "{\"trust_domain\":\"cofre.test\"}").expect("written");
    path.to_string_lossy().into_owned()
}
